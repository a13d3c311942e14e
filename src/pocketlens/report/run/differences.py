"""What differs between runs that stand side by side: their recipes, each class, and the images that only one has right.

Each run is compared with the first one, on the test images where both were tested on the same ones, else on the
validation images that both have.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pocketlens.files import read_json
from pocketlens.recipe import Recipe
from pocketlens.report.pictures import encode_image
from pocketlens.scoring.metrics import Estimate
from pocketlens.scoring.paired import Paired, changes_by_class, compare_rows
from pocketlens.scoring.predictions import PICTURES, Predictions, read_mistakes, read_pictures, read_predictions
from pocketlens.scoring.scores import PART_NAMES
from pocketlens.scoring.significance import mcnemar

if TYPE_CHECKING:
    from pocketlens.data.dataset import Dataset
    from pocketlens.training.run import Run

N_SHOWN = 24  # images that only one of two runs has right
MOST_CHANGES = 150  # classes that gained, and classes that lost, on pages with more than twice as many
_BESIDE = (  # of the experiment
    *("seed", "data", "rows", "val_fraction", "split_seed"),
    *("n_steps", "minutes", "n_relabelled", "features_of"),
)
_SMALL = 64  # px; smaller pictures are shown with hard edges


@dataclass(frozen=True)
class Setting:
    """A setting in which runs differ: its name, and the value in each run."""

    name: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Change:
    """One class: its accuracies, 0..1, and their difference; `is_clear`: beyond chance, allowing for all classes."""

    name: str
    n: int
    first: float
    second: float
    difference: Estimate
    is_clear: bool


@dataclass(frozen=True)
class Shown:
    """An image that only one of two runs has right; `picture` is a data URI, or empty where no file holds it."""

    row: int
    true: str
    taken_for: str  # by the one that is wrong
    picture: str


@dataclass(frozen=True)
class PairOfRuns:
    """Two runs on the same images.

    Attributes:
        first, second: their numbers on the page.
        part: validation or test.
        p: of McNemar's test.
        has_groups: images of one group are no independent evidence, so that the intervals are too narrow.
        n_classes: how many classes have images.
        changes: the classes, those that gained most first; of very many, those that gained and lost most.
        only_first, only_second: images that only that one has right, those with a picture first.
    """

    first: int
    second: int
    part: str
    overall: Paired
    p: float
    has_groups: bool
    n_classes: int
    changes: tuple[Change, ...]
    only_first: tuple[Shown, ...]
    only_second: tuple[Shown, ...]
    has_hard_edges: bool

    def without_pictures(self) -> PairOfRuns:
        """The same for a slim page."""
        first, second = (
            tuple(dataclasses.replace(each, picture="") for each in shown)
            for shown in (self.only_first, self.only_second)
        )
        return dataclasses.replace(self, only_first=first, only_second=second)


def settings_that_differ(runs: Sequence[Run]) -> tuple[Setting, ...]:
    """The fields of recipe and experiment in which the runs differ, in the order of the recipe."""
    recipes = [run.experiment.recipe.to_dict() for run in runs]
    names = [field.name for field in dataclasses.fields(Recipe)]
    rows = [Setting(name, tuple(_text(each[name]) for each in recipes)) for name in names]
    for name in _BESIDE:
        rows.append(Setting(name.replace("_", " "), tuple(_text(getattr(run.experiment, name)) for run in runs)))
    return tuple(row for row in rows if len(set(row.values)) > 1)


def compare_with_first(runs: Sequence[Run], dataset: Dataset | None = None) -> tuple[PairOfRuns, ...]:
    """Each run beside the first, where both have predictions for the same images.

    Args:
        runs: different runs.
        dataset: the development rows of the first run, for pictures of validation images.
    """
    if dataset is not None and runs[0].experiment.data_fingerprint not in ("", dataset.fingerprint):
        dataset = None
    pairs = (_pair(runs[0], run, number, dataset) for number, run in enumerate(runs[1:], 2))
    return tuple(pair for pair in pairs if pair is not None)


def _pair(first: Run, second: Run, number: int, dataset: Dataset | None) -> PairOfRuns | None:
    for part in ("test", "val"):
        a, b = _predictions(first, part), _predictions(second, part)
        if a is None or b is None or not _same_images(first, second, a, b):
            continue
        classes = [str(row["class"]) for row in read_json(first.file(f"scores-{part}.json"))["per_class"]]
        right_a, right_b = a.predicted == a.labels, b.predicted == b.labels
        album = _Album(first, second, part, dataset)
        found = changes_by_class(a.labels, right_a, right_b)
        most = found if len(found) <= 2 * MOST_CHANGES else [*found[:MOST_CHANGES], *found[-MOST_CHANGES:]]
        changes = tuple(
            Change(
                classes[each.label],
                each.paired.n,
                each.paired.first,
                each.paired.second,
                each.paired.difference,
                each.is_clear,
            )
            for each in most
        )
        return PairOfRuns(
            first=1,
            second=number,
            part=PART_NAMES[part],
            overall=compare_rows(right_a, right_b),
            p=mcnemar(right_a, right_b).p,
            has_groups=a.groups is not None,
            n_classes=len(found),
            changes=changes,
            only_first=album.show(np.flatnonzero(right_a & ~right_b), b, classes),
            only_second=album.show(np.flatnonzero(right_b & ~right_a), a, classes),
            has_hard_edges=album.has_hard_edges,
        )
    return None


def _predictions(run: Run, part: str) -> Predictions | None:
    path = run.file(f"predictions-{part}.safetensors")
    if not path.exists() or not run.file(f"scores-{part}.json").exists():
        return None
    return read_predictions(path)


def _same_images(first: Run, second: Run, a: Predictions, b: Predictions) -> bool:
    one, other = first.experiment, second.experiment
    is_same_data = one.data_fingerprint == other.data_fingerprint and one.hold_out == other.hold_out
    has_same_rows = np.array_equal(a.rows, b.rows) and np.array_equal(a.labels, b.labels)
    return is_same_data and has_same_rows and a.logits.shape == b.logits.shape


class _Album:
    """The pictures of rows that two runs, or the data, have kept."""

    def __init__(self, first: Run, second: Run, part: str, dataset: Dataset | None) -> None:
        self.dataset = dataset if part == "val" else None
        self.kept: dict[int, NDArray[np.uint8]] = {}
        for run in (first, second):
            path = run.file("mistakes-test.safetensors" if part == "test" else PICTURES)
            if not path.exists():
                continue
            kept: Any = read_mistakes(path) if part == "test" else read_pictures(path)
            if kept.images is not None:
                self.kept |= dict(zip(kept.rows.tolist(), kept.images, strict=True))
        images = [*self.kept.values()][:1] if self.dataset is None else [self.dataset.images[0]]
        self.has_hard_edges = bool(images) and max(images[0].shape[:2]) <= _SMALL

    def show(self, places: NDArray[np.int64], wrong: Predictions, classes: Sequence[str]) -> tuple[Shown, ...]:
        """The rows at these places of the predictions of the one that is wrong."""
        rows = wrong.rows[places].tolist()
        known = [place for place, row in zip(places, rows, strict=True) if self._has(row)]
        order = [*known, *(place for place, row in zip(places, rows, strict=True) if not self._has(row))]
        return tuple(
            Shown(
                int(wrong.rows[place]),
                classes[int(wrong.labels[place])],
                classes[int(wrong.predicted[place])],
                self._picture(int(wrong.rows[place])),
            )
            for place in order[:N_SHOWN]
        )

    def _has(self, row: int) -> bool:
        return self.dataset is not None or row in self.kept

    def _picture(self, row: int) -> str:
        if self.dataset is not None:
            return encode_image(self.dataset.images[row])
        return encode_image(self.kept[row]) if row in self.kept else ""


def _text(value: Any) -> str:
    if value is None:
        return "none"
    return f"{value:g}" if isinstance(value, float) else str(value)
