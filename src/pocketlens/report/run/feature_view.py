"""What the features of a run add to its page: a map of the scored images, the nearest training images of mistakes.

Features are what the head of the run's model takes. Computing them takes the forward pass of a network, so there is a
limit to the multiply-adds that a page spends on them: the map then shows fewer images, and nearest training images are
left out. What decides is counted and not measured in seconds, so the same run gives the same page. Where the data, the
weights or a file of one's own is not there, there is neither.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pocketlens.errors import PocketlensError
from pocketlens.evaluation.feature_map import MOST_POINTS, make_map, spread
from pocketlens.events import Step, Work

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pocketlens.data.dataset import Dataset, Images
    from pocketlens.evaluation.feature_map import FeatureMap
    from pocketlens.report.run.facts import Facts
    from pocketlens.report.run.gallery import Chosen
    from pocketlens.report.run.nearest_training import NearestTraining
    from pocketlens.training.classifier import Classifier
    from pocketlens.training.run import Run

FEW_POINTS = 100  # with fewer of more images, there is no map
MOST_MISTAKES = 200  # whose nearest training images are found
MAP_COST, NEAREST_COST = 60e9, 100e9  # multiply-adds; a core of a Zen 4 does 25 to 50e9 in a second
_AT_A_TIME = 256
_FINDING = "features of the map"

Numbers = NDArray[np.int64]
Features = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class FeatureView:
    """The map and the nearest training images, or None.

    Attributes:
        n_left_out: how many training images were not compared with the mistakes, as that would take too long.
    """

    map: FeatureMap | None = None
    nearest: NearestTraining | None = None
    n_left_out: int = 0


NOTHING = FeatureView()


@dataclass(frozen=True, eq=False)
class _Seen:
    """What features are computed with.

    Attributes:
        cached: those of all development rows by row, where they are at hand.
    """

    read: Callable[[Images], Features]
    cost: int  # multiply-adds of an image
    cached: _Cached | None


@dataclass(frozen=True, eq=False)
class _Cached:
    """Features (n, D) of some development rows, ascending."""

    rows: Numbers
    features: Features

    def take(self, rows: Numbers) -> Features:
        return self.features[np.searchsorted(self.rows, rows)]


def view_features(
    run: Run, facts: Facts, dataset: Dataset | None, chosen: Chosen | None, *, unlimited: bool = False
) -> Work[FeatureView]:
    """The map and the nearest training images for the page of a run.

    Args:
        run, facts: the run and what its page says.
        dataset: its development rows, or None.
        chosen: the rows of its gallery, or None where there is none.
        unlimited: however long it takes.
    """
    seen = None if chosen is None else _open(run, facts, dataset)
    if seen is None or chosen is None or facts.reliability is None:
        return NOTHING
    rows = facts.reliability.predictions.rows[chosen.places]
    wrong = facts.reliability.rows.cause[chosen.places] >= 0
    is_free = seen.cached is not None and facts.pictures.dataset is not None
    most = MOST_POINTS if unlimited or is_free else int(MAP_COST // max(1, seen.cost))
    most = min(MOST_POINTS, most)
    on_map = spread(facts.reliability.predictions.labels[chosen.places], wrong, most)
    if len(on_map) < min(FEW_POINTS, len(rows)):
        on_map = np.empty(0, np.int64)
    trained = np.sort(run.split.train)
    mistakes = np.flatnonzero(wrong)[:MOST_MISTAKES] if dataset is not None and len(trained) else np.empty(0, np.int64)
    cost = seen.cost * ((0 if is_free else len(mistakes)) + (0 if seen.cached else len(trained)))
    n_left_out = len(trained) if len(mistakes) and cost > NEAREST_COST and not unlimited else 0
    mistakes = mistakes[:0] if n_left_out else mistakes
    places = np.union1d(on_map, mistakes)
    if not len(places):
        return FeatureView(n_left_out=n_left_out)
    features = yield from _of_rows(seen, facts, rows[places])
    if not np.isfinite(features).all():
        return NOTHING
    yield Step("drawing the map", 0, 1)
    made = make_map(features[np.searchsorted(places, on_map)], on_map, len(rows))
    if not len(mistakes) or dataset is None:
        return FeatureView(made, n_left_out=n_left_out)
    training = yield from _of_training(seen, dataset, trained)
    from pocketlens.report.run.nearest_training import nearest_training

    near = nearest_training(features[np.searchsorted(places, mistakes)], training, trained, dataset)
    return FeatureView(made, near)


def _open(run: Run, facts: Facts, dataset: Dataset | None) -> _Seen | None:
    """The run's model as a reader of features; None where the data or the model is not there, or it has no `head`."""
    if facts.reliability is None or not facts.pictures.is_whole:
        return None
    from pocketlens.audit.run_features import feature_reader, multiply_adds
    from pocketlens.training.classifier import load_classifier

    try:
        classifier = load_classifier(run)
    except PocketlensError:
        return None
    has_head = any(name == "head" for name, _ in classifier.net.named_children())  # models of one's own need none
    if not has_head or classifier.image_shape != facts.pictures.shape():
        return None
    cached = None if dataset is None else _cached(run, classifier, dataset)
    return _Seen(feature_reader(classifier), multiply_adds(classifier), cached)


def _cached(run: Run, classifier: Classifier, dataset: Dataset) -> _Cached | None:
    """The features of the run's development rows, where its probe has left them in the cache."""
    from pocketlens.audit.run_features import WIDEST
    from pocketlens.training.features import cached_features

    if run.experiment.recipe.head != "probe":
        return None
    rows = np.union1d(run.split.train, run.split.val)
    features = cached_features(classifier, dataset, rows, precision=run.experiment.recipe.precision)
    return None if features is None or features.shape[1] > WIDEST else _Cached(rows, features)


def _of_rows(seen: _Seen, facts: Facts, rows: Numbers) -> Work[Features]:
    """(n, D) float32 of some scored rows, in their order."""
    if seen.cached is not None and facts.pictures.dataset is not None:
        return seen.cached.take(rows)
    order, found, done = np.argsort(rows, kind="stable"), None, 0
    ascending = rows[order]
    for chunk in facts.pictures.chunks(ascending):
        for part in _parts(len(chunk.rows)):
            features = seen.read(np.asarray(chunk.images[part]))
            if found is None:
                found = np.empty((len(rows), features.shape[1]), np.float32)
            found[order[np.searchsorted(ascending, chunk.rows[part])]] = features
            done += len(features)
            yield Step(_FINDING, done, len(rows))
    assert found is not None
    return found


def _of_training(seen: _Seen, dataset: Dataset, rows: Numbers) -> Work[Features]:
    """(n, D) float32 of the training rows."""
    if seen.cached is not None:
        return seen.cached.take(rows)
    pieces = []
    for part in _parts(len(rows)):
        pieces.append(seen.read(np.asarray(dataset.images[rows[part]])))
        yield Step("features of training images", part.stop, len(rows))
    return np.concatenate(pieces)


def _parts(n: int) -> Iterator[slice]:
    for start in range(0, n, _AT_A_TIME):
        yield slice(start, min(start + _AT_A_TIME, n))
