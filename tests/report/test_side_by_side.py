"""Runs side by side: the numbers are those of the history, the Pareto front is right, names do nothing but show."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from made_runs import make_dataset, make_run
from test_report import CLASSES, HOSTILE, open_by_hand, read_page

from pocketlens.cli import main
from pocketlens.errors import PocketlensError
from pocketlens.files import write_text
from pocketlens.report.run.side_by_side import pareto, read_lines, write_comparison
from pocketlens.report.tables import to_latex, to_markdown
from pocketlens.training.run import Run


def three(tmp_path: Path) -> list[Run]:
    dataset = make_dataset(350, CLASSES)
    names = ("first", " ".join(HOSTILE), "=1+1|x")
    runs: list[Run] = [
        make_run(tmp_path, dataset, id=f"20250101-00000{i}-abcd", n_epochs=3 + i, label=name, skill=1.0 + i)
        for i, name in enumerate(names)
    ]
    open_by_hand(runs[1], dataset)  # type: ignore[arg-type]
    return runs


def test_the_table_holds_the_numbers_of_the_histories(tmp_path: Path) -> None:
    runs = three(tmp_path)
    lines = read_lines(runs)
    for run, line in zip(runs, lines, strict=True):
        history = run.history()
        assert line.val_loss == min(record["val_loss"] for record in history)
        assert line.val_accuracy == max(record["val_accuracy"] for record in history)
        assert line.train_loss == min(record["train_loss"] for record in history)
        assert line.train_accuracy == max(record["train_accuracy"] for record in history)
        best = max(history, key=lambda record: record["val_accuracy"])
        assert line.best_epoch == best["epoch"]
        assert line.gap == pytest.approx(100 * (best["train_accuracy"] - best["val_accuracy"]))
        assert line.seconds == sum(record["seconds"] for record in run.timing())
    assert [line.test is not None for line in lines] == [False, True, False]
    assert len(read_lines([*runs, runs[0]])) == 3


def test_the_page_and_its_tables_are_safe(tmp_path: Path) -> None:
    paths = write_comparison(three(tmp_path), tmp_path / "out")
    page = read_page(paths["html"])
    assert all(text in page.shown for text in HOSTILE)
    assert "Accuracy by cost" in page.text["text"]
    rows = list(csv.DictReader(paths["csv"].read_text().splitlines()))
    assert [row["name"] for row in rows] == ["first", " ".join(HOSTILE), "'=1+1|x"]
    assert float(rows[1]["test_top1_low"]) < float(rows[1]["test_top1"]) < float(rows[1]["test_top1_high"])
    markdown = paths["md"].read_text().splitlines()
    assert "<script>" not in paths["md"].read_text()
    assert len({line.replace("\\|", "").count("|") for line in markdown}) == 1  # a name opens no column
    latex = paths["tex"].read_text()
    assert latex.count("\\\\\n") == 4
    assert r"\textless{}script\textgreater{}" in latex
    assert r"\{\{7*7\}\}" in latex


def test_numbers_stand_to_the_right_in_both_texts() -> None:
    header, rows = ["name", "n"], [["a_b", "1,000"], ["c", "n/a"]]
    assert to_markdown(header, rows) == "| name | n |\n| :--- | ---: |\n| a\\_b | 1,000 |\n| c | n/a |\n"
    assert to_latex(header, rows).startswith(
        "\\begin{tabular}{lr}\n\\toprule\nname & n \\\\\n\\midrule\na\\_b & 1,000 "
    )


def test_the_pareto_front_by_hand() -> None:
    points = [(0.9, 10.0), (0.8, 5.0), (0.8, 6.0), (0.95, 50.0), (0.7, 5.0), (None, 1.0), (0.99, None), (0.9, 10.0)]
    assert pareto(points) == [True, True, False, True, False, False, False, True]


def test_runs_that_cannot_be_compared_are_said(tmp_path: Path) -> None:
    runs = [
        make_run(tmp_path, make_dataset(60, ("a", "b")), id="20250101-000000-abcd"),
        make_run(tmp_path, make_dataset(90, ("a", "b")), id="20250101-000001-abcd", state=("stopped", "")),
    ]
    page = read_page(write_comparison(runs, tmp_path)["html"])
    assert "of different data" in page.shown
    assert f"Not finished: {runs[1].id}" in page.shown
    assert all(line.fast for line in read_lines(runs))  # each alone with its data
    with pytest.raises(PocketlensError, match="two different"):
        write_comparison([runs[0], runs[0]], tmp_path)


def test_odd_runs_stand_side_by_side_too(tmp_path: Path) -> None:
    dataset = make_dataset(60, ("a", "b"))
    runs = [
        make_run(tmp_path, dataset, id="20250101-000000-abcd", n_epochs=0),
        make_run(tmp_path, dataset, id="20250101-000001-abcd", n_epochs=1, val_fraction=0.0),
    ]
    write_text(runs[1].file("timing.jsonl"), "")
    assert "different validation sets" in read_page(write_comparison(runs, tmp_path)["html"]).shown


def test_the_command_compares_several_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [run.id for run in three(tmp_path)]
    assert main(["report", *names, "--runs", str(tmp_path), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["runs"] == names
    assert all(Path(result[ending]).exists() for ending in ("html", "csv", "md", "tex"))
    assert main(["report", names[0], "--runs", str(tmp_path), "--out", str(tmp_path)]) == 2
    assert "--out needs several runs" in capsys.readouterr().err
