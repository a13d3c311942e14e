"""Calibration numbers equal independent computations, and the temperature is the one that was planted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made_runs import make_dataset, make_logits, make_run
from sklearn.calibration import calibration_curve
from sklearn.metrics import log_loss

from pocketlens.errors import PocketlensError
from pocketlens.inference.predict import read_temperature
from pocketlens.recipe import Recipe
from pocketlens.scoring.calibration import calibrate, fit_temperature
from pocketlens.scoring.predictions import Predictions


def honest(n: int, n_classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits and labels that are drawn from just these probabilities: perfectly calibrated."""
    random = np.random.default_rng(seed)
    logits = random.normal(size=(n, n_classes)) * 2
    return logits, (logits + random.gumbel(size=logits.shape)).argmax(axis=1)


def predictions(logits: np.ndarray, labels: np.ndarray) -> Predictions:
    return Predictions("val", np.arange(len(labels)), labels, logits.astype(np.float32))


@pytest.mark.parametrize("planted", [0.25, 1.0, 3.0])
def test_the_planted_temperature_is_found(planted: float) -> None:
    logits, labels = honest(20_000, 10)
    assert fit_temperature(logits * planted, labels) == pytest.approx(planted, rel=0.02)


def test_the_temperature_has_the_least_log_loss_by_scikit_learn() -> None:
    logits, labels = honest(500, 4, seed=3)
    logits = logits * 1.7

    def loss(temperature: float) -> float:
        probabilities = np.exp(logits / temperature)
        return log_loss(labels, probabilities / probabilities.sum(axis=1, keepdims=True))

    best = fit_temperature(logits, labels)
    assert loss(best) <= min(loss(best * factor) for factor in (0.5, 0.9, 0.99, 1.01, 1.1, 2.0))


def test_temperatures_stay_within_bounds() -> None:
    sure = np.eye(3)[[0, 1, 2]] * 5
    assert fit_temperature(sure, np.array([0, 1, 2])) < 0.2
    assert fit_temperature(sure, np.array([1, 2, 0])) > 15
    with pytest.raises(PocketlensError, match="at least one"):
        fit_temperature(np.zeros((0, 3)), np.zeros(0, np.int64))


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
    before, after = calibrate(judged), calibrate(judged, fit_temperature(judged.logits, labels))
    assert before.ece > 0.15
    assert after.ece < 0.02
    assert after.nll < before.nll


def test_a_run_has_the_temperature_of_its_validation_rows(tmp_path: Path) -> None:
    dataset = make_dataset(200, ("a", "b", "c"))
    run = make_run(tmp_path, dataset)
    found = read_temperature(run)
    assert found is not None
    labels = dataset.labels[run.split.val]
    assert found.value == fit_temperature(make_logits(labels, 3), labels)
    assert (found.n, found.run) == (len(labels), run.id)


def test_a_refitted_run_takes_the_temperature_of_its_source(tmp_path: Path) -> None:
    dataset = make_dataset(200, ("a", "b", "c"))
    source = make_run(tmp_path, dataset)
    options = {"val_fraction": 0.0, "recipe": Recipe(epochs=5.0)}
    refit = make_run(tmp_path, dataset, id="20250101-000001-abcd", made_by=f"refit of {source.id}", **options)
    assert read_temperature(refit) == read_temperature(source)
    orphan = make_run(tmp_path, dataset, id="20250101-000002-abcd", made_by="refit of nothing", **options)
    assert read_temperature(orphan) is None
