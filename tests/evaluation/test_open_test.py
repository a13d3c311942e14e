"""Scores are complete and strict JSON; the test rows open only on the record and only for a finished run."""

from __future__ import annotations

import importlib
import inspect
import json
import sys
import typing
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from made_runs import MadeRun, make_dataset, make_logits, make_run, make_sealed

import pocketlens.inference.tta  # noqa: F401 - before a stand-in for the classifier takes its place
from pocketlens.data.dataset import Dataset, Loaded, SealedTest, hash_images, seal
from pocketlens.data.duplicates import exact_pairs
from pocketlens.errors import PocketlensError
from pocketlens.evaluation import open_test as evaluate
from pocketlens.evaluation.open_test import open_test, openings, score
from pocketlens.files import ledger_file, read_json, to_json
from pocketlens.scoring import ledger, scores
from pocketlens.scoring.predictions import (
    Predictions,
    most_pictures,
    read_mistakes,
    read_predictions,
    worst_mistakes,
    write_predictions,
)
from pocketlens.scoring.scores import Scores

CLASSES = ("ant", "bee", "cat", "dog", "elk", "fox", "gnu")


@dataclass
class MadeClassifier:
    classes: tuple[str, ...] = CLASSES
    superclasses: tuple[str, ...] | None = ("insect", "mammal")
    superclass_of: tuple[int, ...] | None = (0, 0, 1, 1, 1, 1, 1)
    shape: tuple[int, int, int] = (8, 8, 3)
    prepare: str = "none"


@pytest.fixture
def classifier(monkeypatch: pytest.MonkeyPatch) -> MadeClassifier:
    """Stands in for the network: it sees the test images and answers with logits that depend on them."""
    made, module = MadeClassifier(), ModuleType("pocketlens.training.classifier")

    def predict_logits(classifier: Any, images: Any, rows: Any = None, *, device: str = "cpu") -> Any:
        return make_logits(np.arange(len(images)) % len(made.classes), len(made.classes), skill=1.5)

    module.load_classifier = lambda run: made  # type: ignore[attr-defined]
    module.predict_logits = predict_logits  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pocketlens.training.classifier", module)
    return made


@pytest.fixture
def run(tmp_path: Path) -> MadeRun:
    return make_run(tmp_path / "runs", make_dataset(140, CLASSES, (8, 8, 3)))


def judge(n: int = 210, classes: tuple[str, ...] = CLASSES, **options: Any) -> Scores:
    labels = np.arange(n) % len(classes)
    return score(
        Predictions("val", np.arange(n), labels, make_logits(labels, len(classes), skill=1.5)), classes, **options
    )


def test_scores_become_strict_json_and_come_back() -> None:
    before = judge(superclasses=("insect", "mammal"), superclass_of=(0, 0, 1, 1, 1, 1, 1))
    text = to_json(before.to_dict())
    after = Scores.from_dict(json.loads(text))
    assert to_json(after.to_dict()) == text
    assert after.classes == CLASSES
    assert after.coarse is not None
    assert before.coarse is not None
    assert after.coarse.value == before.coarse.value > (before.top1.value or 0)
    assert after.confusion.sum() == after.n == 210


def test_a_class_without_rows_is_not_applicable_and_never_nan() -> None:
    labels = np.zeros(9, np.int64)
    judged = score(Predictions("val", np.arange(9), labels, make_logits(labels, 3)), ("a", "b", "c"))
    text = json.dumps(judged.to_dict(), allow_nan=False)
    assert "NaN" not in text
    assert judged.per_class[1].recall.value is None
    assert judged.per_class[1].f1.to_dict() == {"value": None, "low": None, "high": None}
    assert judged.top5 is None  # three classes
    assert [row.name for row in judged.ranked()] == ["a"]


def test_the_table_for_the_terminal_shows_numbers_with_intervals() -> None:
    judged = judge()
    text = "\n".join(judged.lines())
    assert f"{100 * (judged.top1.value or 0):.2f} %" in text
    assert text.startswith("validation, 210 images, 7 classes")
    assert "none of the 7 F1 scores differs significantly from their median" in text
    assert "opened" not in text
    assert "this is the 3rd" in "\n".join(replace(judged, part="test", opening=3, openings=3).lines())


