"""Numbers of each row of logits, computed for some rows at a time.

With many classes, logits are by far the largest array there is. What is computed from them in float64 is computed in
blocks of rows, so that memory does not grow with their number; the numbers are those of all rows at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

BLOCK = 2**22  # numbers in a block: 32 MB in float64
_FIT_NUMBERS, _FIT_ROWS = 2**24, 1000  # logits from which a rule is fitted: at most so many, but of so many rows


def by_rows(measure: Callable[..., NDArray[Any]], logits: NDArray[Any], *columns: NDArray[Any]) -> NDArray[Any]:
    """`measure(logits, *columns)`, an array (N, ...) that has a value for each row alone, from blocks of rows.

    Args:
        measure: takes some rows of the logits, and of each of the columns.
        logits: (N, K).
        columns: each (N, ...).
    """
    n, step = len(logits), rows_in_block(logits.shape[1])
    if n <= step:
        return measure(logits, *columns)
    starts = range(0, n, step)
    return np.concatenate(
        [measure(logits[at : at + step], *(column[at : at + step] for column in columns)) for at in starts]
    )


def most_likely(logits: NDArray[Any]) -> NDArray[np.int64]:
    """(N,) int64: the place of the largest of each row of logits (N, K), of equal ones the first.

    Of all rows at once, numpy copies logits that are mapped read-only.
    """
    return by_rows(lambda rows: np.asarray(rows.argmax(axis=1), np.int64), logits)


def rows_in_block(n_classes: int) -> int:
    """How many rows of so many classes are a block."""
    return max(1, BLOCK // n_classes)


def rows_to_fit(n: int, n_classes: int) -> slice | NDArray[np.int64]:
    """The rows of logits (n, n_classes) to fit a rule on: all, or of very many evenly chosen ones, 1,000 or more."""
    most = max(_FIT_ROWS, _FIT_NUMBERS // n_classes)
    return slice(None) if n <= most else np.linspace(0, n - 1, most).astype(np.int64)
