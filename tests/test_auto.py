"""auto: the stages in their order, the time limit, the sealed test, and what is chosen."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from pocketlens import auto as go
from pocketlens.auto import CANDIDATES, LEAST, Stage, _Candidate, _needed, _Trainings
from pocketlens.cli import main
from pocketlens.ledger import openings
from pocketlens.recipe import Experiment, Recipe, named_recipes, read_recipe
from pocketlens.run import Run, all_runs


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def stages_of(runs: Path, minutes: float = 0.03, *, open_again: bool = False) -> list[Stage]:
    return [e for e in go("digits", minutes=minutes, runs=runs, open_again=open_again) if isinstance(e, Stage)]


def only(stages: list[Stage], name: str) -> Stage:
    (stage,) = [stage for stage in stages if stage.name == name]
    return stage


def test_the_whole_way_and_once_more(tmp_path: Path) -> None:
    began = time.monotonic()
    stages = stages_of(tmp_path)
    names = [stage.name for stage in stages]
    assert names[:3] == ["plan", "look", "time"]
    assert names[-2:] == ["test", "report"]
    assert names.index("choose") > names.index("result")
    assert time.monotonic() - began < 60

    report = only(stages, "report")
    assert Path(report.facts["report"]).stat().st_size > 10_000
    assert Path(report.facts["samples"]).read_bytes().startswith(b"\x89PNG")
    run = Run.open(report.facts["path"])
    assert run.status()[0] == "complete"

    test = only(stages, "test")
    assert test.facts["opened"]
    assert 0 <= test.facts["test"]["top1"]["value"] <= 1
    (entry,) = openings(json_fingerprint(test, run))
    assert entry.run == run.id

    again = stages_of(tmp_path)
    second = only(again, "test")
    assert not second.facts["opened"], "this test part has been opened before"
    assert second.facts["test"] is None
    assert "opened once before" in second.lines[0]
    assert len(openings(json_fingerprint(test, run))) == 1

    third = only(stages_of(tmp_path, open_again=True), "test")
    assert third.facts["opened"]
    assert third.facts["openings"] == 2


def json_fingerprint(test: Stage, run: Run) -> str:
    from pocketlens.datasets import load

    assert test.facts["opened"]
    _, sealed = load(run.experiment.data)
    return sealed.fingerprint


def test_the_chosen_one_is_the_best_on_validation(tmp_path: Path) -> None:
    stages = stages_of(tmp_path, 0.1)
    results = [stage.facts for stage in stages if stage.name == "result"]
    best = max(results, key=lambda facts: (facts["val_accuracy"], -facts["val_loss"]))
    assert only(stages, "choose").facts["run"] == best["run"]
    for facts in results:
        run = Run.open(facts["run"], tmp_path)
        assert run.history()[-1]["val_accuracy"] == facts["val_accuracy"]
        assert not run.file("scores-test.json").exists() or run.path == Path(only(stages, "report").facts["path"])


def test_auto_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["auto", "digits", "--minutes", "0.03", "--threads", "1", "--device", "cpu", "--json"]) == 0
    out, err = capsys.readouterr()
    result: dict[str, Any] = json.loads(out)
    assert Path(result["report"]).is_file()
    assert result["stages"][0]["stage"] == "plan"
    assert err.startswith("plan")
    assert "next: pocketlens" in err
    assert all(run.experiment.made_by for run in all_runs(Path("pocketlens-runs")))


@pytest.mark.slow
def test_a_minute_is_enough_for_the_digits(tmp_path: Path) -> None:
    began = time.monotonic()
    stages = stages_of(tmp_path, 1.0)
    assert only(stages, "test").facts["test"]["top1"]["value"] > 0.97
    assert time.monotonic() - began < 120


@pytest.mark.parametrize("kind", sorted(CANDIDATES))
def test_candidates_are_named_recipes_that_differ(kind: str) -> None:
    recipes = []
    for _, name, changes in CANDIDATES[kind]:
        assert name in named_recipes()
        recipes.append(read_recipe(name).changed(**changes))
    assert len({recipe.id for recipe in recipes}) == len(recipes)


def test_the_time_for_all_is_the_sum_and_the_refit_of_the_slowest() -> None:
    experiment = Experiment("digits", Recipe())
    candidates = [_Candidate(str(seconds), experiment, seconds) for seconds in (10.0, 30.0)]
    assert _needed(candidates, 1.5) == 10 + 30 + 1.5 * 30
    stage = _Trainings(tuple(candidates), ("slow",), LEAST, refits=False, refit_seconds=0.0).stage()
    assert any("slow: left out" in line for line in stage.lines)
    assert any("one training" in line for line in stage.lines)
