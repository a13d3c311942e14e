"""Predictions: a classifier's logits for labelled rows. Mistakes: the worst of its errors, with pictures.

Pictures: a few images that a run keeps. LatestMistakes: the worst errors of a training that still runs.

Logits are stored, never probabilities. All are safetensors files, which hold numbers and cannot run code. Logits that
are large are mapped from their file, so that they take no memory of their own.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketlens.data.dataset import Images
from pocketlens.errors import PocketlensError
from pocketlens.files import write_bytes
from pocketlens.scoring.metrics import top_log_probability
from pocketlens.scoring.row_blocks import by_rows, most_likely, rows_to_fit
from pocketlens.scoring.tensor_file import mapped_tensor, write_tensors
from pocketlens.text import counted

PICTURES = "pictures.safetensors"  # the few pictures that a run keeps
LATEST = "mistakes-latest.safetensors"  # the surest mistakes on validation rows, as of the last epoch that has ended
RIGHT = "right-test.safetensors"  # the few test pictures that a run keeps of those that it has right
N_MISTAKES = 48  # pictures of the worst mistakes on a page
N_LATEST = 24  # of the latest mistakes that a training shows
N_RIGHT, RIGHT_BYTES = 48, 8_000_000  # of these few, at most; eight in any case
N_PICTURES, PICTURE_BYTES = 10_000, 64_000_000  # of misclassified rows in a run, at most
IN_MEMORY = 2**26  # bytes of logits up to which they are read into memory
_OF_MISTAKES = ("rows", "labels", "predicted", "probability")


@dataclass(frozen=True, eq=False)
class LabelledRows:
    """Rows of one part that are to be predicted; the attributes are those of Predictions."""

    part: str
    rows: NDArray[np.int64]
    labels: NDArray[np.int64]
    groups: NDArray[np.int64] | None = None


@dataclass(frozen=True, eq=False)
class Predictions:
    """Rows of one part with their labels and logits.

    Attributes:
        part: "val" (rows are development rows), "test" (rows are rows of the test part) or "on" (of other data).
        rows: (N,) int64 row numbers.
        labels: (N,) int64 true classes.
        logits: (N, K) float32.
        groups: (N,) int64, the group (patient, slide, video) of each row; None where the data has none.
    """

    part: str
    rows: NDArray[np.int64]
    labels: NDArray[np.int64]
    logits: NDArray[np.float32]
    groups: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        n, shape = len(self.rows), self.logits.shape
        if n == 0 or self.labels.shape != (n,) or len(shape) != 2 or shape[0] != n or shape[1] == 0:
            raise PocketlensError(
                "predictions must have at least one row and as many labels and logits as rows; got "
                f"{counted(n, 'row')}, labels "
                f"{self.labels.shape}, logits {shape}."
            )
        if self.groups is not None and self.groups.shape != (n,):
            raise PocketlensError(f"predictions must have a group for each row, {n} in all, got {self.groups.shape}.")
        if self.labels.min() < 0 or self.labels.max() >= shape[1]:
            raise PocketlensError(f"labels must be 0..{shape[1] - 1}, got {self.labels.min()}..{self.labels.max()}.")
        _check_finite(self.rows, self.logits)

    @cached_property
    def predicted(self) -> NDArray[np.int64]:
        """(N,) int64: the most likely class of each row; ties go to the lower class number."""
        return most_likely(self.logits)


@dataclass(frozen=True, eq=False)
class Mistakes:
    """Misclassified rows, in descending order of confidence.

    Attributes:
        rows, labels, predicted: (M,) int64.
        probability: (M,) float64 of the predicted class.
        images: (M, H, W, C) uint8 as in the data, or None.
    """

    rows: NDArray[np.int64]
    labels: NDArray[np.int64]
    predicted: NDArray[np.int64]
    probability: NDArray[np.float64]
    images: Images | None = None


@dataclass(frozen=True, eq=False)
class Pictures:
    """A few development rows, (n,) int64, and their images, (n, H, W, C) uint8 as in the data."""

    rows: NDArray[np.int64]
    images: Images


@dataclass(frozen=True, eq=False)
class LatestMistakes:
    """The surest mistakes on validation rows after an epoch of a training.

    Attributes:
        epoch: from 1.
        n: all mistakes of that epoch, of which `shown` has a few, with pictures.
        n_images: validation rows.
        true, predicted: the names of the classes of each mistake that is shown.
    """

    epoch: int
    n: int
    n_images: int
    shown: Mistakes
    true: tuple[str, ...]
    predicted: tuple[str, ...]


def worst_mistakes(predictions: Predictions, count: int = N_MISTAKES) -> Mistakes:
    """The `count` misclassified rows with the highest probability of the wrong class, without pictures."""
    predicted = predictions.predicted
    wrong = np.flatnonzero(predicted != predictions.labels)
    probability = np.exp(top_log_probability(predictions.logits)[wrong])
    worst = np.argsort(-probability, kind="stable")[:count]
    chosen = wrong[worst]
    return Mistakes(predictions.rows[chosen], predictions.labels[chosen], predicted[chosen], probability[worst])


def surest_mistakes(logits: NDArray[np.float32], labels: NDArray[np.int64], start: int = 0) -> Mistakes:
    """The worst mistakes among logits (N, K) of images with these labels, without pictures.

    Their rows are places, of which the first one is `start`. Logits that are not finite are left out.
    """
    predicted = most_likely(logits)
    wrong = np.flatnonzero((predicted != labels) & by_rows(lambda some: np.isfinite(some).all(axis=1), logits))
    probability = np.exp(top_log_probability(logits[wrong]))
    return merged([Mistakes(wrong + start, labels[wrong], predicted[wrong], probability)])


def merged(parts: Sequence[Mistakes], count: int = N_LATEST) -> Mistakes:
    """The `count` worst of several mistakes, 24 at most, without pictures; of equal ones, the first."""
    rows, labels, predicted, probability = (
        np.concatenate([getattr(part, name) for part in parts]) for name in _OF_MISTAKES
    )
    worst = np.argsort(-probability, kind="stable")[: min(count, N_LATEST)]
    return Mistakes(rows[worst], labels[worst], predicted[worst], probability[worst])


def most_pictures(shape: tuple[int, ...]) -> int:
    """How many misclassified images of this shape a run stores: 10,000, or as many as take 64 MB."""
    return max(N_MISTAKES, min(N_PICTURES, PICTURE_BYTES // int(np.prod(shape))))


def most_right(shape: tuple[int, ...]) -> int:
    """How many rightly classified images of this shape a run stores: 48, or as many as take 8 MB, but eight."""
    return max(8, min(N_RIGHT, RIGHT_BYTES // int(np.prod(shape))))


def some_right(predictions: Predictions, count: int) -> NDArray[np.int64]:
    """(M,) int64: up to `count` rightly classified rows, drawn at random and from every class in turn, sorted.

    The classes that others are taken for most often come first, so that a picture of them can stand beside a mistake.
    The draw is fixed: the same predictions give the same rows.
    """
    predicted = predictions.predicted
    right = predicted == predictions.labels
    taken_for = np.bincount(predicted[~right], minlength=predictions.logits.shape[1])
    drawn = np.random.default_rng(0).permutation(np.flatnonzero(right))
    label = predictions.labels[drawn]
    turn = np.zeros(len(drawn), np.int64)  # 0 for the first of its class, 1 for the second, ...
    for place in np.unique(label):
        turn[label == place] = np.arange(int((label == place).sum()))
    order = np.lexsort((label, -taken_for[label], turn))
    return np.sort(predictions.rows[drawn[order[:count]]])


def thinned(predictions: Predictions) -> Predictions:
    """The predictions to fit a rule on: all, or of very many logits those of evenly chosen rows, a thousand or more."""
    kept = rows_to_fit(*predictions.logits.shape)
    if isinstance(kept, slice):
        return predictions
    groups = None if predictions.groups is None else predictions.groups[kept]
    rows, labels, logits = predictions.rows[kept], predictions.labels[kept], predictions.logits[kept]
    return replace(predictions, rows=rows, labels=labels, logits=logits, groups=groups)


def write_predictions(path: Path, predictions: Predictions) -> None:
    """Stores predictions as safetensors: rows, labels, logits and groups if any, with the part in the metadata."""
    known = LabelledRows(predictions.part, predictions.rows, predictions.labels, predictions.groups)
    write_logits(path, known, [predictions.logits], predictions.logits.shape[1])


def write_logits(path: Path, known: LabelledRows, blocks: Iterable[NDArray[np.float32]], n_classes: int) -> None:
    """Stores predictions like `write_predictions`, of logits that come in blocks of rows, (n, K) each.

    Raises:
        PocketlensError: some are not finite; the file is as it was.
    """
    arrays = {name: getattr(known, name) for name in ("rows", "labels", "groups")}
    given = {name: value for name, value in arrays.items() if value is not None}
    large = ("logits", (len(known.rows), n_classes), _finite_blocks(known.rows, blocks))
    write_tensors(path, given, *large, notes={"part": known.part})


def _finite_blocks(rows: NDArray[np.int64], blocks: Iterable[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
    start = 0
    for block in blocks:
        _check_finite(rows[start : start + len(block)], block)
        yield block
        start += len(block)


def _check_finite(rows: NDArray[np.int64], logits: NDArray[np.float32]) -> None:
    finite = by_rows(lambda some: np.isfinite(some).all(axis=1), logits)
    if not finite.all():
        row = int(rows[np.flatnonzero(~finite)[0]])
        raise PocketlensError(
            f"logits must be finite, those of {counted(int((~finite).sum()), 'row is', 'rows are')} not "
            f"(the first is row {row}); "
            "such weights cannot be scored: train again with a lower lr."
        )


def read_predictions(path: Path) -> Predictions:
    """The reverse of `write_predictions`.

    Raises:
        PocketlensError: the file is absent, or does not hold what it should.
    """
    large = ("logits",) if path.is_file() and path.stat().st_size > IN_MEMORY else ()
    stored = _read(path, ("rows", "labels", "logits"), large)
    tensors, part = stored.tensors, stored.notes.get("part", "val")
    return Predictions(part, tensors["rows"], tensors["labels"], tensors["logits"], tensors.get("groups"))


def write_mistakes(path: Path, mistakes: Mistakes) -> None:
    """Stores mistakes as safetensors: images, rows, labels, predicted, probability."""
    _write(path, _tensors(mistakes), {})


def read_mistakes(path: Path) -> Mistakes:
    """The reverse of `write_mistakes`.

    Raises:
        PocketlensError: the file is absent, or does not hold what it should.
    """
    tensors = _read(path, _OF_MISTAKES).tensors
    return Mistakes(**{name: tensors[name] for name in _OF_MISTAKES}, images=tensors.get("images"))


def _tensors(mistakes: Mistakes) -> dict[str, NDArray[Any]]:
    given = {name: getattr(mistakes, name) for name in ("images", *_OF_MISTAKES)}
    return {name: value for name, value in given.items() if value is not None}


def write_latest(path: Path, latest: LatestMistakes) -> None:
    """Stores the latest mistakes as safetensors, with their numbers and names as JSON in the metadata.

    Equal mistakes give equal bytes.
    """
    numbers = {"epoch": latest.epoch, "n": latest.n, "n_images": latest.n_images}
    names = {"true": latest.true, "predicted": latest.predicted}
    _write(path, _tensors(latest.shown), {"latest": json.dumps(numbers | names, sort_keys=True)})


def read_latest(path: Path) -> LatestMistakes:
    """The reverse of `write_latest`.

    Raises:
        PocketlensError: the file is absent, or does not hold what it should.
    """
    stored = _read(path, (*_OF_MISTAKES, "images"))
    try:
        said = json.loads(stored.notes["latest"])
        true, predicted = (tuple(str(name) for name in said[key]) for key in ("true", "predicted"))
        found = LatestMistakes(
            int(said["epoch"]), int(said["n"]), int(said["n_images"]), Mistakes(**stored.tensors), true, predicted
        )
    except (KeyError, TypeError, ValueError) as error:
        raise PocketlensError(f"{path} must hold the latest mistakes of a training ({error!r}).") from None
    if not len(true) == len(predicted) == len(found.shown.rows):
        raise PocketlensError(f"{path} must hold the names of {counted(len(found.shown.rows), 'mistake')}.")
    return found


def write_pictures(path: Path, pictures: Pictures) -> None:
    """Stores pictures as safetensors: rows and images."""
    _write(path, {"images": pictures.images, "rows": pictures.rows}, {})


def read_pictures(path: Path) -> Pictures:
    """The reverse of `write_pictures`.

    Raises:
        PocketlensError: the file is absent, or does not hold what it should.
    """
    tensors = _read(path, ("rows", "images")).tensors
    return Pictures(tensors["rows"], tensors["images"])


def _write(path: Path, tensors: dict[str, NDArray[Any]], notes: dict[str, str]) -> None:
    from safetensors.numpy import save

    write_bytes(path, save({name: np.ascontiguousarray(value) for name, value in tensors.items()}, metadata=notes))


@dataclass(frozen=True, eq=False)
class _Stored:
    """What a safetensors file holds: its tensors and its metadata."""

    tensors: dict[str, NDArray[Any]]
    notes: dict[str, str]


def _read(path: Path, names: tuple[str, ...], large: tuple[str, ...] = ()) -> _Stored:
    """The tensors of a file, which must have those named; those that are `large` are mapped."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:  # which checks that the file is whole
            there = list(file.keys())
            tensors = {name: file.get_tensor(name) for name in there if name not in large}
            notes = file.metadata() or {}
        tensors |= {name: mapped_tensor(path, name) for name in large if name in there}
    except FileNotFoundError:
        raise PocketlensError(f"{path} must be a file that exists.") from None
    except (SafetensorError, OSError) as error:
        raise PocketlensError(f"{path} must be a safetensors file; it cannot be read: {error}.") from None
    missing = [name for name in names if name not in tensors]
    if missing:
        raise PocketlensError(f"{path} must hold {', '.join(names)}; {', '.join(missing)} is missing.")
    return _Stored(tensors, notes)
