"""Parts without class folders whose labels stand in a table: the official test set counts, no other is cut."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pocketlens.datasets import load

CLASSES = ("0", "1", "2")
N_TRAIN, N_OTHER = 12, 9


def picture(place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    seed = [*place.as_posix().encode()]
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(place)


def training(root: Path, name: str, inner: str = "{label}/{i}.png", width: int = 1) -> None:
    """Twelve images in class folders."""
    for i in range(N_TRAIN):
        picture(root / name / inner.format(label=f"{i % 3:0{width}}", i=i))


def others(root: Path, name: str) -> None:
    """Nine images without class folders: 0.png, 1.png, …"""
    for i in range(N_OTHER):
        picture(root / name / f"{i}.png")


def table(place: Path, header: str, line: Callable[[int], str], n: int = N_OTHER) -> None:
    place.write_text("".join(f"{row}\n" for row in (*([header] if header else []), *map(line, range(n)))))


def signs_by_kaggle(root: Path) -> None:
    training(root, "Train")
    others(root, "Test")
    table(root / "Test.csv", "Width,Height,ClassId,Path", lambda i: f"30,29,{i % 3},Test/{i}.png")
    table(root / "Train.csv", "Width,Height,ClassId,Path", lambda i: f"30,29,{i % 3},Train/{i % 3}/{i}.png", N_TRAIN)


def signs_of_the_authors(root: Path) -> None:
    training(root, "Final_Training/Images", width=5)
    others(root, "Final_Test/Images")
    table(root / "Final_Test/Images/GT-final_test.csv", "Filename;Width;ClassId", lambda i: f"{i}.png;29;{i % 3}")


def tiny_imagenet(root: Path) -> None:
    training(root, "tiny/train", "{label}/images/{i}.png")
    others(root, "tiny/val/images")
    others(root, "tiny/test/images")
    table(root / "tiny/val/val_annotations.txt", "", lambda i: f"{i}.png\t{i % 3}\t0\t32\t44\t62")
    (root / "tiny/wnids.txt").write_text("0\n1\n2\n")


def beside_the_classes(root: Path) -> None:
    training(root, ".")
    others(root, "test")
    table(root / "test/labels.csv", "file,label", lambda i: f"{i}.png,{i % 3}")


def two_tables(root: Path) -> None:
    training(root, "train")
    for name in ("val", "test"):
        others(root, name)
        table(root / f"{name}_labels.csv", "id,class", lambda i: f"{i},{i % 3}")


@pytest.mark.parametrize("make", [signs_by_kaggle, signs_of_the_authors, tiny_imagenet, beside_the_classes, two_tables])
def test_a_table_labels_a_part(make: Callable[[Path], None], tmp_path: Path) -> None:
    make(tmp_path)
    loaded = load(str(tmp_path))
    assert [int(name) for name in loaded.dataset.classes] == [0, 1, 2]
    assert len(loaded.sealed) == N_OTHER
    is_val = np.zeros(len(loaded.dataset), bool) if loaded.dataset.val is None else loaded.dataset.val
    assert (~is_val).sum() == N_TRAIN
    assert is_val.sum() == (N_OTHER if make is two_tables else 0)
    assert loaded.dataset.files is not None
    given = [int(Path(name).stem) % 3 for name in loaded.dataset.files]
    assert list(loaded.dataset.labels) == given
    test = loaded.sealed._open()
    assert test.files is not None
    assert list(test.labels) == [int(Path(name).stem) % 3 for name in test.files]
    assert any("has its labels in" in note for note in loaded.dataset.notes)
    assert not any("fifth" in note or "csv and was ignored" in note for note in loaded.dataset.notes)


def test_the_same_in_an_archive(tmp_path: Path) -> None:
    tiny_imagenet(tmp_path / "made")
    path = shutil.make_archive(str(tmp_path / "tiny"), "zip", tmp_path / "made")
    assert len(load(path).sealed) == N_OTHER


def test_the_part_stays_for_validation_where_that_is_typed(tmp_path: Path) -> None:
    tiny_imagenet(tmp_path)
    for typed in ("validation", "tiny/val"):
        dataset = load(f"folder({str(tmp_path)!r}, val={typed!r})").dataset
        assert dataset.val is not None
        assert dataset.val.sum() == N_OTHER
    assert len(load(f"folder({str(tmp_path)!r}, test='val')").sealed) == N_OTHER


@pytest.mark.parametrize(
    ("name", "line"),
    [
        pytest.param("sample_submission.csv", lambda i: f"{i}.png,{i % 3}", id="somebody's answers"),
        pytest.param("test.csv", lambda i: f"{i}.png,1", id="one class for all"),
        pytest.param("test.csv", lambda i: f"{i}.png,{i % 4}", id="a class that is not trained on"),
        pytest.param("test.csv", lambda i: f"{i // 2}.png,{i // 2 % 3}", id="half of the images"),
        pytest.param("test.csv", lambda i: f"{i}.png,{i}.5", id="no labels"),
    ],
)
def test_other_tables_leave_the_part_without_labels(name: str, line: Callable[[int], str], tmp_path: Path) -> None:
    training(tmp_path, "train")
    others(tmp_path, "test")
    table(tmp_path / name, "file,label", line)
    loaded = load(str(tmp_path))
    assert len(loaded.dataset) + len(loaded.sealed) == N_TRAIN
    assert any("test/ has 9 images without labels" in note for note in loaded.dataset.notes)


def test_images_without_a_line_are_counted_and_left_out(tmp_path: Path) -> None:
    training(tmp_path, "train")
    for i in range(40):
        picture(tmp_path / "test" / f"{i}.png")
    table(tmp_path / "test.csv", "file,label", lambda i: f"{i}.png,{i % 3}", 38)
    loaded = load(str(tmp_path))
    assert len(loaded.sealed) == 38
    assert "2 images in test/ without a line in test.csv not used" in loaded.dataset.notes


def test_labels_of_folders_alone_leave_tables_unread(tmp_path: Path) -> None:
    signs_by_kaggle(tmp_path)
    loaded = load(f"folder({str(tmp_path)!r}, labels='folders')")
    assert len(loaded.dataset) + len(loaded.sealed) == N_TRAIN
