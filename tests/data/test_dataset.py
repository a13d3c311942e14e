"""The data set: its checks, its hashes, and the sealed test part."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
from made_images import random_images, refused

from pocketlens.data.dataset import Dataset, fingerprint, hash_images, images_fingerprint, rows_by_class, seal


def made(n: int = 12, shape: tuple[int, ...] = (4, 4, 3)) -> Dataset:
    images = random_images(n, shape)
    labels = np.arange(n, dtype=np.int64) % 3
    return Dataset("made", images, labels, ("a", "b", "<c>"), hash_images(images), files=tuple(map(str, range(n))))


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"images": random_images(12, (4, 4, 3)).astype(np.float32)}, "must be uint8"),
        ({"images": random_images(12, (4, 4))}, "(N, H, W, 1 or 3)"),
        ({"images": random_images(12, (4, 4, 4))}, "(N, H, W, 1 or 3)"),
        ({"images": random_images(11, (4, 4, 3))}, "11 images, 12 labels"),
        ({"hashes": np.zeros((11, 16), np.uint8)}, "the counts must be equal"),
        ({"labels": np.array([0] * 11 + [3])}, "labels must be 0..2, row 11 has 3"),
        ({"labels": np.array([0] * 11 + [-1])}, "row 11 has -1"),
    ],
    ids=str,
)
def test_parts_that_do_not_fit_are_refused(change: dict[str, np.ndarray], part: str) -> None:
    with refused("made: ", part):
        replace(made(), **change)


def test_the_rows_of_each_class_are_found_in_one_pass() -> None:
    labels = np.array([3, 0, 3, 1, 0])
    assert [rows.tolist() for rows in rows_by_class(labels, 5)] == [[1, 4], [3], [], [0, 2], []]
    assert [rows.tolist() for rows in rows_by_class(np.zeros(2, np.int64), 1)] == [[0, 1]]


def test_it_is_frozen_and_shows_itself_escaped() -> None:
    dataset = replace(made(), text="<b>x</b>")
    with pytest.raises(FrozenInstanceError):
        dataset.text = "other"  # type: ignore[misc]
    assert "<b>" not in dataset._repr_html_()
    assert dataset.shape == (4, 4, 3)
    assert len(dataset) == 12


def test_a_hash_is_of_pixels_and_shape() -> None:
    images = random_images(5, (4, 6, 1))
    hashes = hash_images(images)
    assert len(np.unique(hashes, axis=0)) == 5
    assert np.array_equal(hash_images(images[2:3])[0], hashes[2])
    assert np.array_equal(hash_images(np.asfortranarray(images)), hashes)
    assert not np.array_equal(hash_images(images.reshape(5, 6, 4, 1)), hashes)
    changed = images.copy()
    changed[3, 0, 0] ^= 1
    assert (hash_images(changed) != hashes).any(axis=1).tolist() == [False, False, False, True, False]


def test_fingerprints_tell_order_labels_and_names() -> None:
    dataset = made()
    rows = np.arange(12)[::-1].copy()
    known = {
        dataset.fingerprint,
        dataset.take(rows).fingerprint,
        fingerprint(dataset.hashes, (dataset.labels + 1) % 3, dataset.classes),
        fingerprint(dataset.hashes, dataset.labels, ("a", "b", "d")),
    }
    assert len(known) == 4
    assert images_fingerprint(dataset.hashes) == images_fingerprint(dataset.hashes[rows])
    assert images_fingerprint(dataset.hashes) != images_fingerprint(dataset.hashes[1:])
    assert images_fingerprint(dataset.hashes[:0])


def test_take_keeps_the_columns_together() -> None:
    dataset = replace(made(), groups=np.arange(12), strata=np.arange(12) // 2)
    taken = dataset.take(np.array([7, 2]), "other")
    assert np.array_equal(taken.images, dataset.images[[7, 2]])
    assert taken.files == ("7", "2")
    assert taken.groups is not None
    assert taken.strata is not None
    assert (taken.groups.tolist(), taken.strata.tolist(), taken.text) == ([7, 2], [3, 1], "other")


def test_a_sealed_part_gives_images_and_nothing_else() -> None:
    dataset = made()
    sealed = seal(dataset)
    assert len(sealed) == 12
    chunks = list(sealed.images_without_labels(chunk=5))
    assert [len(chunk) for chunk in chunks] == [5, 5, 2]
    assert np.array_equal(np.concatenate(chunks), dataset.images)
    chunks[0][:] = 0
    assert dataset.images[:5].any()
    assert not any(
        isinstance(value, (Dataset, np.ndarray)) and value is not sealed.hashes for value in vars(sealed).values()
    )
    assert "_open" not in repr(sealed)
