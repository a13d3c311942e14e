"""The map of images: where they lie in two dimensions by their features, as whole numbers for the page's script."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pocketlens.draws import stream
from pocketlens.evaluation.projection import LEAST, principal_components, tsne

SIDE = 1000  # places from 0 to SIDE in both directions
MOST_POINTS = 1000  # images on a map
STEPS = 600  # of t-SNE; a thousand points take 1.7 s of a core
Numbers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class FeatureMap:
    """The places of some images on a square.

    Attributes:
        places: (M,) int64, which images: of a run, places in its gallery; of a look, development rows.
        x, y: (M,) int64, 0..SIDE, from the left and from the top.
        n: all images that could be on it, of which these are a sample.
    """

    places: Numbers
    x: Numbers
    y: Numbers
    n: int


def spread(labels: Numbers, wrong: NDArray[np.bool_], most: int) -> Numbers:
    """At most so many of N rows, ascending, drawn at random: as large a share of each class, of its right and its wrong
    rows, as of the whole."""
    n = len(labels)
    if n <= most:
        return np.arange(n)
    drawn = np.random.default_rng(stream(0, "feature map") % 2**63).random(n)
    order = np.lexsort((drawn, wrong, labels))
    return np.sort(order[((np.arange(most) + 0.5) * n / most).astype(np.int64)])


def make_map(features: NDArray[np.float32], places: Numbers, n: int) -> FeatureMap | None:
    """The map of the M images whose features (M, D) these are; None where they are too few, or all the same."""
    if len(features) < LEAST or not np.isfinite(features).all() or (features == features[0]).all():
        return None
    components = principal_components(features)
    if components.shape[1] < 2:
        components = np.pad(components, ((0, 0), (0, 2 - components.shape[1])))
    points = tsne(components, steps=STEPS)
    low, high = points.min(axis=0), points.max(axis=0)
    middle, size = (low + high) / 2, max(float((high - low).max()), 1e-30)
    whole = np.rint(SIDE * ((points - middle) / size + 0.5)).clip(0, SIDE).astype(np.int64)
    return FeatureMap(places, whole[:, 0], SIDE - whole[:, 1], n)
