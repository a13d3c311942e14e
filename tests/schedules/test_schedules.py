"""Schedules: the factors of torch's schedulers at every step, warm-ups, ends, and mistakes."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.optim import lr_scheduler

from pocketlens.components import parse_one, resolve
from pocketlens.errors import PocketlensError


def factors(text: str, n_steps: int, steps_per_epoch: float) -> list[float]:
    part = parse_one(text, "schedules")
    schedule: Callable[..., float] = resolve(part, "schedules")
    return [schedule(step, n_steps, steps_per_epoch, **dict(part.options)) for step in range(n_steps)]


def torchs(kind: Any, n_steps: int, **options: Any) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = kind(optimizer, **options)
    rates = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's schedulers want an optimizer that steps
        for _ in range(n_steps):
            rates.append(optimizer.param_groups[0]["lr"])
            scheduler.step() if len(rates) < n_steps else None
    return rates


@pytest.mark.parametrize("n_steps", [10, 97, 400])
def test_onecycle_is_torchs_at_every_step(n_steps: int) -> None:
    theirs = torchs(lr_scheduler.OneCycleLR, n_steps, max_lr=1.0, total_steps=n_steps, cycle_momentum=False)
    assert factors("onecycle", n_steps, 10) == pytest.approx(theirs, abs=1e-9)
    options = {"pct_start": 0.45, "div_factor": 10.0, "final_div_factor": 50.0}
    theirs = torchs(lr_scheduler.OneCycleLR, n_steps, max_lr=1.0, total_steps=n_steps, cycle_momentum=False, **options)
    assert factors("onecycle(warmup=0.45, start=0.1, end=0.002)", n_steps, 10) == pytest.approx(theirs, abs=1e-9)


def test_onecycle_peaks_once_and_ends_where_it_was_told() -> None:
    values = factors("onecycle(warmup=0.25, end=0.01)", 40, 10)
    assert values[0] == pytest.approx(0.04)
    assert max(values) == values[9] == 1.0
    assert values[-1] == pytest.approx(0.01)
    assert factors("onecycle", 1, 10) == [1.0]
    assert factors("onecycle(warmup=0)", 5, 10)[0] <= 1
    assert factors("onecycle(warmup=1.0)", 5, 10)[-1] == 1.0


@pytest.mark.parametrize(("first", "factor"), [(1.0, 1), (2.0, 2), (0.5, 3)])
def test_warm_restarts_are_torchs_at_every_step(first: float, factor: int) -> None:
    theirs = torchs(lr_scheduler.CosineAnnealingWarmRestarts, 200, T_0=int(first * 10), T_mult=factor, eta_min=0.1)
    ours = factors(f"warm_restarts(first={first}, factor={factor}, end=0.1)", 200, 10)
    assert ours == pytest.approx(theirs, abs=1e-9)
    restarts = [step for step, value in enumerate(ours) if value == 1.0]
    assert restarts[:2] == [0, first * 10]


@pytest.mark.parametrize("text", ["warm_restarts(first=0)", "warm_restarts(factor=0.5)", "warm_restarts(first=-3.0)"])
def test_warm_restarts_must_come_to_an_end(text: str) -> None:
    with pytest.raises(PocketlensError, match="first must be above 0 epochs and factor at least 1"):
        factors(text, 3, 10)


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_polynomial_is_torchs_at_every_step(power: float) -> None:
    theirs = torchs(lr_scheduler.PolynomialLR, 60, total_iters=60, power=power)
    assert factors(f"polynomial(power={power})", 60, 10) == pytest.approx(theirs, abs=1e-9)


def test_polynomial_rises_and_ends_where_it_was_told() -> None:
    values = factors("polynomial(power=2, warmup=0.2, end=0.5)", 100, 10)
    assert values[:20] == pytest.approx([(step + 1) / 21 for step in range(20)])
    assert values[20] == 1.0
    assert values[-1] == pytest.approx(0.5 + 0.5 * (1 / 80) ** 2)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("triangle(warmup=2)", "triangle: warmup must be a number in 0..1, got 2"),
        ("constant(warmup=-0.1)", "constant: warmup must be"),
        ("cosine(end=1.5)", "cosine: end must be"),
        ("onecycle(start='x')", "onecycle: start must be"),
        ("polynomial(power=0)", "polynomial: power must be a number above 0"),
        ("step(every=0)", "step: every must be a number above 0"),
        ("step(gamma=2)", "step: gamma must be"),
        ("warm_restarts(end=-1)", "warm_restarts: end must be"),
    ],
)
def test_options_that_are_not_allowed_are_refused(text: str, says: str) -> None:
    with pytest.raises(PocketlensError, match=says.replace("(", r"\(")):
        factors(text, 10, 5)
