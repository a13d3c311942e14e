"""`features` on a pretrained body and on a run: the probe, a forest, and what is refused in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_images import class_folder, refused

import pocketlens as pl
from pocketlens.cli import main
from pocketlens.models import _bodies
from pocketlens.models._bodies import Body
from pocketlens.training.classifier import load_classifier

TINY = Body("test_resnet", 1, 1, 24, 32, "Apache-2.0", "ImageNet-1k", "r160_in1k")


@pytest.fixture(autouse=True)
def _tiny_body(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tiny body in the place of the listed ones, with random weights: no test reads a hub."""
    monkeypatch.setattr(_bodies, "BODIES", (TINY,))
    monkeypatch.setattr("pocketlens.api.features.BODIES", (TINY,))
    monkeypatch.setattr(Body, "text", property(lambda self: f"timm(name={self.name!r})"))


@pytest.fixture
def photos(tmp_path: Path) -> str:
    return str(class_folder(tmp_path / "photos", {"a": 30, "b": 30}, shape=(32, 32, 3)))


def test_a_body_gives_a_probe_and_a_forest_and_a_run_a_probe(
    photos: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["features", "test_resnet", photos, "--label", "one"]) == 0
    said = capsys.readouterr().out
    assert "the head is a logistic regression; images prepared by resize(32, filter='bicubic') | middle(24)" in said
    assert "epochs in batches" not in said
    one = pl.show("one").to_dict()
    assert (one["status"], one["epochs"]) == ("complete", 1)
    probe = pl.features("test_resnet", photos, verbose=False)
    assert load_classifier(probe.run).shape == (24, 24, 3)
    assert load_classifier(probe.run).image_shape == (32, 32, 3)
    forest = pl.features("test_resnet", photos, kind="forest", trees=5, verbose=False)
    assert forest.run.experiment.features_of == "forest(trees=5)"
    above = pl.features(probe.run, photos, kind="probe", verbose=False)
    assert above.run.weights_hash() == probe.run.weights_hash()  # the same body, the same head
    assert main(["report", probe.id]) == 0
    assert "multinomial logistic regression" in (probe.path / "report.html").read_text(encoding="utf-8")
    assert pl.reproduce(probe.run, verbose=False).found.word == "equal"  # type: ignore[union-attr]
    assert len(pl.predict(probe.run, photos)) == 60


def test_a_network_that_has_seen_validation_images_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    seen = "validation scores are too high; with --val-fraction 0.3 --split-seed 2 they are images that it was not"
    typed = ["--model", "mlp(hidden=8)", "--epochs", "0.1", "--rows", "300"]
    own = ["--val-fraction", "0.3", "--split-seed", "2"]
    assert main(["train", "digits", *typed, *own, "--label", "net"]) == 0
    assert main(["features", "net", "digits", "--with", "knn"]) == 0
    assert seen in capsys.readouterr().out
    assert main(["features", "net", "digits", "--with", "knn", *own]) == 0
    assert "too high" not in capsys.readouterr().out
    assert main(["train", "digits", *typed, "--start", "net"]) == 0
    assert seen in capsys.readouterr().out
    assert main(["train", "digits", *typed, *own, "--start", "net"]) == 0
    assert "too high" not in capsys.readouterr().out


def test_mistakes_are_one_line_and_leave_nothing(
    photos: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = tmp_path / "runs"
    with refused(
        "'test_resnett' must be a run in", "or a pretrained body, and is neither. Did you mean 'test_resnet'?"
    ):
        pl.features("test_resnett", photos, runs=runs, verbose=False)
    with refused("the head to fit must be one of probe, forest, logistic, knn, got 'svm'"):
        pl.features("test_resnet", photos, kind="svm", runs=runs, verbose=False)
    train = ["train", photos, "--recipe", "probe", "--model", "timm(name='test_resnet')", "--runs", str(runs)]
    assert main([*train, "--prepare", "middle(224)"]) == 2
    assert "must be at least 224 x 224 px, they are 32 x 32" in capsys.readouterr().err
    assert main([*train, "--minutes", "1"]) == 2
    assert "--recipe finetune" in capsys.readouterr().err
    assert not runs.exists()
