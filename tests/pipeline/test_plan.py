"""auto's plan: the final training gets most of the time, what does not fit is skipped, and the sums are right."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import pytest

from pocketlens.pipeline.plan import (
    LEAST_FINAL,
    LEAST_OF_BATCH,
    LEAST_STEPS,
    MOST_EPOCHS,
    MOST_FINAL,
    SHARES,
    SLACK,
    PlanInputs,
    epochs_in,
    make_plan,
    short_in,
)

AUDITS = {"everything": 180.0, "duplicates and outliers": 120.0, "duplicates": 25.0}
CIFAR = PlanInputs(1800, 45_000, 5_000, 50_000, 9.0, 1024, 1 / 400, 1 / 1200, 2.5, 18.0, AUDITS, opens=True)
DIGITS = PlanInputs(60, 1_293, 145, 1_438, 16.0, 128, 1 / 700, 1 / 6000, 2.7, 3.0, {"all": 8.0, "some": 2.0}, True)
MINUTES = (0.02, 0.2, 1, 3, 8, 15, 30, 60, 120, 600, 5000)


@pytest.mark.parametrize("minutes", MINUTES)
@pytest.mark.parametrize("kind", ["cifar", "digits", "closed", "graphics card", "no validation"])
def test_all_parts_fit_and_the_final_training_gets_most(kind: str, minutes: float) -> None:
    inputs = {
        "cifar": CIFAR,
        "digits": DIGITS,
        "closed": replace(CIFAR, opens=False, n_final=45_000),
        "graphics card": replace(CIFAR, train_seconds=1 / 20_000, predict_seconds=1 / 60_000, startup=8.0),
        "no validation": replace(DIGITS, n_train=1_438, n_val=0),
    }[kind]
    inputs = replace(inputs, limit=60 * minutes, closing=min(inputs.closing, 0.3 * 60 * minutes))
    plan = make_plan(inputs, 0.0)
    assert sum(phase.seconds for phase in plan.phases) <= inputs.limit * (1 + 1e-9)
    final = plan.phase("final")
    assert final is not None
    least = min(MOST_EPOCHS * inputs.final_seconds, LEAST_FINAL * inputs.limit, inputs.limit - inputs.closing)
    checked = plan.phase("check")
    assert final.seconds >= (0.5 if checked else 1.0) * least * (1 - 1e-9)
    assert final.epochs <= MOST_EPOCHS * inputs.epochs
    assert final.epochs * inputs.n_final >= 3.9 * min(inputs.batch_size, inputs.n_final), (
        "a few steps, whatever the time"
    )
    assert [phase.name for phase in plan.phases][-2:] == ["final", "test"]
    for study in SHARES:
        assert (plan.phase(study) is None) == (study in plan.skipped or kind == "no validation")
    any_study = any(plan.phase(study) for study in SHARES)
    assert (checked is not None) == (inputs.opens and inputs.n_val > 0 and not any_study)


def test_twenty_of_thirty_minutes_go_into_the_final_training_on_cifar_100() -> None:
    plan = make_plan(CIFAR, 0.0)
    final = plan.phase("final")
    assert final is not None
    assert final.seconds >= 20 * 60
    assert final.epochs >= 9
    assert all("would take" in why for why in plan.skipped.values())


def test_what_fits_comes_in_order_and_grows_with_the_time() -> None:
    seen = [[phase.name for phase in make_plan(replace(CIFAR, limit=60.0 * m), 0.0).phases] for m in (30, 60, 120, 600)]
    studies = [[name for name in names if name in SHARES] for names in seen]
    assert studies == [[], ["augment"], ["augment", "models"], ["augment", "models", "search"]]


@pytest.mark.parametrize("kind", sorted(SHARES))
@pytest.mark.parametrize("inputs", [CIFAR, DIGITS, replace(CIFAR, limit=36_000)], ids=["cifar", "digits", "long"])
def test_a_short_training_is_a_complete_schedule_that_says_something(kind: str, inputs: PlanInputs) -> None:
    sizes = []
    for seconds in (1, 3, 10, 30, 100, 300, 1000, 3000):
        short = short_in(seconds, inputs, kind)
        sizes.append(0.0 if short is None else short.rows * short.epochs)
        if short is None:
            continue
        assert short.seconds <= 1.15 * seconds
        assert short.rows <= inputs.n_train
        assert math.floor(inputs.epochs * 2 / 3) <= short.epochs <= inputs.epochs
        assert inputs.batch_size * LEAST_OF_BATCH <= short.batch_size <= inputs.batch_size
        assert kind != "search" or short.batch_size == inputs.batch_size
        assert short.rows * short.epochs / short.batch_size >= 0.95 * LEAST_STEPS
    assert sizes == sorted(sizes)
    assert sizes[-1] > 0 if inputs is not CIFAR else True


def test_a_later_plan_skips_what_is_done_and_keeps_to_the_time_left() -> None:
    inputs = replace(CIFAR, limit=3600.0)
    plan = make_plan(inputs, 1500.0, ("plan", "look", "augment"))
    names = [phase.name for phase in plan.phases]
    assert names == ["final", "test"], "a comparison has shown that the recipe learns: no check"
    assert 1500 + sum(phase.seconds for phase in plan.phases) <= 3600
    late = make_plan(inputs, 4000.0, ("look",))
    assert sum(phase.seconds for phase in late.phases if phase.name != "test") <= 0.0


def test_the_epochs_of_the_final_training_by_hand() -> None:
    inputs = replace(CIFAR, n_final=50_000, train_seconds=1 / 500, epochs=10.0)
    assert inputs.final_seconds == pytest.approx(SLACK * 10 * 50_000 / 500)
    assert epochs_in(inputs.final_seconds, inputs) == 10.0
    assert epochs_in(0.55 * inputs.final_seconds, inputs) == 5.5
    assert epochs_in(2.47 * inputs.final_seconds, inputs) == 24.0
    assert epochs_in(99 * inputs.final_seconds, inputs) == 30.0
    assert epochs_in(0.0, inputs) == round(4 * 1024 / 50_000, 3)
    kept = replace(inputs, opens=False)
    assert kept.final_seconds == pytest.approx(SLACK * 10 * (50_000 / 500 + 5_000 / 1200))
    assert LEAST_FINAL < MOST_FINAL < 1


def test_a_set_that_is_too_small_for_any_study_is_told_so() -> None:
    tiny = replace(DIGITS, n_train=87, n_val=9, n_final=96)
    skipped = make_plan(tiny, 0.0).skipped
    assert all("too few training rows" in skipped[kind] for kind in SHARES)
    assert all("at least" in make_plan(DIGITS, 0.0).skipped.get(kind, "at least") for kind in SHARES)


@pytest.mark.parametrize("n", [24, 30, 60, 87, 130, 300])
@pytest.mark.parametrize("batch_size", [128, 1024])
def test_small_data_is_never_told_of_hundreds_of_hours(n: int, batch_size: int) -> None:
    for seconds in (1 / 20, 1 / 400, 1 / 7000):
        sizes = {"n_train": n, "n_val": n // 9, "n_final": n + n // 9, "batch_size": batch_size}
        inputs = replace(DIGITS, **sizes, train_seconds=seconds, predict_seconds=seconds / 3)  # type: ignore[arg-type]
        for why in make_plan(inputs, 0.0).skipped.values():
            hours = re.search(r"([\d,]+) h", why)
            assert hours is None or int(hours[1]) < 10, why


def test_an_audit_that_is_left_out_is_told_with_a_guess_and_with_the_time_that_was_for_it() -> None:
    skipped = make_plan(DIGITS, 0.0).skipped
    assert skipped["audit for all"] == "it would take about 8.0 s or more, and 6.0 s are for it"
