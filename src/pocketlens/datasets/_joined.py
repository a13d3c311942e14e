"""The rows of both parts of a data set as one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pocketlens.data.dataset import Dataset, Images
from pocketlens.errors import PocketlensError


def joined(first: Dataset, test: Dataset) -> Dataset:
    """All rows, the development rows first; given validation rows stay marked, folds are left out.

    Raises:
        PocketlensError: the parts have different classes.
    """
    if first.classes != test.classes:
        raise PocketlensError(f"{first.text}: both parts must have the same classes in the same order.")
    has_files = first.files is not None and test.files is not None
    return replace(
        first,
        images=_joined_images(first.images, test.images),
        labels=np.concatenate([first.labels, test.labels]),
        hashes=np.concatenate([first.hashes, test.hashes]),
        groups=None if first.groups is None or test.groups is None else np.concatenate([first.groups, test.groups]),
        strata=None if first.strata is None or test.strata is None else np.concatenate([first.strata, test.strata]),
        files=(first.files or ()) + (test.files or ()) if has_files else None,
        val=None if first.val is None else np.concatenate([first.val, np.zeros(len(test), bool)]),
        folds=None,
    )


def _joined_images(first: Images, test: Images) -> Images:
    """The images of both parts: where they were cut from one array, that array, and nothing is copied."""
    base = first.base
    is_cut = isinstance(base, np.ndarray) and base is test.base and base.shape[0] == len(first) + len(test)
    return base if is_cut and base is not None else np.concatenate([first, test])
