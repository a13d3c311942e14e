"""The parts that a column of a labels CSV gives: train, validation and test, or folds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pocketlens.components import Component
from pocketlens.data.sources.layout import Asked, listed_names
from pocketlens.data.sources.part_names import fold_numbers, is_same_name
from pocketlens.datasets._listing import Listing, checked
from pocketlens.errors import PocketlensError, nearest
from pocketlens.text import class_order, counted, printable

_ROLES = ("train", "val", "test")


@dataclass(frozen=True, eq=False)
class RowParts:
    """The parts of N rows of a source that is no folder.

    Attributes:
        held: (N,) bool, the test rows; None: 20 % are held out.
        columns: `val`, `folds` or neither, as the decoded cache keeps them.
        notes: what was understood.
    """

    held: NDArray[np.bool_] | None
    columns: dict[str, NDArray[np.int64]]
    notes: tuple[str, ...]


def asked_of(name: str, options: Mapping[str, object], test: str | None) -> Asked:
    """What was typed for a source that is no folder: its options that are not None; `test` names one of its parts."""
    typed = Component(name, tuple((key, value) for key, value in options.items() if value is not None))
    val = options.get("val")
    return Asked(typed, test, None if val is None else str(val))


def row_parts(parts: Sequence[str], labels: Sequence[str], groups: Sequence[str] | None, asked: Asked) -> RowParts:
    """The parts of rows with these labels and groups.

    Raises:
        PocketlensError: as `with_parts`, or a class or a group does not fit the parts.
    """
    rows = Listing((Path(),) * len(labels), (), tuple(labels), (), groups=None if groups is None else tuple(groups))
    marked = with_parts(rows, parts, asked)
    columns = {"val": None if marked.val is None else marked.val.astype(np.int64), "folds": marked.folds}
    return RowParts(marked.held, {name: each for name, each in columns.items() if each is not None}, marked.notes)


def with_parts(listing: Listing, parts: Sequence[str], asked: Asked) -> Listing:
    """The rows of a CSV with the parts that its column gives; `asked.test` and `asked.val` name values of it.

    Raises:
        PocketlensError: no row is left to train on, a value is not in the column, or it is not known which fold is the
            test part.
    """
    values = np.array(parts, object)
    there = _in_order(parts)
    test, val = (_value(each, kind, there, asked) for each, kind in ((asked.test, "test"), (asked.val, "val")))
    folds = [each for each in there if each not in _ROLES and each not in (test, val)]
    if len(there) == 1 and test is None and val is None:
        return listing
    test = "test" if test is None and "test" in there and not asked.has_other_test else test
    has_val = val is not None or "val" in there
    if test is None and not has_val and not asked.has_other_test:
        raise PocketlensError(
            f"the table has the folds {listed_names(there)}; one must be the test part, so say which: "
            f"{asked.text(test=there[-1])}."
        )
    is_val = values == (val or "val")
    is_swapped = test is None and asked.val is None and not asked.has_other_test
    held = is_val if is_swapped else values == test
    is_val = is_val & ~held
    if not (~held & ~is_val).any():
        raise PocketlensError(
            f"the table must have rows to train on; its column of parts has only {listed_names(there)}."
        )
    marked = replace(
        listing,
        held=held if held.any() else None,
        val=is_val if is_val.any() else None,
        folds=_folds(values, folds) if len(folds) > 1 else None,
        notes=(_sentence(held, is_val, asked, is_swapped), *listing.notes),
    )
    return checked(marked)


def _in_order(parts: Sequence[str]) -> list[str]:
    """The values, folds in the order of their numbers."""
    values = list(Counter(parts))
    numbers = fold_numbers(values)
    return sorted(values, key=lambda value: numbers[value]) if numbers else class_order(values)


def _folds(values: NDArray[np.object_], folds: list[str]) -> NDArray[np.int64]:
    numbers = fold_numbers(folds) or {name: number for number, name in enumerate(folds, 1)}
    return np.array([numbers.get(value, 0) for value in values], np.int64)


def _value(typed: str | None, kind: str, there: list[str], asked: Asked) -> str | None:
    """The value of the column that was typed for a part."""
    if typed is None or (kind == "val" and typed == "validation" and "val" in there):
        return "val" if typed is not None else None
    found = [value for value in there if value == typed] or [value for value in there if is_same_name(typed, value)]
    if len(found) != 1:
        raise PocketlensError(
            f"{kind} must be a file or one of the values of the column of parts, got {printable(typed)!r}; there are "
            f"{listed_names(there)}.{asked.hint(kind, nearest(typed, there))}"
        )
    return found[0]


def _sentence(held: NDArray[np.bool_], is_val: NDArray[np.bool_], asked: Asked, is_swapped: bool) -> str:
    n_test, n_val = int(held.sum()), int(is_val.sum())
    said = [f"{counted(len(held) - n_test - n_val, 'row trains', 'rows train')}"]
    said += [counted(n_val, "validates", "validate")] if n_val else []
    said += [counted(n_test, "is the sealed test part", "are the sealed test part")] if n_test else []
    text = f"parts: {', '.join(said)}"
    if not n_test and not asked.has_other_test:
        text += "; a fifth of the training rows is the sealed test part"
    if not n_val:
        text += "; validation rows are cut from the training rows"
    if is_swapped:
        text += f" (to validate on the given validation rows instead, give {asked.text(val='validation')})"
    return text
