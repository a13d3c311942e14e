"""One fold of another data set as the test part, or all of its rows: for cross-validation.

Every image is in one fold. Folds are stratified and dealt out by the hashes of the images, and groups and equal images
stay whole; or they are the numbered ones that the source gives. A test part that the source gives is in no fold.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pocketlens.data.dataset import Dataset
from pocketlens.data.folds import assign_folds
from pocketlens.data.sources.folders import Folders
from pocketlens.data.split import Parts, held_out_rows
from pocketlens.datasets._joined import joined
from pocketlens.errors import PocketlensError
from pocketlens.text import listed

if TYPE_CHECKING:
    from pocketlens.components import Component

GIVEN = "given"
ALWAYS_TRAIN = -1  # the fold of rows without which no row of their class would train
MOST = 50


def fold(folders: Folders, *, data: str | None = None, of: int | str = 5, held: int | None = None) -> Parts:
    """One fold of a data set as the test part, or none.

    Args:
        folders: where data is searched, and how it is read.
        data: the text of the data set.
        of: how many folds, or "given" for the numbered ones that it has.
        held: the number of the fold that is the test part, from 1 (given folds have their own numbers); None: all rows
            are development rows, and a test part that the data set gives is the test part.

    Raises:
        PocketlensError: there are no such folds, or the data set cannot be read.
    """
    from pocketlens.datasets import component, read_parts

    if not isinstance(data, str):
        raise PocketlensError("datasets: fold needs the text of a data set, such as fold(data='digits', of=5, held=1).")
    if of != GIVEN and (not isinstance(of, int) or not 2 <= of <= MOST):
        raise PocketlensError(f"folds must be a number from 2 to {MOST} or {GIVEN}, got {of!r}.")
    source = component(data, must_exist=True)
    parts = _with_folds_joined(source, folders) if of == GIVEN else _unheld(read_parts(source, folders), folders)
    whole = replace(parts.development, hold_out=folders.hold_out)
    if of == GIVEN and whole.folds is None:
        raise PocketlensError(
            f'{source} has no numbered folds; to have five made, type: pocketlens auto "{source}" --folds 5'
        )
    folds = _folds_of(whole, of)
    whole = replace(whole, folds=folds)
    if held is None:
        none = np.zeros(0, np.int64)
        test = replace(whole.take(none), val=None, folds=None) if parts.test is None else parts.test
        return Parts(whole, test)
    is_held = folds == held
    if not is_held.any() or held == ALWAYS_TRAIN:
        there = listed([str(number) for number in np.unique(folds) if number != ALWAYS_TRAIN], MOST)
        raise PocketlensError(f"{source} has no images in fold {held}; its folds are {there}.")
    rest, test = whole.take(np.flatnonzero(~is_held)), whole.take(np.flatnonzero(is_held))
    has_val = rest.val is not None and rest.val.any() and not rest.val.all()
    return Parts(replace(rest, val=rest.val if has_val else None), replace(test, val=None, folds=None))


def _with_folds_joined(source: Component, folders: Folders) -> Parts:
    """The parts of a source; where it has folds of which none was named as the test part, all of them are joined."""
    from pocketlens.datasets import read_parts

    try:
        return read_parts(source, folders)
    except PocketlensError:
        if "test" in dict(source.options):
            raise
        for number in (1, 0):  # the first fold has one of these numbers
            with suppress(PocketlensError):
                named = replace(source, options=(*source.options, ("test", f"fold{number}")))
                parts = read_parts(named, folders)
                first, test = parts.development, parts.test
                assert test is not None
                rest = np.full(len(first), number + 1, np.int64) if first.folds is None else first.folds
                return Parts(_whole(first, test, np.append(rest, np.full(len(test), number, np.int64))))
        raise


def _unheld(parts: Parts, folders: Folders) -> Parts:
    """The parts, with test rows that were held out by the hashes of the images joined to the others again."""
    first, test = parts.development, parts.test
    if test is None or not len(test):
        return Parts(first)
    whole = _whole(first, test, None)
    held = held_out_rows(whole, folders.hold_out)
    return Parts(whole) if np.array_equal(held, np.arange(len(whole)) >= len(first)) else parts


def _whole(first: Dataset, test: Dataset, folds: NDArray[np.int64] | None) -> Dataset:
    """All rows of a source, in the folds, without the notes on its parts."""
    notes = tuple(note for note in first.notes if not note.startswith("parts: "))
    return replace(joined(first, test), folds=folds, notes=notes)


def _folds_of(whole: Dataset, of: int | str) -> NDArray[np.int64]:
    """(N,) the fold of each row, from 1 where they are not given; the given validation rows of given folds train."""
    if of != GIVEN:
        folds = assign_folds(whole, int(of), seed=0) + 1
    else:
        assert whole.folds is not None
        folds = whole.folds if whole.val is None else np.where(whole.val, ALWAYS_TRAIN, whole.folds)
    for label in np.unique(whole.labels):
        is_class = whole.labels == label
        if len(np.unique(folds[is_class])) == 1:
            folds = np.where(is_class, ALWAYS_TRAIN, folds)
    return folds
