"""Labels as a source has them, numbers or texts, as numbers of classes: the classes are the values that occur."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketlens.data.dataset import Labels
from pocketlens.data.sources.class_names import one_spelling
from pocketlens.errors import PocketlensError
from pocketlens.text import class_order, counted, listed, printable

_MOST_CLASSES = 65_536


@dataclass(frozen=True, eq=False)
class ClassLabels:
    """Labels with their classes.

    Attributes:
        labels: (N,) int64, each an index into `classes`.
        classes: the names of the classes.
        notes: what was merged.
    """

    labels: Labels
    classes: tuple[str, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Naming:
    """How the classes of a source are named.

    Attributes:
        where: the file and the column, for messages.
        names: the names that the source gives: labels are indices into them, or some of them; None: it gives none.
        merge: makes one class of names that differ only by case or outer space.
        typed: the data set with `merge_names=True`, as it is to be typed.
    """

    where: str
    names: tuple[str, ...] | None
    merge: bool
    typed: str


def number_labels(values: NDArray[Any], naming: Naming) -> ClassLabels:
    """The numbers of the classes of (N,) whole numbers or texts.

    Without given names the classes are the values that occur: 3, 17 and 900 are three classes, in the order of numbers.

    Raises:
        PocketlensError: a label is negative, empty, or none of the given names; or there are too many classes.
    """
    if values.dtype.kind in "OU":
        return _of_texts([str(value) for value in values], naming)
    bad = np.flatnonzero(values < 0)
    if len(bad):
        raise PocketlensError(
            f"{naming.where}: labels must be 0 or more; {len(bad)} of {len(values)} are not: "
            f"{_rows(bad, values)}. Take these rows out, or number the classes from 0."
        )
    if naming.names is None:
        found, labels = np.unique(values, return_inverse=True)
        return ClassLabels(labels.reshape(-1).astype(np.int64), _checked([str(value) for value in found], naming))
    bad = np.flatnonzero(values >= len(naming.names))
    if len(bad):
        raise PocketlensError(
            f"{naming.where}: labels must be 0..{len(naming.names) - 1}, since "
            f"{counted(len(naming.names), 'class has', 'classes have')} names; "
            f"{len(bad)} of {len(values)} are not: {_rows(bad, values)}."
        )
    return _merged(values.astype(np.int64), naming.names, naming)


def _of_texts(texts: Sequence[str], naming: Naming) -> ClassLabels:
    empty = np.flatnonzero([not text.strip() for text in texts])
    if len(empty):
        shown = listed([f"row {row}" for row in empty], 5)
        raise PocketlensError(
            f"{naming.where}: {len(empty)} of {counted(len(texts), 'label is', 'labels are')} empty: "
            f"{shown}. Fill them."
        )
    names = tuple(class_order(texts)) if naming.names is None else naming.names
    number = {name: label for label, name in enumerate(names)}
    unknown = [name for name in class_order(texts) if name not in number]
    if unknown:
        shown = listed([repr(printable(name)) for name in unknown], 5)
        raise PocketlensError(f"{naming.where}: every label must be one of the given classes; {shown} are not.")
    return _merged(np.array([number[text] for text in texts], np.int64), names, naming)


def _merged(labels: Labels, names: Sequence[str], naming: Naming) -> ClassLabels:
    """The labels with names that differ by more than case and outer space."""
    counts = np.bincount(labels, minlength=len(names)).tolist()
    spelling = one_spelling(dict(zip(names, counts, strict=True)), naming.merge, naming.typed)
    classes = list(dict.fromkeys(spelling.of[name] for name in names))
    number = {name: label for label, name in enumerate(classes)}
    place = np.array([number[spelling.of[name]] for name in names], np.int64)
    return ClassLabels(place[labels] if len(names) else labels, _checked(classes, naming), spelling.notes)


def _checked(classes: Sequence[str], naming: Naming) -> tuple[str, ...]:
    if len(classes) > _MOST_CLASSES:
        raise PocketlensError(
            f"{naming.where}: there must be at most {_MOST_CLASSES} classes, the labels have "
            f"{counted(len(classes), 'value')}."
        )
    return tuple(printable(name) for name in classes)


def _rows(bad: NDArray[np.int64], values: NDArray[Any]) -> str:
    return listed([f"row {row} has {values[row]}" for row in bad], 5)
