"""Corrected labels: read from the CSV that a person edits, applied to rows, and found again by resume and refit."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from made_images import class_folder, refused
from made_runs import make_dataset

from pocketlens.cli import main
from pocketlens.data.relabel import COLUMNS, read_corrections, relabel
from pocketlens.data.split import make_split
from pocketlens.datasets import load
from pocketlens.files import csv_text, from_cell
from pocketlens.recipe import Experiment, Recipe
from pocketlens.training.run import Run
from pocketlens.training.run_data import load_of

CLASSES = ("ant", "=bee", "keep")
DATASET = make_dataset(30, CLASSES)


def line(row: int, decision: str, suggested: str = "=bee", **changes: str) -> tuple[str, ...]:
    cells = {
        "row": str(row),
        "hash": DATASET.hashes[row].tobytes().hex(),
        "given": CLASSES[DATASET.labels[row]],
        "suggested": suggested,
        "decision": decision,
    }
    return tuple({**cells, **changes}[name] for name in COLUMNS)


def test_decisions_change_labels_and_nothing_else() -> None:
    rows = [line(0, "accept"), line(3, ""), line(6, "keep"), line(1, "ant"), line(4, "class:keep"), line(7, "=bee")]
    changed, corrections = relabel(DATASET, csv_text(COLUMNS, rows))
    expected = DATASET.labels.copy()
    expected[[0, 1, 4]] = [1, 0, 2]
    assert changed.labels.tolist() == expected.tolist()
    assert corrections.n == 3
    assert DATASET.labels.tolist() == (np.arange(30) % 3).tolist()
    assert changed.fingerprint != DATASET.fingerprint
    assert np.array_equal(changed.hashes, DATASET.hashes)
    again, kept = relabel(DATASET, corrections.text)
    assert again.labels.tolist() == expected.tolist()
    assert kept == corrections


def test_the_split_is_that_of_the_original_labels() -> None:
    rows = [line(row, "ant") for row in range(1, 30, 3)]
    changed, _ = relabel(DATASET, csv_text(COLUMNS, rows))
    before, after = make_split(DATASET, val_fraction=0.3), make_split(changed, val_fraction=0.3)
    assert before.val.tolist() == after.val.tolist()


def test_dropped_rows_leave_the_split_and_rows_keep_their_numbers() -> None:
    before = make_split(DATASET, val_fraction=0.3)
    rows = [int(before.train[0]), int(before.val[0])]
    changed, corrections = relabel(DATASET, csv_text(COLUMNS, [line(row, "drop") for row in (*rows, rows[0])]))
    after = corrections.without_dropped(before)
    assert corrections.dropped == tuple(sorted(rows))
    assert (corrections.n, corrections.is_empty, corrections.said()) == (0, False, "2 images dropped")
    assert changed.labels.tolist() == DATASET.labels.tolist()
    assert after.train.tolist() == before.train[1:].tolist()
    assert after.val.tolist() == before.val[1:].tolist()
    assert relabel(DATASET, corrections.text).corrections == corrections
    everything = csv_text(COLUMNS, [line(row, "drop") for row in range(30)])
    with refused("drop every training image"):
        relabel(DATASET, everything).corrections.without_dropped(before)


def test_rows_are_found_by_their_image_when_the_order_changed() -> None:
    turned = DATASET.take(np.arange(30)[::-1].copy())
    changed, corrections = relabel(turned, csv_text(COLUMNS, [line(0, "keep"), line(2, "accept")]))
    assert corrections.n == 1
    assert changed.labels[27] == 1


@pytest.mark.parametrize(
    ("rows", "parts"),
    [
        ([line(0, "bea")], ("line 2", "accept, keep, drop or a class", "'bea'", "Did you mean '=bee'")),
        ([line(0, "accept", given="=bee")], ("line 2", "row 0", "the data says 'ant'")),
        ([line(0, "accept", hash="00")], ("line 2", "no image")),
        ([line(0, "accept"), line(0, "class:keep")], ("line 3", "two different decisions")),
        ([line(0, "drop"), line(0, "accept")], ("line 3", "two different decisions")),
    ],
    ids=["unknown class", "another label", "another image", "two labels", "dropped and corrected"],
)
def test_lines_that_cannot_be_meant_are_refused(rows: list[tuple[str, ...]], parts: tuple[str, ...]) -> None:
    with refused(*parts):
        relabel(DATASET, csv_text(COLUMNS, rows))


@pytest.mark.parametrize("text", ["", "row,hash\n1,2\n", '"open'], ids=["empty", "columns", "quote"])
def test_a_file_of_another_kind_is_refused(text: str) -> None:
    with refused("relabel.csv"):
        relabel(DATASET, text)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with refused("must be a CSV file that can be read"):
        read_corrections(tmp_path / "absent.csv")
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe")
    with refused("not UTF-8"):
        read_corrections(tmp_path / "bytes.csv")


@pytest.mark.parametrize("text", ["=A1", "+1", "-1", "@x", "'=A1", "''", "\tx", "plain", "a,b", 'a"b', "", "\r\nx"])
def test_cells_come_back_and_never_begin_like_a_formula(text: str) -> None:
    import csv
    import io

    written = csv_text(("name",), [(text, "end")])
    cell = list(csv.reader(io.StringIO(written, newline="")))[1][0]
    assert cell[:1] not in ("=", "+", "-", "@", "\t", "\r")
    assert from_cell(cell) == text


def test_a_run_keeps_its_corrections_whole(tmp_path: Path) -> None:
    changed, corrections = relabel(DATASET, csv_text(COLUMNS, [line(0, "accept")]))
    asked = Experiment("made", Recipe(), relabel_hash=corrections.hash, n_relabelled=1)
    run = Run.create(asked, make_split(changed), tmp_path, corrections=corrections.text)
    assert Run(run.path).corrections() == corrections.text
    assert Run(run.path).experiment.n_relabelled == 1
    run.file("relabel.csv").write_text("row\n")
    with refused("must hold the corrected labels"):
        run.corrections()
    with refused("must be given corrections exactly if"):
        Run.create(asked, make_split(changed), tmp_path)


def test_train_resume_and_refit_find_the_corrected_labels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = class_folder(tmp_path / "images", {"a": 20, "b": 20})
    dataset, _ = load(str(folder))
    rows = [(row, dataset.hashes[row].tobytes().hex(), "a", "b", "drop" if row > 4 else "accept") for row in range(7)]
    (tmp_path / "labels.csv").write_text(csv_text(COLUMNS, rows))
    words = ["--model", "mlp(hidden=(4,))", "--augment", "none", "--sizes", "100%", "--epochs", "1", "--json"]
    assert main(["train", str(folder), "--relabel", "labels.csv", *words]) == 0
    trained = json.loads(capsys.readouterr().out)["runs"][0]
    run = Run.open(trained["id"], tmp_path / "pocketlens-runs")
    assert run.experiment.n_relabelled == 5
    labelled, _ = load_of(run)
    assert labelled.fingerprint == run.experiment.data_fingerprint != dataset.fingerprint
    assert labelled.labels[:5].tolist() == [1] * 5
    assert main(["report", run.id, "--json"]) == 0
    page = run.file("report.html").read_text(encoding="utf-8")
    assert "corrected labels" in page
    assert "5 of their labels were corrected by hand" in page
    assert "2 other images were dropped by hand" in page
    n_kept = len(dataset) - 2
    assert f"{n_kept} were used" in page
    assert len(run.split.train) + len(run.split.val) == n_kept
    assert not {5, 6} & {*run.split.train.tolist(), *run.split.val.tolist()}
    run.set_status("stopped")
    assert main(["resume", run.id, "--json"]) == 0
    assert main(["refit", run.id, "--json"]) == 0
    again = Run.open("last", tmp_path / "pocketlens-runs")
    assert again.id != run.id
    assert again.corrections() == run.corrections()
    assert len(again.split.train) == n_kept
    assert main(["train", str(folder), "--relabel", "absent.csv"]) == 2
    assert "--relabel must be a file that exists" in capsys.readouterr().err
