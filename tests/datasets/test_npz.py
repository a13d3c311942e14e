"""Arrays as a data set: the names that are known, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_images import random_images, refused

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
    assert any("validation" in note for note in dataset.notes)


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
    "huge label": ({"images": IMAGES, "labels": LABELS + 2**40}, "0..65535"),
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
