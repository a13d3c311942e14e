"""Parts: what a file in `datasets/` gives back; and the rule by which test rows are held out if none are official."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pocketlens.data.dataset import Dataset, Hashes, Labels
from pocketlens.data.split import hold_out

TEST_FRACTION = 0.2


@dataclass(frozen=True, eq=False)
class Parts:
    """Development rows and test rows; `test` is None where the source has no official test part."""

    development: Dataset
    test: Dataset | None = None


def hold_out_test(hashes: Hashes, columns: dict[str, Labels], classes: tuple[str, ...]) -> NDArray[np.bool_]:
    """(N,) bool: the test rows of a source without official ones: 20 % of every class, decided by the images' hashes.

    Groups ("groups" in `columns`) stay whole, and equal images stay together.
    """
    n = len(hashes)
    if n == 0:
        return np.zeros(0, bool)
    pixels = np.broadcast_to(np.uint8(0), (n, 1, 1, 1))  # the hashes decide, the pixels do not matter
    dataset = Dataset("test", pixels, columns["labels"], classes, hashes, groups=columns.get("groups"))
    return hold_out(dataset, fraction=TEST_FRACTION, seed=0, salt="test")