def test_the_notebook_table_escapes_and_shows_the_interval() -> None:
    html = judge(classes=("<script>", "b"))._repr_html_()
    assert "<script>" not in html
    assert "top-1 accuracy" in html


def test_predictions_come_back_from_their_file(tmp_path: Path) -> None:
    labels = np.array([0, 1, 1])
    before = Predictions("test", np.array([5, 9, 11]), labels, make_logits(labels, 2))
    write_predictions(tmp_path / "p.safetensors", before)
    after = read_predictions(tmp_path / "p.safetensors")
    assert after.part == "test"
    np.testing.assert_array_equal(after.rows, before.rows)
    np.testing.assert_array_equal(after.logits, before.logits)
    assert after.logits.dtype == np.float32


@pytest.mark.parametrize("content", [b"", b"\xff" * 64, (8).to_bytes(8, "little") + b"{}      "])
def test_a_bad_predictions_file_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "p.safetensors").write_bytes(content)
    with pytest.raises(PocketlensError, match=r"p\.safetensors"):
        read_predictions(tmp_path / "p.safetensors")
    with pytest.raises(PocketlensError, match="must be a file that exists"):
        read_predictions(tmp_path / "absent.safetensors")


@pytest.mark.parametrize(
    ("rows", "labels", "logits", "message"),
    [
        ([], [], np.zeros((0, 2)), "at least one row"),
        ([4], [0], [[0.0, np.nan]], "must be finite.*row 4"),
        ([4], [2], [[0.0, 1.0]], r"labels must be 0\.\.1"),
        ([4, 5], [1], [[0.0, 1.0]], "as many labels and logits as rows"),
    ],
)
def test_impossible_predictions_are_refused(rows: Any, labels: Any, logits: Any, message: str) -> None:
    with pytest.raises(PocketlensError, match=message):
        Predictions("val", np.array(rows, np.int64), np.array(labels, np.int64), np.array(logits, np.float32))


def test_classes_and_logits_must_match() -> None:
    with pytest.raises(PocketlensError, match="got 2 and 3 classes"):
        score(Predictions("val", np.arange(1), np.array([0]), np.zeros((1, 2), np.float32)), ("a", "b", "c"))


def test_worst_mistakes_are_the_surest_wrong_rows() -> None:
    logits = np.array([[9, 0, 0], [0, 5, 0], [0, 7, 0], [1, 0, 0]], np.float32)
    mistakes = worst_mistakes(Predictions("val", np.array([10, 20, 30, 40]), np.array([0, 0, 2, 1]), logits), 2)
    assert mistakes.rows.tolist() == [30, 20]
    assert mistakes.labels.tolist() == [2, 0]
    assert mistakes.predicted.tolist() == [1, 1]
    assert (np.diff(mistakes.probability) < 0).all()
    assert mistakes.probability[0] == pytest.approx(np.exp(7) / (np.exp(7) + 2))
    perfect = Predictions("val", np.array([1]), np.array([0]), np.array([[1, 0]], np.float32))
    assert len(worst_mistakes(perfect).rows) == 0


def test_open_test_writes_everything_and_counts(run: MadeRun, classifier: MadeClassifier) -> None:
    sealed = make_sealed(70, CLASSES, shape=(8, 8, 3))
    opened = [open_test(run, sealed) for _ in range(3)]
    assert [(judged.opening, judged.openings) for judged in opened] == [(1, 1), (2, 2), (3, 3)]
    assert len(openings(sealed)) == 3
    stored = read_json(run.file("scores-test.json"))
    assert stored["openings"] == 3
    assert Scores.from_dict(stored).n == 70
    assert len(read_predictions(run.file("predictions-test.safetensors")).rows) == 70
    mistakes = read_mistakes(run.file("mistakes-test.safetensors"))
    assert mistakes.images is not None
    np.testing.assert_array_equal(mistakes.images, sealed._open().images[mistakes.rows])
    predictions = read_predictions(run.file("predictions-test.safetensors"))
    assert len(mistakes.rows) == (predictions.predicted != predictions.labels).sum() > 0  # every wrong row
    assert not run.file("files-test.json").exists()


def test_the_files_of_test_rows_are_kept_as_they_are_shown(run: MadeRun, classifier: MadeClassifier) -> None:
    part = make_dataset(70, CLASSES, (8, 8, 3), files=tuple(f"a/{row}\x1b.png" for row in range(70)))
    open_test(run, seal(part))
    assert read_json(run.file("files-test.json"))[69] == "a/69\\x1b.png"


