"""Calibration: how far probabilities are from observed frequencies, and the temperature that brings them closer.

The temperature is fitted on validation rows and is not stored: it is computed from a run's stored validation logits, so
it is never out of date. Dividing logits by it does not change the predicted classes.

Sources: Guo, Pleiss, Sun, Weinberger 2017, "On calibration of modern neural networks", arXiv 1706.04599 (temperature,
expected calibration error); Nguyen, O'Connor 2015, "Posterior calibration and exploratory analysis for natural language
processing models", arXiv 1508.05154 (bins of equally many rows: the adaptive error).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketlens.errors import PocketlensError
from pocketlens.scoring.metrics import Counts, Estimate, Floats, log_probabilities, proportion
from pocketlens.scoring.predictions import Predictions

N_BINS = 15
LOWEST, HIGHEST = 0.05, 20.0  # temperatures beyond these mean that all rows are correct, or that all are noise


@dataclass(frozen=True)
class Temperature:
    """What to divide logits by, fitted on `n` validation rows of the run `run`."""

    value: float
    n: int
    run: str


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
        adaptive_ece: the same over bins of equally many rows.
        nll: mean negative log-likelihood in nats.
        bins: the bins of equal width, without empty ones.
    """

    ece: float
    adaptive_ece: float
    nll: float
    bins: tuple[Bin, ...]


def fit_temperature(logits: NDArray[Any], labels: Counts) -> float:
    """The temperature from 0.05 to 20 with the lowest log-loss of `logits / temperature`.

    The log-loss is convex in 1 / temperature, so the minimum is unique. `logits` are (N, K), `labels` (N,) int64.

    Raises:
        PocketlensError: there are no rows.
    """
    from scipy.optimize import minimize_scalar

    if len(labels) == 0:
        raise PocketlensError("a temperature needs at least one validation row, got none.")
    exact = logits.astype(np.float64)
    rows = np.arange(len(labels))

    def loss(log_temperature: float) -> float:
        return -float(log_probabilities(exact * np.exp(-log_temperature))[rows, labels].mean())

    found = minimize_scalar(loss, bounds=(np.log(LOWEST), np.log(HIGHEST)), method="bounded", options={"xatol": 1e-5})
    return float(np.exp(found.x))


def calibrate(predictions: Predictions, temperature: float = 1.0, n_bins: int = N_BINS) -> Calibration:
    """Measures the calibration of the probabilities of `logits / temperature`."""
    logs = log_probabilities(predictions.logits.astype(np.float64) / temperature)
    probability = np.exp(logs.max(axis=1))  # (N,) of the predicted class
    right = predictions.predicted == predictions.labels
    nll = -float(logs[np.arange(len(right)), predictions.labels].mean())
    # bins exclude their lower and include their upper edge; rounding must not push 1.0 beyond the last one
    places = np.clip(np.ceil(probability * n_bins).astype(np.int64) - 1, 0, n_bins - 1)
    groups = [places == place for place in range(n_bins)]
    order = np.argsort(probability, kind="stable")
    return Calibration(
        ece=_distance(probability, right, groups),
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


def _distance(probability: Floats, right: NDArray[np.bool_], groups: list[Any]) -> float:
    """Mean |probability - accuracy| over groups of rows, weighted by their size."""
    gaps = [abs(float((probability[rows] - right[rows]).sum())) for rows in groups]
    return sum(gaps) / len(right)
