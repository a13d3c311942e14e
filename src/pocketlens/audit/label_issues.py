"""Doubtful labels: confident learning over probabilities that come from models which had not seen the image.

Source: Northcutt, Jiang, Chuang 2021, "Confident learning: estimating uncertainty in dataset labels", JAIR 70,
arXiv:1911.00068; as it is in the library cleanlab.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pocketlens.audit.cross_validation import Folds
from pocketlens.data.dataset import Dataset
from pocketlens.data.relabel import COLUMNS
from pocketlens.errors import PocketlensError
from pocketlens.files import csv_text
from pocketlens.scoring.metrics import log_probabilities


@dataclass(frozen=True, eq=False)
class DoubtfulLabels:
    """Rows whose label is probably wrong, the most doubtful first; all (M,).

    Attributes:
        rows: int64 row numbers.
        given, suggested: int64 classes.
        given_probability, suggested_probability: float64, what the models said.
        n_rows: how many rows were judged.
        agreed: the share of all labels that the models say too; where it is low, most doubts are the models' mistakes.
    """

    rows: NDArray[np.int64]
    given: NDArray[np.int64]
    suggested: NDArray[np.int64]
    given_probability: NDArray[np.float64]
    suggested_probability: NDArray[np.float64]
    n_rows: int
    agreed: float

    def __len__(self) -> int:
        return len(self.rows)


def need_cleanlab() -> None:
    """Refuses where cleanlab is not installed.

    Raises:
        PocketlensError: it is not.
    """
    try:
        import cleanlab.filter  # noqa: F401
    except ImportError:
        raise PocketlensError(
            'doubtful labels need cleanlab, which is not installed: pip install "pocketlens[labels]", or leave them '
            "out with --skip labels."
        ) from None


def find_doubtful(dataset: Dataset, folds: Folds) -> DoubtfulLabels:
    """The rows that confident learning flags, ranked by the probability of their given label, the lowest first.

    Raises:
        PocketlensError: cleanlab is not installed.
    """
    need_cleanlab()
    from cleanlab.filter import find_label_issues

    there = np.flatnonzero(np.bincount(dataset.labels, minlength=len(dataset.classes)))  # classes with images
    place = np.searchsorted(there, dataset.labels)
    probabilities = np.exp(log_probabilities(folds.logits[:, there]))  # (N, K') float64
    found = find_label_issues(place, probabilities, return_indices_ranked_by="self_confidence", n_jobs=1)
    rows = np.asarray(found, np.int64)
    given = place[rows]
    suggested = probabilities[rows].argmax(axis=1)
    keep = suggested != given  # what the models say too is not in doubt
    rows, given, suggested = rows[keep], given[keep], suggested[keep]
    return DoubtfulLabels(
        rows,
        there[given],
        there[suggested],
        probabilities[rows, given],
        probabilities[rows, suggested],
        len(dataset),
        float((probabilities.argmax(axis=1) == place).mean()),
    )


def labels_csv(dataset: Dataset, doubtful: DoubtfulLabels) -> str:
    """The CSV that a person edits: an empty column `decision` for each doubtful row, to be given to `--relabel`."""
    header = (*COLUMNS, "given_probability", "suggested_probability", "file")
    lines = []
    for place, row in enumerate(doubtful.rows.tolist()):
        lines.append(
            (
                row,
                dataset.hashes[row].tobytes().hex(),
                dataset.classes[doubtful.given[place]],
                dataset.classes[doubtful.suggested[place]],
                "",
                f"{doubtful.given_probability[place]:.6f}",
                f"{doubtful.suggested_probability[place]:.6f}",
                "" if dataset.files is None else dataset.files[row],
            )
        )
    return csv_text(header, lines)
