"""Duplicates within and across parts: equal pixels by their hash.

The test images are seen without their labels. `finish(find_duplicates(dataset, sealed))` gives the pairs and keeps
them with the decoded data, where `pocketlens test` finds them.
"""

from __future__ import annotations

from pocketlens.contamination import Duplicates, exact_pairs, write_duplicates
from pocketlens.dataset import Dataset, SealedTest
from pocketlens.work import Step, Work

__all__ = ["Duplicates", "find_duplicates"]


def find_duplicates(dataset: Dataset, sealed: SealedTest, *, keep: bool = True) -> Work[Duplicates]:
    """Pairs of images that show the same, among the development rows, the test rows, and across.

    Args:
        dataset: the development rows.
        sealed: the test rows, of which the images are read and not the labels.
        keep: store the list with the decoded data.
    """
    n = len(dataset) + len(sealed)
    found = exact_pairs(dataset, sealed)
    yield Step("comparing images", n, n)
    if keep:
        write_duplicates(dataset, sealed, found)
    return found
