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

from pocketlens.scoring.metrics import Counts, Estimate, Floats, log_probabilities, proportion
from pocketlens.scoring.predictions import Predictions

N_BINS = 15


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
            Bin(place / n_bins, (place + 1) / n_bins, *_inside(probability[rows], right[rows]))
            for place, rows in enumerate(groups)
            if rows.any()
        ),
    )


def _inside(probability: Floats, right: NDArray[np.bool_]) -> tuple[int, float, Estimate]:
    return len(right), float(probability.mean()), proportion(int(right.sum()), len(right))


def _distance(probability: Floats, right: NDArray[np.bool_], groups: list[Any]) -> float:
    """Mean |probability - accuracy| over groups of rows, weighted by their size."""
    gaps = [abs(float((probability[rows] - right[rows]).sum())) for rows in groups]
    return sum(gaps) / len(right)
