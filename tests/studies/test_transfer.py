"""The transfer table: strategies that cost the same, their verdicts against scratch, the files, and the commands."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from made_images import refused
from made_studies import data_file, fake_result
from made_trainings import PLAIN, finish, made_data, new_run

from pocketlens.cli import main
from pocketlens.data.split import make_split
from pocketlens.datasets import load
from pocketlens.report.study.transfer_table import HEADER, table_rows, write_table
from pocketlens.studies.compare import start_comparison
from pocketlens.studies.spec import make_spec
from pocketlens.studies.store import Study
from pocketlens.studies.transfer import TransferPlan, check_sources, make_strategies, read_lines, transfer_design
from pocketlens.training.model_summary import layer_table, totals
from pocketlens.training.run import Run

LENS = PLAIN.changed(model="lens(width=0.125)", epochs=2.0, lr=0.01)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Run:
    torch.set_num_threads(1)
    run = new_run(tmp_path_factory.mktemp("runs"), LENS.changed(epochs=1.0), label="source")
    finish(run)
    return run


def test_strategies_cost_the_same_in_either_sense(source: Run) -> None:
    data = made_data()
    strategies = {each.name: each for each in make_strategies([source], LENS, data, TransferPlan())}
    assert [each.recipe.freeze for each in strategies.values()] == ["none", "body", "groups(2)", "none"]
    assert {each.recipe.epochs for each in strategies.values()} == {2.0}
    assert strategies["scratch"].recipe.start is None
    forward = totals(layer_table(LENS.model, (12, 12, 3), 4))
    head = strategies["frozen"].n_trained
    assert strategies["frozen"].multiply_adds == forward["multiply_adds"] + head  # and the gradient of its own weights
    assert strategies["full"].multiply_adds == strategies["scratch"].multiply_adds <= 3 * forward["multiply_adds"]
    assert head < strategies["partial"].n_trained < strategies["full"].n_trained
    assert strategies["frozen"].multiply_adds < strategies["partial"].multiply_adds < strategies["full"].multiply_adds
    work = [
        each.recipe.epochs * each.multiply_adds
        for each in make_strategies([source], LENS, data, TransferPlan(equal="multiply-adds"))
    ]
    assert work == pytest.approx([2 * strategies["scratch"].multiply_adds] * 4)


def test_sources_and_strategies_that_cannot_be_are_refused(source: Run) -> None:
    with refused("both must be the same"):
        check_sources([source], LENS.changed(model="lens(width=0.125, scale=0.2)"), made_data())
    for names in (("scratch",), ("frozen", "frozen"), ("thawed",), ()):
        with refused("strategies must be some of frozen, partial, full, scratch"):
            TransferPlan(names)
    with refused("the net has 4 groups"):
        make_strategies([source], LENS, made_data(), TransferPlan(groups=7))


def made_transfer(folder: Path, source: Run) -> Study:
    """A transfer study with three strategies whose trials have made scores."""
    dataset, _ = load(data_file(folder))
    data = (dataset, make_split(dataset, val_fraction=0.25))
    plan = TransferPlan(("frozen", "full", "scratch"), repeats=3)
    strategies = make_strategies([source], LENS, dataset, plan)
    spec = make_spec(*data, strategies[0].recipe, transfer_design(strategies, plan), made_by="a test")
    study = start_comparison(spec, data[1], folder / "runs")
    scores = {"scratch": (0.5, 0.52, 0.51), "frozen": (0.8, 0.83, 0.81), "full": (0.5, 0.53, 0.5)}
    while True:
        with study.claim() as record:
            if record is None:
                return study
            score = scores[record.trial.candidate][record.trial.seed]
            fake_result(study, record, score)
            study.end(replace(record, status="complete", score=score, loss=1.0, seconds=2.0))


def test_the_table_says_what_the_trials_said(source: Run, tmp_path: Path) -> None:
    study = made_transfer(tmp_path, source)
    lines = read_lines(study)
    assert [line.strategy for line in lines] == ["scratch", "frozen", "full"]
    assert [line.verdict for line in lines] == ["", "better", "cannot tell"]
    assert lines[1].gain == pytest.approx(0.3033, abs=1e-3)
    assert lines[1].mean == pytest.approx(0.8133, abs=1e-3)
    dataset, _ = load(data_file(tmp_path))
    frozen = make_strategies([source], LENS, dataset, TransferPlan(("frozen", "scratch")))[1]
    assert lines[1].multiply_adds == 2.0 * len(study.split.train) * frozen.multiply_adds
    write_table(tmp_path, lines, "steps")
    stored = json.loads((tmp_path / "transfer.json").read_text())
    assert stored["lines"][1]["source"] == source.id
    with open(tmp_path / "transfer.csv", newline="") as file:
        assert [row["verdict"] for row in csv.DictReader(file)] == ["", "better", "cannot tell"]
    text = (tmp_path / "transfer.md").read_text()
    assert "81.33 ± 1.53 % (n 3)" in text
    assert "equally many steps" in text
    assert all(len(row) == len(HEADER) for row in table_rows(lines))


@pytest.mark.slow
def test_the_command_trains_every_strategy(source: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, runs = data_file(tmp_path), ["--runs", str(source.path.parent), "--val-fraction", "0.25", "--json"]
    options = ["--epochs", "1", "--optimizer", "sgd", "--lr", "0.05", "--batch-size", "32", "--augment", "none"]
    code = main(["transfer", "source", data, "--ways", "frozen,scratch", "--repeat", "2", *options, *runs])
    result = json.loads(capsys.readouterr().out)
    assert code == 0
    assert [(line["strategy"], line["n"]) for line in result["lines"]] == [("scratch", 2), ("frozen", 2)]
    assert (Path(result["studies"][0]) / "transfer.md").exists()


def test_features_and_starts_on_the_command_line(
    source: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, runs = data_file(tmp_path), ["--runs", str(source.path.parent), "--val-fraction", "0.25", "--json"]
    options = ["--epochs", "1", "--optimizer", "sgd", "--lr", "0.05", "--batch-size", "32", "--augment", "none"]
    assert main(["features", "source", data, "--with", "knn", "-k", "3", *runs]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["features"] == "knn(k=3)"
    assert main(["features", "source", data, "--with", "knn", "--rows", "8", *runs]) == 0
    few = Run.open(json.loads(capsys.readouterr().out)["id"], source.path.parent)
    assert len(few.split.train) == few.experiment.rows == 8
    assert main(["train", data, "--start", "source", "--head", "new", "--freeze", "body", *options, *runs]) == 0
    printed = capsys.readouterr()
    assert "lens(width=0.125)" in printed.err  # the model is the source's
    assert "net.head.weight (new)" in printed.err

    for words, message in (
        (["transfer", "source", data, "--freeze", "body"], "transfer sets --freeze itself"),
        (["transfer", "source", data, "--head", "keep"], "--head must be new or append"),
        (["train", data, "--start", "absent"], "must be a run's path, id or label"),
        (["train", data, "--start", "source", "--model", "lenet"], "must fit some weights of run"),
        (["train", data, "--start", "source", "--freeze", "groups(9)"], "the net has 4 groups of layers"),
    ):
        assert main([*words, *runs]) == 2
        assert message in capsys.readouterr().err
