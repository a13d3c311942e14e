"""The gallery of the scored rows, right and wrong: their pictures in sheets, and what is known of them, as data for
the page's script.

It holds all rows, or of more than 10,000 the mistakes first and then right ones drawn at random. Columns stand side by
side and numbers are whole ones, so that the data of 10,000 rows takes less than a megabyte.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pocketlens.report.run.facts import Facts
from pocketlens.report.run.reliability import Reliability
from pocketlens.report.run.row_pictures import RowPictures
from pocketlens.report.run.sheets import COLUMNS, Sheets, make_sheets, size_for
from pocketlens.scoring.confusion_cells import MOST_WHOLE, Cells, mistakes
from pocketlens.scoring.error_causes import CAUSES
from pocketlens.scoring.metrics import log_probabilities
from pocketlens.scoring.scores import PART_NAMES, Scores

if TYPE_CHECKING:
    from pocketlens.evaluation.feature_map import FeatureMap
    from pocketlens.report.run.feature_view import FeatureView
    from pocketlens.report.run.nearest_training import NearestTraining

MOST = 10_000  # rows in a page
N_LIKELY = 3  # likeliest classes that are shown of a row
SHARE = 10_000  # a probability of 1 as a whole number; shares are rounded down
STEPS = 1_000  # of the threshold of probabilities
N_CELLS = MOST_WHOLE**2  # confusions whose number is shown: all, where a matrix is drawn
ROWS = 100  # of logits that are looked at together

Order = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Gallery:
    """What the page's script needs, as plain values, and what the page says of it."""

    data: dict[str, Any]
    n: int  # rows in it
    n_scored: int  # all rows of the part
    n_wrong: int  # mistakes in it
    n_without: int  # rows in it without a picture


@dataclass(frozen=True, eq=False)
class Chosen:
    """The rows of a gallery, in its order, as places in the predictions; the first `n_pictures` have a picture."""

    places: Order
    n_pictures: int


def choose_rows(facts: Facts) -> Chosen | None:
    """The rows that go into the gallery of a run; None where its predictions are not stored."""
    if facts.scores is None or facts.reliability is None:
        return None
    has_picture = facts.pictures.has(facts.reliability.predictions.rows)
    places = _chosen(facts.reliability, has_picture)
    return Chosen(places, int(has_picture[places].sum()))


def make_gallery(facts: Facts, order: tuple[int, ...], view: FeatureView | None = None) -> Gallery | None:
    """The gallery of a run; None where its predictions are not stored.

    Args:
        facts: of the run.
        order: of the classes in the confusion matrix; () where none is drawn.
        view: what its features add.
    """
    scores, reliability, rows = facts.scores, facts.reliability, choose_rows(facts)
    if scores is None or reliability is None or rows is None:
        return None
    chosen, n_pictures = rows.places, rows.n_pictures
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
        "map": None if view is None or view.map is None else map_data(view.map),
        "near": None if view is None or view.nearest is None else _near_data(view.nearest),
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
    return {
        "part": PART_NAMES[scores.part],
        "n": scores.n,
        "classes": list(scores.classes),
        "causes": list(CAUSES),
        "order": list(order),
        "above": None if scores.superclass_of is None else list(scores.superclass_of),
        "right": scores.confusion.diagonal().tolist(),
        "support": scores.confusion.sum(axis=1).tolist(),
        "wrong": _most_frequent(mistakes(scores.confusion)),
    }


def map_data(made: FeatureMap) -> dict[str, list[int]]:
    """For the page's script: which images are on the map, and where."""
    return {"at": made.places.tolist(), "x": made.x.tolist(), "y": made.y.tolist()}


def _near_data(found: NearestTraining) -> dict[str, Any]:
    """For the page's script: `nearest` has `per` training images for each of the first images of the gallery."""
    sheets = found.sheets
    return {
        "per": found.nearest.shape[1],
        "nearest": found.nearest.ravel().tolist(),
        "row": found.rows.tolist(),
        "label": found.labels.tolist(),
        "files": found.files,
        "pictures": len(found.rows),
        "columns": COLUMNS,
        "width": sheets.width,
        "height": sheets.height,
        "sheets": sheets.uris,
    }


def _most_frequent(found: Cells) -> list[list[int]]:
    """[true, predicted, count] of the confusions, the most frequent of them where there are very many."""
    kept = np.sort(np.argsort(-found.count, kind="stable")[:N_CELLS])
    columns = (found.true[kept].tolist(), found.predicted[kept].tolist(), found.count[kept].tolist())
    return [list(each) for each in zip(*columns, strict=True)]


def _of_rows(reliability: Reliability, chosen: Order) -> dict[str, Any]:
    """One list for each thing that is known of the rows; `likely` and `share` have some numbers for each row."""
    predictions, rows = reliability.predictions, reliability.rows
    blocks = [_likeliest(predictions.logits[chosen[at : at + ROWS]]) for at in range(0, len(chosen), ROWS)]
    copies = reliability.contaminated
    return {
        "row": predictions.rows[chosen].tolist(),
        "label": predictions.labels[chosen].tolist(),
        "cause": rows.cause[chosen].tolist(),
        "loss": np.round(1000 * rows.loss[chosen]).astype(np.int64).tolist(),
        "likely": [each for block in blocks for each in block.classes.ravel().tolist()],
        "share": [each for block in blocks for each in block.shares.ravel().tolist()],
        "files": None if reliability.files is None else [reliability.files[place] for place in chosen],
        "copies": None if copies is None else copies[chosen].astype(np.int64).tolist(),
    }


@dataclass(frozen=True, eq=False)
class _Likeliest:
    """The likeliest classes of some rows and their probabilities as whole numbers, (n, up to N_LIKELY) each."""

    classes: NDArray[np.int64]
    shares: NDArray[np.int64]


def _likeliest(logits: NDArray[np.float32]) -> _Likeliest:
    """Of (n, K) logits; few rows at a time, as there may be thousands of classes."""
    probabilities = np.exp(log_probabilities(logits))
    classes = np.argsort(-probabilities, axis=1, kind="stable")[:, :N_LIKELY].copy()  # a view would keep all
    return _Likeliest(classes, _whole(np.take_along_axis(probabilities, classes, axis=1)))


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
