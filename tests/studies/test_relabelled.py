"""Corrected labels in a comparison: beside the recipes, scored by the same labels on the same rows, kept in a study."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_images import refused
from made_studies import data_file

from pocketlens.cli import main
from pocketlens.data.dataset import Dataset
from pocketlens.data.relabel import COLUMNS
from pocketlens.data.split import make_split
from pocketlens.datasets import load
from pocketlens.files import csv_text, read_json
from pocketlens.recipe import Recipe
from pocketlens.scoring.predictions import Predictions, read_predictions
from pocketlens.studies.compare import read_comparison
from pocketlens.studies.overrides import read_variant
from pocketlens.studies.relabelled import Standard, read_relabelling, relabelling_for, write_relabelling
from pocketlens.studies.store import Study

TINY = ["--model", "mlp(hidden=(4,))", "--augment", "none", "--sizes", "100%", "--optimizer", "sgd", "--lr", "0.05"]
TINY += ["--batch-size", "16", "--epochs", "1", "--threads", "1", "--val-fraction", "0.25"]


def labels_file(path: Path, dataset: Dataset, decisions: dict[int, str]) -> Path:
    names = dataset.classes
    lines = [
        (row, dataset.hashes[row].tobytes().hex(), names[dataset.labels[row]], "", decision)
        for row, decision in decisions.items()
    ]
    path.write_text(csv_text(COLUMNS, lines))
    return path


def other(dataset: Dataset, row: int) -> str:
    return dataset.classes[(int(dataset.labels[row]) + 1) % len(dataset.classes)]


def test_rows_are_scored_by_a_standard_whatever_their_order() -> None:
    logits = np.eye(3, dtype=np.float32)[[0, 1, 2, 0]]
    predictions = Predictions("val", np.array([9, 2, 5, 7]), np.array([0, 0, 0, 0]), logits)
    standard = Standard(np.array([2, 7, 9]), np.array([1, 2, 0]))
    assert standard.right(predictions).tolist() == [True, False, True]
    with refused("all validation rows"):
        Standard(np.array([2, 6]), np.array([1, 1])).right(predictions)


def test_corrections_are_read_once_and_kept(tmp_path: Path) -> None:
    dataset, _ = load(data_file(tmp_path))
    split = make_split(dataset, val_fraction=0.25)
    first, second, third = (int(row) for row in split.val[:3])
    path = labels_file(tmp_path / "labels.csv", dataset, {first: "drop", second: other(dataset, second), third: "keep"})
    text = f"relabel='{path}'; lr=0.2"
    variant = read_variant(text, Recipe())
    assert (variant.relabel, variant.recipe, dict(variant.changes)) == (str(path), Recipe(lr=0.2), {"lr": 0.2})
    assert variant.recipe.id == Recipe(lr=0.2).id
    made = relabelling_for([read_variant("base", Recipe()), variant], dataset, split)
    assert made is not None
    assert made.rows.tolist() == split.val[1:].tolist()
    assert (made.given != made.corrected).tolist() == [True] + [False] * (len(split.val) - 2)
    assert made.said().startswith("1 label corrected, 1 image dropped")
    write_relabelling(tmp_path, made)
    again = read_relabelling(tmp_path)
    assert again is not None
    assert (again.corrections, again.fingerprint) == (made.corrections, made.fingerprint)
    assert again.by_given.labels.tolist() == made.given.tolist()
    assert relabelling_for([read_variant("lr=0.2", Recipe())], dataset, split) is None


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    dataset, _ = load(data_file(tmp_path))
    split = make_split(dataset, val_fraction=0.25)
    kept = labels_file(tmp_path / "kept.csv", dataset, {0: "keep"})
    one = labels_file(tmp_path / "one.csv", dataset, {0: "drop"})
    val = labels_file(tmp_path / "val.csv", dataset, {int(row): "drop" for row in split.val})
    for names, part in (([kept], "nothing to compare"), ([one, val], "one file"), ([val], "every validation image")):
        with refused(part):
            relabelling_for([read_variant(f"relabel={name}", Recipe()) for name in names], dataset, split)
    with refused("relabel is changed twice"):
        read_variant(f"relabel={one}; relabel={one}", Recipe())


def accuracy(study: Study, name: str, labels: dict[int, int]) -> float:
    """By hand: the share of these rows that the trial of a candidate has as these labels say."""
    record = next(each for each in study.records() if each.trial.candidate == name)
    predictions = read_predictions(study.run(record.trial).file("predictions-val.safetensors"))
    found = dict(zip(predictions.rows.tolist(), predictions.predicted.tolist(), strict=True))
    return float(np.mean([found[row] == label for row, label in labels.items()]))


@pytest.mark.slow
def test_the_command_compares_with_and_without_the_corrections(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = data_file(tmp_path)
    dataset, _ = load(text)
    split = make_split(dataset, val_fraction=0.25)
    dropped = [int(split.train[0]), int(split.val[0])]
    turned = [int(row) for row in (*split.train[1:5], *split.val[1:8])]
    decisions = dict.fromkeys(dropped, "drop") | {row: other(dataset, row) for row in turned}
    path = labels_file(Path("labels.csv"), dataset, decisions)
    assert main(["compare", text, "relabel=absent.csv", *TINY]) == 2
    assert "relabel must be a file that exists" in capsys.readouterr().err
    assert main(["compare", text, "relabel=labels.csv", "--repeat", "1", *TINY, "--json"]) == 0
    out, err = capsys.readouterr()
    assert "11 labels corrected, 2 images dropped" in err
    assert "by the given labels of the same" in err
    study = Study.open("last", tmp_path / "pocketlens-runs")
    assert read_json(study.path / "study.json")["format"] == 2
    base, other_trial = study.records()
    run = study.run(other_trial.trial)
    assert study.run(base.trial).split.to_dict() == study.split.to_dict()
    assert study.run(base.trial).experiment.relabel_hash == ""
    assert run.experiment.recipe.id == study.run(base.trial).experiment.recipe.id
    assert (run.experiment.n_relabelled, run.n_dropped()) == (11, 2)
    assert not set(dropped) & {*run.split.train.tolist(), *run.split.val.tolist()}
    given = {int(row): int(dataset.labels[row]) for row in split.val[1:]}
    corrected = given | {row: (given[row] + 1) % len(dataset.classes) for row in turned if row in given}
    path.unlink()
    comparison = read_comparison(Study(study.path))
    assert comparison.by_given is not None
    for found, labels in ((comparison, corrected), (comparison.by_given, given)):
        assert found.n_val == len(labels)
        means = {each.name: each.mean for each in found.candidates}
        assert means == {name: pytest.approx(accuracy(study, name, labels)) for name in ("base", "relabel=labels.csv")}
    result: dict[str, Any] = json.loads(out)
    assert [each["mean"] for each in result["by_given_labels"]["recipes"]] == [
        each.mean for each in comparison.by_given.candidates
    ]
    page = (study.path / "report.html").read_text(encoding="utf-8")
    assert "By the given labels:" in page
    assert "labels that were corrected by hand" in page
