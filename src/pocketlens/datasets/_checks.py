"""What a data set must hold to be trained on, what is said about its two parts, and its test part sealed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pocketlens.data.dataset import Dataset, Hashes, Loaded, hash_images, seal
from pocketlens.data.fit import Form, bring_to_form
from pocketlens.data.shortages import part_notes
from pocketlens.data.split import TEST_FRACTION, Parts
from pocketlens.datasets._joined import joined
from pocketlens.errors import PocketlensError
from pocketlens.text import counted, listed


def check(development: Dataset, test: Dataset) -> None:
    """Refuses data that cannot be trained on.

    Raises:
        PocketlensError: there are fewer than two classes, one picture alone, or test rows of a class without
            development rows.
    """
    text, classes = development.text, development.classes
    if not len(development):
        raise PocketlensError(f"{text}: the data set must have at least one image to train on, it has none.")
    present = np.unique(development.labels)
    if len(present) < 2:
        only = listed([repr(classes[label]) for label in present])
        raise PocketlensError(f"{text}: the data set must have images of at least 2 classes, it has only {only}.")
    words = _words(development.hashes)
    if (words == words[0]).all():
        raise PocketlensError(
            f"{text}: the data set must have different images, and its {counted(len(development), 'image')} are equal "
            "in every pixel."
        )
    unknown = np.setdiff1d(test.labels, development.labels)
    if len(unknown):
        names_ = listed([repr(classes[label]) for label in unknown], 10)
        raise PocketlensError(
            f"{text}: every class of the test set must have development images; only the test set has {names_}."
        )


def sealed(development: Dataset, test: Dataset) -> Loaded:
    """The development rows, with notes on what the two parts lack and share, and the test rows, sealed."""
    n_classes = len(development.classes)
    given, kept = (np.bincount(part.labels, minlength=n_classes)[:n_classes] for part in (test, development))
    lacking = part_notes("test", given, kept, development, TEST_FRACTION)
    notes = (*development.notes, *lacking, *_conflicts(development), *_across(development.hashes, test.hashes))
    return Loaded(replace(development, notes=notes), seal(replace(test, notes=())))


def joined_in_form(parts: Parts, form: Form, version: int) -> Dataset:
    """All rows, in the form that a model takes; hashes are those of the rule `version` of the hold-out.

    Raises:
        PocketlensError: the parts have different classes.
    """
    whole = parts.development if parts.test is None else joined(parts.development, parts.test)
    if whole.shape == form.shape:
        return whole
    images = np.stack([bring_to_form(image, form) for image in whole.images])
    return replace(whole, images=images, hashes=hash_images(images) if version == 1 else whole.hashes)


def _conflicts(dataset: Dataset) -> tuple[str, ...]:
    """A note if images with the same pixels have different labels."""
    labels = dataset.labels if dataset.strata is None else dataset.strata
    _, image = np.unique(_words(dataset.hashes), return_inverse=True)
    n_images = int(image.max()) + 1
    lowest, highest = np.full(n_images, np.iinfo(np.int64).max), np.full(n_images, -1, np.int64)
    np.minimum.at(lowest, image, labels)
    np.maximum.at(highest, image, labels)
    rows = np.flatnonzero((lowest != highest)[image])
    if not len(rows):
        return ()
    shown = listed([dataset.files[row] if dataset.files else f"row {row}" for row in rows], 4)
    pictures = counted(len(np.unique(image[rows])), "image has", "images have")
    return (f"{pictures} more than one label, in {counted(len(rows), 'file' if dataset.files else 'row')}: {shown}",)


def _across(hashes: Hashes, test_hashes: Hashes) -> tuple[str, ...]:
    """A note if test images are also among the development rows."""
    count = int(np.isin(_words(test_hashes), _words(hashes)).sum())
    return (
        (
            f"{counted(count, 'test image is', 'test images are')} also among the development images, equal "
            "in every pixel",
        )
        if count
        else ()
    )


def _words(hashes: Hashes) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    """(N,) uint64: half of each hash, enough to tell images apart."""
    return np.ascontiguousarray(hashes[:, :8]).view(np.uint64).reshape(-1)
