"""Distribution shift: can a classifier tell development images from test images? The test labels are not read.

Source: Lopez-Paz, Oquab 2017, "Revisiting classifier two-sample tests", arXiv:1610.06545. If both parts come from the
same distribution, no classifier is better than chance. The better one is, the less a validation score says about the
test score.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from pocketlens.audit.cross_validation import CrossValidation
from pocketlens.data.dataset import Dataset, Images, SealedTest
from pocketlens.draws import stream
from pocketlens.events import Step, Work
from pocketlens.scoring.metrics import Estimate, Z, proportion
from pocketlens.text import counted
from pocketlens.training.classifier import extract_features

LEAST_ROWS = 30  # of each part
MOST_ROWS = 4000  # of each part: enough to see a difference of three points
SUBSTANTIAL = 0.02  # how far the lower bound of the accuracy must lie above chance for a shift to matter
_N_FOLDS, _GRID, _C, _MOST_LIKE = 5, 8, 0.01, 12
_NAMES = "a coarse thumbnail, brightness, contrast and sharpness"


@dataclass(frozen=True, eq=False)
class DistributionShift:
    """How well a classifier tells development images from test images.

    Attributes:
        n: how many images of each part were used.
        accuracy: the share of held-out images whose part is predicted correctly; chance is 0.5.
        auc: the area under the ROC curve.
        features: what the classifier sees, in words.
        most_like_test: (<= 12,) the development rows that look most like test images.
    """

    n: int
    accuracy: Estimate
    auc: Estimate
    features: str
    most_like_test: NDArray[np.int64]

    @property
    def significant(self) -> bool:
        """Whether the accuracy is significantly better than chance."""
        return self.accuracy.low is not None and self.accuracy.low > 0.5

    @property
    def substantial(self) -> bool:
        """Whether the shift is large enough to matter."""
        return self.accuracy.low is not None and self.accuracy.low > 0.5 + SUBSTANTIAL


def obstacle(n_development: int, n_test: int) -> str | None:
    """Why the parts cannot be compared, or None if they can."""
    if min(n_development, n_test) < LEAST_ROWS:
        return (
            f"there are {n_development} development and {counted(n_test, 'test image')}, and each part needs "
            f"{LEAST_ROWS}"
        )
    return None


def measure_distribution_shift(
    dataset: Dataset, sealed: SealedTest, cross_validation: CrossValidation | None = None, *, seed: int = 0
) -> Work[DistributionShift]:
    """Tells development from test images by logistic regression, with five-fold cross-validation.

    With `cross_validation` it also uses the features of its first model, and only development rows that this model was
    not trained on: otherwise it would tell seen images from unseen ones.
    """
    random = np.random.default_rng(abs(stream(seed, "parts")))
    allowed = np.arange(len(dataset)) if cross_validation is None else np.flatnonzero(cross_validation.fold == 0)
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
    if cross_validation is not None:
        seen.append(extract_features(cross_validation.models[0], images)[1])
    part = np.repeat([0, 1], n)
    scores = yield from _out_of_fold(np.concatenate(seen, axis=1), part, random)
    low, high = scores[:n], scores[n:]
    right = int((low < 0).sum() + (high >= 0).sum())
    features = _NAMES + ("" if cross_validation is None else ", and the features of a cross-validation model")
    most_like_test = rows[np.argsort(-low, kind="stable")[:_MOST_LIKE]]
    return DistributionShift(n, proportion(right, 2 * n), auc_of(low, high), features, most_like_test)


def auc_of(low: NDArray[np.float64], high: NDArray[np.float64]) -> Estimate:
    """The area under the ROC curve with its 95 % interval.

    Source: DeLong, DeLong, Clarke-Pearson 1988, "Comparing the areas under two or more correlated ROC curves".
    """
    from scipy.stats import rankdata

    m, n = len(high), len(low)
    both = rankdata(np.concatenate([high, low]))
    above_low = (both[:m] - rankdata(high)) / n  # for each high score, the share of low scores below it
    below_high = 1 - (both[m:] - rankdata(low)) / m
    area = float(above_low.mean())
    deviation = float(np.sqrt(above_low.var(ddof=1) / m + below_high.var(ddof=1) / n))
    return Estimate.of(area, max(0.0, area - Z * deviation), min(1.0, area + Z * deviation))


def _out_of_fold(
    features: NDArray[np.float32], part: NDArray[np.int64], random: np.random.Generator
) -> Work[NDArray[np.float64]]:
    """(2 n,) float64: the score for being a test image, by a classifier that was not trained on the image."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    scores = np.zeros(len(part), np.float64)
    group = np.concatenate([random.permutation(int((part == side).sum())) % _N_FOLDS for side in (0, 1)])
    for number in range(_N_FOLDS):
        held = group == number
        scale = StandardScaler().fit(features[~held])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model = LogisticRegression(C=_C, max_iter=200).fit(scale.transform(features[~held]), part[~held])
        scores[held] = model.decision_function(scale.transform(features[held]))
        yield Step("measuring the distribution shift", number + 1, _N_FOLDS)
    return scores


def _describe(images: Images) -> NDArray[np.float32]:
    """(N, D) float32: each image as an 8 x 8 thumbnail, and per channel mean, deviation, gradients and range."""
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
    described = torch.cat([grid, *moments], dim=1).nan_to_num()  # an image of one pixel has no gradient
    return described.numpy().astype(np.float32)
