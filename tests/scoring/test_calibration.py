"""Calibration numbers equal independent computations."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import log_loss

from pocketlens.scoring.calibration import calibrate
from pocketlens.scoring.predictions import Predictions
from pocketlens.scoring.temperature import fit_temperature


def honest(n: int, n_classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits and labels that are drawn from just these probabilities: perfectly calibrated."""
    random = np.random.default_rng(seed)
    logits = random.normal(size=(n, n_classes)) * 2
    return logits, (logits + random.gumbel(size=logits.shape)).argmax(axis=1)


def predictions(logits: np.ndarray, labels: np.ndarray) -> Predictions:
    return Predictions("val", np.arange(len(labels)), labels, logits.astype(np.float32))


def test_both_errors_equal_those_from_scikit_learns_curves() -> None:
    logits, labels = honest(1500, 6)
    logits = (logits * 2).astype(np.float32)
    judged = calibrate(predictions(logits, labels))
    probabilities = np.exp(logits.astype(np.float64))
    top = (probabilities / probabilities.sum(axis=1, keepdims=True)).max(axis=1)
    right = logits.argmax(axis=1) == labels
    for strategy, ours in (("uniform", judged.ece), ("quantile", judged.adaptive_ece)):
        shares, means = calibration_curve(right, top, n_bins=15, strategy=strategy)
        counts = np.histogram(top, bins=15, range=(0, 1))[0] if strategy == "uniform" else np.full(15, 100)
        assert ours == pytest.approx(float((np.abs(shares - means) * counts[counts > 0]).sum() / 1500), abs=1e-9)
    assert sum(part.n for part in judged.bins) == 1500
    assert judged.nll == pytest.approx(log_loss(labels, probabilities / probabilities.sum(axis=1, keepdims=True)))


def test_an_error_by_hand() -> None:
    # four rows said with 0.8 of which two are right, one row said with certainty that is wrong
    logits = np.log(np.array([[0.8, 0.2]] * 4 + [[1.0, 1e-30]]))
    judged = calibrate(predictions(logits, np.array([0, 0, 1, 1, 1])))
    assert judged.ece == pytest.approx((4 * 0.3 + 1 * 1.0) / 5)
    assert [(part.n, part.accuracy.value) for part in judged.bins] == [(4, 0.5), (1, 0.0)]


def test_the_right_temperature_calibrates() -> None:
    logits, labels = honest(20_000, 10, seed=5)
    judged = predictions(logits * 3, labels)
    before, after = calibrate(judged), calibrate(judged, fit_temperature(judged.logits, labels).value)
    assert before.ece > 0.15
    assert after.ece < 0.02
    assert after.nll < before.nll
