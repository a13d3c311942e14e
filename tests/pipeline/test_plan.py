"""auto's plan: the final training gets most of the time, what does not fit is left out, and the sums are right."""

from __future__ import annotations

import math
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
    Known,
    epochs_in,
    make_plan,
    short_in,
)

LOOKS = (("everything", 180.0), ("duplicates and odd images", 120.0), ("duplicates", 25.0))
CIFAR = Known(1800, 45_000, 5_000, 50_000, 9.0, 1024, 1 / 400, 1 / 1200, 2.5, 18.0, LOOKS, is_sealed=True)
DIGITS = Known(60, 1_293, 145, 1_438, 16.0, 128, 1 / 700, 1 / 6000, 2.7, 3.0, (("all", 8.0), ("some", 2.0)), True)
MINUTES = (0.02, 0.2, 1, 3, 8, 15, 30, 60, 120, 600, 5000)


@pytest.mark.parametrize("minutes", MINUTES)
@pytest.mark.parametrize("kind", ["cifar", "digits", "closed", "graphics card", "no validation"])
def test_all_parts_fit_and_the_final_training_gets_most(kind: str, minutes: float) -> None:
    known = {
        "cifar": CIFAR,
        "digits": DIGITS,
        "closed": replace(CIFAR, is_sealed=False, n_final=45_000),
        "graphics card": replace(CIFAR, image=1 / 20_000, judge=1 / 60_000, start=8.0),
        "no validation": replace(DIGITS, n_train=1_438, n_val=0),
    }[kind]
    known = replace(known, limit=60 * minutes, end=min(known.end, 0.3 * 60 * minutes))
    plan = make_plan(known, 0.0)
    assert sum(part.seconds for part in plan.parts) <= known.limit * (1 + 1e-9)
    final = plan.part("final")
    assert final is not None
    least = min(MOST_EPOCHS * known.once, LEAST_FINAL * known.limit, known.limit - known.end)
    checked = plan.part("check")
    assert final.seconds >= (0.5 if checked else 1.0) * least * (1 - 1e-9)
    assert final.epochs <= MOST_EPOCHS * known.epochs
    assert final.epochs * known.n_final >= 3.9 * min(known.batch_size, known.n_final), "a few steps, whatever the time"
    assert [part.name for part in plan.parts][-2:] == ["final", "test"]
    for study in SHARES:
        assert (plan.part(study) is None) == (study in dict(plan.left_out) or kind == "no validation")
    any_study = any(plan.part(study) for study in SHARES)
    assert (checked is not None) == (known.is_sealed and known.n_val > 0 and not any_study)


def test_twenty_of_thirty_minutes_go_into_the_final_training_on_cifar_100() -> None:
    plan = make_plan(CIFAR, 0.0)
    final = plan.part("final")
    assert final is not None
    assert final.seconds >= 20 * 60
    assert final.epochs >= 9
    assert all("would take" in why for _, why in plan.left_out)


def test_what_fits_comes_in_order_and_grows_with_the_time() -> None:
    seen = [[part.name for part in make_plan(replace(CIFAR, limit=60.0 * m), 0.0).parts] for m in (30, 60, 120, 600)]
    studies = [[name for name in names if name in SHARES] for names in seen]
    assert studies == [[], ["augment"], ["augment", "models"], ["augment", "models", "search"]]


@pytest.mark.parametrize("kind", sorted(SHARES))
@pytest.mark.parametrize("known", [CIFAR, DIGITS, replace(CIFAR, limit=36_000)], ids=["cifar", "digits", "long"])
def test_a_short_training_is_a_complete_schedule_that_says_something(kind: str, known: Known) -> None:
    sizes = []
    for seconds in (1, 3, 10, 30, 100, 300, 1000, 3000):
        short = short_in(seconds, known, kind)
        sizes.append(0.0 if short is None else short.rows * short.epochs)
        if short is None:
            continue
        assert short.seconds <= 1.15 * seconds
        assert short.rows <= known.n_train
        assert math.floor(known.epochs * 2 / 3) <= short.epochs <= known.epochs
        assert known.batch_size * LEAST_OF_BATCH <= short.batch_size <= known.batch_size
        assert kind != "search" or short.batch_size == known.batch_size
        assert short.rows * short.epochs / short.batch_size >= 0.95 * LEAST_STEPS
    assert sizes == sorted(sizes)
    assert sizes[-1] > 0 if known is not CIFAR else True


def test_a_plan_anew_leaves_out_what_is_done_and_keeps_to_what_is_left() -> None:
    known = replace(CIFAR, limit=3600.0)
    plan = make_plan(known, 1500.0, ("plan", "look", "augment"))
    names = [part.name for part in plan.parts]
    assert names == ["final", "test"], "a comparison has shown that the recipe learns: no check"
    assert 1500 + sum(part.seconds for part in plan.parts) <= 3600
    late = make_plan(known, 4000.0, ("look",))
    assert sum(part.seconds for part in late.parts if part.name != "test") <= 0.0


def test_the_epochs_of_the_final_training_by_hand() -> None:
    known = replace(CIFAR, n_final=50_000, image=1 / 500, epochs=10.0)
    assert known.once == pytest.approx(SLACK * 10 * 50_000 / 500)
    assert epochs_in(known.once, known) == 10.0
    assert epochs_in(0.55 * known.once, known) == 5.5
    assert epochs_in(2.47 * known.once, known) == 24.0
    assert epochs_in(99 * known.once, known) == 30.0
    assert epochs_in(0.0, known) == round(4 * 1024 / 50_000, 3)
    kept = replace(known, is_sealed=False)
    assert kept.once == pytest.approx(SLACK * 10 * (50_000 / 500 + 5_000 / 1200))
    assert LEAST_FINAL < MOST_FINAL < 1
