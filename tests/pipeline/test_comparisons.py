"""auto's comparisons and search: the candidates, the short trainings, and what changes the recipe."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from made_trainings import made_data

from pocketlens.data.split import make_split
from pocketlens.datasets import load
from pocketlens.events import Note, Stage, Step
from pocketlens.pipeline import comparisons
from pocketlens.pipeline.candidates import augment_variants, model_variants, search_space
from pocketlens.pipeline.comparisons import _excess, run_comparison
from pocketlens.pipeline.plan import PlannedPhase, ShortTraining
from pocketlens.pipeline.session import open_session
from pocketlens.pipeline.short_training import short_split
from pocketlens.pipeline.state import AutoRequest, AutoState
from pocketlens.pipeline.task import Task
from pocketlens.recipe import read_recipe
from pocketlens.studies.overrides import Variant
from pocketlens.studies.process import Limits
from pocketlens.studies.store import Record, Trial, all_studies
from pocketlens.training.frontier import mean_multiply_adds

SHORT = ShortTraining(rows=400, epochs=3.0, batch_size=64, n_val=100, seconds=1.0)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def test_augmentations_follow_the_kind_of_images() -> None:
    digits, _ = load("digits")
    grey = [v.recipe.augment for v in augment_variants(read_recipe("small"), digits)]
    assert grey == ["crop(pad=1)", "flip | crop(pad=1)", "crop(pad=1) | cutout(size=2)"]
    colour = made_data(20, (32, 32, 3))
    texts = [v.recipe.augment for v in augment_variants(read_recipe("default"), colour)]
    assert texts[0] == "flip | crop(pad=2)"
    assert all(text.startswith("flip | crop(pad=2) | ") for text in texts[1:])


def test_models_are_compared_at_equal_cost() -> None:
    digits, _ = load("digits")
    base = read_recipe("small")
    variants = model_variants(base, digits)
    assert len({variant.recipe.model for variant in variants}) == len(variants) >= 2
    images = digits.shape, len(digits.classes)
    for variant in variants:
        spent = variant.recipe.epochs * mean_multiply_adds(variant.recipe, *images)
        assert spent == pytest.approx(base.epochs * mean_multiply_adds(base, *images), rel=0.01)
        assert variant.recipe.augment == base.augment
    addresses = [part.split("=")[0] for part in search_space(read_recipe("default")).split("; ")]
    assert addresses == ["lr", "optimizer.momentum", "loss.smoothing"]


def test_a_short_split_has_fewer_rows_of_the_same_parts() -> None:
    digits, _ = load("digits")
    split = make_split(digits)
    short = short_split(split, digits, 300, 50)
    assert (len(short.train), len(short.val)) == (300, 50)
    assert set(short.train) <= set(split.train)
    assert set(short.val) <= set(split.val)
    assert len(short_split(split, digits, 3, 0).train) == 10, "one of each class"


def test_the_excess_is_how_much_longer_the_median_training_took() -> None:
    trial = Trial(0, "base", "repeats", 0, read_recipe("small"))

    def study(*seconds: float) -> Any:
        done = [Record(trial, "complete", score=0.5, seconds=s) for s in seconds]
        return SimpleNamespace(records=lambda: [*done, Record(trial, "failed", seconds=99.0), Record(trial)])

    assert _excess(study(3.0, 8.0, 5.0), expected=1.5) == 3.5
    assert _excess(study(3.0, 8.0, 5.0), expected=6.0) == 0.0, "quicker trainings change nothing"
    assert _excess(study(), expected=1.5) == 0.0, "nor does a study in which none has finished"


@pytest.fixture
def task(tmp_path: Path) -> Iterator[Task]:
    base = read_recipe("small").changed(model="mlp", optimizer="sgd(momentum=0.9)", lr=0.02, batch_size=64, epochs=6.0)
    fresh = AutoState(AutoRequest("digits", 10.0, False, "f"), base, opens=True, loading=0.0)
    digits, sealed = load("digits")
    with open_session(fresh, tmp_path, time.monotonic()) as session:
        yield Task(session, digits, sealed, make_split(digits), tmp_path, Limits(threads=1))


def run(task: Task, phase: PlannedPhase) -> list[Note | Step | Stage]:
    return list(run_comparison(task, phase))


@pytest.mark.slow
def test_a_verdict_changes_the_recipe_and_nothing_else_does(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    def variants(base: Any, _: Any) -> Any:
        good, poor = base.changed(lr=0.02), base.changed(lr=1e-6)
        return [Variant("base", poor), Variant("good", good)]

    monkeypatch.setattr(comparisons, "augment_variants", variants)
    monkeypatch.setattr(comparisons, "model_variants", lambda base, data: variants(base, data)[:1])
    phase = PlannedPhase("augment", 900.0, short=SHORT, n_candidates=2, repeats=3)
    session = task.session
    assert not [event for event in run(task, phase) if isinstance(event, Stage)], "the caller yields the stage"
    result = session.state.done["augment"]
    assert result.choice == "good", result.lines
    assert session.state.base.lr == 0.02
    assert (session.state.base.epochs, session.state.base.batch_size) == (6.0, 64), "those of a final training"
    (study,) = all_studies(session.path)
    assert len(study.records()) == 6
    assert all(len(study.run(record.trial).split.train) == 400 for record in study.records())
    run(task, replace(phase, name="models"))
    assert session.state.done["models"].lines[0].startswith("skipped: ")


@pytest.mark.slow
def test_a_comparison_ends_with_its_time(task: Task) -> None:
    phase = PlannedPhase("augment", 0.5, short=SHORT, n_candidates=3, repeats=5)
    events = run(task, phase)
    assert any(isinstance(event, Note) and event.text.startswith("time is up") for event in events)
    session = task.session
    (study,) = all_studies(session.path)
    assert any(not record.is_ended for record in study.records())
    assert session.state.done["augment"].choice is None
    assert session.state.base.augment == "crop(pad=1)"
    taken = [record.seconds for record in study.records() if record.status == "complete"]
    assert session.state.expected == SHORT.seconds
    assert session.state.excess == (max(float(np.median(taken)) - SHORT.seconds, 0.0) if taken else 0.0)


@pytest.mark.slow
def test_a_search_changes_the_recipe_only_where_new_seeds_say_so(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    session = task.session
    monkeypatch.setattr(comparisons, "MOST_TRIALS", 4)
    base = session.state.base.changed(lr=1e-4)  # far too small, so that the search finds a better one
    session.save(replace(session.state, base=base))
    monkeypatch.setattr(comparisons, "search_space", lambda base: "lr=log(1e-4,0.05)")
    run(task, PlannedPhase("search", 300.0, short=SHORT, n_candidates=4, repeats=3))
    stage, choice = session.stage("search"), session.state.done["search"].choice
    assert stage.facts["n_trials"] in (4 + 3 * 3, 4 + 3 * 4), "the base may be one of the best three"
    assert any("expected selection bias" in line for line in stage.lines)
    if choice is None:
        assert session.state.base.lr == 1e-4
    else:
        assert session.state.base.lr == stage.facts["chosen"]["lr"] > 1e-4
        assert choice.startswith("lr=")
        assert any(": better, +" in line for line in stage.lines)
    assert (session.state.base.epochs, session.state.base.batch_size) == (6.0, 64)
