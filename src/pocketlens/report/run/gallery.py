"""The gallery of all wrong rows: their pictures in sheets, and what is known of them, as data for the page's script.

A sheet is one WebP picture with up to 1,024 small images, so that thousands of them open at once. Sheets are without
loss where that takes at most 6 MB; else the quality is lowered, and where even that is too much, the pictures are made
smaller, so that a page stays below 15 MB.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketlens.report.run.reliability import Reliability
from pocketlens.scoring.confusion_cells import MOST_WHOLE, Cells
from pocketlens.scoring.confusion_cells import mistakes as mistakes_of
from pocketlens.scoring.error_causes import CAUSES
from pocketlens.scoring.metrics import log_probabilities
from pocketlens.scoring.predictions import Mistakes
from pocketlens.scoring.scores import PART_NAMES, Scores

COLUMNS = 32  # pictures in a row of a sheet
LARGEST = 96  # px of the longest side of a picture
_LOSSLESS_BYTES = 7_000_000  # of pixels, which shrink to about four fifths
_MOST_PIXELS = 18_000_000  # in all sheets; lossy they take about a quarter of a byte each
_N_CLASSES = 3  # likeliest classes that are shown of a row
_N_CELLS = MOST_WHOLE**2  # confusions whose number is shown above their pictures: all, where a matrix is drawn
_ROWS = 100  # of logits that are looked at together


@dataclass(frozen=True, eq=False)
class Gallery:
    """What the page's script needs: sheets as data URIs, and the rows as plain values."""

    data: dict[str, Any]
    n: int  # rows in it
    n_missing: int  # wrong rows that are not in it, as their pictures were not kept


def make_gallery(scores: Scores, reliability: Reliability, mistakes: Mistakes, order: tuple[int, ...]) -> Gallery:
    """The gallery of these mistakes; `order` is that of the classes in the confusion matrix, () where none is drawn."""
    place = {int(row): index for index, row in enumerate(reliability.predictions.rows)}
    index = np.array([place[int(row)] for row in mistakes.rows if int(row) in place], np.int64)
    images = mistakes.images if mistakes.images is not None and len(index) == len(mistakes.rows) else None
    sheets = _Sheets([], 0, 0) if images is None or not len(images) else _sheets(images)
    predictions, rows = reliability.predictions, reliability.rows
    best = [
        each for at in range(0, len(index), _ROWS) for each in _likeliest(predictions.logits[index[at : at + _ROWS]])
    ]
    table = [
        [
            int(predictions.rows[i]),
            int(predictions.labels[i]),
            int(rows.predicted[i]),
            int(rows.cause[i]),
            round(float(rows.loss[i]), 3),
            best[j],
        ]
        for j, i in enumerate(index)
    ]
    data = {
        "part": PART_NAMES[predictions.part],
        "classes": list(scores.classes),
        "causes": list(CAUSES),
        "order": list(order),
        "above": None if scores.superclass_of is None else list(scores.superclass_of),
        "right": scores.confusion.diagonal().tolist(),
        "support": scores.confusion.sum(axis=1).tolist(),
        "wrong": _most_frequent(mistakes_of(scores.confusion)),
        "columns": COLUMNS,
        "width": sheets.width,
        "height": sheets.height,
        "sheets": sheets.uris,
        "rows": table,
        "files": None if reliability.files is None else [reliability.files[i] for i in index],
    }
    n_wrong = int((rows.cause >= 0).sum())
    return Gallery(data, len(table), n_wrong - len(table))


def _likeliest(logits: NDArray[np.float32]) -> list[list[list[float]]]:
    """For each row of logits (n, K) its likeliest classes, as [class, probability]."""
    probabilities = np.exp(log_probabilities(logits))
    best = np.argsort(-probabilities, axis=1, kind="stable")[:, :_N_CLASSES]
    return [
        [[int(k), round(float(row[k]), 4)] for k in places] for row, places in zip(probabilities, best, strict=True)
    ]


def _most_frequent(found: Cells) -> list[list[int]]:
    """[true, predicted, count] of the confusions, the most frequent of them where there are very many."""
    kept = np.sort(np.argsort(-found.count, kind="stable")[:_N_CELLS])
    columns = (found.true[kept].tolist(), found.predicted[kept].tolist(), found.count[kept].tolist())
    return [list(each) for each in zip(*columns, strict=True)]


@dataclass(frozen=True)
class _Sheets:
    """Sheets with 1,024 pictures each, as data URIs, and the size of one picture in px."""

    uris: list[str]
    height: int
    width: int


def _sheets(images: NDArray[np.uint8]) -> _Sheets:
    from PIL import Image

    height, width = images.shape[1:3]
    longest = min(LARGEST, int((_MOST_PIXELS / len(images)) ** 0.5))
    scale = min(1.0, longest / max(height, width))
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    lossless = len(images) * size[0] * size[1] * images.shape[3] <= _LOSSLESS_BYTES
    uris = []
    for start in range(0, len(images), COLUMNS * COLUMNS):
        part = images[start : start + COLUMNS * COLUMNS]
        if scale < 1:
            part = np.stack([_shrink(image, size) for image in part])
        buffer = io.BytesIO()
        picture = Image.fromarray(_tile(part))
        picture.save(buffer, format="WEBP", lossless=lossless, quality=30 if lossless else 85, method=2)
        uris.append(f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}")
    return _Sheets(uris, *size)


def _shrink(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    from PIL import Image

    picture = Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)
    small = np.asarray(picture.resize((size[1], size[0]), Image.Resampling.BOX), np.uint8)
    return small.reshape(*size, image.shape[2])


def _tile(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(n, H, W, C) to one picture of 32 images a row, (rows * H, 32 * W, 3)."""
    n, height, width, channels = images.shape
    rows = -(-n // COLUMNS)
    grid = np.zeros((rows * COLUMNS, height, width, channels), np.uint8)
    grid[:n] = images
    sheet = grid.reshape(rows, COLUMNS, height, width, channels).swapaxes(1, 2)
    return np.broadcast_to(sheet.reshape(rows * height, COLUMNS * width, channels), (rows * height, COLUMNS * width, 3))
