"""auto: the phases in their order, the time limit, the sealed test set, the result, and kills at any moment."""

from __future__ import annotations

import json
import random
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from children import child, receive
from made_sessions import followed

from pocketlens.cli import main
from pocketlens.display.progress import follow
from pocketlens.display.screen import Screen
from pocketlens.errors import PocketlensError
from pocketlens.evaluation import open_test as evaluate
from pocketlens.events import Note, Progress, Stage, Step
from pocketlens.files import read_json
from pocketlens.pipeline import AutoOptions, AutoResult, planning, run_auto
from pocketlens.pipeline.entry import open_task
from pocketlens.pipeline.final import experiment_of, final_split
from pocketlens.pipeline.final_score import superclass_lines
from pocketlens.pipeline.session import AutoSession
from pocketlens.pipeline.state import Measured
from pocketlens.recipe import Recipe, read_recipe
from pocketlens.scoring.ledger import all_openings
from pocketlens.training.run import Run, all_runs

SHORT = 0.04  # minutes: a few steps of each training


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def run_to_end(runs: Path, minutes: float = SHORT) -> tuple[list[Stage], AutoResult]:
    """The stages that are yielded, and the result that is returned."""
    said, result = followed(run_auto(AutoOptions("digits", minutes=minutes, runs=runs)))
    return [event for event in said if isinstance(event, Stage)], result


def stages_of(runs: Path, minutes: float = SHORT) -> list[Stage]:
    return run_to_end(runs, minutes)[0]


def only(stages: list[Stage], name: str) -> Stage:
    (stage,) = [stage for stage in stages if stage.name == name]
    return stage


def state_of(runs: Path) -> Any:
    """The newest session's auto.json."""
    return read_json(max((runs / "autos").glob("*/auto.json")))


def test_end_to_end_and_once_more(tmp_path: Path) -> None:
    stages, result = run_to_end(tmp_path)
    names = list(dict.fromkeys(stage.name for stage in stages))  # a busy machine may make it restart a training
    assert names == ["auto", "data", "plan", "look", "check", "train", "final", "test", "report"]

    report = only(stages, "report")
    assert Path(report.facts["report"]).stat().st_size > 10_000
    assert Path(report.facts["samples"]).read_bytes().startswith(b"\x89PNG")
    page = result.page.read_text(encoding="utf-8")
    assert "Final training" in page
    assert f'Session <span class="mono">{result.session}</span>' in page
    assert f"{result.run.id}/report.html" in page
    run = Run.open(str(result.run.path))
    assert run.status()[0] == "complete"
    assert len(run.split.train) == 1438, "the final training has the validation rows, too"
    assert [run.id for run in all_runs(tmp_path)] == [f"{result.session}-check", run.id]

    test = only(stages, "test")
    assert test.facts["opened"]
    assert result.test is not None
    assert result.test.top1.value is not None
    assert 0 <= result.test.top1.value == test.facts["test"]["top1"]["value"] <= 1
    assert [entry.run for entry in all_openings()] == [run.id] == [result.run.id]
    assert state_of(tmp_path)["finished"] == "complete"
    assert result.choices == {}, "there was no time for comparisons"
    assert result.stages == tuple(stage for stage in stages if stage.name not in ("auto", "data", "train"))
    assert result.seconds == state_of(tmp_path)["spent"] > 0

    again, kept = run_to_end(tmp_path)
    second = only(again, "test")
    assert "resume" not in [stage.name for stage in again], "a finished session is not resumed"
    assert kept.test is None, "the test set has been opened before"
    assert not second.facts["opened"]
    assert "opened once before" in second.lines[0]
    assert "%" in second.lines[1], "the validation score stands in"
    assert len(Run.open(str(kept.run.path)).split.val) == 145, "so validation rows stay out of the final training"
    assert len(all_openings()) == 1


def test_too_little_time_is_said(tmp_path: Path) -> None:
    events = run_auto(AutoOptions("digits", minutes=0.001, runs=tmp_path))
    plan = next(event for event in events if isinstance(event, Stage) and event.name == "plan")
    events.close()
    assert any("too little time" in line for line in plan.lines)


