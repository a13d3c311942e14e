"""Domains of a search: their scales, how they are cut, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
from made_images import refused

from pocketlens.recipe import Recipe
from pocketlens.studies.samplers import grid_values, narrow_space, round_of, sample
from pocketlens.studies.space import read_space, start_values
from pocketlens.studies.store import Record, Trial

BASE = Recipe()
SPACE = read_space(
    "lr=log(0.01,1); optimizer.momentum=range(0.5,0.9); epochs=int(3,6); batch_size=logint(64,1024); "
    "augment=choice(none, flip | crop(pad=2))",
    BASE,
)


def test_units_map_to_the_scale_and_back() -> None:
    lr, momentum, epochs, batch, augment = SPACE
    assert [lr.from_unit(unit) for unit in (0, 0.5, 1)] == pytest.approx([0.01, 0.1, 1.0])
    assert momentum.from_unit(0.25) == pytest.approx(0.6)
    assert [epochs.from_unit(unit) for unit in (0, 0.3, 0.6, 0.999)] == [3, 4, 5, 6]
    assert batch.from_unit(0.0) == 64
    assert batch.from_unit(0.9999) == 1024
    assert augment.from_unit(0.9) == "flip | crop(pad=2)"
    for domain in (lr, momentum):
        value = domain.from_unit(0.37)
        assert domain.from_unit(domain.to_unit(value)) == pytest.approx(value, rel=1e-5)


def test_whole_numbers_are_equally_likely() -> None:
    epochs = SPACE[2]
    counts = np.bincount([epochs.from_unit(unit) for unit in np.random.default_rng(0).random(4000)])
    assert counts[3:] == pytest.approx([1000] * 4, abs=120)


def test_a_cut_holds_the_best_and_stays_inside() -> None:
    lr, _, epochs, _, augment = SPACE
    narrowed = lr.narrowed_to([0.05, 0.1, 0.2])
    assert 0.01 < narrowed.low < 0.05
    assert 0.2 < narrowed.high < 1
    whole = lr.narrowed_to([0.01, 1.0])
    assert (whole.low, whole.high) == pytest.approx((0.01, 1.0))
    assert epochs.narrowed_to([4, 5]).contains(4)
    assert augment.narrowed_to(["none", "none"]).choices == ("none",)


def test_the_base_is_the_start_where_it_lies_inside() -> None:
    assert start_values(read_space("lr=log(0.01,1)", BASE), BASE) == {"lr": 0.18}
    assert start_values(read_space("lr=log(0.2,1)", BASE), BASE) is None


def test_samples_depend_on_seed_and_number_alone() -> None:
    assert sample(SPACE, 0, 5) == sample(SPACE, 0, 5)
    assert sample(SPACE, 0, 5) != sample(SPACE, 0, 6)
    assert sample(SPACE, 0, 5) != sample(SPACE, 1, 5)
    few = read_space("epochs=int(1,2)", BASE)
    assert sample(few, 0, 1, [{"epochs": 1}]) == {"epochs": 2}


def records(scores: list[float | None], values: list[float]) -> list[Record]:
    trials = [Trial(n, f"trial {n}", "search", 0, BASE, (("lr", value),)) for n, value in enumerate(values)]
    return [
        Record(trial, "complete" if score is not None else "diverged", score=score)
        for trial, score in zip(trials, scores, strict=True)
    ]


def test_ranges_are_cut_to_those_of_the_best() -> None:
    space = read_space("lr=log(0.01,1)", BASE)
    found = records([0.9, 0.8, 0.3, None, 0.85], [0.1, 0.2, 0.9, 0.05, 0.15])
    (cut,) = narrow_space(space, found, 3)
    assert cut.low == pytest.approx(0.0933, abs=0.001)  # a tenth of the logarithmic span beyond 0.1
    assert cut.high == pytest.approx(0.2144, abs=0.001)
    assert narrow_space(space, records([0.9], [0.1]), 3) == space
    assert [round_of(n, 10, 2) for n in (0, 4, 5, 9)] == [0, 0, 1, 1]


def test_a_grid_is_as_fine_as_fits() -> None:
    space = read_space("lr=log(0.01,1); epochs=choice(1,2)", BASE)
    values = grid_values(space, 7)
    assert len(values) == 6
    assert sorted({value["lr"] for value in values}) == pytest.approx([0.01, 0.1, 1.0])


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("lr=0.1", "must be a domain"),
        ("lr=lin(0.1,1)", "must be a domain"),
        ("lr=log(1,0.1)", "the lower first"),
        ("lr=log(0.1)", "two numbers"),
        ("weight_decay=log(0,1)", "above 0"),
        ("lr=range(0,1)", "lr must be a number above 0"),
        ("batch_size=int(1,2.5)", "whole number"),
        ("model=choice(lens)", "at least two"),
        ("model=choice(lens, lenz)", "Did you mean 'lens'?"),
        ("model.widht=range(0.1,1)", "Did you mean 'width'?"),
        ("lr=log(0.1,1); lr=log(0.1,1)", "given twice"),
    ],
)
def test_mistakes_say_what_to_write(text: str, part: str) -> None:
    with refused(part):
        read_space(text, BASE)
