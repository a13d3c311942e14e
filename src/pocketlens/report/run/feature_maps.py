"""Deep features of a run's images in two dimensions: two charts and the key of their points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pocketlens.data.dataset import Dataset
from pocketlens.draws import stream
from pocketlens.evaluation.explain import deep_features, project
from pocketlens.inference.class_activation import prepared_images
from pocketlens.report.figures import Figure, chart, finished
from pocketlens.training.classifier import Classifier

if TYPE_CHECKING:
    from pocketlens.training.run import Run

N_POINTS = 1000  # validation images on the maps of deep features
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#7f7f7f", "#b3a100")
_MARKERS = ("o", "s", "^")
_SIGNS = ("●", "■", "▲")


@dataclass(frozen=True)
class Key:
    """One group of points on the maps of deep features: its name, colour and sign."""

    name: str
    colour: str
    sign: str


@dataclass(frozen=True)
class FeatureMaps:
    """The deep features in two dimensions: the charts and their key; or a note on why there are none."""

    figures: list[Figure]
    keys: list[Key]
    note: str = ""


def read_feature_maps(classifier: Classifier, run: Run, dataset: Dataset) -> FeatureMaps:
    """PCA and t-SNE of validation images (of training images where there are none)."""
    rows = run.split.val if len(run.split.val) else run.split.train
    order = np.random.default_rng(stream(0, "feature maps") % 2**63).permutation(len(rows))[:N_POINTS]
    rows = np.sort(rows[order])
    features = deep_features(classifier, prepared_images(classifier, np.ascontiguousarray(dataset.images[rows])))
    if features is None or len(rows) < 4:
        note = f"{run.experiment.recipe.model} does not end in a linear layer, so it has no deep features."
        return FeatureMaps([], [], note)
    labels, names = dataset.labels[rows], dataset.classes
    if len(names) > len(_COLOURS) * len(_MARKERS):
        if dataset.superclasses is None or dataset.superclass_of is None or len(dataset.superclasses) > 24:
            labels, names = np.zeros(len(rows), np.int64), ("all classes: too many for a colour each",)
        else:
            labels, names = np.asarray(dataset.superclass_of)[labels], dataset.superclasses
    found = project(features)
    part = "validation" if len(run.split.val) else "training"
    held = f"the first two explain {100 * found.shares[0]:.1f} and {100 * found.shares[1]:.1f} % of the variance"
    about = f"{len(rows):,} {part} images by their {features.shape[1]} deep features"
    figures = [
        _scatter("pca", "Principal components", found.components, labels, f"{about}: principal components; {held}."),
        _scatter(
            "tsne",
            "t-SNE",
            found.tsne,
            labels,
            f"{about}: t-SNE of the first 50 components; only small distances are meaningful.",
        ),
    ]
    keys = [
        Key(name, _COLOURS[place % len(_COLOURS)], _SIGNS[place // len(_COLOURS)])
        for place, name in enumerate(names)
        if (labels == place).any()
    ]
    return FeatureMaps(figures, keys)


def _scatter(name: str, title: str, points: Any, labels: NDArray[np.int64], caption: str) -> Figure:
    with chart(name, title, "1st", "2nd") as axes:
        for place in np.unique(labels):
            own = points[labels == place]
            marker, colour = _MARKERS[place // len(_COLOURS)], _COLOURS[place % len(_COLOURS)]
            axes.plot(own[:, 0], own[:, 1], marker, color=colour, markersize=2.5, linestyle="", alpha=0.8)
        return finished(axes, caption)