def test_pictures_that_a_run_keeps_are_limited_by_their_bytes() -> None:
    assert most_pictures((32, 32, 3)) == 10_000
    assert most_pictures((96, 96, 3)) == 64_000_000 // (96 * 96 * 3)
    assert most_pictures((4000, 4000, 3)) == 48


def test_the_score_is_given_without_contaminated_images_too(run: MadeRun, classifier: MadeClassifier) -> None:
    development, sealed = make_dataset(140, CLASSES, (8, 8, 3)), make_sealed(70, CLASSES, shape=(8, 8, 3))
    images = development.images.copy()
    images[:7] = sealed._open().images[:7]
    known = exact_pairs(replace(development, images=images, hashes=hash_images(images)), sealed)
    judged = open_test(run, sealed, duplicates=known)
    predictions = read_predictions(run.file("predictions-test.safetensors"))
    right = (predictions.predicted == predictions.labels)[7:]
    assert judged.clean is not None
    assert (judged.clean.n, judged.clean.n_contaminated) == (63, 7)
    assert judged.clean.top1.value == pytest.approx(right.mean())
    assert (judged.clean.top1.low or 1) < right.mean() < (judged.clean.top1.high or 0)
    text = "\n".join(judged.lines())
    assert "7 test images have a duplicate" in text
    assert "top-1 of 63 clean" in text
    assert "pocketlens look" in text  # near ones were not searched for
    assert Scores.from_dict(read_json(run.file("scores-test.json"))).clean == judged.clean


def test_scores_without_a_word_on_contamination_are_still_read(run: MadeRun, classifier: MadeClassifier) -> None:
    sealed = make_sealed(70, CLASSES, shape=(8, 8, 3))
    stored = open_test(run, sealed).to_dict()
    assert stored["clean"] is None
    del stored["clean"]
    assert Scores.from_dict(stored).clean is None
    nothing = exact_pairs(make_dataset(140, CLASSES, (8, 8, 3)), sealed)
    judged = open_test(run, sealed, duplicates=nothing)
    assert "no test image has an exact duplicate" in "\n".join(judged.lines())
    assert not any("clean" in name for name, _, _ in judged.rows())
    everything = exact_pairs(sealed._open(), sealed)
    alone = open_test(run, sealed, duplicates=everything).clean
    assert alone is not None
    assert (alone.n, alone.top1.value) == (0, None)


