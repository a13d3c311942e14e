"""Running studies: trials that end badly cost only themselves, and what was killed goes on without doing it twice."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from children import child, receive
from made_studies import (
    ONE_THREAD,
    PLANTED,
    close_after,
    empty_study,
    fake_result,
    new_comparison,
    planted_work,
    run_all,
)
from made_trainings import PLAIN, contents, new_run

from pocketlens.events import TrialEnded, TrialStarted
from pocketlens.recipe import Recipe
from pocketlens.studies import process
from pocketlens.studies.pool import run_study
from pocketlens.studies.process import Limits, read_outcome
from pocketlens.studies.store import Study, Trial

HUGE = PLAIN.changed(model="mlp(hidden=(400000,))")  # 691 MB of weights


def planted(folder: Path, recipes: list[Recipe]) -> Study:
    study = empty_study(folder)
    study.enqueue([Trial(number, str(number), "search", number, recipe) for number, recipe in enumerate(recipes)])
    return study


def test_bad_trials_are_labelled_by_cause_and_cost_only_themselves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "_work", planted_work)
    causes = ["killed", "failed", "no result"]
    recipes = [PLAIN.changed(lr=lr) for lr, cause in PLANTED.items() if cause in causes]
    study = planted(tmp_path, [*recipes, PLAIN.changed(lr=1e20), PLAIN])
    run_all(study, jobs=2)
    found = study.records()
    assert [record.status for record in found] == [*causes, "diverged", "complete"]
    assert "SIGKILL" in found[0].reason
    assert found[1].reason == "planted"
    assert "loss is nan" in found[3].reason
    assert found[4].score is not None
    assert all(record.score is None for record in found[:4])


def test_a_trial_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_work", planted_work)
    study = planted(tmp_path, [PLAIN.changed(lr=lr) for lr, cause in PLANTED.items() if cause == "hangs"])
    run_all(study, Limits(threads=1, seconds=0.5))
    assert study.records()[0].status == "hangs"


@pytest.mark.slow
def test_6_planted_trials_of_20(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_work", planted_work)
    bad = [*(PLAIN.changed(lr=lr) for lr in PLANTED), PLAIN.changed(lr=1e20), HUGE]
    good = [PLAIN.changed(epochs=1.0 + number / 16) for number in range(14)]
    study = planted(tmp_path, [*bad, *good])
    run_all(study, Limits(threads=1, seconds=20, memory=600_000_000), jobs=2)
    statuses = [record.status for record in study.records()]
    assert statuses[:6] == [*PLANTED.values(), "diverged", "out of memory"]
    assert statuses[6:] == ["complete"] * 14


def test_causes_are_read_from_exit_code_folder_and_log(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    cases = [
        ("new", "", -9, "", "killed"),
        ("running", "", 0, "", "no result"),
        ("failed", 'RuntimeError("DefaultCPUAllocator: can\'t allocate memory")', 1, "", "out of memory"),
        ("failed", "out of memory", 1, "", "out of memory"),
        ("running", "", 1, "memory limit: 5 MB\nlibgomp: Thread creation failed: unavailable", "out of memory"),
        ("running", "", 1, "libgomp: Thread creation failed: unavailable", "failed"),
        ("failed", "KeyError('x')", 1, "", "failed"),
        ("diverged", "the loss was not finite", 1, "", "diverged"),
        ("stopped", "after step 3", 0, "", "killed"),
        ("complete", "", 0, "", "complete"),
    ]
    for status, reason, code, log, wanted in cases:
        run.set_status(status, reason)
        run.file("trial.log").write_text(log)
        assert read_outcome(run, code).status == wanted, (status, reason, code, log)
    run.file("status.json").write_text("{}")
    assert read_outcome(run, 0).status == "no result"


def test_all_trials_fail(tmp_path: Path) -> None:
    study = planted(tmp_path, [PLAIN.changed(lr=1e20)])
    (ended,) = run_all(study)
    assert (ended.status, ended.score) == ("diverged", None)


@pytest.mark.slow
def test_what_was_stopped_goes_on_and_ends_with_the_same_bytes(tmp_path: Path) -> None:
    study = new_comparison(tmp_path, repeats=1)
    close_after(run_study(study, ONE_THREAD), 2)
    assert not any(record.status == "running" for record in study.records())
    again = run_all(Study(study.path))
    records = Study(study.path).records()
    assert [record.status for record in records] == ["complete"] * 2
    assert len(again) <= 2
    assert sum(line["event"] == "ended" for line in study.journal.lines()) == 2
    assert run_all(Study(study.path)) == []  # there is nothing to do any more
    trial = study.run(records[0].trial)
    assert len(trial.checkpoint_files()) == 1
    assert [record["epoch"] for record in trial.history()] == [1, 2, 3]  # no overlap, no gap
    second = new_comparison(tmp_path / "second", repeats=1)
    run_all(second)
    hashes = [contents(s.run(s.records()[0].trial)) for s in (study, second)]
    for name in ("history.jsonl", "predictions-val.safetensors"):
        assert hashes[0][name] == hashes[1][name]


def test_a_trial_that_had_ended_when_all_was_killed_is_not_trained_again(tmp_path: Path) -> None:
    study = new_comparison(tmp_path, repeats=1)
    for record in study.records():
        fake_result(study, record, 0.75)
    events = list(run_study(study, ONE_THREAD))
    assert not any(isinstance(event, TrialStarted) for event in events)
    first, second = (event for event in events if isinstance(event, TrialEnded))
    assert [first.trial.what, second.trial.what] == ["base, seed 0", "lr=0.2, seed 0"]
    assert (first.status, first.score, first.best, first.total) == ("complete", 0.75, 0.75, 2)
    assert second.trial.folder == study.run(study.records()[1].trial).path
    assert [record.score for record in study.records()] == [0.75, 0.75]


def go_on(pipe: Any, path: Path) -> None:
    pipe.send("ready")
    run_all(Study(path))
    pipe.send("done")


def killed_often(folder: Path, n_kills: int, n_repeats: int) -> None:
    study, chance = new_comparison(folder, repeats=n_repeats), random.Random(1)
    for _ in range(n_kills):
        with child(go_on, study.path) as (killed, pipe):
            receive(pipe)
            killed.join(chance.uniform(0.1, 1.2))
        assert not any(record.status == "running" for record in Study(study.path).records())
    run_all(Study(study.path))
    records = Study(study.path).records()
    assert [record.status for record in records] == ["complete"] * 2 * n_repeats
    ended = [line["trial"] for line in Study(study.path).journal.lines() if line["event"] == "ended"]
    assert sorted(ended) == list(range(2 * n_repeats)), "each trial has ended once"


@pytest.mark.slow
def test_a_killed_study_finishes_what_is_missing(tmp_path: Path) -> None:
    killed_often(tmp_path, n_kills=1, n_repeats=1)


@pytest.mark.slow
def test_a_study_killed_10_times(tmp_path: Path) -> None:
    killed_often(tmp_path, n_kills=10, n_repeats=4)
