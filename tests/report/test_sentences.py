"""Sentences and marks that were wrong once: each says what the numbers hold, and no more."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from made_runs import make_dataset, make_run
from made_studies import empty_study
from test_report import CLASSES, read_page, read_picture

from pocketlens.recipe import Recipe
from pocketlens.report import write_report
from pocketlens.report.audit.figures import draw_counts
from pocketlens.report.audit.findings import _augmentation
from pocketlens.report.pictures import draw_matrix
from pocketlens.report.run.facts import read_facts
from pocketlens.report.run.methods import write_methods
from pocketlens.report.run.side_by_side import read_lines, write_comparison
from pocketlens.report.study.sentences import _count_sentence, _edge_sentence, write_study_methods
from pocketlens.scoring.predictions import Predictions
from pocketlens.scoring.scores import score
from pocketlens.studies.space import read_space
from pocketlens.text import counted
from pocketlens.training.run import store


def test_rows_that_were_chosen_are_not_all_development_images(tmp_path: Path) -> None:
    dataset = make_dataset(350, CLASSES)
    text = write_methods(read_facts(make_run(tmp_path, dataset, rows=200), dataset))
    assert "The data are" not in text
    assert "Of the development images of made, 7 classes" in text
    assert "350 were used" in text
    assert "a stratified subset of the others, were trained on" in text


def test_a_study_of_some_rows_is_not_of_all_development_images(tmp_path: Path) -> None:
    study = empty_study(tmp_path)
    whole = write_study_methods(study, None, None)
    n, n_val = study.spec.n_train + study.spec.n_val, study.spec.n_val
    assert whole.startswith(f"The data are the {n} development images of {study.spec.data}: {n_val} for validation")
    some: Any = SimpleNamespace(
        spec=replace(study.spec, rows=40, n_train=40), split=study.split, relabelling=study.relabelling
    )
    text = write_study_methods(some, None, None)
    used = f"Of the development images of {study.spec.data}, {40 + n_val} were used: {n_val} for validation"
    assert text.startswith(used)
    assert "40 for training, a stratified subset of the others." in text


def test_marks_of_classes_do_not_say_for_sure(tmp_path: Path) -> None:
    labels = np.repeat(np.arange(8), 300)
    logits = np.eye(8, dtype=np.float32)[labels]
    logits[3:300] = np.eye(8, dtype=np.float32)[1]  # the first class is hardly ever predicted
    dataset = make_dataset(400, tuple("abcdefgh"))
    run = make_run(tmp_path, dataset)
    predictions = Predictions("val", np.arange(len(labels)), labels, logits)
    store(run, predictions, score(predictions, dataset.classes))
    shown = read_page(write_report(run)).shown
    assert "for sure" not in shown
    assert "significantly below or above the median" in shown
    assert "can have a lower F1 without a mark: it is known less exactly" in shown


@pytest.mark.parametrize(
    ("different", "n", "said"),
    [
        (1, 1, "1 of 1 pair differs significantly."),
        (0, 1, "The pair does not differ significantly."),
        (2, 2, "2 of 2 pairs differ significantly."),
        (1, 3, "1 of 3 pairs differs significantly; for the others the repeats are too few to tell."),
    ],
)
def test_pairs_are_counted_and_no_others_are_told_of_where_there_are_none(different: int, n: int, said: str) -> None:
    assert _count_sentence(different, n) == said


def test_a_run_without_validation_is_not_drawn_with_its_training_accuracy(tmp_path: Path) -> None:
    dataset = make_dataset(350, CLASSES)
    runs = [
        make_run(tmp_path, dataset, id="20250101-000000-abcd"),
        make_run(tmp_path, dataset, id="20250101-000001-abcd", val_fraction=0.0),
    ]
    lines = read_lines(runs)
    assert [bool(line.curve) for line in lines] == [True, False]
    assert "Not drawn, as it was not measured: run 2" in write_comparison(runs, tmp_path / "out")["html"].read_text()


def test_doubts_of_a_classifier_that_is_mostly_wrong_are_no_label_issues(tmp_path: Path) -> None:
    dataset = make_dataset(350, CLASSES)
    weak = read_page(write_report(make_run(tmp_path / "weak", dataset, skill=0.2), dataset))
    assert "There are no label issues, because" in weak.shown
    able = read_page(write_report(make_run(tmp_path / "able", dataset, skill=4.0), dataset))
    assert "There are no label issues, because" not in able.shown


def test_a_stopped_run_tells_its_latest_validation_accuracy(tmp_path: Path) -> None:
    run = make_run(tmp_path, make_dataset(350, CLASSES), n_epochs=3, state=("stopped", ""))
    for name in ("scores-val.json", "predictions-val.safetensors"):
        run.file(name).unlink()
    shown = read_page(write_report(run)).shown
    assert "Its latest validation accuracy is 72.00 %, after epoch 3." in shown
    assert "pocketlens test" not in shown


def test_one_mistake_of_many_is_faint() -> None:
    labels = np.repeat([0, 1], 36)
    logits = np.eye(2, dtype=np.float32)[labels]
    logits[0] = (0, 1)
    matrix = draw_matrix(score(Predictions("val", np.arange(72), labels, logits), ("a", "b")))
    assert matrix is not None
    pixels = read_picture(matrix.picture)
    assert 0 < pixels[0, 1, 3] < 0.5 * pixels[0, 0, 3]


@pytest.mark.parametrize(("n", "has_ticks"), [(10, False), (100, True)])
def test_ranks_are_not_drawn_as_if_they_were_names(n: int, has_ticks: bool) -> None:
    svg = draw_counts(np.full(n, 7000)).svg
    assert any(f">{rank}<" in svg for rank in (15, 20, 25)) is has_ticks
    assert ">2<" not in svg


def test_values_at_the_edge_of_a_space_are_named() -> None:
    space = read_space("lr=log(0.01,0.4); optimizer.momentum=range(0.4,0.95)", Recipe(optimizer="sgd(momentum=0.9)"))
    (said,) = _edge_sentence({"lr": 0.4, "optimizer.momentum": 0.7}, space)
    assert said == "lr stands at the edge of the space: the best value may lie beyond it."
    (both,) = _edge_sentence({"lr": 0.01, "optimizer.momentum": 0.95}, space)
    assert both.startswith("lr and optimizer.momentum stand")
    assert _edge_sentence({"lr": 0.06, "optimizer.momentum": 0.7}, space) == []


@pytest.mark.parametrize(("drawn", "said"), [(("flip",), "--augment all"), (("flip", "invert"), "sheets below")])
def test_unfamiliar_is_not_destroyed_and_only_sheets_that_are_there_are_named(
    drawn: tuple[str, ...], said: str
) -> None:
    stability = tuple(SimpleNamespace(text=text, warning="few keep it") for text in ("flip", "invert"))
    sheets = tuple(SimpleNamespace(text=text) for text in drawn)
    effect = SimpleNamespace(stability=stability, sheets=sheets)
    report: Any = SimpleNamespace(augmentation=effect, dataset=SimpleNamespace(text="digits"))
    (finding,) = _augmentation(report)
    assert "destroy" not in finding.text
    assert "unfamiliar" in finding.text
    assert said in finding.action


def test_one_is_not_many() -> None:
    assert [counted(n, "epoch") for n in (1, 1.0, 2.5, 0.5)] == ["1 epoch", "1 epoch", "2.5 epochs", "0.5 epochs"]
