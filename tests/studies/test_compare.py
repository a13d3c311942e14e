"""Comparisons: trials in pairs, tables, what is said about them, and the commands, with made-up and real results."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from made_images import refused
from made_studies import data_file, fake_result, new_comparison

from pocketlens.cli import main
from pocketlens.studies.compare import read_comparison, trials_of
from pocketlens.studies.spec import Pairs
from pocketlens.studies.store import Record, Study

TINY = ["--model", "mlp(hidden=(16,))", "--augment", "none", "--sizes", "100%", "--optimizer", "sgd", "--lr", "0.05"]
TINY += ["--batch-size", "16", "--epochs", "1", "--threads", "1", "--val-fraction", "0.25"]


def with_scores(folder: Path, scores: dict[str, list[float]], pairs: Pairs = "all pairs") -> Study:
    """A comparison whose trials have these scores by recipe and seed."""
    n_repeats = len(next(iter(scores.values())))
    study = new_comparison(folder, tuple(scores), repeats=n_repeats, pairs=pairs)
    for record in study.records():
        with study.claim() as claimed:
            assert claimed is not None
            fake_result(study, claimed, scores[record.trial.candidate][record.trial.seed])
            value = scores[record.trial.candidate][record.trial.seed]
            study.end(Record(claimed.trial, "complete", "", value, 1 - value, 1.0))
    return study


def test_all_recipes_share_split_and_seeds(tmp_path: Path) -> None:
    study = new_comparison(tmp_path, ("base", "lr=0.2", "lr=0.3"), repeats=3)
    trials = trials_of(study)
    assert [trial.candidate for trial in trials[:3]] == ["base", "lr=0.2", "lr=0.3"]
    assert [trial.seed for trial in trials] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert study.experiment(trials[0]).split_seed == study.split.seed
    assert study.spec.n_val == len(study.split.val)


def test_verdicts_come_from_the_paired_scores(tmp_path: Path) -> None:
    scores = {"base": [0.50, 0.53, 0.51], "lr=0.2": [0.70, 0.73, 0.72], "lr=0.3": [0.51, 0.50, 0.54]}
    comparison = read_comparison(with_scores(tmp_path, scores))
    words = {(verdict.first, verdict.second): verdict.word for verdict in comparison.verdicts}
    assert words["base", "lr=0.2"] == "better"
    assert words["base", "lr=0.3"] == "cannot tell"
    assert len(words) == 3
    assert comparison.like_the_best == ("lr=0.2",)
    assert comparison.candidates[0].mean == pytest.approx(np.mean(scores["base"]))


def test_a_sweep_compares_with_its_base_alone(tmp_path: Path) -> None:
    scores = {"base": [0.5, 0.5], "lr=0.2": [0.7, 0.7], "lr=0.3": [0.6, 0.5]}
    comparison = read_comparison(with_scores(tmp_path, scores, pairs="base"))
    assert [(verdict.first, verdict.second) for verdict in comparison.verdicts] == [
        ("base", "lr=0.2"),
        ("base", "lr=0.3"),
    ]


def test_equal_recipes_are_refused(tmp_path: Path) -> None:
    with refused("same recipe"):
        new_comparison(tmp_path, ("base", "lr=0.05"))
    with refused("at least two"):
        new_comparison(tmp_path, ("base",))


@pytest.mark.slow
def test_the_command_trains_compares_writes_a_page_and_continues(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, runs = data_file(tmp_path), str(tmp_path / "runs")
    argv = ["compare", data, "base", "lr=0.2", "--repeat", "2", "--rows", "40", "--runs", runs, *TINY]
    assert main([*argv, "--json"]) == 0
    out, err = capsys.readouterr()
    result = json.loads(out)
    assert "40 of the" in err
    assert [each["name"] for each in result["recipes"]] == ["base", "lr=0.2"]
    assert len(result["mcnemar"]) == 2
    assert (Path(result["path"]) / "report.html").is_file()
    assert main(["study", "last", "--runs", runs, "--threads", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["verdicts"] == result["verdicts"]
    assert main(["study", "list", "--runs", runs, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["studies"][0]["ended"] == 4


def test_the_plan_trains_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["compare", "digits", "small", "resnet20", "--plan", "--spread", "0.25", "--runs", str(tmp_path / "runs")]
    assert main([*argv, "--json"]) == 0
    plan = {row["repeats"]: row["visible_80"] for row in json.loads(capsys.readouterr().out)["plan"]}
    assert plan[5] == pytest.approx(0.59, abs=0.01)
    assert not (tmp_path / "runs").exists()
    assert main([*argv[:-4], "--runs", str(tmp_path)]) == 2
    assert "--spread" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "part"),
    [
        (["compare", "digits", "base", "lrr=0.1"], "Did you mean 'lr'?"),
        (["compare", "digits", "base", "lr=0.1", "--val-fraction", "0"], "--val-fraction must be above 0"),
        (["compare", "digits"], "must be given"),
        (["sweep", "digits", "--try", "lr=fast"], "must be a number"),
        (["sweep", "digits", "--try", "lr=0.1", "--grid", "--pointwise"], "not allowed with"),
        (["search", "digits", "--space", "lr=0.1"], "must be a domain"),
        (["search", "digits", "--space", "lr=log(0.1,1)", "--rungs", "a"], "fractions like"),
        (["search", "digits", "--space", "lr=log(0.1,1)", "--from", "nothing"], "must be a run's path"),
        (["study", "nothing"], "must be a study's path"),
        (["reproduce", "nothing"], "must be a run's path"),
    ],
)
def test_mistakes_are_found_before_anything_is_read(
    argv: list[str], part: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*argv, "--runs", str(tmp_path)]) == 2
    err = capsys.readouterr().err
    assert part in err
    assert len(err.splitlines()) == 1
