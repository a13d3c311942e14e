"""Class names that differ only by case or outer space: refused, or merged into one where that is asked for."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

from pocketlens.errors import PocketlensError
from pocketlens.text import class_order, listed, printable


@dataclass(frozen=True)
class Spelling:
    """One spelling for each class name.

    Attributes:
        of: the name to use for each name that occurs.
        notes: what was merged.
    """

    of: Mapping[str, str]
    notes: tuple[str, ...] = ()


def one_spelling(counts: Mapping[str, int], merge: bool, typed: str) -> Spelling:
    """The spelling of each class; of several that differ only by case or outer space the most frequent one.

    Args:
        counts: the classes with their counts of rows.
        merge: whether such names are one class.
        typed: the data set with `merge_names=True`, as it is to be typed.

    Raises:
        PocketlensError: there are such names and `merge` is not set.
    """
    alike: dict[str, list[str]] = {}
    for name in class_order(counts):
        alike.setdefault(same_class(name), []).append(name)
    twins = [group for group in alike.values() if len(group) > 1]
    shown = listed([" and ".join(f"{printable(name)!r} ({counts[name]})" for name in group) for group in twins], 5)
    if twins and not merge:
        raise PocketlensError(
            f"class names must differ by more than case and outer space; these do not: {shown}. If they are one class, "
            f"type {printable(typed)}; else rename them."
        )
    best = {name: max(group, key=lambda each: counts[each]).strip() for group in twins for name in group}
    notes = (f"class names that differ only by case or outer space were merged: {shown}",) if twins else ()
    return Spelling({name: best.get(name, name) for name in counts}, notes)


def same_class(name: str) -> str:
    """What two class names share that differ only by case or outer space."""
    return unicodedata.normalize("NFC", name).strip().casefold()
