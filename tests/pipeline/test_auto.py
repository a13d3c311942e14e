"""auto: the stages in their order, the time limit, the sealed test, kills at any moment, and what changes a recipe."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from children import child, receive
from made_trainings import made_data

from pocketlens import pipeline as go
from pocketlens.cli import main
from pocketlens.cli.terminal.progress import Meter, _bar_values, follow
from pocketlens.cli.terminal.screen import Screen
from pocketlens.data.split import make_split
from pocketlens.datasets import load
from pocketlens.errors import PocketlensError
from pocketlens.evaluation import open_test as evaluate
from pocketlens.events import Step
from pocketlens.files import read_json
from pocketlens.pipeline import Stage
from pocketlens.pipeline.comparisons import Asked, ask, augment_variants, cost, model_variants, short_split, space_of
from pocketlens.pipeline.phases import _say_coarse
from pocketlens.pipeline.plan import Part, Short
from pocketlens.pipeline.session import Way, give_up, open_way
from pocketlens.recipe import read_recipe
from pocketlens.scoring.ledger import all_openings
from pocketlens.studies.process import Limits
from pocketlens.studies.store import all_studies
from pocketlens.training.run import Run, all_runs

way_file, studies_file = (import_module(f"pocketlens.pipeline.{name}") for name in ("way", "studies"))
SHORT = 0.04  # minutes: a few steps of each training
ASKED = {"text": "digits", "minutes": 1.0, "open_again": False, "fingerprint": "f"}


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def stages_of(runs: Path, minutes: float = SHORT, *, open_again: bool = False) -> list[Stage]:
    return [e for e in go("digits", minutes=minutes, runs=runs, open_again=open_again) if isinstance(e, Stage)]


def only(stages: list[Stage], name: str) -> Stage:
    (stage,) = [stage for stage in stages if stage.name == name]
    return stage


def state_of(runs: Path) -> Any:
    """The newest way's auto.json."""
    return read_json(max((runs / "autos").glob("*/auto.json")))


def test_the_whole_way_and_once_more(tmp_path: Path) -> None:
    stages = stages_of(tmp_path)
    names = list(dict.fromkeys(stage.name for stage in stages))  # a busy machine may make it train anew
    assert names == ["auto", "data", "plan", "look", "check", "train", "final", "test", "report"]

    report = only(stages, "report")
    assert Path(report.facts["report"]).stat().st_size > 10_000
    assert Path(report.facts["samples"]).read_bytes().startswith(b"\x89PNG")
    page = Path(report.facts["way"]).read_text(encoding="utf-8")
    assert "The final training" in page
    assert f"{report.facts['run']}/report.html" in page
    run = Run.open(report.facts["path"])
    assert run.status()[0] == "complete"
    assert len(run.split.train) == 1438, "the final training has the validation rows, too"
    assert [run.id for run in all_runs(tmp_path)] == [f"{run.id.split('-final')[0]}-check", run.id]

    test = only(stages, "test")
    assert test.facts["opened"]
    assert 0 <= test.facts["test"]["top1"]["value"] <= 1
    assert [entry.run for entry in all_openings()] == [run.id]
    assert state_of(tmp_path)["finished"] == "complete"

    again = stages_of(tmp_path)
    second = only(again, "test")
    assert "again" not in [stage.name for stage in again], "what is finished is not gone on with"
    assert not second.facts["opened"], "this test part has been opened before"
    assert "opened once before" in second.lines[0]
    assert "%" in second.lines[1], "the validation score is what there is"
    kept = Run.open(only(again, "report").facts["path"])
    assert len(kept.split.val) == 145, "so the validation rows stay out of the final training"
    assert len(all_openings()) == 1


def test_too_little_time_is_said(tmp_path: Path) -> None:
    events = go("digits", minutes=0.001, runs=tmp_path)
    plan = next(event for event in events if isinstance(event, Stage) and event.name == "plan")
    events.close()
    assert any("too little time" in line for line in plan.lines)


