"""Calibration: how far probabilities are from observed frequencies.

The temperature that brings them closer is not stored: it is computed from a run's stored validation logits, so it is
never out of date (`temperature.py`). Dividing logits by it does not change the predicted classes.

Sources: Guo, Pleiss, Sun, Weinberger 2017, "On calibration of modern neural networks", arXiv 1706.04599 (expected
calibration error); Nguyen, O'Connor 2015, "Posterior calibration and exploratory analysis for natural language
processing models", arXiv 1508.05154 (bins of equally many rows: the adaptive error).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketlens.draws import stream
from pocketlens.scoring.metrics import CONFIDENCE, Counts, Estimate, Floats, log_probabilities, proportion
from pocketlens.scoring.predictions import Predictions
from pocketlens.scoring.row_blocks import by_rows
from pocketlens.scoring.temperature import LEAST_ROWS

N_BINS = 15
N_RESAMPLES = 1000


@dataclass(frozen=True)
class Bin:
    """The rows whose highest probability lies between two values: their mean probability and their accuracy."""

    low: float
    high: float
    n: int
    probability: float
    accuracy: Estimate


@dataclass(frozen=True)
class Calibration:
    """How far probabilities are from observed frequencies.

    Attributes:
        ece: expected calibration error: the mean distance of probability and accuracy over bins of equal width,
            weighted by their rows.
        ece_interval: the same with its 95 % interval, which few rows (or few groups) do not have.
        adaptive_ece: the same over bins of equally many rows.
        nll: mean negative log-likelihood in nats.
        bins: the bins of equal width, without empty ones.
    """

    ece: float
    ece_interval: Estimate
    adaptive_ece: float
    nll: float
    bins: tuple[Bin, ...]


def calibrate(predictions: Predictions, temperature: float = 1.0, n_bins: int = N_BINS) -> Calibration:
    """Measures the calibration of the probabilities of `logits / temperature`."""
    right = predictions.predicted == predictions.labels

    def logs(logits: NDArray[Any], labels: Counts) -> Floats:
        """(N, 2): of the predicted class and of the true one."""
        found = log_probabilities(logits.astype(np.float64) / temperature)
        return np.stack([found.max(axis=1), found[np.arange(len(labels)), labels]], axis=1)

    top, own = np.ascontiguousarray(by_rows(logs, predictions.logits, predictions.labels).T)
    probability, nll = np.exp(top), -float(own.mean())  # (N,) of the predicted class
    # bins exclude their lower and include their upper edge; rounding must not push 1.0 beyond the last one
    places = np.clip(np.ceil(probability * n_bins).astype(np.int64) - 1, 0, n_bins - 1)
    groups = [places == place for place in range(n_bins)]
    order = np.argsort(probability, kind="stable")
    return Calibration(
        ece=_distance(probability, right, groups),
        ece_interval=_ece_interval(probability - right, places, n_bins, predictions.groups),
        adaptive_ece=_distance(probability, right, np.array_split(order, n_bins)),
        nll=nll,
        bins=tuple(
            _bin(place, n_bins, probability[rows], right[rows]) for place, rows in enumerate(groups) if rows.any()
        ),
    )


def _bin(place: int, n_bins: int, probability: Floats, right: NDArray[np.bool_]) -> Bin:
    """Bin `place` of `n_bins` of equal width, from the rows in it."""
    n, mean = len(right), float(probability.mean())
    return Bin(place / n_bins, (place + 1) / n_bins, n, mean, proportion(int(right.sum()), n))


def _ece_interval(gaps: Floats, places: Counts, n_bins: int, groups: Counts | None) -> Estimate:
    """The error of gaps (N,) of probability and outcome in their bins, with its 95 % interval.

    Chance alone makes an error where there is none, so that of few rows is too large, and so would be that of every
    resample of them. The interval holds the true errors for which the one that was seen is no surprise: the sums over
    bins are multiplied by 0 to 2 and resampled as normal with the covariance that they have between rows, or between
    groups where rows come in groups; those multiples count for which the error lies within 95 % of the resamples.
    """
    n, units = len(gaps), np.arange(len(gaps)) if groups is None else np.unique(groups, return_inverse=True)[1]
    n_units = int(units.max()) + 1
    sums = np.bincount(places, weights=gaps, minlength=n_bins)
    error = float(np.abs(sums).sum()) / n
    if n_units < LEAST_ROWS:
        return Estimate(error)
    cells = np.zeros((n_units, n_bins))
    np.add.at(cells, (units, places), gaps)
    centred = cells - cells.mean(axis=0)
    spread = centred.T @ centred * n_units / (n_units - 1)
    values, directions = np.linalg.eigh(spread)
    scale = directions * np.sqrt(np.clip(values, 0.0, None))
    drawn = np.random.default_rng(stream(0, "calibration error") % 2**63).normal(size=(N_RESAMPLES, n_bins))
    chance, multiples = drawn @ scale.T, np.linspace(0, 2, 81)
    ends = [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]
    seen = np.array([np.quantile(np.abs(each * sums + chance).sum(axis=1) / n, ends) for each in multiples])  # (81, 2)
    slack = 1e-12 + error * 1e-9
    inside = multiples[(seen[:, 0] <= error + slack) & (error <= seen[:, 1] + slack)]
    return Estimate(error, error * float(inside[0]), error * float(inside[-1])) if len(inside) else Estimate(error)


def _distance(probability: Floats, right: NDArray[np.bool_], groups: list[Any]) -> float:
    """Mean |probability - accuracy| over groups of rows, weighted by their size."""
    gaps = [abs(float((probability[rows] - right[rows]).sum())) for rows in groups]
    return sum(gaps) / len(right)