def test_plenty_of_time_is_not_called_too_little(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fast device needs a small part of the time for the most epochs that a final training gets."""
    monkeypatch.setattr(planning, "_measure", lambda _task, recipe: Measured(recipe, 1e-6, 1e-7, {"8": 1e-4}))
    events = run_auto(AutoOptions("digits", minutes=5, runs=tmp_path))
    plan = next(event for event in events if isinstance(event, Stage) and event.name == "plan")
    events.close()
    assert plan.facts["seconds"]["final"] < 30
    assert not any("too little time" in line for line in plan.lines)


@pytest.mark.parametrize("minutes", [0.0, -1.0, float("inf"), float("nan")])
def test_minutes_must_be_above_0(minutes: float) -> None:
    with pytest.raises(PocketlensError, match="minutes must be above 0"):
        next(run_auto(AutoOptions("digits", minutes=minutes)))


@pytest.mark.slow
def test_a_stopped_session_resumes_with_exactly_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    for stop_after in ("plan", "look", "check", "train", "final"):
        for event in (events := run_auto(AutoOptions("digits", minutes=SHORT, runs=tmp_path))):
            if isinstance(event, Stage) and event.name == "resume":
                done = [name for name in state_of(tmp_path)["done"] if name != "plan"]
            if isinstance(event, Stage) and event.name == stop_after:
                break
        events.close()
        files = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*-check/checkpoint-*")}
        assert stop_after not in ("check", "train", "final") or files
    assert done == ["look", "check"]
    with monkeypatch.context() as patched:  # killed between the opening and its score
        patched.setattr(evaluate, "store_scores", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            stages_of(tmp_path)
    assert len(all_openings()) == 1
    for event in (events := run_auto(AutoOptions("digits", minutes=SHORT, runs=tmp_path))):
        if isinstance(event, Stage) and event.name == "test":
            break
    events.close()
    stages, result = run_to_end(tmp_path)
    assert only(stages, "resume").lines[0].endswith("spent")
    assert files == {path: path.stat().st_mtime_ns for path in tmp_path.glob("*-check/checkpoint-*")}
    assert only(stages, "test").facts["openings"] == len(all_openings()) == 1
    assert [stage.name for stage in result.stages] == ["plan", "look", "check", "final", "test", "report"]
    assert len(list((tmp_path / "autos").iterdir())) == 1
    assert len(all_runs(tmp_path)) == 2


@pytest.mark.slow
def test_auto_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    command = ["auto", "digits", "--minutes", str(SHORT), "--threads", "1", "--device", "cpu", "--json"]
    begun = run_auto(AutoOptions("digits", minutes=SHORT, runs=Path("pocketlens-runs")))
    for event in begun:
        if isinstance(event, Stage) and event.name == "plan":
            begun.close()
    assert main([*command, "--new"]) == 0
    out, err = capsys.readouterr()
    result: dict[str, Any] = json.loads(out)
    assert Path(result["report"]).is_file()
    assert Path(result["page"]).is_file()
    assert [stage["stage"] for stage in result["stages"]][:3] == ["auto", "data", "plan"]
    assert "is closed" in err
    assert "next: pocketlens" in err
    assert all(run.experiment.made_by for run in all_runs(Path("pocketlens-runs")))
    finished = [read_json(path)["finished"] for path in sorted(Path("pocketlens-runs/autos").glob("*/auto.json"))]
    assert finished == ["given up", "complete"]


@pytest.mark.slow
def test_where_the_time_is_too_short_for_the_default_a_smaller_network_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pocketlens.recipe.SMALL", 0)  # as if the digits were many
    monkeypatch.setattr(planning, "FEW_EPOCHS", 99.0)
    events, notes = run_auto(AutoOptions("digits", minutes=SHORT, runs=tmp_path)), []
    for event in events:
        if isinstance(event, Note):
            notes.append(event.text)
        if isinstance(event, Stage) and event.name == "plan":
            break
    events.close()
    assert any("switching to lens(width=0.5)" in note for note in notes)
    assert state_of(tmp_path)["base"]["model"] == "lens(width=0.5)"
    assert state_of(tmp_path)["base"]["augment"] == read_recipe("grey").augment


# ---- what is said


def test_superclasses_are_judged_from_the_same_opening() -> None:
    labels = np.array([0, 1, 2, 3] * 5)
    logits = np.full((20, 4), -9.0, np.float32)
    logits[np.arange(20), labels ^ 1] = 9.0  # always the other class of the same superclass
    predictions = evaluate.Predictions("test", np.arange(20), labels, logits)
    classes = ("ant", "bee", "cat", "dog")
    fine = evaluate.score(predictions, classes, ("insect", "mammal"), (0, 0, 1, 1))
    assert fine.top1.value == 0
    (line,) = superclass_lines(fine)
    assert line.startswith("2 superclasses: 100.00 %")
    assert superclass_lines(evaluate.score(predictions, classes, None, None)) == ()
    assert superclass_lines(evaluate.score(predictions, classes, classes, (0, 1, 2, 3))) == ()


def test_the_parts_of_other_works_move_the_bar(capsys: pytest.CaptureFixture[str]) -> None:
    events = [Step("looking", 1, 4), Stage("look", ("found", "nothing"))]
    assert follow((event for event in events), Screen()).exit_code == 0
    assert capsys.readouterr().out == "look     found\n         nothing\n"


# ---- kills and slow machines


def run_in_child(pipe: Any, runs: Path, minutes: float) -> None:
    """In a child: runs to the end and says when it is done."""
    pipe.send("begun")
    for _ in run_auto(AutoOptions("digits", minutes=minutes, runs=runs)):
        pass
    pipe.send("done")


@pytest.mark.slow
def test_killed_at_random_moments_it_finishes_once(tmp_path: Path) -> None:
    chance, kills, done = random.Random(0), 0, False
    while not done:
        with child(run_in_child, tmp_path, 0.5) as (process, pipe):
            receive(pipe)
            process.join(chance.uniform(0.5, 8.0) if kills < 8 else 120.0)
            done = process.exitcode == 0
            kills += not done
        assert kills < 12
    assert kills >= 3
    state = state_of(tmp_path)
    assert state["finished"] == "complete"
    sessions = list(
        (tmp_path / "autos").glob("*/auto.json")
    )  # a kill before this file is written leaves an empty folder
    assert len(sessions) == 1
    assert len(all_openings()) == 1
    finals = [run for run in all_runs(tmp_path) if "-final" in run.id]
    assert [run.status()[0] for run in finals][-1] == "complete"
    assert 0 <= state["done"]["test"]["facts"]["test"]["top1"]["value"] <= 1


@pytest.mark.slow
def test_a_minute_is_enough_for_the_digits(tmp_path: Path) -> None:
    stages = stages_of(tmp_path, 1.0)
    assert only(stages, "test").facts["test"]["top1"]["value"] > 0.9


@pytest.mark.slow
def test_a_wrong_measurement_is_put_right_by_the_first_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps seem to take 20 times as long as they do: the final training restarts, once, with more epochs."""
    measure = planning._measure

    def wrong(task: Any, recipe: Recipe) -> Measured:
        measured = measure(task, recipe)
        steps = {size: 20 * seconds for size, seconds in measured.step_seconds.items()}
        return replace(measured, train_seconds=20 * measured.train_seconds, step_seconds=steps)

    monkeypatch.setattr(planning, "_measure", wrong)
    epochs = []
    events = run_auto(AutoOptions("digits", minutes=1.0, runs=tmp_path))
    for event in events:
        if isinstance(event, Stage) and event.name == "train":
            epochs.append(event.facts["epochs"])
            if len(epochs) == 2:
                break
    events.close()
    assert epochs[1] > 2 * epochs[0]
    assert 0.01 < state_of(tmp_path)["pace"] < 0.3
    assert len([run for run in all_runs(tmp_path) if "-final" in run.id]) == 1, "the first attempt is removed"


def test_the_training_stops_within_a_step_when_time_is_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that has become slow: the schedule is longer than the time, and ends at the step where that is over."""
    events, ended = run_auto(AutoOptions("digits", minutes=0.1, runs=tmp_path)), 0
    for event in events:
        if isinstance(event, Stage) and event.name == "train":
            file = next((tmp_path / "autos").glob("*/auto.json"))
            monkeypatch.setattr(AutoSession, "spent", property(lambda self: 1e6))  # as if hours had gone by
        if isinstance(event, Progress):
            ended = event.step
        if isinstance(event, Stage) and event.name == "final":
            break
    events.close()
    run = Run.open(read_json(file)["done"]["final"]["facts"]["run"], tmp_path)
    assert run.experiment.stop_step == ended == run.history()[-1]["step"] == 1
    assert run.status()[0] == "complete"
    assert np.isfinite(run.history()[-1]["train_loss"])


def test_the_seed_changes_the_split_and_the_trainings_and_keeps_the_test_images(tmp_path: Path) -> None:
    tasks = []
    for seed in (0, 3):
        with open_task(AutoOptions("digits", minutes=1.0, runs=tmp_path, seed=seed), "cpu", time.monotonic()) as task:
            tasks.append(task)
    first, other = tasks
    assert not np.array_equal(first.split.val, other.split.val)
    assert first.sealed.fingerprint == other.sealed.fingerprint
    assert final_split(other).seed == 3
    experiment = experiment_of(other, "final", other.session.state.base, other.split)
    assert (experiment.seed, experiment.split_seed) == (3, 3)
