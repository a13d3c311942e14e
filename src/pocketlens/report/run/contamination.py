"""Which of the scored rows show a picture that the classifier may have been trained on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pocketlens.data.dataset import Dataset, SealedTest
from pocketlens.data.duplicates import DEVELOPMENT, Duplicates, known_duplicates, read_duplicates
from pocketlens.scoring.predictions import Predictions


def contaminated_rows(
    predictions: Predictions, trained: NDArray[np.int64], dataset: Dataset | None, sealed: SealedTest | None
) -> NDArray[np.bool_] | None:
    """(N,) bool: the test rows that duplicate a development row, or the validation rows that duplicate a training row.

    Duplicates are those that `look` has found, else equal pixels. None where the data is not there.

    Args:
        predictions: of the N rows.
        trained: the development rows that were trained on.
    """
    if dataset is None:
        return None
    if predictions.part == "test":
        if sealed is None or len(sealed) != len(predictions.rows):
            return None
        return np.isin(predictions.rows, known_duplicates(dataset, sealed).contaminated())
    found = None if sealed is None else read_duplicates(dataset, sealed)
    if found is not None and found.complete:
        return np.isin(predictions.rows, _beside(found, trained))
    known = {digest.tobytes() for digest in dataset.hashes[trained]}
    return np.array([dataset.hashes[row].tobytes() in known for row in predictions.rows], bool)


def _beside(found: Duplicates, trained: NDArray[np.int64]) -> NDArray[np.int64]:
    """The development rows that are an exact or near duplicate of one of these."""
    inside = (found.part_a == DEVELOPMENT) & (found.part_b == DEVELOPMENT) & (found.judgement != "similar")
    a, b = found.row_a[inside], found.row_b[inside]
    return np.concatenate([a[np.isin(b, trained)], b[np.isin(a, trained)]])