def test_the_ledger_is_written_before_anything_is_computed(
    run: MadeRun, classifier: MadeClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    sealed = make_sealed(70, CLASSES, shape=(8, 8, 3))
    seen: list[int] = []

    def crash(*arguments: Any, **options: Any) -> Any:
        seen.append(len(ledger_file().read_text().splitlines()))
        raise RuntimeError("the machine goes down")

    monkeypatch.setattr(sys.modules["pocketlens.training.classifier"], "predict_logits", crash)
    with pytest.raises(RuntimeError):
        open_test(run, sealed)
    monkeypatch.setattr(evaluate, "score", crash)
    with pytest.raises(RuntimeError):
        open_test(run, sealed)
    assert seen == [1, 2]
    assert len(openings(sealed)) == 2
    assert not run.file("scores-test.json").exists()


def test_without_a_ledger_nothing_is_opened(
    run: MadeRun, classifier: MadeClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = make_dataset(70, CLASSES, (8, 8, 3))
    chunks, doors = [], []
    sealed = replace(make_sealed(70, CLASSES, shape=(8, 8, 3)), _open=lambda: doors.append(1) or part)

    def fail(*arguments: Any, **options: Any) -> Any:
        chunks.append(len(doors))
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ledger, "append_json", fail)
    with pytest.raises(PocketlensError, match="No space left"):
        open_test(run, sealed)
    assert chunks == [len(doors)]  # nothing was opened after the failure
    assert not run.file("predictions-test.safetensors").exists()


@pytest.mark.parametrize("state", ["new", "running", "stopped", "killed", "diverged", "failed"])
def test_unfinished_runs_do_not_open_the_test(run: MadeRun, classifier: MadeClassifier, state: str) -> None:
    sealed = make_sealed(70, CLASSES, shape=(8, 8, 3))
    run.set_status(state, "why")
    said = "killed .its process was killed" if state == "running" else f"{state} .why"  # no process holds its lock
    with pytest.raises(PocketlensError, match=f"is {said}.*pocketlens resume"):
        open_test(run, sealed)
    assert openings(sealed) == []


@pytest.mark.parametrize("change", [{"classes": CLASSES[::-1]}, {"classes": CLASSES[:6]}, {"shape": (8, 8, 1)}])
def test_other_classes_or_images_are_refused(run: MadeRun, classifier: MadeClassifier, change: dict[str, Any]) -> None:
    sealed = make_sealed(70, CLASSES, shape=(8, 8, 3))
    for name, value in change.items():
        setattr(classifier, name, value)
    with pytest.raises(PocketlensError) as error:
        open_test(run, sealed)
    assert "\n" not in str(error.value)
    assert run.id in str(error.value)
    assert sealed.text in str(error.value)
    assert openings(sealed) == []


def test_training_code_can_neither_take_nor_give_test_rows() -> None:
    """What `fit`, `train`, `refit`, a Run and a classifier take and give: never a test part, sealed or open."""
    names = ("classifier", "fit", "device_images", "run", "state", "train", "warm_start")
    modules = [importlib.import_module(f"pocketlens.training.{name}") for name in names]
    n_checked = 0
    for module in modules:
        public = [value for name, value in vars(module).items() if not name.startswith("_")]
        own = [value for value in public if getattr(value, "__module__", None) == module.__name__]
        routines = [value for value in own if inspect.isfunction(value)]
        for kind in (value for value in own if inspect.isclass(value)):
            routines += [value for name, value in vars(kind).items() if inspect.isfunction(value)]
        for routine in routines:
            signature = inspect.signature(routine)
            assert "SealedTest" not in str(signature), routine
            assert not any("test" in name for name in signature.parameters), routine
            n_checked += 1
        assert "SealedTest" not in vars(module), module.__name__
        source = inspect.getsource(module)
        assert "_open(" not in source, module.__name__
        assert "import evaluate" not in source, module.__name__
        assert "open_test" not in source, module.__name__
    assert n_checked > 30


def test_load_gives_development_rows_and_a_sealed_part_that_share_no_image() -> None:
    datasets = importlib.import_module("pocketlens.datasets")
    assert str(inspect.signature(datasets.load).return_annotation).strip("'") == "Loaded"
    assert Loaded._fields == ("dataset", "sealed")
    dataset, sealed = datasets.load("digits")
    assert isinstance(dataset, Dataset)
    assert isinstance(sealed, SealedTest)
    assert len(dataset) + len(sealed) == 1797
    development = {row.tobytes() for row in dataset.hashes}
    assert not development & {row.tobytes() for row in sealed.hashes}


def test_a_sealed_test_gives_images_without_labels() -> None:
    sealed = make_sealed(30, ("a", "b"), shape=(8, 8, 1))
    public = {name: getattr(sealed, name) for name in dir(sealed) if not name.startswith("_")}
    assert set(public) == {"text", "n", "classes", "fingerprint", "hashes", "images_without_labels"}
    assert not any(isinstance(value, Dataset) for value in public.values())
    chunks = list(sealed.images_without_labels(7))
    assert [chunk.shape for chunk in chunks] == [(7, 8, 8, 1)] * 4 + [(2, 8, 8, 1)]
    assert all(type(chunk) is np.ndarray and chunk.dtype == np.uint8 for chunk in chunks)
    assert "label" not in repr(sealed).lower()
    hints = typing.get_type_hints(SealedTest.images_without_labels)
    assert "Dataset" not in str(hints["return"])


def test_images_are_compared_as_the_classifier_sees_them(run: MadeRun, classifier: MadeClassifier) -> None:
    classifier.prepare, classifier.shape = "resize(4)", (4, 4, 3)
    assert open_test(run, make_sealed(70, CLASSES, shape=(8, 8, 3))).n == 70


def test_scores_that_are_no_scores_are_refused() -> None:
    with pytest.raises(PocketlensError, match=r"x\.json"):
        Scores.from_dict({"part": "val"}, "x.json")
    assert scores.show(scores.Estimate(None), "share") == "n/a"
