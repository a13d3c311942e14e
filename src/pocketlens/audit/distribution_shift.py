"""Are the training and the test images alike? A classifier is asked to tell the two parts apart, without labels.

Source: Lopez-Paz, Oquab 2017, "Revisiting classifier two-sample tests", arXiv:1610.06545. Where the parts come from
one source no classifier can do better than a coin; where one can, a test score says less about the development rows,
and a validation score says less about the test rows.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from pocketlens.audit.cross_validation import Folds
from pocketlens.data.dataset import Dataset, Images, SealedTest
from pocketlens.draws import stream
from pocketlens.events import Step, Work
from pocketlens.scoring.metrics import Estimate, Z, proportion
from pocketlens.training.classifier import extract_features

LEAST_ROWS = 30  # of each part
MOST_ROWS = 4000  # of each part: enough to see a difference of three points
CLEAR = 0.02  # so far above a coin the lower bound of the accuracy must be to be called a difference worth acting on
_N_PARTS, _GRID, _C = 5, 8, 0.01
_NAMES = "a coarse picture, brightness, contrast and sharpness"


@dataclass(frozen=True, eq=False)
class PartsTest:
    """How well the parts can be told apart.

    Attributes:
        n: images of each part that were used.
        accuracy: the share of held-out images whose part was said rightly; 0.5 is a coin.
        auc: the probability that a test image looks more like a test image than a development image does.
        features: what the classifier saw, in words.
        most_like_test: (<= 12,) development rows that look most like test images.
    """

    n: int
    accuracy: Estimate
    auc: Estimate
    features: str
    most_like_test: NDArray[np.int64]

    @property
    def differs(self) -> bool:
        """Whether the accuracy is above a coin's, beyond chance."""
        return self.accuracy.low is not None and self.accuracy.low > 0.5

    @property
    def clear(self) -> bool:
        """Whether the difference is more than a trifle."""
        return self.accuracy.low is not None and self.accuracy.low > 0.5 + CLEAR


def why_not(n_development: int, n_test: int) -> str | None:
    """Why the parts cannot be compared, or None where they can."""
    if min(n_development, n_test) < LEAST_ROWS:
        return f"there are {n_development} development and {n_test} test images; each part needs {LEAST_ROWS} or more"
    return None


def compare_parts(
    dataset: Dataset, sealed: SealedTest, folds: Folds | None = None, *, seed: int = 0
) -> Work[PartsTest]:
    """Trains a logistic regression, five times on four fifths, to tell development from test images.

    With `folds` it also sees the features of the first short model, on development rows that this model was not
    trained on: on others it would tell seen from unseen.
    """
    random = np.random.default_rng(abs(stream(seed, "parts")))
    allowed = np.arange(len(dataset)) if folds is None else np.flatnonzero(folds.fold == 0)
    n = min(len(allowed), len(sealed), MOST_ROWS)
    rows = np.sort(random.permutation(allowed)[:n])
    wanted = np.sort(random.permutation(len(sealed))[:n])
    chunks, start = [], 0
    for chunk in sealed.images_without_labels():
        inside = wanted[(wanted >= start) & (wanted < start + len(chunk))] - start
        chunks.append(chunk[inside])
        start += len(chunk)
        yield Step("reading test images without labels", start, len(sealed))
    images = np.concatenate([np.asarray(dataset.images[rows]), *chunks])
    seen = [_describe(images)]
    if folds is not None:
        seen.append(extract_features(folds.models[0], images)[1])
    part = np.repeat([0, 1], n)
    scores = yield from _out_of_part(np.concatenate(seen, axis=1), part, random)
    low, high = scores[:n], scores[n:]
    right = int((low < 0).sum() + (high >= 0).sum())
    features = _NAMES + ("" if folds is None else ", and what a short model sees in them")
    return PartsTest(
        n, proportion(right, 2 * n), auc_of(low, high), features, rows[np.argsort(-low, kind="stable")[:12]]
    )


def auc_of(low: NDArray[np.float64], high: NDArray[np.float64]) -> Estimate:
    """The area under the ROC curve with its 95 % interval.

    Source: DeLong, DeLong, Clarke-Pearson 1988, "Comparing the areas under two or more correlated ROC curves".
    """
    from scipy.stats import rankdata

    m, n = len(high), len(low)
    both = rankdata(np.concatenate([high, low]))
    above_low = (both[:m] - rankdata(high)) / n  # for each high one, the share of low ones below it
    below_high = 1 - (both[m:] - rankdata(low)) / m
    area = float(above_low.mean())
    deviation = float(np.sqrt(above_low.var(ddof=1) / m + below_high.var(ddof=1) / n))
    return Estimate.of(area, max(0.0, area - Z * deviation), min(1.0, area + Z * deviation))


def _out_of_part(
    features: NDArray[np.float32], part: NDArray[np.int64], random: np.random.Generator
) -> Work[NDArray[np.float64]]:
    """(2 n,) float64: how much each image looks like the second part, by a classifier that was not trained on it."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    scores = np.zeros(len(part), np.float64)
    group = np.concatenate([random.permutation(int((part == side).sum())) % _N_PARTS for side in (0, 1)])
    for number in range(_N_PARTS):
        held = group == number
        scale = StandardScaler().fit(features[~held])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model = LogisticRegression(C=_C, max_iter=200).fit(scale.transform(features[~held]), part[~held])
        scores[held] = model.decision_function(scale.transform(features[held]))
        yield Step("telling the parts apart", number + 1, _N_PARTS)
    return scores


def _describe(images: Images) -> NDArray[np.float32]:
    """(N, D) float32: each image on a grid of 8 x 8, and of each channel mean, deviation and mean gradient."""
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255  # (N, C, H, W)
    grid = F.adaptive_avg_pool2d(pixels, (min(_GRID, pixels.shape[2]), min(_GRID, pixels.shape[3]))).flatten(1)
    down = (pixels.diff(dim=2)).abs().mean((2, 3))
    across = (pixels.diff(dim=3)).abs().mean((2, 3))
    moments = [
        pixels.mean((2, 3)),
        pixels.std((2, 3), correction=0),
        down,
        across,
        pixels.amax((2, 3)),
        pixels.amin((2, 3)),
    ]
    described = torch.cat([grid, *moments], dim=1).nan_to_num()  # a picture of one pixel has no gradient
    return described.numpy().astype(np.float32)
