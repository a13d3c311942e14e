"""plateau: torch's ReduceLROnPlateau epoch by epoch, its factors in the history, and a refit that replays them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_images import refused
from made_trainings import PLAIN, finish, made_data, new_run

from pocketlens.data.split import make_split
from pocketlens.events import Progress
from pocketlens.files import read_json
from pocketlens.recipe import Experiment
from pocketlens.schedules.plateau import plateau
from pocketlens.training.refit import refit
from pocketlens.training.state import State

STUCK = PLAIN.changed(schedule="plateau(patience=1, gamma=0.5)", lr=1e-9, epochs=6.0)  # it cannot get better


def history(values: list[float | None], watch: str = "loss") -> list[dict[str, Any]]:
    return [{"val_loss": None, "val_accuracy": None, f"val_{watch}": value} for value in values]


@pytest.mark.parametrize("watch", ["loss", "accuracy"])
@pytest.mark.parametrize("options", [{}, {"cooldown": 2}, {"threshold": 0.05}, {"end": 0.02, "patience": 0}])
def test_it_is_torchs_in_every_epoch(watch: str, options: dict[str, Any]) -> None:
    values = (np.random.default_rng(4).uniform(0.2, 1.0, 60) * np.linspace(1, 0.6, 60)).tolist()
    options = {"patience": 2, "gamma": 0.5, **options}
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer,
        mode="min" if watch == "loss" else "max",
        factor=options["gamma"],
        patience=options["patience"],
        threshold=options.get("threshold", 1e-4),
        cooldown=options.get("cooldown", 0),
        min_lr=options.get("end", 0.0),
        eps=0.0,
    )
    rates = set()
    for n in range(len(values)):
        assert plateau(history(values[:n], watch), watch=watch, **options) == optimizer.param_groups[0]["lr"]
        theirs.step(values[n])
        rates.add(optimizer.param_groups[0]["lr"])
    assert len(rates) > 3


def test_a_score_that_is_no_number_is_bad() -> None:
    for bad in (None, math.nan, math.inf):
        assert plateau(history([1.0, bad, bad]), patience=1, gamma=0.5) == 0.5
        assert plateau(history([bad, 1.0, 0.9]), patience=1, gamma=0.5) == 1.0


def test_the_rates_fall_and_stand_in_the_history(tmp_path: Path) -> None:
    run = new_run(tmp_path, STUCK)
    rates = [event.lr for event in finish(run) if isinstance(event, Progress)]
    assert rates == pytest.approx([1e-9 * factor for factor in (1, 1, 1, 0.5, 0.5, 0.25) for _ in range(3)])
    assert [record["factor"] for record in run.history()] == [1, 1, 1, 0.5, 0.5, 0.25]
    assert [record["lr"] for record in run.history()] == pytest.approx(rates[2::3])


def test_a_refit_replays_the_rates_epoch_by_epoch(tmp_path: Path) -> None:
    run = new_run(tmp_path, STUCK)
    finish(run)
    new = refit(run, tmp_path)
    assert new.experiment.factors == (1, 1, 1, 0.5, 0.5, 0.25)
    assert read_json(new.file("experiment.json"))["factors"] == [1, 1, 1, 0.5, 0.5, 0.25]
    rates = [event.lr for event in finish(new) if isinstance(event, Progress)]
    assert rates == pytest.approx([1e-9 * factor for factor in (1, 1, 1, 0.5, 0.5, 0.25) for _ in range(4)])
    assert [record["val_loss"] for record in new.history()] == [None] * 6
    assert refit_of_plain(tmp_path).experiment.factors is None


def refit_of_plain(folder: Path) -> Any:
    run = new_run(folder, PLAIN.changed(epochs=1.0))
    finish(run)
    return refit(run, folder)


def test_it_needs_validation_rows() -> None:
    dataset = made_data()
    with refused("plateau(patience=1, gamma=0.5) follows the validation scores and needs validation rows"):
        State(Experiment("made", STUCK), dataset, make_split(dataset, val_fraction=0.0), "cpu")


@pytest.mark.parametrize("factors", [[], [2.0], ["x"], 3, [True, None]])
def test_factors_in_a_file_are_checked(factors: Any) -> None:
    value = {**Experiment("made", PLAIN).to_dict(), "factors": factors}
    with refused("factors must be a list of numbers in 0..1"):
        Experiment.from_dict(value, "experiment.json")


def test_options_that_are_not_allowed_are_refused() -> None:
    for options, says in (
        ({"watch": "f1"}, "watch must be 'loss' or 'accuracy'"),
        ({"patience": -1}, "patience must be a whole number"),
        ({"gamma": 2.0}, "gamma must be a number in 0..1"),
        ({"end": -0.5}, "end must be a number in 0..1"),
    ):
        with refused("plateau: " + says):
            plateau([], **options)  # type: ignore[arg-type]
