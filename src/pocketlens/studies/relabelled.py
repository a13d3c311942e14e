"""Corrected labels in a comparison: they stand beside the recipes, and all candidates are scored by the same labels.

A candidate with `relabel=labels.csv` is trained on the corrected labels, without the dropped images; the others on the
given ones. Each was scored on validation rows by the labels that it was trained with. To compare them, both are scored
anew from their logits on the same rows, which are the validation rows that are not dropped: by the corrected labels,
and beside that by the given ones.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pocketlens.data.dataset import Dataset
from pocketlens.data.relabel import Corrections, read_corrections, relabel
from pocketlens.data.split import Split
from pocketlens.errors import PocketlensError
from pocketlens.files import read_json, write_json, write_text
from pocketlens.scoring.predictions import Predictions
from pocketlens.studies.json_keys import JsonKeys
from pocketlens.studies.overrides import Variant
from pocketlens.text import counted

_TEXT, _FACTS = "relabel.csv", "relabel.json"
Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Standard:
    """The labels, (M,) int64, by which the rows, (M,) int64 ascending, are scored."""

    rows: Rows
    labels: Rows

    def right(self, predictions: Predictions) -> NDArray[np.bool_]:
        """(M,) bool: which of the rows are classified as these labels say.

        Raises:
            PocketlensError: there is no prediction for one of them.
        """
        order = np.argsort(predictions.rows, kind="stable")
        place = np.searchsorted(predictions.rows[order], self.rows)
        known = order[np.minimum(place, len(order) - 1)]
        if not np.array_equal(predictions.rows[known], self.rows):
            raise PocketlensError("the predictions of a trial must be for all validation rows of its study.")
        return np.asarray(predictions.predicted[known] == self.labels)


@dataclass(frozen=True, eq=False)
class Relabelling:
    """The corrected labels of a comparison.

    Attributes:
        corrections: what is corrected.
        fingerprint: of the data with the corrected labels.
        rows: (M,) int64, the validation rows that are not dropped; `given` and `corrected` are their labels.
    """

    corrections: Corrections
    fingerprint: str
    rows: Rows
    given: Rows
    corrected: Rows

    @property
    def by_corrected(self) -> Standard:
        """Scores by the corrected labels."""
        return Standard(self.rows, self.corrected)

    @property
    def by_given(self) -> Standard:
        """Scores by the given labels."""
        return Standard(self.rows, self.given)

    def said(self) -> str:
        """What is corrected, and how much of it concerns validation."""
        n_other = int((self.given != self.corrected).sum())
        val = f"{n_other:,} of {counted(len(self.rows), 'validation image')} with another label"
        return f"{self.corrections.said()} ({self.corrections.hash}); {val}"


def relabelling_for(candidates: Iterable[Variant], dataset: Dataset, split: Split) -> Relabelling | None:
    """The corrected labels that candidates name; None where none does.

    Raises:
        PocketlensError: they name several files, or one that corrects nothing or does not fit the data.
    """
    paths = list(dict.fromkeys(each.relabel for each in candidates if each.relabel))
    if not paths:
        return None
    if len(paths) > 1:
        raise PocketlensError(
            f"a comparison must have one file of corrected labels, by which all are scored, got {' and '.join(paths)}."
        )
    changed, corrections = relabel(dataset, read_corrections(Path(paths[0])), paths[0])
    if corrections.is_empty:
        raise PocketlensError(f"{paths[0]} corrects no label and drops no image, so there is nothing to compare.")
    rows = corrections.without_dropped(split).val
    if not len(rows):
        raise PocketlensError(f"{paths[0]} drops every validation image; there must be some to compare by.")
    return Relabelling(corrections, changed.fingerprint, rows, dataset.labels[rows], changed.labels[rows])


def write_relabelling(folder: Path, made: Relabelling) -> None:
    """Keeps the corrections in a study's folder: what becomes of labels.csv later does not concern it."""
    write_text(folder / _TEXT, made.corrections.text)
    corrections, columns = made.corrections, {name: getattr(made, name) for name in ("rows", "given", "corrected")}
    facts = {"hash": corrections.hash, "n": corrections.n, "dropped": list(corrections.dropped)}
    write_json(folder / _FACTS, {**facts, "fingerprint": made.fingerprint, **columns})


def read_relabelling(folder: Path) -> Relabelling | None:
    """The reverse of `write_relabelling`; None where the study has no corrections.

    Raises:
        PocketlensError: the files cannot be read.
    """
    path = folder / _FACTS
    if not path.is_file():
        return None
    keys = JsonKeys(read_json(path), str(path))
    text, dropped = read_corrections(folder / _TEXT), tuple(int(row) for row in keys.numbers("dropped"))
    rows, given, corrected = (np.asarray(keys.numbers(name), np.int64) for name in ("rows", "given", "corrected"))
    corrections = Corrections(text, keys.text("hash"), keys.whole("n"), dropped)
    return Relabelling(corrections, keys.text("fingerprint"), rows, given, corrected)
