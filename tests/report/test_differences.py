"""Runs side by side: what differs in their settings, each class on the same images, images that only one has right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made_runs import make_dataset, make_run
from test_report import open_by_hand, read_page

from pocketlens.recipe import Recipe
from pocketlens.report.run import differences
from pocketlens.report.run.differences import compare_with_first, settings_that_differ
from pocketlens.report.run.side_by_side import HEADINGS, write_comparison
from pocketlens.scoring.predictions import Predictions, read_predictions, write_predictions

CLASSES = ("ant", "bee", "cat")


def test_the_settings_that_differ_and_no_others(tmp_path: Path) -> None:
    dataset = make_dataset(60, CLASSES, (8, 8, 1))
    runs = [
        make_run(tmp_path, dataset, id="a", recipe=Recipe(lr=0.1)),
        make_run(tmp_path, dataset, id="b", recipe=Recipe(lr=0.2, augment="none"), seed=3),
    ]
    found = {row.name: row.values for row in settings_that_differ(runs)}
    assert found == {"augment": ("flip | crop(pad=2)", "none"), "lr": ("0.1", "0.2"), "seed": ("0", "3")}


def test_images_that_only_one_has_right(tmp_path: Path) -> None:
    dataset = make_dataset(120, CLASSES, (8, 8, 1))
    first, second = (make_run(tmp_path, dataset, id=name, skill=9.0) for name in "ab")
    path = second.file("predictions-val.safetensors")
    known = read_predictions(path)
    wrong = np.flatnonzero(known.labels == 1)[:5]
    logits = known.logits.copy()
    logits[wrong] = [9.0, 0.0, 0.0]
    write_predictions(path, Predictions("val", known.rows, known.labels, logits))
    (pair,) = compare_with_first([first, second], dataset)
    assert (pair.part, pair.overall.only_first, pair.overall.only_second) == ("validation", 5, 0)
    assert [each.row for each in pair.only_first] == known.rows[wrong].tolist()
    assert all((each.true, each.taken_for) == ("bee", "ant") for each in pair.only_first)
    assert all(each.picture.startswith("data:image/png") for each in pair.only_first)
    assert [each.name for each in pair.changes if each.is_clear] == ["bee"]
    (without,) = compare_with_first([first, second])
    assert [each.row for each in without.only_first] == [each.row for each in pair.only_first]
    assert {each.picture for each in without.only_first} == {""}
    page = read_page(write_comparison([first, second], tmp_path / "out", dataset)["html"]).shown
    assert "5 images only run 1 has right, 0 only run 2" in page
    assert "Only run 1 has right: 5" in page


def test_of_many_classes_those_that_changed_most_are_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(differences, "MOST_CHANGES", 2)
    dataset = make_dataset(400, tuple("abcdefgh"), (8, 8, 1))
    runs = [make_run(tmp_path, dataset, id=name, skill=skill) for name, skill in (("a", 0.2), ("b", 1.5))]
    (pair,) = compare_with_first(runs)
    assert (pair.n_classes, len(pair.changes)) == (8, 4)
    monkeypatch.setattr(differences, "MOST_CHANGES", 4)
    (whole,) = compare_with_first(runs)
    assert pair.changes == (*whole.changes[:2], *whole.changes[-2:])
    gains = [each.difference.value or 0 for each in whole.changes]
    assert len(gains) == 8
    assert gains == sorted(gains, reverse=True)


def test_other_images_are_not_compared(tmp_path: Path) -> None:
    dataset, other = make_dataset(60, CLASSES, (8, 8, 1)), make_dataset(90, CLASSES, (8, 8, 1))
    first = make_run(tmp_path, dataset, id="a")
    assert compare_with_first([first, make_run(tmp_path, other, id="b")]) == ()
    assert compare_with_first([first, make_run(tmp_path, dataset, id="c", val_fraction=0.0)]) == ()
    assert compare_with_first([first, make_run(tmp_path, dataset, id="d", val_fraction=0.3)]) == ()


def test_tested_runs_are_compared_on_test_images(tmp_path: Path) -> None:
    dataset = make_dataset(60, CLASSES, (8, 8, 1))
    runs = [make_run(tmp_path, dataset, id=name) for name in "ab"]
    for run in runs:
        open_by_hand(run, dataset)
    (pair,) = compare_with_first(runs)
    assert pair.part == "test"


def test_a_run_without_validation_is_not_drawn_as_one_with_it(tmp_path: Path) -> None:
    dataset = make_dataset(60, CLASSES, (8, 8, 1))
    runs = [make_run(tmp_path, dataset, id="a"), make_run(tmp_path, dataset, id="b", val_fraction=0.0)]
    page = read_page(write_comparison(runs, tmp_path)["html"]).shown
    assert "Validation accuracy by epoch. Not drawn, as it was not measured: run 2." in page
    assert "Training accuracy by epoch." in page
    assert "Training accuracy by epoch. Not drawn" not in page


def test_the_results_come_first() -> None:
    assert HEADINGS[:4] == ["run", "name", "test, result", "validation, result"]