def test_plenty_of_time_is_not_called_too_little(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fast device needs a small part of the time for the most epochs that a final training gets."""
    fast = {"image": 1e-6, "judge": 1e-7, "steps": {8: 1e-4}}
    monkeypatch.setattr(import_module("pocketlens.pipeline.phases"), "_measure", lambda _task: fast)
    events = go("digits", minutes=5, runs=tmp_path)
    plan = next(event for event in events if isinstance(event, Stage) and event.name == "plan")
    events.close()
    assert plan.facts["seconds"]["final"] < 30
    assert not any("too little time" in line for line in plan.lines)


def test_what_was_stopped_goes_on_with_exactly_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    for stop_after in ("plan", "look", "check", "train", "final"):
        for event in (events := go("digits", minutes=SHORT, runs=tmp_path)):
            if isinstance(event, Stage) and event.name == "again":
                done = [name for name in state_of(tmp_path)["done"] if name != "plan"]
            if isinstance(event, Stage) and event.name == stop_after:
                break
        events.close()
        files = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*-check/checkpoint-*")}
        assert stop_after not in ("check", "train", "final") or files
    assert done == ["look", "check"]
    with monkeypatch.context() as patched:  # killed between the opening and its score
        patched.setattr(evaluate, "store", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            stages_of(tmp_path)
    assert len(all_openings()) == 1
    for event in (events := go("digits", minutes=SHORT, runs=tmp_path)):
        if isinstance(event, Stage) and event.name == "test":
            break
    events.close()
    stages = stages_of(tmp_path)
    assert only(stages, "again").lines[0].endswith("spent")
    assert files == {path: path.stat().st_mtime_ns for path in tmp_path.glob("*-check/checkpoint-*")}
    assert only(stages, "test").facts["openings"] == len(all_openings()) == 1
    assert len(list((tmp_path / "autos").iterdir())) == 1
    assert len(all_runs(tmp_path)) == 2


def test_auto_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    command = ["auto", "digits", "--minutes", str(SHORT), "--threads", "1", "--device", "cpu", "--json"]
    begun = go("digits", minutes=SHORT, runs=Path("pocketlens-runs"))
    for event in begun:
        if isinstance(event, Stage) and event.name == "plan":
            begun.close()
    assert main([*command, "--new"]) == 0
    out, err = capsys.readouterr()
    result: dict[str, Any] = json.loads(out)
    assert Path(result["report"]).is_file()
    assert [stage["stage"] for stage in result["stages"]][:3] == ["auto", "data", "plan"]
    assert "is given up" in err
    assert "next: pocketlens" in err
    assert all(run.experiment.made_by for run in all_runs(Path("pocketlens-runs")))
    finished = [read_json(path)["finished"] for path in sorted(Path("pocketlens-runs/autos").glob("*/auto.json"))]
    assert finished == ["given up", "complete"]


@pytest.mark.slow
def test_where_the_time_is_too_short_for_the_default_a_smaller_network_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pocketlens.recipe.SMALL", 0)  # as if the digits were many
    monkeypatch.setattr(way_file, "FEW_EPOCHS", 99.0)
    events, said = go("digits", minutes=SHORT, runs=tmp_path), []
    for event in events:
        said.append(event)
        if isinstance(event, Stage) and event.name == "plan":
            break
    events.close()
    assert any("gets more out of it" in event.text for event in said if hasattr(event, "text"))
    assert state_of(tmp_path)["base"]["model"] == "lens(width=0.5)"
    assert state_of(tmp_path)["base"]["augment"] == read_recipe("grey").augment


# ---- the state


def test_a_way_is_found_by_its_question_and_counts_its_working_time(tmp_path: Path) -> None:
    base = read_recipe("small")
    with open_way(ASKED, base, tmp_path, time.monotonic() - 7) as way:
        way.end(Stage("look", ("seen",), {"n": 3}), base.changed(lr=0.5))
        with open_way(ASKED, base, tmp_path, time.monotonic()) as other:
            assert other.id != way.id, "a process works on it"
            other.note(finished="complete")
    with open_way({**ASKED, "minutes": 2.0}, base, tmp_path, time.monotonic()) as third:
        assert third.done == ()
    with open_way(ASKED, base, tmp_path, time.monotonic()) as again:
        assert again.id == way.id
        assert 7 <= again.spent < 60
        assert again.base.lr == 0.5
        assert again.stage("look") == Stage("look", ("seen",), {"n": 3})
        assert give_up("digits", tmp_path) == [third.id], "not what is worked on"
    assert give_up("digits", tmp_path) == [way.id]


def test_a_damaged_state_hinders_no_new_way(tmp_path: Path) -> None:
    with open_way(ASKED, read_recipe("small"), tmp_path, time.monotonic()) as way:
        pass
    (way.path / "auto.json").write_text("{", encoding="utf-8")
    with open_way(ASKED, read_recipe("small"), tmp_path, time.monotonic()) as other:
        assert other.id != way.id
    (tmp_path / "file").write_text("", encoding="utf-8")
    with (
        pytest.raises(PocketlensError, match="folder that can be written"),
        open_way(ASKED, read_recipe("small"), tmp_path / "file", 0.0),
    ):
        pass


# ---- the comparisons


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
    for variant in variants:
        spent = variant.recipe.epochs * cost(variant.recipe, digits)
        assert spent == pytest.approx(base.epochs * cost(base, digits), rel=0.01)
        assert variant.recipe.augment == base.augment
    halved = base.changed(sizes="50%:0.5 100%")
    assert cost(halved, digits) == pytest.approx(cost(base, digits) * (0.5 * 0.25 + 0.5))
    addresses = [part.split("=")[0] for part in space_of(read_recipe("default")).split("; ")]
    assert addresses == ["lr", "optimizer.momentum", "loss.smoothing"]


def test_a_short_split_has_fewer_rows_of_the_same_parts() -> None:
    digits, _ = load("digits")
    split = make_split(digits)
    short = short_split(split, digits, 300, 50)
    assert (len(short.train), len(short.val)) == (300, 50)
    assert set(short.train) <= set(split.train)
    assert set(short.val) <= set(split.val)
    assert len(short_split(split, digits, 3, 0).train) == 10, "one of each class"


@pytest.fixture
def way(tmp_path: Path) -> Iterator[Way]:
    base = read_recipe("small").changed(model="mlp", optimizer="sgd(momentum=0.9)", lr=0.02, batch_size=64, epochs=6.0)
    with open_way({**ASKED, "minutes": 10.0}, base, tmp_path, time.monotonic()) as made:
        yield made


@pytest.mark.slow
def test_a_verdict_changes_the_recipe_and_nothing_else_does(way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    digits, _ = load("digits")
    split, limits = make_split(digits), Limits(threads=1)

    def arms(base: Any, _: Any) -> Any:
        from pocketlens.studies.overrides import Variant

        good, poor = base.changed(lr=0.02), base.changed(lr=1e-6)
        return [Variant("base", poor), Variant("good", good)]

    monkeypatch.setattr(studies_file, "augment_variants", arms)
    monkeypatch.setattr(studies_file, "model_variants", lambda base, data: arms(base, data)[:1])
    part = Part("augment", 900.0, "", Short(400, 3.0, 64, 100, 1.0), 2, 3)
    stages = [event for event in ask(way, Asked(digits, split, part, limits)) if isinstance(event, Stage)]
    assert stages == []
    facts = way.stage("augment").facts
    assert facts["chosen"] == "good", way.stage("augment").lines
    assert way.base.lr == 0.02
    assert (way.base.epochs, way.base.batch_size) == (6.0, 64), "those of a final training"
    (study,) = all_studies(way.path)
    assert len(study.records()) == 6
    assert all(len(study.run(record.trial).split.train) == 400 for record in study.records())
    for _ in ask(way, Asked(digits, split, replace(part, name="models"), limits)):
        pass
    assert "left out" in way.stage("models").lines[0]


@pytest.mark.slow
def test_a_comparison_ends_with_its_time(way: Way) -> None:
    digits, _ = load("digits")
    part = Part("augment", 0.5, "", Short(400, 3.0, 64, 100, 1.0), 3, 5)
    began = time.monotonic()
    for _ in ask(way, Asked(digits, make_split(digits), part, Limits(threads=1))):
        pass
    assert time.monotonic() - began < 60
    (study,) = all_studies(way.path)
    assert any(not record.is_ended for record in study.records())
    assert way.stage("augment").facts["chosen"] == "base"
    assert way.base.augment == "crop(pad=1)"
    assert way.value["excess"] >= 0


@pytest.mark.slow
def test_a_search_changes_the_recipe_only_where_new_seeds_say_so(way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    digits, _ = load("digits")
    monkeypatch.setattr(studies_file, "MOST_TRIALS", 4)
    way.note(base=way.base.changed(lr=1e-4).to_dict())  # far too small, so that the search finds a better one
    monkeypatch.setattr(studies_file, "space_of", lambda base: "lr=log(1e-4,0.05)")
    part = Part("search", 300.0, "", Short(400, 3.0, 64, 100, 1.0), 4, 3)
    for _ in ask(way, Asked(digits, make_split(digits), part, Limits(threads=1))):
        pass
    stage = way.stage("search")
    assert stage.facts["n_trials"] in (4 + 3 * 3, 4 + 3 * 4), "the base may be one of the best three"
    assert any("expected to be selection bias" in line for line in stage.lines)
    if stage.facts["chosen"] == "base":
        assert way.base.lr == 1e-4
    else:
        assert way.base.lr == stage.facts["chosen"]["lr"] > 1e-4
        assert any(": better, +" in line for line in stage.lines)
    assert (way.base.epochs, way.base.batch_size) == (6.0, 64)


# ---- what is said


def test_superclasses_are_judged_from_the_same_opening() -> None:
    labels = np.array([0, 1, 2, 3] * 5)
    logits = np.full((20, 4), -9.0, np.float32)
    logits[np.arange(20), labels ^ 1] = 9.0  # always the other class of the same superclass
    predictions = evaluate.Predictions("test", np.arange(20), labels, logits)
    classes = ("ant", "bee", "cat", "dog")
    fine = evaluate.score(predictions, classes, ("insect", "mammal"), (0, 0, 1, 1))
    assert fine.top1.value == 0
    (line,) = _say_coarse(fine)
    assert line.startswith("2 superclasses: 100.00 %")
    assert _say_coarse(evaluate.score(predictions, classes, None, None)) == ()
    assert _say_coarse(evaluate.score(predictions, classes, classes, (0, 1, 2, 3))) == ()


def test_the_parts_of_other_works_move_the_bar(capsys: pytest.CaptureFixture[str]) -> None:
    events = [Step("looking", 1, 4), Stage("look", ("found", "nothing"))]
    assert follow(iter(events), Screen()).exit_code == 0
    assert capsys.readouterr().out == "look     found\n         nothing\n"
    assert _bar_values(events[0], Meter(0.0, 0.0)) == ("looking", 1, 4, "")


# ---- kills


def walk(pipe: Any, runs: Path, minutes: float) -> None:
    """In a child: goes the way and says when it is done."""
    pipe.send("begun")
    for _ in go("digits", minutes=minutes, runs=runs):
        pass
    pipe.send("done")


@pytest.mark.slow
def test_killed_at_random_moments_it_comes_to_its_end_once(tmp_path: Path) -> None:
    chance, kills, done = random.Random(0), 0, False
    while not done:
        with child(walk, tmp_path, 0.5) as (process, pipe):
            receive(pipe)
            process.join(chance.uniform(0.5, 8.0) if kills < 8 else 120.0)
            done = process.exitcode == 0
            kills += not done
        assert kills < 12
    assert kills >= 3
    state = state_of(tmp_path)
    assert state["finished"] == "complete"
    assert len(list((tmp_path / "autos").iterdir())) == 1
    assert len(all_openings()) == 1
    finals = [run for run in all_runs(tmp_path) if "-final" in run.id]
    assert [run.status()[0] for run in finals][-1] == "complete"
    assert 0 <= state["done"]["test"]["facts"]["test"]["top1"]["value"] <= 1


@pytest.mark.slow
def test_a_minute_is_enough_for_the_digits(tmp_path: Path) -> None:
    began = time.monotonic()
    stages = stages_of(tmp_path, 1.0)
    assert only(stages, "test").facts["test"]["top1"]["value"] > 0.9
    assert time.monotonic() - began < 90


@pytest.mark.slow
def test_a_wrong_measurement_is_put_right_by_the_first_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps are said to take 20 times as long as they do: the final training begins anew, once, with more epochs."""
    measure = way_file._measure

    def wrong(task: Any) -> dict[str, Any]:
        seen = measure(task)
        steps = {size: 20 * seconds for size, seconds in seen["steps"].items()}
        return {**seen, "image": 20 * seen["image"], "steps": steps}

    monkeypatch.setattr(way_file, "_measure", wrong)
    epochs = []
    events = go("digits", minutes=1.0, runs=tmp_path)
    for event in events:
        if isinstance(event, Stage) and event.name == "train":
            epochs.append(event.facts["epochs"])
            if len(epochs) == 2:
                break
    events.close()
    assert epochs[1] > 2 * epochs[0]
    assert 0.01 < state_of(tmp_path)["pace"] < 0.3
    assert len([run for run in all_runs(tmp_path) if "-final" in run.id]) == 1, "what was begun is taken away"


def test_the_time_is_over_within_a_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that has become slow: the schedule is longer than the time, and ends at the step where that is over."""
    events, ended = go("digits", minutes=0.1, runs=tmp_path), 0
    for event in events:
        if isinstance(event, Stage) and event.name == "train":
            way = next((tmp_path / "autos").glob("*/auto.json"))
            monkeypatch.setattr(Way, "spent", property(lambda self: 1e6))  # as if hours had gone by
        if hasattr(event, "step"):
            ended = event.step
        if isinstance(event, Stage) and event.name == "final":
            break
    events.close()
    run = Run.open(read_json(way)["done"]["final"]["facts"]["run"], tmp_path)
    assert run.experiment.stop_step == ended == run.history()[-1]["step"] == 1
    assert run.status()[0] == "complete"
    assert np.isfinite(run.history()[-1]["train_loss"])
