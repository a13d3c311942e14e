"""Arrays as a data set: the names that are known, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_images import random_images, refused

from pocketlens.data.split import make_split
from pocketlens.datasets import load

IMAGES = random_images(40, (6, 5, 3))
LABELS = np.arange(40) % 4


@pytest.mark.parametrize("saver", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("names", [("images", "labels"), ("x_train", "y_train"), ("train_images", "train_labels")])
def test_arrays_are_read(tmp_path: Path, saver: Any, names: tuple[str, str]) -> None:
    saver(
        tmp_path / "a.npz", **{names[0]: IMAGES, names[1]: LABELS[:, None], "classes": np.array(["w", "x", "y", "z"])}
    )
    dataset, test = load(str(tmp_path / "a.npz"))
    assert dataset.classes == ("w", "x", "y", "z")
    assert (len(dataset), len(test)) == (32, 8)
    assert isinstance(dataset.images, np.memmap)
    assert dataset.text == f"npz(path={str(tmp_path / 'a.npz')!r})"
    known = {image.tobytes(): label for image, label in zip(IMAGES, LABELS, strict=True)}
    assert all(known[image.tobytes()] == label for image, label in zip(dataset.images, dataset.labels, strict=True))


def test_an_official_test_part_and_validation_rows(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "med.npz",
        train_images=IMAGES[:20, :, :, 0],
        train_labels=LABELS[:20],
        val_images=IMAGES[20:30, :, :, 0],
        val_labels=LABELS[20:30],
        test_images=IMAGES[30:, :, :, 0],
        test_labels=LABELS[30:],
    )
    dataset, test = load(str(tmp_path / "med.npz"))
    assert np.array_equal(dataset.images, IMAGES[:30, :, :, :1])
    assert np.array_equal(np.concatenate(list(test.images_without_labels())), IMAGES[30:, :, :, :1])
    assert dataset.classes == ("0", "1", "2", "3")
    assert dataset.notes[0] == "parts: 20 rows train, 10 validate, 10 are the sealed test part"
    assert make_split(dataset).val.tolist() == list(range(20, 30))


def test_the_classes_are_the_labels_that_occur(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=IMAGES, labels=np.array([3, 900, 17, 3])[LABELS])
    dataset, _ = load(str(tmp_path / "a.npz"))
    assert dataset.classes == ("3", "17", "900")
    assert np.bincount(dataset.labels).tolist() == [16, 8, 8]
    plain = np.arange(40) % 3
    np.savez(tmp_path / "b.npz", images=IMAGES, labels=plain)
    np.savez(tmp_path / "c.npz", images=IMAGES, labels=np.array([5, 6, 700])[plain])
    first, second = (load(str(tmp_path / name))[0] for name in ("b.npz", "c.npz"))
    assert np.array_equal(first.labels, second.labels)
    assert (first.classes, second.classes) == (("0", "1", "2"), ("5", "6", "700"))


def test_given_class_names_stay_also_where_labels_are_absent(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=IMAGES, labels=np.array([0, 3, 0, 3])[LABELS], classes=np.array([*"wxyz"]))
    dataset, _ = load(str(tmp_path / "a.npz"))
    assert dataset.classes == ("w", "x", "y", "z")
    assert sorted(set(dataset.labels.tolist())) == [0, 3]


@pytest.mark.parametrize("kind", ["U3", "S3"])
def test_text_labels(tmp_path: Path, kind: str) -> None:
    names = np.array(["dog", "cat", "10", "9"], kind)
    np.savez(tmp_path / "a.npz", images=IMAGES, labels=names[LABELS])
    assert load(str(tmp_path / "a.npz"))[0].classes == ("10", "9", "cat", "dog")
    np.savez(tmp_path / "b.npz", images=IMAGES, labels=names[LABELS], classes=np.array(["dog", "9", "10", "cat"]))
    assert load(str(tmp_path / "b.npz"))[0].classes == ("dog", "9", "10", "cat")


def test_class_names_that_differ_by_case_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, images=IMAGES, labels=np.array(["Cat", "cat", "dog ", "dog"])[LABELS])
    with refused(
        "'Cat' (10) and 'cat' (10)", "'dog' (10) and 'dog ' (10)", f"npz(path={str(path)!r}, merge_names=True)"
    ):
        load(str(path))
    dataset, _ = load(f"npz({str(path)!r}, merge_names=True)")
    assert dataset.classes == ("Cat", "dog")
    assert any("were merged" in note for note in dataset.notes)


def test_an_array_of_parts(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    parts = np.array(["train", "train", "Validation", "test"])[np.arange(40) // 10]
    np.savez(path, images=IMAGES, labels=LABELS, split=parts)
    dataset, test = load(str(path))
    assert (len(dataset), len(test), len(make_split(dataset).val)) == (30, 10, 10)
    assert np.array_equal(np.concatenate(list(test.images_without_labels())), IMAGES[30:])
    np.savez(path, images=IMAGES, labels=LABELS, fold=np.arange(40) // 8)
    with refused("has the folds fold0, fold1, fold2, fold3, fold4", "test='fold4'"):
        load(str(path))
    dataset, test = load(f"npz({str(path)!r}, test='fold1')")
    assert (len(dataset), len(test)) == (32, 8)
    assert dataset.folds is not None
    assert sorted(set(dataset.folds.tolist())) == [0, 2, 3, 4]
    assert len(load(f"npz({str(path)!r}, split_column='none')")[1]) == 8


def test_a_folder_of_npy_files(tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", IMAGES)
    np.save(tmp_path / "labels.npy", LABELS)
    dataset, test = load(str(tmp_path))
    assert dataset.text.startswith("npz(")
    assert (len(dataset), len(test)) == (32, 8)


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no labels": ({"images": IMAGES}, "'images' with 'labels'"),
    "float": ({"images": IMAGES.astype(np.float32), "labels": LABELS}, "must be uint8"),
    "nan": ({"images": np.full((3, 6, 5), np.nan), "labels": LABELS[:3]}, "must be uint8"),
    "flat": ({"images": IMAGES.reshape(40, -1), "labels": LABELS}, "(N, H, W)"),
    "4 channels": ({"images": random_images(4, (6, 5, 4)), "labels": LABELS[:4]}, "(N, H, W, 3)"),
    "counts": ({"images": IMAGES, "labels": LABELS[:39]}, "one label for each image"),
    "float labels": ({"images": IMAGES, "labels": LABELS / 1}, "whole numbers"),
    "negative": ({"images": IMAGES, "labels": LABELS - 1}, "row 0 has -1"),
    "huge label": ({"images": IMAGES, "labels": LABELS.astype(np.uint64) + 2**63}, "below 2**63"),
    "two kinds": (
        {"images": IMAGES, "labels": LABELS, "test_images": IMAGES, "test_labels": LABELS.astype("U1")},
        "all labels must be numbers, or all must be texts",
    ),
    "empty text": (
        {"images": IMAGES, "labels": np.array(["", " ", "a", "b"] * 10)},
        "20 of 40 labels are empty: row 0",
    ),
    "unknown text": (
        {"images": IMAGES, "labels": np.array(["a", "b"] * 20), "classes": np.array(["a", "c"])},
        "one of the given classes; 'b' are not",
    ),
    "objects": ({"images": np.array([None] * 40, object), "labels": LABELS}, "must hold numbers"),
    "fortran": ({"images": np.asfortranarray(IMAGES), "labels": LABELS}, "C order"),
    "names": ({"images": IMAGES, "labels": LABELS, "classes": np.array(["a"])}, "at least 4 strings"),
    "one class": ({"images": IMAGES, "labels": LABELS * 0}, "at least 2 classes"),
    "no rows": ({"images": IMAGES[:0], "labels": LABELS[:0]}, "at least one image"),
    "new in test": (
        {"images": IMAGES, "labels": LABELS, "test_images": IMAGES[:2], "test_labels": LABELS[:2] + 7},
        "only the test set has '7', '8'",
    ),
    "sizes": (
        {"images": IMAGES, "labels": LABELS, "test_images": IMAGES[:, 1:], "test_labels": LABELS},
        "must have one shape",
    ),
}


@pytest.mark.parametrize("case", sorted(BAD))
def test_bad_arrays_are_refused(tmp_path: Path, case: str) -> None:
    content, part = BAD[case]
    np.savez(tmp_path / "bad.npz", **content)
    with refused(part):
        load(str(tmp_path / "bad.npz"))


def test_a_file_that_is_no_npz_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(b"PK\x03\x04 no")
    with refused("a.npz", "complete .npz file"):
        load(str(tmp_path / "a.npz"))
    with refused("must be an .npz file"):
        load(f"npz('{tmp_path / 'absent.npz'}')")
