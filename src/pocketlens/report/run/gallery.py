"""The gallery of the scored rows, right and wrong: their pictures in sheets, and what is known of them, as data for
the page's script.

It holds all rows, or of more than 10,000 the mistakes first and then right ones drawn at random. Columns stand side by
side and numbers are whole ones, so that the data of 10,000 rows takes less than a megabyte.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketlens.report.run.facts import Facts
from pocketlens.report.run.reliability import Reliability
from pocketlens.report.run.row_pictures import RowPictures
from pocketlens.report.run.sheets import COLUMNS, Sheets, make_sheets, size_for
from pocketlens.scoring.error_causes import CAUSES
from pocketlens.scoring.metrics import log_probabilities
from pocketlens.scoring.scores import PART_NAMES, Scores

MOST = 10_000  # rows in a page
N_LIKELY = 3  # likeliest classes that are shown of a row
SHARE = 10_000  # a probability of 1 as a whole number; shares are rounded down
STEPS = 1_000  # of the threshold of probabilities

Order = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Gallery:
    """What the page's script needs, as plain values, and what the page says of it."""

    data: dict[str, Any]
    n: int  # rows in it
    n_scored: int  # all rows of the part
    n_wrong: int  # mistakes in it
    n_without: int  # rows in it without a picture


def make_gallery(facts: Facts, order: tuple[int, ...]) -> Gallery | None:
    """The gallery of a run; None where its predictions are not stored. `order`: classes in the confusion matrix."""
    scores, reliability = facts.scores, facts.reliability
    if scores is None or reliability is None:
        return None
    has_picture = facts.pictures.has(reliability.predictions.rows)
    chosen = _chosen(reliability, has_picture)
    n_pictures = int(has_picture[chosen].sum())
    sheets = _sheets(facts.pictures, reliability.predictions.rows[chosen[:n_pictures]])
    data = {
        **_of_classes(scores, order),
        "columns": COLUMNS,
        "width": sheets.width,
        "height": sheets.height,
        "sheets": sheets.uris,
        "pictures": n_pictures,
        **_of_rows(reliability, chosen),
        "answered": _answered(reliability),
    }
    n_wrong = int((reliability.rows.cause[chosen] >= 0).sum())
    return Gallery(data, len(chosen), scores.n, n_wrong, len(chosen) - n_pictures)


def _chosen(reliability: Reliability, has_picture: NDArray[np.bool_]) -> Order:
    """The places of the rows that go into the page: first those with a picture, the wrong before the right ones, the
    most confident first."""
    right, probability = reliability.rows.cause < 0, reliability.rows.probability
    drawn = np.random.default_rng(0).random(len(right))
    kept = np.lexsort((np.where(right, drawn, -probability), right))[:MOST]
    return np.asarray(kept[np.lexsort((-probability[kept], right[kept], ~has_picture[kept]))], np.int64)


def _sheets(pictures: RowPictures, rows: Order) -> Sheets:
    shape = pictures.shape() if len(rows) else None
    if shape is None:
        return Sheets((), 0, 0)
    size = size_for(len(rows), shape[0], shape[1])
    return make_sheets(pictures.take(rows, size.height, size.width))


def _of_classes(scores: Scores, order: tuple[int, ...]) -> dict[str, Any]:
    """Names and counts of the classes, and the cells of the confusion matrix that are not empty."""
    wrong = [[int(i), int(j), int(scores.confusion[i, j])] for i, j in np.argwhere(scores.confusion) if i != j]
    return {
        "part": PART_NAMES[scores.part],
        "n": scores.n,
        "classes": list(scores.classes),
        "causes": list(CAUSES),
        "order": list(order),
        "above": None if scores.superclass_of is None else list(scores.superclass_of),
        "right": np.diagonal(scores.confusion).tolist(),
        "support": scores.confusion.sum(axis=1).tolist(),
        "wrong": wrong,
    }


def _of_rows(reliability: Reliability, chosen: Order) -> dict[str, Any]:
    """One list for each thing that is known of the rows; `likely` and `share` have some numbers for each row."""
    predictions, rows = reliability.predictions, reliability.rows
    probabilities = np.exp(log_probabilities(predictions.logits[chosen]))
    likely = np.argsort(-probabilities, axis=1, kind="stable")[:, :N_LIKELY]
    shares = _whole(np.take_along_axis(probabilities, likely, axis=1))
    copies = reliability.contaminated
    return {
        "row": predictions.rows[chosen].tolist(),
        "label": predictions.labels[chosen].tolist(),
        "cause": rows.cause[chosen].tolist(),
        "loss": np.round(1000 * rows.loss[chosen]).astype(np.int64).tolist(),
        "likely": likely.ravel().tolist(),
        "share": shares.ravel().tolist(),
        "files": None if reliability.files is None else [reliability.files[place] for place in chosen],
        "copies": None if copies is None else copies[chosen].astype(np.int64).tolist(),
    }


def _answered(reliability: Reliability) -> dict[str, list[int]]:
    """How many rows, and how many right ones, have a highest probability in each thousandth; of all scored ones."""
    steps = _whole(reliability.rows.probability) * STEPS // SHARE
    right = reliability.rows.cause < 0
    return {
        "n": np.bincount(steps, minlength=STEPS + 1).tolist(),
        "right": np.bincount(steps[right], minlength=STEPS + 1).tolist(),
    }


def _whole(probabilities: NDArray[np.float64]) -> NDArray[np.int64]:
    """Rounded down, so that a row is above a threshold here where it is in truth; 1e-6 allows for rounding."""
    return np.asarray(np.minimum(np.floor(SHARE * probabilities + 1e-6), SHARE), np.int64)
