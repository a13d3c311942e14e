"""The first screen of a run: its numbers are the run's, and each rule of its advice speaks where it should."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_runs import MadeRun, make_dataset, make_run, make_sealed
from test_report import CLASSES, HOSTILE, open_by_hand, read_page

from pocketlens.data.dataset import Dataset
from pocketlens.data.duplicates import Pairs, exact_pairs, join_pairs, write_duplicates
from pocketlens.data.sizes import SourceSizes
from pocketlens.files import append_json
from pocketlens.recipe import Recipe
from pocketlens.report import write_report
from pocketlens.report.run.advice import Advice, advise
from pocketlens.report.run.facts import Facts, read_facts
from pocketlens.report.run.first_screen import first_screen
from pocketlens.report.titles import run_title, short_name
from pocketlens.scoring.predictions import (
    RIGHT,
    Pictures,
    Predictions,
    read_predictions,
    some_right,
    write_pictures,
)
from pocketlens.scoring.scores import score
from pocketlens.training.run import store


def made(
    folder: Path, accuracy: float, train: float, *, n: int = 2000, curve: tuple[float, ...] = (), **options: Any
) -> tuple[MadeRun, Dataset]:
    """A run of two classes whose validation and training accuracies are these, with a curve of validation."""
    classes = options.pop("classes", ("ant", "bee"))
    dataset = make_dataset(2 * n, classes, (8, 8, 1))
    run = make_run(folder, dataset, val_fraction=0.5, n_epochs=0, recipe=options.pop("recipe", Recipe(epochs=4.0)))
    labels = dataset.labels[run.split.val]
    answer(run, dataset, labels, accuracy)
    curve = curve or (accuracy,) * 4
    for epoch, value in enumerate(curve, 1):
        judged = {"train_accuracy": train, "val_accuracy": value, "train_loss": 1.0, "val_loss": 1.0}
        record = {"epoch": epoch, "step": epoch, "lr": 0.1, "size": 8, "best": False}
        append_json(run.file("history.jsonl"), record | judged)
    return run, dataset


def answer(run: MadeRun, dataset: Dataset, labels: np.ndarray, accuracy: float, sure: float = 0.5) -> None:
    """Stores validation predictions of which so many are right, spread evenly."""
    n_classes, n = len(dataset.classes), len(labels)
    right = np.floor((np.arange(n) + 1) * accuracy) > np.floor(np.arange(n) * accuracy)
    logits = np.zeros((n, n_classes), np.float32)
    logits[np.arange(n), np.where(right, labels, (labels + 1) % n_classes)] = sure
    predictions = Predictions("val", run.split.val, labels, logits)
    store(run, predictions, score(predictions, dataset.classes))


def rules(facts: Facts) -> list[str]:
    return [advice.rule for advice in advise(facts)]


def only(facts: Facts, rule: str) -> Advice:
    (found,) = [advice for advice in advise(facts) if advice.rule == rule]
    return found


# ---- the numbers


def test_the_first_screen_holds_the_numbers_of_the_run(tmp_path: Path) -> None:
    run, dataset = made(tmp_path, 0.9, 0.92, classes=("ant", "bee", "cow"))
    screen = first_screen(read_facts(run, dataset))
    assert screen is not None
    assert [(bar.name, round(bar.accuracy.value or 0, 2)) for bar in screen.bars] == [
        ("this classifier", 0.9),
        ("always \u201cant\u201d", 0.33),
        ("guessing at random", 0.33),
    ]
    assert (screen.n_right, screen.n_wrong) == (1800, 201)
    assert (len(screen.right), len(screen.wrong)) == (8, 8)
    assert all(shown.is_right for shown in screen.right)
    assert not any(shown.is_right for shown in screen.wrong)
    confusion = screen.scores.confusion
    for pair in screen.pairs:
        first, second = (dataset.classes.index(name) for name in (pair.first, pair.second))
        assert (pair.n, pair.n_back) == (confusion[first, second], confusion[second, first])
        assert pair.n >= pair.n_back
        mistake, beside = pair.pictures
        assert (mistake.true, mistake.predicted) == (pair.first, pair.second)
        assert beside.true == pair.second
    assert [pair.n + pair.n_back for pair in screen.pairs] == sorted(
        (pair.n + pair.n_back for pair in screen.pairs), reverse=True
    )
    page = read_page(write_report(run, dataset))
    assert "89.96" in page.shown
    assert "33.3 %" in page.shown
    assert "always \u201cant\u201d" in page.shown
    assert screen.advice[0].text in page.shown


def test_what_a_run_was_made_of_comes_last_and_folded(tmp_path: Path) -> None:
    run, dataset = made(tmp_path, 0.9, 0.92)
    page = read_page(write_report(run, dataset))
    sections = [attributes["id"] for tag, attributes in page.elements if tag == "section"]
    assert sections[-1] == "setup"
    assert sections[0] == "scores"
    folded = [attributes for tag, attributes in page.elements if tag == "details"]
    assert len(folded) >= 5
    assert not any("open" in attributes for attributes in folded)
    for summary in ("Data", "Training", "Machine", "Recipe", "Methods"):
        assert summary in page.text["summary"]


def test_test_images_that_look_has_found_among_the_development_images_are_left_out(tmp_path: Path) -> None:
    dataset, sealed = make_dataset(350, CLASSES), make_sealed(90, CLASSES, shape=(32, 32, 3))
    run = make_run(tmp_path, dataset)
    open_by_hand(run, dataset)
    before = first_screen(read_facts(run, dataset, sealed))
    assert before is not None
    assert [bar.name for bar in before.bars][1].startswith("always")
    assert before.duplicates is None, "nobody has looked"
    pair = (np.array([3, 4]), np.array([350 + 7, 350 + 8]), np.array([0.01, 0.02], np.float32))
    found = join_pairs(
        exact_pairs(dataset, sealed), Pairs(*pair, np.array(["near"] * 2), np.array(["shifted"] * 2)), ()
    )
    write_duplicates(dataset, sealed, found)
    screen = first_screen(read_facts(run, dataset, sealed))
    assert screen is not None
    predictions = read_predictions(run.file("predictions-test.safetensors"))
    kept = ~np.isin(predictions.rows, [7, 8])
    right = (predictions.predicted == predictions.labels)[kept]
    assert screen.bars[1].name == "without 2 contaminated"
    assert screen.bars[1].accuracy.value == pytest.approx(right.mean())
    assert screen.duplicates == "2 test images have a duplicate among the development images (exact or near)."
    assert "without 2 contaminated" in read_page(write_report(run, dataset, sealed)).shown
    resized = replace(dataset, sizes=SourceSizes(350, 2, (32, 32), (64, 64), 48, 0.0))
    again = first_screen(read_facts(run, resized, sealed))
    assert again is not None
    assert again.bars[1].name == "without 2 contaminated", "what was found at another size holds at this one"


def test_right_test_images_come_from_the_run(tmp_path: Path) -> None:
    dataset = make_dataset(350, CLASSES)
    run = make_run(tmp_path, dataset)
    open_by_hand(run, dataset)
    screen = first_screen(read_facts(run))
    assert screen is not None
    assert screen.right == (), "runs of before have none"
    assert screen.wrong
    test = make_sealed(90, CLASSES, shape=dataset.shape)._open()
    rows = some_right(read_predictions(run.file("predictions-test.safetensors")), 12)
    write_pictures(run.file(RIGHT), Pictures(rows, test.images[rows]))
    screen = first_screen(read_facts(run))
    assert screen is not None
    assert {shown.row for shown in screen.right} < set(rows.tolist())
    assert "Right: 8 of" in read_page(write_report(run)).shown


def test_right_rows_are_drawn_from_every_class_and_first_from_those_that_others_are_taken_for() -> None:
    labels = np.array([0] * 50 + [1] * 10 + [2] * 10)
    logits = np.eye(3, dtype=np.float32)[labels]
    logits[50:52] = (0, 0, 9)  # two of class 1 are taken for class 2
    predictions = Predictions("test", np.arange(70), labels, logits)
    rows = some_right(predictions, 5)
    np.testing.assert_array_equal(rows, some_right(predictions, 5))
    assert list(rows) == sorted(set(rows))
    assert not {50, 51} & set(rows)
    assert sorted(labels[rows].tolist()) == [0, 0, 1, 2, 2]
    assert labels[some_right(predictions, 1)] == [2]
    assert len(some_right(predictions, 500)) == 68


def test_class_names_are_text_on_the_first_screen(tmp_path: Path) -> None:
    run, dataset = made(tmp_path, 0.6, 0.9, classes=HOSTILE[:2])
    page = read_page(write_report(run, dataset))
    assert f"always \u201c{HOSTILE[0]}\u201d" in page.shown
    assert HOSTILE[1] in page.text["b"]


# ---- advice


def test_still_learning(tmp_path: Path) -> None:
    run, dataset = made(tmp_path, 0.7, 0.7, curve=(0.4, 0.5, 0.6, 0.65, 0.66, 0.67, 0.68, 0.7))
    said = only(read_facts(run, dataset), "still learning")
    assert "rose by 3.0 points in the last 2 epochs of 8" in said.text
    assert "--epochs 8" in said.text, "twice as many as the recipe's four"
    flat, data = made(tmp_path / "flat", 0.7, 0.7, curve=(0.4, 0.7, 0.7, 0.7))
    assert "still learning" not in rules(read_facts(flat, data))
    by_heart, data = made(tmp_path / "heart", 0.7, 0.95, curve=(0.4, 0.5, 0.6, 0.7))
    assert "still learning" not in rules(read_facts(by_heart, data)), "more epochs do not help there"
    few, data = made(tmp_path / "few", 0.7, 0.7, n=40, curve=(0.6, 0.65, 0.66, 0.7))
    assert "still learning" not in rules(read_facts(few, data)), "a rise of one or two images is chance"


def test_one_epoch_is_hardly_a_training(tmp_path: Path) -> None:
    run, dataset = made(tmp_path, 0.6, 0.5, curve=(0.6,))
    assert only(read_facts(run, dataset), "still learning").text == (
        "It was trained for one epoch or less. Train longer, for example with --epochs 8."
    )
    for name, accuracy, trained in (("enough", 0.98, 0.97), ("known", 0.6, 0.7)):
        other, data = made(tmp_path / name, accuracy, trained, curve=(accuracy,))
        assert "still learning" not in rules(read_facts(other, data))


def test_overfitting(tmp_path: Path) -> None:
    run, dataset = made(tmp_path, 0.7, 0.95)
    said = only(read_facts(run, dataset), "overfitting")
    assert "Training accuracy, 95.0 %, is 25.0 points above its validation accuracy" in said.text
    assert f"it had {run.experiment.recipe.augment}" in said.text
    near, data = made(tmp_path / "near", 0.9, 0.95)
    assert "overfitting" not in rules(read_facts(near, data))
    few, data = made(tmp_path / "few", 0.8, 0.95, n=20)
    assert "overfitting" not in rules(read_facts(few, data)), "so few images may be wrong by chance"


def test_nothing_is_said_of_epochs_where_a_head_was_fitted(tmp_path: Path) -> None:
    recipe = Recipe(epochs=1.0, head="probe", freeze="body", augment="none")
    run, dataset = made(tmp_path, 0.8, 1.0, recipe=recipe)
    assert read_facts(run).recipe.is_probe
    assert not {"overfitting", "still learning"} & set(rules(read_facts(run, dataset)))


def test_few_images(tmp_path: Path) -> None:
    run, dataset = made(tmp_path, 0.75, 0.75, n=100)
    facts = read_facts(run, dataset)
    assert facts.scores is not None
    half = 50 * ((facts.scores.top1.high or 0) - (facts.scores.top1.low or 0))
    assert f"100 validation images cannot say more than \u00b1{half:.1f} points" in only(facts, "few images").text
    assert only(facts, "few images").command == "pocketlens auto made --folds 5"
    many, data = made(tmp_path / "many", 0.75, 0.75, n=1000)
    assert "few images" not in rules(read_facts(many, data))


def test_guessing(tmp_path: Path) -> None:
    run, dataset = made(tmp_path, 0.51, 0.5)
    assert "always answering 'ant', which is right for 50.0 %" in only(read_facts(run, dataset), "guessing").text
    better, data = made(tmp_path / "better", 0.6, 0.6)
    assert "guessing" not in rules(read_facts(better, data))


@pytest.mark.parametrize(("accuracy", "is_said"), [(0.97, True), (0.999, False), (0.45, False)])
def test_doubtful_labels(tmp_path: Path, accuracy: float, is_said: bool) -> None:
    run, dataset = made(tmp_path, accuracy, accuracy, classes=("ant", "bee", "cow"))
    answer(run, dataset, dataset.labels[run.split.val], accuracy, sure=20.0)  # sure of its mistakes, too
    found = [advice for advice in advise(read_facts(run, dataset)) if advice.rule == "doubtful labels"]
    assert bool(found) is is_said
    if found:
        assert "61 of the 2,001 validation labels may be wrong (3.0 %)" in found[0].text


def test_uneven_classes(tmp_path: Path) -> None:
    run, dataset = made(tmp_path, 0.9, 0.9)
    labels = np.array([0] * 1800 + [1] * 200)
    logits = np.eye(2, dtype=np.float32)[labels]
    logits[1800:1900] = (1, 0)  # half of the small class is wrong
    store_predictions = Predictions("val", run.split.val, labels, logits)
    store(run, store_predictions, score(store_predictions, dataset.classes))
    said = only(read_facts(run), "uneven classes").text
    assert "up to 9 to 1" in said
    assert "75.0 % on average, all images in 95.0 %" in said
    assert "such as 'bee', or train with --class-weight balanced" in said
    even = Predictions("val", run.split.val, labels, np.eye(2, dtype=np.float32)[labels])
    store(run, even, score(even, dataset.classes))
    assert "uneven classes" not in rules(read_facts(run)), "no class suffers"


def test_something_is_said_in_any_case_of_a_finished_run_and_nothing_before(tmp_path: Path) -> None:
    run, dataset = made(tmp_path, 0.93, 0.94)
    assert rules(read_facts(run, dataset)) == ["nothing stands out"]
    run.set_status("stopped", "by a person")
    assert advise(read_facts(run, dataset)) == ()
    page = read_page(write_report(run, dataset))
    assert "only the test part of a finished run can be opened" in page.shown
    assert "93.00" in page.shown, "the validation score that is known"
    assert "pocketlens test" not in page.shown


# ---- names


def test_a_page_is_called_by_its_data(tmp_path: Path) -> None:
    assert short_name("folder(path='/home/me/cells', size=48)") == "cells"
    assert short_name("cifar100(labels='coarse')") == "cifar100(labels='coarse')"
    assert short_name("not a component(") == "not a component("
    assert run_title("auto: final", "digits") == "digits"
    assert run_title("auto: check", "digits") == "digits, check"
    assert run_title("mine", "digits") == "mine"
    assert run_title("", "digits") == "digits"
    run = make_run(tmp_path, make_dataset(60, ("a", "b")), label="auto: final")
    assert "auto: final" not in read_page(write_report(run)).text["h1"]
