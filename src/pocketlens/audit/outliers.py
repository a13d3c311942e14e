"""Outliers, by the reconstruction error of an autoencoder and by the distance to their nearest neighbours.

Autoencoder: Hinton, Salakhutdinov 2006, "Reducing the dimensionality of data with neural networks"; the score is the
mean squared error of the reconstruction. It ranks busy images high, whatever they show.
Neighbours: Ramaswamy, Rastogi, Shim 2000, "Efficient algorithms for mining outliers from large data sets"; the score is
the mean cosine distance to the ten nearest neighbours in the same fold, in the feature space of a trained model.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from pocketlens.audit.nearest import exact, within
from pocketlens.audit.options import n_reviewed
from pocketlens.data.dataset import Dataset
from pocketlens.draws import order, stream
from pocketlens.events import Step, Work
from pocketlens.training.classifier import to_float
from pocketlens.training.device_images import DeviceImages

LEAST_ROWS = 20  # with fewer, there is no bulk of the data to lie outside of
N_NEIGHBOURS = 10
N_NEAREST = 8  # rows that are listed beside a row that is reviewed
TOP = 0.01  # share of rows at the top of both rankings whose overlap is measured
_SIDE, _LATENT, _BATCH = 32, 48, 256
_LEAST_STEPS, _EPOCHS, _LR = 200, 3, 2e-3
_MOST_STEPS = 1200  # as many as three passes over 100,000 images have; of more images, each is seen once at least

OutlierScores = NDArray[np.float32]


@dataclass(frozen=True)
class RankAgreement:
    """How far two rankings agree.

    Attributes:
        spearman: Spearman's rank correlation.
        overlap: the share of the first `n_top` rows that both rankings have in common.
        n_top: how many rows those are.
        by_chance: the overlap to expect of two independent rankings.
    """

    spearman: float
    overlap: float
    n_top: int
    by_chance: float


@dataclass(frozen=True, eq=False)
class Outliers:
    """The outlier scores of all development rows, higher being more unusual.

    Attributes:
        errors: (N,) float32, the autoencoder's reconstruction errors.
        distances: (N,) float32, the neighbour distances; None if no trained model provides features.
        space: the feature space of the distances, in words.
        agreement: how far both rankings agree; None without distances, or if one score is the same for all rows.
    """

    errors: OutlierScores
    distances: OutlierScores | None
    space: str
    agreement: RankAgreement | None


@dataclass(frozen=True, eq=False)
class FeatureSpace:
    """Features of all rows, by models that were not trained on them or by a run's.

    Attributes:
        features: (N, D) float32.
        space: (N,) int64; only rows with the same number can be compared, because each fold has its own model.
        name: in words.
        is_of_run: whether it is that of a run, so that what follows from it belongs to that run.
    """

    features: NDArray[np.float32]
    space: NDArray[np.int64]
    name: str
    is_of_run: bool = False


@dataclass(frozen=True, eq=False)
class Nearest:
    """The nearest neighbours of M rows, the nearest first: `rows` is (M,) int64, `neighbours` (M, <= 8) int64."""

    rows: NDArray[np.int64]
    neighbours: tuple[NDArray[np.int64], ...]


def autoencoder_errors(dataset: Dataset, *, seed: int = 0, device: str = "cpu") -> Work[OutlierScores]:
    """(N,) float32: the mean squared error with which a small convolutional autoencoder reconstructs each image.

    It is trained on all rows; its code of 48 numbers is too narrow to memorise an image.
    """
    height, width, channels = dataset.shape
    scale = min(1.0, _SIDE / max(height, width))
    sides = tuple(max(8, 8 * round(side * scale / 8)) for side in (height, width))
    rows = DeviceImages(dataset.images, f"resize(size={sides!r})" if sides != (height, width) else "none", device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream(seed, "autoencoder") % 2**63)
        model = _Autoencoder(channels, (sides[0], sides[1])).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    n = len(dataset)
    per_epoch = -(-n // _BATCH)
    total = max(_LEAST_STEPS, min(_EPOCHS * per_epoch, max(_MOST_STEPS, per_epoch)))
    optimizer = torch.optim.Adam(model.parameters(), lr=_LR)
    numbers = torch.arange(n)
    for step in range(total):
        epoch, index = divmod(step, per_epoch)
        if index == 0:
            shuffled = order(numbers, seed, epoch)
        images = to_float(rows.take(shuffled[index * n // per_epoch : (index + 1) * n // per_epoch]))
        for group in optimizer.param_groups:
            group["lr"] = _LR * (1 - step / total)
        loss = F.mse_loss(model(images), images)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        yield Step("training the autoencoder", step + 1, total)
    errors = np.empty(n, np.float32)
    with torch.inference_mode():
        for start in range(0, n, 2 * _BATCH):
            images = to_float(rows.take(numbers[start : start + 2 * _BATCH]))
            errors[start : start + 2 * _BATCH] = (model(images) - images).square().mean((1, 2, 3)).cpu().numpy()
    return errors


def neighbour_distances(among: FeatureSpace) -> Work[OutlierScores]:
    """(N,) float32: the mean distance of each row to its ten nearest neighbours, over the median of its space."""
    result = np.ones(len(among.space), np.float32)
    done = 0
    for number in np.unique(among.space):
        rows = np.flatnonzero(among.space == number)
        unit = _unit(among.features[rows])
        count = min(N_NEIGHBOURS, len(rows) - 1)
        distances = np.zeros(len(rows), np.float32)
        if count > 0:
            found = yield from within(unit, count, len(among.features), Step("measuring neighbour distances", done, 0))
            similarity = torch.where(found.there, found.similarity, -1.0)
            distances = np.asarray((1 - similarity).mean(1).numpy(), np.float32)
        done += len(rows)
        result[rows] = distances / max(float(np.median(distances)), 1e-6)
    return result


def nearest_rows(among: FeatureSpace, wanted: NDArray[np.int64]) -> Work[Nearest]:
    """The nearest neighbours of some rows in their space, for a person who reviews them."""
    wanted, done = np.unique(wanted), 0
    found: dict[int, NDArray[np.int64]] = {}
    for number in np.unique(among.space[wanted]):
        rows = np.flatnonzero(among.space == number)
        unit = _unit(among.features[rows])
        asked = np.searchsorted(rows, wanted[among.space[wanted] == number])
        for start in range(0, len(asked), 1024):
            places = torch.from_numpy(asked[start : start + 1024])
            nearest = exact(unit, unit[places], places, min(N_NEAREST, len(rows) - 1)).rows.numpy()
            found |= {int(rows[at]): rows[near] for at, near in zip(places.tolist(), nearest, strict=True)}
            done += len(places)
            yield Step("finding nearest neighbours", done, len(wanted))
    return Nearest(wanted, tuple(found[int(row)] for row in wanted))


def reviewed_outliers(found: Outliers) -> NDArray[np.int64]:
    """The rows that a person is asked to look at, ascending."""
    scores = [found.errors] if found.distances is None else [found.errors, found.distances]
    return np.unique(np.concatenate([ranked(each)[: n_reviewed(len(each))] for each in scores]))


def rank_agreement(first: OutlierScores, second: OutlierScores) -> RankAgreement | None:
    """How far the rankings by two scores agree; None if one of them is the same for all rows."""
    from scipy.stats import spearmanr

    if len(first) < 2 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return None
    n_top = max(1, round(TOP * len(first)))
    shared = np.intersect1d(ranked(first)[:n_top], ranked(second)[:n_top])
    return RankAgreement(float(spearmanr(first, second).statistic), len(shared) / n_top, n_top, n_top / len(first))


def ranked(scores: OutlierScores) -> NDArray[np.int64]:
    """Row numbers by descending score; ties go to the lower row."""
    return np.asarray(np.argsort(-scores, kind="stable"), np.int64)


def _unit(features: NDArray[np.float32]) -> Tensor:
    """Features, centred and scaled to length 1."""
    centred = torch.from_numpy(features - features.mean(axis=0, dtype=np.float64).astype(np.float32))
    return F.normalize(centred, dim=1)


class _Autoencoder(nn.Module):
    def __init__(self, channels: int, sides: tuple[int, int]) -> None:
        super().__init__()
        self.small = (sides[0] // 8, sides[1] // 8)
        area = 64 * self.small[0] * self.small[1]
        self.encoder = nn.Sequential(
            nn.Conv2d(channels, 16, 3, stride=2, padding=1), nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU(),
            nn.Conv2d(32, 64, 3, stride=2, padding=1), nn.ReLU(),
            nn.Flatten(), nn.Linear(area, _LATENT),
        )  # fmt: skip
        self.widen = nn.Linear(_LATENT, area)
        self.decoder = nn.Sequential(
            nn.ReLU(), nn.ConvTranspose2d(64, 32, 4, stride=2, padding=1),
            nn.ReLU(), nn.ConvTranspose2d(32, 16, 4, stride=2, padding=1),
            nn.ReLU(), nn.ConvTranspose2d(16, channels, 4, stride=2, padding=1), nn.Sigmoid(),
        )  # fmt: skip

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) in 0..1 to the same, through 48 numbers."""
        code = self.encoder(images)
        drawn: Tensor = self.decoder(self.widen(code).reshape(len(images), 64, *self.small))
        return drawn
