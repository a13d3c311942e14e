"""The data of `auto --folds`: its text with all rows or with one fold as the test part, and whether folds were opened.

The whole data and each fold are data sets of their own, see datasets/fold.py, so that every run of every fold can be
resumed, tested and reproduced as others can.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pocketlens.components import Component
from pocketlens.data.dataset import Dataset, images_fingerprint
from pocketlens.datasets import component
from pocketlens.datasets.fold import ALWAYS_TRAIN, GIVEN, MOST
from pocketlens.errors import PocketlensError
from pocketlens.pipeline.options import AutoOptions
from pocketlens.scoring.ledger import openings

_USUAL = 5  # folds, as far as the size of the images goes, where their number is not known yet


def folded_text(text: str, folds: int | str, held: int | None = None) -> str:
    """The text of a data set of which one fold is the test part, or which has all rows where none is.

    Raises:
        PocketlensError: `folds` is neither a number of folds nor "given", or there is no such data set.
    """
    if folds != GIVEN and (not isinstance(folds, int) or not 2 <= folds <= MOST):
        raise PocketlensError(f"folds must be a number from 2 to {MOST}, or {GIVEN}, got {folds}.")
    options: list[tuple[str, object]] = [("data", str(component(text))), ("of", folds)]
    return str(Component("fold", tuple(options if held is None else [*options, ("held", held)])))


def session_text(options: AutoOptions) -> str:
    """The text of the data by which sessions are found again."""
    return str(component(options.dataset if options.folds is None else folded_text(options.dataset, options.folds)))


def share_of(minutes: float, folds: int | str | None) -> float:
    """The minutes that each fold and the final training get."""
    if folds is None:
        return minutes
    return minutes / ((folds if isinstance(folds, int) else _USUAL) + 1)


def numbers_of(dataset: Dataset) -> list[int]:
    """The numbers of the folds of a data set, ascending."""
    assert dataset.folds is not None, "the data set `fold` has folds"
    return [int(number) for number in np.unique(dataset.folds) if number != ALWAYS_TRAIN]


def rows_of(dataset: Dataset, number: int) -> NDArray[np.int64]:
    """The rows of a fold, ascending."""
    return np.flatnonzero(dataset.folds == number).astype(np.int64)


def require_closed_folds(dataset: Dataset, options: AutoOptions) -> None:
    """Refuses data with fewer than two folds, and folds of which one has been opened.

    Raises:
        PocketlensError: see above; the message says what to type.
    """
    numbers, typed = numbers_of(dataset), f'pocketlens auto "{options.dataset}" --folds {options.folds}'
    if len(numbers) < 2:
        what = "images" if dataset.groups is None else "groups"
        raise PocketlensError(
            f"{options.dataset}: folds need two {what} of each of two classes; without folds: pocketlens auto "
            f'"{options.dataset}"'
        )
    for number in numbers:
        found = [] if options.test else openings(images_fingerprint(dataset.hashes[rows_of(dataset, number)]))
        if found:
            raise PocketlensError(
                f"fold {number} has been opened before (last: {found[-1].time}, run {found[-1].run}), so what is "
                f"chosen now may know its score; to score the folds all the same, type: {typed} --test"
            )
