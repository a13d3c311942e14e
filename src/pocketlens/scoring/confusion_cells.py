"""The cells of a confusion matrix: those that are above 0, of which there are at most as many as images.

A matrix of K classes is kept as a sparse one, (K, K) int64. It is written and drawn whole where it has few classes;
with more, its cells are listed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pocketlens.scoring.metrics import Counts
from pocketlens.text import counted

if TYPE_CHECKING:
    from scipy.sparse import csr_array

MOST_WHOLE = 300  # classes up to which a matrix is written and drawn whole


@dataclass(frozen=True, eq=False)
class Cells:
    """Images by true and predicted class, each (M,) int64, in the order of the rows of a confusion matrix."""

    true: Counts
    predicted: Counts
    count: Counts


def is_whole(n_classes: int) -> bool:
    """Whether a matrix of so many classes is written and drawn whole."""
    return n_classes <= MOST_WHOLE


def cells(confusion: csr_array | Counts) -> Cells:
    """The cells of a confusion matrix (K, K) that are above 0."""
    from scipy.sparse import csr_array

    found = csr_array(confusion).tocoo()
    return Cells(*(np.asarray(each, np.int64) for each in (found.row, found.col, found.data)))


def mistakes(confusion: csr_array | Counts) -> Cells:
    """Those of the cells that are beside the diagonal."""
    found = cells(confusion)
    wrong = found.true != found.predicted
    return Cells(found.true[wrong], found.predicted[wrong], found.count[wrong])


def stored_confusion(confusion: csr_array) -> Any:
    """What scores-val.json and scores-test.json hold: all counts, row by row, or with many classes the cells."""
    if is_whole(confusion.shape[0]):
        return confusion.toarray().tolist()
    return {name: each.tolist() for name, each in vars(cells(confusion)).items()}


def read_confusion(value: Any, n_classes: int) -> csr_array:
    """The reverse of `stored_confusion`.

    Raises:
        KeyError, TypeError, ValueError: it holds something else.
    """
    from scipy.sparse import coo_array, csr_array

    if not isinstance(value, dict):
        whole = np.asarray(value, np.int64)
        if whole.shape != (n_classes, n_classes):
            raise ValueError(f"a confusion matrix of {counted(n_classes, 'class')}")
        return csr_array(whole)
    true, predicted, count = (np.asarray(value[name], np.int64) for name in ("true", "predicted", "count"))
    return coo_array((count, (true, predicted)), shape=(n_classes, n_classes)).tocsr()
