"""Calibration numbers equal independent computations."""

from __future__ import annotations

from dataclasses import replace

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


def test_the_interval_of_the_error_holds_the_true_one() -> None:
    for scale, true in ((1.0, 0.0), (2.0, None)):
        logits, labels = honest(100_000, 4)
        true = calibrate(predictions(logits * scale, labels)).ece if true is None else true
        held = 0
        for draw in range(40):
            logits, labels = honest(200, 4, seed=draw + 1)
            found = calibrate(predictions(logits * scale, labels)).ece_interval
            assert found.low is not None
            assert found.high is not None
            held += found.low - 1e-9 <= true <= found.high
        assert held >= 34  # 38 in the mean


def test_groups_widen_the_interval_and_few_rows_have_none() -> None:
    logits, labels = honest(200, 4)
    repeated, seen, groups = np.repeat(logits, 5, axis=0), np.repeat(labels, 5), np.repeat(np.arange(200), 5)
    alone = calibrate(predictions(repeated, seen)).ece_interval
    grouped = calibrate(replace(predictions(repeated, seen), groups=groups)).ece_interval
    once = calibrate(predictions(logits, labels)).ece_interval
    assert grouped.high == pytest.approx(once.high, rel=0.05)
    assert alone.low is not None
    assert grouped.low is not None
    assert alone.low > grouped.low
    assert calibrate(predictions(logits[:5], labels[:5])).ece_interval.low is None
    assert calibrate(replace(predictions(repeated[:20], seen[:20]), groups=groups[:20])).ece_interval.low is None
