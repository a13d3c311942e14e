"""Parts without images: what is said at load, and what each command does then; none ends in a traceback."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from made_images import class_folder, refused
from made_trainings import made_data

from pocketlens.cli import main
from pocketlens.data.split import Split, make_split, no_validation_rows
from pocketlens.datasets import load
from pocketlens.pipeline import AutoOptions, run_auto
from pocketlens.pipeline.result import AutoResult
from pocketlens.scoring.ledger import all_openings

FAST = ["--model", "mlp(hidden=8)", "--epochs", "1", "--threads", "1", "--device", "cpu"]


@pytest.fixture
def empty_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A data set whose official test part has empty class folders."""
    monkeypatch.chdir(tmp_path)
    class_folder(tmp_path / "data" / "train", {"cat": 20, "dog": 20})
    for name in ("cat", "dog"):
        (tmp_path / "data" / "test" / name).mkdir(parents=True)
    return "data"


def said(argv: list[str], capsys: pytest.CaptureFixture[str], code: int = 0) -> str:
    capsys.readouterr()
    assert main(argv) == code
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    if code == 2:
        assert err.count("\n") == 1, err
    return out + err


def test_no_test_images(empty_test: str, capsys: pytest.CaptureFixture[str]) -> None:
    trained = said(["train", empty_test, *FAST, "--label", "a"], capsys)
    assert "2 classes; no test images" in trained
    assert "there are no test images (development images: 20 of 'cat', 20 of 'dog')" in trained
    assert "next: pocketlens report" in trained
    assert "pocketlens test" not in trained
    refused_test = said(["test", "a"], capsys, 2)
    assert "has no test images" in refused_test
    assert "pocketlens report" in refused_test
    assert not all_openings(), "nothing was opened, so nothing is on record"
    report = json.loads(said(["report", "a", "--json"], capsys).splitlines()[0])["report"]
    page = Path(report).read_text(encoding="utf-8")
    assert "There are no test images, so there is no test score." in page
    assert "pocketlens test" not in page
    refit = json.loads(said(["refit", "a", "--json"], capsys).splitlines()[0])
    assert refit["next"] == "pocketlens report a", "the label means the newest run, which is the refit"
    looked = said(["look", empty_test, "--quick"], capsys)
    assert "No test image has" not in looked
    assert looked.count("Skipped: ") == 1, "what has one reason is one line"


def test_the_scores_name_no_test_after_training(empty_test: str, capsys: pytest.CaptureFixture[str]) -> None:
    trained: dict[str, Any] = json.loads(said(["train", empty_test, *FAST, "--json"], capsys).splitlines()[0])
    assert trained["next"] == f"pocketlens report {trained['runs'][0]['id']}"


@pytest.mark.slow
def test_auto_ends_without_a_test_score(empty_test: str, tmp_path: Path) -> None:
    events, stages = run_auto(AutoOptions(empty_test, minutes=0.04, runs=tmp_path / "runs")), []
    while True:
        try:
            stages.append(next(events))
        except StopIteration as end:
            result: AutoResult = end.value
            break
    assert result.test is None
    page = result.page.read_text(encoding="utf-8")
    assert "there are no test images, so there is no test score" in page
    assert len(result.run.split.val) == 4  # they are held out to the end, as nothing else judges


def test_no_validation_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    class_folder(tmp_path / "data", {"cat": 3, "dog": 3})
    trained = said(["train", "data", *FAST], capsys)
    assert "there are no validation images (development images: 2 of 'cat', 2 of 'dog')" in trained
    for argv in (
        ["train", "data", *FAST, "--keep", "best"],
        ["train", "data", *FAST, "--patience", "2"],
        ["search", "data", "--space", "lr=log(0.01,1)", "--trials", "2"],
        ["compare", "data", "small", "mlp"],
    ):
        line = said(argv, capsys, 2).splitlines()[-1]
        assert "there are no validation rows: --val-fraction 0.1 of 4 images in 2 classes gives none" in line
        assert "give --val-fraction 0.15." in line
    assert "1 validation" in said(["train", "data", *FAST, "--val-fraction", "0.15", "--keep", "best"], capsys)


