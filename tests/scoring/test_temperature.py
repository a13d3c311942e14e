"""The temperature is the planted one where rows are many, and 1 where they say nothing; it is never a bound."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made_runs import make_dataset, make_logits, make_run
from sklearn.metrics import log_loss

from pocketlens.errors import PocketlensError
from pocketlens.inference.validation import read_temperature
from pocketlens.recipe import Recipe
from pocketlens.scoring.predictions import Predictions, read_predictions, write_predictions
from pocketlens.scoring.temperature import (
    HIGHEST,
    LEAST_ROWS,
    LOWEST,
    Temperature,
    calibration_in_words,
    fit_temperature,
)


def honest(n: int, n_classes: int, seed: int = 0, scale: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    """Logits and labels that are drawn from just these probabilities: perfectly calibrated."""
    random = np.random.default_rng(seed)
    logits = random.normal(size=(n, n_classes)) * scale
    return logits, (logits + random.gumbel(size=logits.shape)).argmax(axis=1)


def losses(logits: np.ndarray, labels: np.ndarray, temperature: float) -> float:
    """The mean log-loss by scikit-learn."""
    probabilities = np.exp(logits / temperature - (logits / temperature).max(axis=1, keepdims=True))
    return log_loss(labels, probabilities / probabilities.sum(axis=1, keepdims=True), labels=range(logits.shape[1]))


@pytest.mark.parametrize("planted", [0.25, 1.0, 3.0])
def test_the_planted_temperature_is_found(planted: float) -> None:
    logits, labels = honest(20_000, 10)
    found = fit_temperature(logits * planted, labels)
    assert found.value == pytest.approx(planted, rel=0.02)
    assert found.known
    assert (found.n, found.n_groups, found.all_right) == (20_000, None, False)


@pytest.mark.parametrize("n", [1000, 5000])
def test_with_many_rows_it_has_nearly_the_least_log_loss_by_scikit_learn(n: int) -> None:
    logits, labels = honest(n, 4, seed=3)
    logits = logits * 1.7
    least = min(losses(logits, labels, 1.7 * factor) for factor in np.linspace(0.8, 1.25, 46))
    assert losses(logits, labels, fit_temperature(logits, labels).value) < 1.001 * least


@pytest.mark.parametrize("n", [6, 10, 15, 30, 60, 100, 200])
def test_few_rows_make_it_worse_than_none_in_at_most_one_of_twenty_draws(n: int) -> None:
    worse, draws = 0, 200
    for draw in range(draws):
        scale = (1.5, 2.5, 5.0, 12.0)[draw % 4]  # right in about 60 to 97 % of cases
        logits, labels = honest(n, 5, seed=1000 * n + draw, scale=scale)
        worse += fit_temperature(logits, labels).value != 1  # the temperature that these logits need
    assert worse <= 0.05 * draws + 3 * np.sqrt(0.05 * 0.95 * draws)
    assert worse <= 12  # what the seeds of this test give is less


def test_rows_that_are_all_right_give_no_bound() -> None:
    labels = np.arange(15) % 3
    sure = np.eye(3)[labels] * 3.0  # 90 % each: 15 right ones are no surprise
    found = fit_temperature(sure, labels)
    assert (found.value, found.known, found.all_right) == (1.0, False, True)
    hesitant = np.eye(3)[labels] * 0.5  # 45 % each: 15 right ones are
    found = fit_temperature(hesitant, labels)
    assert found.known
    assert 0.02 < found.value < 1
    claimed = 1 - np.exp(0.5 / found.value) / (np.exp(0.5 / found.value) + 2)
    assert claimed == pytest.approx(3.3 / 15, rel=0.15)  # the rule of three


@pytest.mark.parametrize("n", [60, 6000])
def test_the_ends_of_the_search_are_no_answer(n: int) -> None:
    labels = np.arange(n) % 3
    for logits in (np.eye(3)[labels] * 5, np.eye(3)[labels] * 0.01, np.eye(3)[(labels + 1) % 3] * 5):
        assert 2 * LOWEST < fit_temperature(logits, labels).value < HIGHEST / 2


def test_rows_of_one_group_say_less_than_rows_of_their_own() -> None:
    moved = np.zeros(2, int)
    for draw in range(60):
        own, seen = honest(20, 5, seed=draw)
        noise = np.random.default_rng(draw).normal(size=(200, 5)) * 0.1
        logits, labels, groups = np.repeat(own, 10, axis=0) + noise, np.repeat(seen, 10), np.repeat(np.arange(20), 10)
        moved += [fit_temperature(logits, labels, groups).value != 1, fit_temperature(logits, labels).value != 1]
    assert moved[0] <= 4 < 15 < moved[1]


def test_nothing_is_said_of_too_few_rows_groups_or_classes() -> None:
    logits, labels = honest(300, 3)
    logits = logits * 5
    assert fit_temperature(logits, labels).value > 2
    few = fit_temperature(logits[: LEAST_ROWS - 1], labels[: LEAST_ROWS - 1])
    assert (few.value, few.known, few.n) == (1.0, False, LEAST_ROWS - 1)
    grouped = fit_temperature(logits, labels, np.arange(300) % (LEAST_ROWS - 1))
    assert (grouped.value, grouped.known, grouped.n_groups) == (1.0, False, LEAST_ROWS - 1)
    one = labels == 0
    assert not fit_temperature(logits[one], labels[one]).known
    assert fit_temperature(logits[:1], labels[:1]).value == 1
    with pytest.raises(PocketlensError, match="at least one"):
        fit_temperature(np.zeros((0, 3)), np.zeros(0, np.int64))


def test_absent_classes_and_equal_logits_do_no_harm() -> None:
    logits, labels = honest(200, 4, seed=2)
    kept = labels != 3
    assert 0.5 < fit_temperature(logits[kept], labels[kept]).value < 2
    assert fit_temperature(np.zeros((50, 3)), np.arange(50) % 3).value == 1
    assert fit_temperature(np.zeros((50, 1)), np.zeros(50, np.int64)).value == 1


def test_what_is_said_of_it() -> None:
    assert Temperature(1.0, 15, "r", known=False).said() == "not calibrated: 15 validation images are too few"
    all_right = Temperature(1.0, 15, "r", known=False, all_right=True)
    assert all_right.said() == "not calibrated: 15 validation images, all of them right, are too few"
    assert Temperature(1.0, 1, "r", known=False).said() == "not calibrated: 1 validation image is too few"
    by_group = Temperature(1.0, 1500, "r", known=False, n_groups=4).said()
    assert by_group == "not calibrated: 1,500 validation images of 4 groups are too few"
    fitted = Temperature(0.7501, 1500, "r").said()
    assert fitted == "calibrated: temperature 0.750, fitted on 1,500 validation images of run r"
    at_one = Temperature(1.0, 1500, "r").said()
    assert at_one == "calibrated without a temperature: 1 fits 1,500 validation images of run r"
    assert calibration_in_words(None) == "not calibrated, because there are no validation images"


def test_a_run_has_the_temperature_of_its_validation_rows(tmp_path: Path) -> None:
    dataset = make_dataset(2000, ("a", "b", "c"), (4, 4, 3))
    run = make_run(tmp_path, dataset, skill=2.0)
    found = read_temperature(run)
    assert found is not None
    labels = dataset.labels[run.split.val]
    assert found.value == fit_temperature(make_logits(labels, 3, skill=2.0), labels).value != 1
    assert (found.n, found.run, found.known) == (len(labels), run.id, True)


def test_a_refitted_run_takes_the_temperature_of_its_source(tmp_path: Path) -> None:
    dataset = make_dataset(200, ("a", "b", "c"))
    source = make_run(tmp_path, dataset)
    options = {"val_fraction": 0.0, "recipe": Recipe(epochs=5.0)}
    refit = make_run(tmp_path, dataset, id="20250101-000001-abcd", made_by=f"refit of {source.id}", **options)
    assert read_temperature(refit) == read_temperature(source)
    orphan = make_run(tmp_path, dataset, id="20250101-000002-abcd", made_by="refit of nothing", **options)
    assert read_temperature(orphan) is None


def test_groups_are_kept_with_the_predictions(tmp_path: Path) -> None:
    logits, labels = honest(40, 3)
    path, groups = tmp_path / "a.safetensors", np.arange(40) // 4
    write_predictions(path, Predictions("val", np.arange(40), labels, logits.astype(np.float32), groups))
    assert np.array_equal(read_predictions(path).groups, groups)  # type: ignore[arg-type]
    write_predictions(path, Predictions("val", np.arange(40), labels, logits.astype(np.float32)))
    assert read_predictions(path).groups is None
    with pytest.raises(PocketlensError, match="a group for each row, 40 in all"):
        Predictions("val", np.arange(40), labels, logits.astype(np.float32), groups[:3])


def test_an_export_of_before_keeps_its_temperature_unless_it_was_a_bound() -> None:
    kept = Temperature.from_dict({"value": 1.7, "n": 100, "run": "r"})
    assert kept == Temperature(1.7, 100, "r")
    for bound in (0.0500003, 19.9998):
        at_end = Temperature.from_dict({"value": bound, "n": 15, "run": "r"})
        assert (at_end.value, at_end.known) == (1.0, False)
