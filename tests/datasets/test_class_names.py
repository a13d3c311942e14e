"""Images whose file names begin with their class: refused with the text to type, and read where it is typed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made_images import refused
from PIL import Image

from pocketlens.datasets import load

SHAPES = ["{label}.{i}.jpg", "{label}_{i:03}.jpg", "{label}{i}.jpg", "{label} ({i}).jpg", "{label}-{i}_1.jpg"]
LABELS = ("cat", "red_fox")


def make(root: Path, shape: str, n: int = 12) -> None:
    """Images of two classes in turns."""
    root.mkdir(parents=True, exist_ok=True)
    for i in range(n):
        name = shape.format(label=LABELS[i % 2], i=i)
        seed = [*f"{root.name}/{name}".encode()]
        Image.fromarray(np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(root / name)


def typed(root: Path) -> str:
    return f"folder({str(root)!r}, labels='names')"


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("place", [".", "images", "train", "data/train"])
def test_the_text_to_type_is_said_and_works(shape: str, place: str, tmp_path: Path) -> None:
    make(tmp_path / place, shape)
    with refused("begin with cat (6), red_fox (6)", "labels='names'", "labels='labels.csv'"):
        load(str(tmp_path))
    dataset, sealed = load(typed(tmp_path))
    assert dataset.classes == LABELS
    assert len(dataset) + len(sealed) == 12
    assert dataset.files is not None
    given = [LABELS.index(Path(name).name.split(".")[0].rstrip("0123456789_-() ")) for name in dataset.files]
    assert list(dataset.labels) == given
    assert "labels from the names of the files: cat (6), red_fox (6)" in dataset.notes


def test_numbered_images_have_no_label(tmp_path: Path) -> None:
    make(tmp_path / "train", SHAPES[0])
    make(tmp_path / "test1", "{i}.jpg", 7)
    with refused("labels='names'"):
        load(str(tmp_path))
    dataset, sealed = load(typed(tmp_path))
    assert len(dataset) + len(sealed) == 12
    assert "7 images without a text before the number in the name not used" in dataset.notes


def test_folders_of_parts_are_the_parts(tmp_path: Path) -> None:
    make(tmp_path / "train", SHAPES[1])
    make(tmp_path / "val", SHAPES[1], 4)
    make(tmp_path / "test", SHAPES[1], 6)
    dataset, sealed = load(typed(tmp_path))
    assert dataset.val is not None
    assert (len(dataset), dataset.val.sum(), len(sealed)) == (16, 4, 6)


@pytest.mark.parametrize("shape", ["IMG_{i:04}.jpg", "{i}.jpg", "{label}.jpg", "{i}_{label}.jpg"])
def test_names_that_say_no_classes_are_not_suggested(shape: str, tmp_path: Path) -> None:
    make(tmp_path, shape)
    with refused("must hold a folder for each class"):
        load(str(tmp_path))


def test_class_folders_count_whatever_the_names_are(tmp_path: Path) -> None:
    make(tmp_path / "a", SHAPES[0])
    make(tmp_path / "b", SHAPES[0])
    assert load(str(tmp_path)).dataset.classes == ("a", "b")


def test_names_without_a_class_are_refused_where_they_were_typed(tmp_path: Path) -> None:
    make(tmp_path, "{i}.jpg")
    with refused("no image in", "has a text before its number"):
        load(typed(tmp_path))
