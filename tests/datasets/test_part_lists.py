"""Lists of training, validation and test images beside class folders are the person's split."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pocketlens.datasets import load
from pocketlens.errors import PocketlensError

CLASSES = ("apple pie", "waffles")
Write = Callable[[int], str]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Twenty images in two class folders below `images/`: apple pie/00.png, waffles/01.png, …"""
    rng = np.random.default_rng(0)
    for i in range(20):
        place = tmp_path / "images" / path(i)
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(place)
    return tmp_path


def path(i: int) -> str:
    return f"{CLASSES[i % 2]}/{i:02}.png"


def write(place: Path, line: Write, **rows: range) -> None:
    place.mkdir(exist_ok=True)
    for name, numbers in rows.items():
        (place / f"{name}.txt").write_text("".join(f"{line(i)}\n" for i in numbers))


def sizes(root: Path) -> tuple[int, int, int]:
    """Training, validation and test rows as the folder gives them."""
    loaded = load(str(root))
    val = loaded.dataset.val
    n_val = 0 if val is None else int(val.sum())
    return len(loaded.dataset) - n_val, n_val, len(loaded.sealed)


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(lambda i: path(i)[:-4], id="without suffix"),
        pytest.param(path, id="below the classes' folder"),
        pytest.param(lambda i: f"images/{path(i)} {i % 2}", id="with the number of the class"),
        pytest.param(lambda i: f"./images/{path(i)}".replace("/", "\\"), id="back-slashes"),
    ],
)
@pytest.mark.parametrize("place", ["meta", ".", "images"])
def test_train_and_test_lists_divide_class_folders(root: Path, line: Write, place: str) -> None:
    write(root / place, line, train=range(12), test=range(12, 20))
    assert sizes(root) == (12, 0, 8)
    assert any(note.startswith("parts from ") for note in load(str(root)).dataset.notes)


def test_a_validation_list_validates_and_what_no_list_names_trains(root: Path) -> None:
    write(root / "splits", path, validation_list=range(4), testing_list=range(4, 10))
    assert sizes(root) == (10, 4, 6)


def test_an_image_in_two_lists_is_refused_with_what_to_type(root: Path) -> None:
    write(root, path, train=range(12), test=range(11, 20))
    with pytest.raises(PocketlensError, match=r"1 image stands in two: images/waffles/11.png.*labels='folders'"):
        load(str(root))
    assert len(load(f"folder({str(root)!r}, labels='folders')").sealed) == 4


@pytest.mark.parametrize("names", [("train1", "test1", "train2", "test2"), ("readme", "classes"), ("train",)])
def test_other_texts_change_nothing(root: Path, names: tuple[str, ...]) -> None:
    write(root / "meta", path, **{name: range(5 * n, 5 * n + 5) for n, name in enumerate(names)})
    assert sizes(root) == (16, 0, 4)


def test_lists_of_other_images_change_nothing(root: Path) -> None:
    write(root, lambda i: f"other/{i + 100}.png", train=range(12), test=range(12, 20))
    assert sizes(root) == (16, 0, 4)


def test_the_split_of_numbered_images_is_taken_as_in_cub_200(root: Path) -> None:
    (root / "images.txt").write_text("".join(f"{i + 1} {path(i)}\n" for i in range(20)))
    (root / "image_class_labels.txt").write_text("".join(f"{i + 1} {1 + i % 2}\n" for i in range(20)))
    (root / "classes.txt").write_text("".join(f"{i} {name}\n" for i, name in enumerate(CLASSES, 1)))
    assert sizes(root)[2] == 4, "a fifth is held out"
    split = root / "train_test_split.txt"
    split.write_text("".join(f"{i + 1} {int(i < 12)}\n" for i in range(20)))
    assert sizes(root) == (12, 0, 8)
    assert load(str(root)).dataset.classes == CLASSES
    assert any(note.startswith("parts from train_test_split.txt (train)") for note in load(str(root)).dataset.notes)
    split.write_text("1 1\n2 0\n")  # of other images
    assert sizes(root)[2] == 4