def test_what_to_type_where_no_fraction_helps() -> None:
    data = made_data(n=6, n_classes=3)
    single = replace(data, labels=data.labels, groups=data.labels)
    assert "every class has only one group" in no_validation_rows(single, 0.1)
    assert no_validation_rows(data, 0.0) == "--val-fraction must be above 0"


@pytest.mark.parametrize(
    "counts",
    [
        {"a": 5, "b": 1},
        pytest.param({"a": 2, "b": 2}, marks=pytest.mark.slow),
        pytest.param({"a": 1, "b": 1}, marks=pytest.mark.slow),
        pytest.param({"a": 9, "b": 9}, marks=pytest.mark.slow),
    ],
)
def test_tiny_data_sets_go_all_the_way(
    counts: dict[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    class_folder(tmp_path / "data", counts)
    _, sealed = load("data")
    said(["look", "data", "--quick"], capsys)
    said(["train", "data", *FAST, "--label", "a"], capsys)
    said(["test", "a"], capsys, 0 if len(sealed) else 2)
    said(["report", "a"], capsys)
    said(["predict", "a", "data/a"], capsys)
    said(["export", "a", "--format", "safetensors"], capsys)


def test_classes_without_test_images_are_said_in_one_note(tmp_path: Path) -> None:
    class_folder(tmp_path / "train", dict.fromkeys("abcdefgh", 3))
    class_folder(tmp_path / "test", {"a": 1}, seed=1)
    dataset, _ = load(str(tmp_path))
    notes = [note for note in dataset.notes if "test images" in note]
    assert notes == [
        "7 of 8 classes have no test images (development images: 3 of 'b', 3 of 'c', 3 of 'd', 3 of 'e', 3 of 'f' "
        "and 2 more)"
    ]


def test_shares_that_whole_groups_do_not_allow_are_said(tmp_path: Path) -> None:
    root = class_folder(tmp_path, {"a": 20, "b": 20})
    rows = [
        f"{name}/{path.name},{name},{name}{i // 10}"
        for name in "ab"
        for i, path in enumerate(sorted((root / name).iterdir()))
    ]
    (root / "labels.csv").write_text("\n".join(["file,label,patient", *rows]), encoding="utf-8")
    dataset, sealed = load(f"folder({str(root)!r}, labels='labels.csv', group='patient')")
    assert len(sealed) == 20
    assert "test images in whole groups: 10 of the 20 of 'a', 10 of the 20 of 'b'" in dataset.notes
    split = make_split(dataset)
    assert "there are no validation images (development images: 10 of 'a', 10 of 'b')" in split.notes


def test_many_classes_without_training_images_make_one_note() -> None:
    data = made_data(n=20, n_classes=2)
    many = replace(data, classes=tuple(f"c{i}" for i in range(900)))
    assert [note for note in make_split(many).notes if "cannot be learned" in note] == [
        "898 classes have no training images, so they cannot be learned: 'c2', 'c3', 'c4', 'c5', 'c6' and 893 more"
    ]


def test_a_split_of_before_has_no_count_of_test_rows() -> None:
    made = {"seed": 0, "val_fraction": 0.1, "notes": [], "train": [0, 1], "val": [2]}
    assert Split.from_dict(made).n_test is None
    assert Split.from_dict(made).to_dict() == made
    assert Split.from_dict({**made, "n_test": 0}).n_test == 0


def test_opening_an_empty_part_is_refused_before_the_ledger(
    empty_test: str, capsys: pytest.CaptureFixture[str]
) -> None:
    import pocketlens as pl
    from pocketlens.evaluation.open_test import open_test
    from pocketlens.training.run import Run

    said(["train", empty_test, *FAST], capsys)
    _, sealed = load(empty_test)
    with refused("has no test images"):
        open_test(Run.open("last"), sealed)
    with refused("has no test images"):
        pl.test("last")
