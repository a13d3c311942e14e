"""Runs of pictures of different sizes, end to end: size and fit are kept, and so is the rule of the hold-out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_images import encoded, random_images, refused
from made_predictors import made_facts

import pocketlens as pl
from pocketlens.cli import main
from pocketlens.datasets import load
from pocketlens.pipeline.session import find_unfinished, load_as_before, open_session
from pocketlens.pipeline.state import AutoRequest, AutoState
from pocketlens.scoring.ledger import openings
from pocketlens.scoring.predictions import read_predictions
from pocketlens.studies.overrides import Variant
from pocketlens.studies.spec import ComparisonSpec, make_spec, read_spec, write_spec
from pocketlens.training.model_facts import ModelFacts
from pocketlens.training.run_data import load_of

TINY: dict[str, Any] = {"model": "mlp(hidden=(8,))", "augment": "none", "sizes": "100%", "optimizer": "sgd", "lr": 0.05}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """40 wide pictures of three sizes."""
    shapes = ((12, 40, 3), (14, 44, 3), (16, 50, 3))
    for number, name in enumerate(("cat", "dog")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(20):
            pixels = random_images(1, shapes[i % 3], seed=50 * number + i)[0]
            (tmp_path / "photos" / name / f"{i:02}.png").write_bytes(encoded(pixels))
    return tmp_path / "photos"


def trained(text: str, runs: Path, **options: Any) -> pl.Run:
    fields = {**TINY, "epochs": 1.0, "runs": runs, "verbose": False, "val_fraction": 0.3}
    return pl.train(text, **{**fields, **options}).run


def old_run(photos: Path, runs: Path) -> pl.Run:
    """A run as it was made before: a size in its text, and no word about the rule of the hold-out."""
    dataset, _ = load(f"folder({str(photos)!r}, size=12)", version=1)
    recipe = pl.Recipe(**TINY, epochs=1.0)
    experiment = pl.Experiment(dataset.text, recipe, val_fraction=0.3, data_fingerprint=dataset.fingerprint)
    run = pl.Run.create(experiment, pl.make_split(dataset, val_fraction=0.3), runs)
    assert "hold_out" not in json.loads(run.file("experiment.json").read_text())
    return pl.resume(run.id, runs=runs, verbose=False).run


@pytest.mark.parametrize("fit", ["crop", "stretch", "pad"])
def test_a_picture_is_fitted_in_prediction_as_it_was_in_training(fit: str, photos: Path, tmp_path: Path) -> None:
    run = trained(f"folder({str(photos)!r}, fit={fit!r})", tmp_path / "runs")
    assert run.experiment.data == f"folder(path={str(photos)!r}, fit={fit!r}, size=14)"
    assert run.experiment.hold_out == 2
    facts = ModelFacts.of(run.checkpoint(), "run")
    assert (facts.fit, facts.image_shape) == (fit, (14, 14, 3))
    assert ("fit" in facts.to_dict()) is (fit != "crop")
    dataset, _ = load_of(run)
    assert dataset.fingerprint == run.experiment.data_fingerprint
    wanted = read_predictions(run.file("predictions-val.safetensors"))
    rows = list(pl.predict(run, [photos / (dataset.files or ())[row] for row in wanted.rows]))
    assert np.array_equal(np.stack([row.logits for row in rows]), wanted.logits)


def test_a_fit_that_no_training_writes_is_refused() -> None:
    with refused("fit must be crop, stretch, pad"):
        ModelFacts.from_dict(made_facts(fit="zoom"), "file")


def test_the_ledger_sees_one_test_part_at_every_size(photos: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    for number, text in enumerate((str(photos), f"folder({str(photos)!r}, size=20, fit='pad')"), 1):
        run = trained(text, runs)
        pl.test(run.id, runs=runs)
        _, sealed = load(f"folder({str(photos)!r}, size=9)")
        assert len(openings(sealed)) == number


@pytest.mark.slow
def test_a_run_of_before_keeps_its_test_rows(photos: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    run = old_run(photos, runs)
    assert run.experiment.hold_out == 1
    before, before_test = load(run.experiment.data, version=1, aim=None)
    now, _ = load(run.experiment.data)
    assert before.files != now.files
    assert load_of(run)[0].files == before.files
    assert pl.test(run.id, runs=runs).opening.test == before_test.fingerprint
    refitted = pl.refit(run.id, runs=runs, verbose=False).run
    assert refitted.experiment.hold_out == 1
    assert pl.test(refitted.id, runs=runs).opening.test == before_test.fingerprint
    assert main(["report", run.id, "--runs", str(runs)]) == 0
    assert main(["export", run.id, "--runs", str(runs), "--format", "safetensors"]) == 0
    again = pl.reproduce(run.id, runs=runs, verbose=False)
    assert again.found is not None
    assert again.found.word == "equal"


def test_what_starts_from_a_run_of_before_keeps_its_rule(photos: Path, tmp_path: Path) -> None:
    """Else it would be tested on images that its source was trained on."""
    runs = tmp_path / "runs"
    source = old_run(photos, runs)
    started = trained(str(photos), runs, start=source.id)
    dataset, _ = load_of(started)
    trained_on = {(load_of(source)[0].files or ())[row] for row in source.split.train}
    assert started.experiment.hold_out == 1
    assert trained_on <= set(dataset.files or ())
    with refused("each size has its own test rows", f'"folder(path={str(photos)!r}, size=12)"'):
        trained(f"folder({str(photos)!r}, size=20)", runs, start=source.id)
    fitted = pl.features(source.id, f"folder({str(photos)!r}, size=12)", runs=runs, kind="logistic", verbose=False).run
    assert fitted.experiment.hold_out == 1
    other = photos.parent / "others"
    photos.rename(other)  # other pictures, as far as one can tell
    assert trained(f"folder({str(other)!r}, size=12)", runs, start=source.id).experiment.hold_out == 2


def test_a_study_keeps_its_rule(photos: Path, tmp_path: Path) -> None:
    base = pl.Recipe(**TINY)
    for version in (1, 2):
        dataset, _ = load(f"folder({str(photos)!r}, size=12)", version=version)
        split = pl.make_split(dataset, val_fraction=0.3)
        candidates = (Variant("base", base), Variant("fast", base.changed(lr=0.1)))
        write_spec(tmp_path / "study.json", make_spec(dataset, split, base, ComparisonSpec(candidates, 1)))
        assert read_spec(tmp_path / "study.json").hold_out == version
        assert ("hold_out" in json.loads((tmp_path / "study.json").read_text())) is (version > 1)


@pytest.mark.parametrize("version", [1, 2])
def test_a_session_of_auto_goes_on_with_its_own_data(version: int, photos: Path, tmp_path: Path) -> None:
    text = f"folder(path={str(photos)!r}, size=12)" if version == 1 else f"folder(path={str(photos)!r})"
    dataset, _ = load(text, version=version)
    asked = AutoRequest(text, 1.0, False, dataset.fingerprint, version)
    state = AutoState(asked, pl.read_recipe("small"), True, 0.1, data=dataset.text if version > 1 else "")
    with open_session(state, tmp_path, 0.0):
        pass
    found = find_unfinished(text, 1.0, False, tmp_path)
    assert found is not None
    assert (found.request, found.data) == (asked, state.data)
    loaded = load_as_before(found, None)
    assert loaded is not None
    assert (loaded[0].fingerprint, loaded[0].shape) == (dataset.fingerprint, dataset.shape)
    assert find_unfinished(text, 2.0, False, tmp_path) is None
    next(photos.rglob("*.png")).unlink()
    assert load_as_before(found, None) is None  # the data has changed, so the session does not go on


def test_look_and_train_say_what_is_cut_off_and_what_to_type(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["look", str(photos), "--quick"]) == 0
    out = capsys.readouterr().out
    assert "3 sizes from 40 x 12 to 50 x 16 px" in out
    assert f"\"folder(path='{photos}', fit='stretch')\"" in out
    assert f"\"folder(path='{photos}', fit='pad')\"" in out
    notes = load(f"folder({str(photos)!r}, size=12)")[0].notes
    assert any("fit='stretch'" in note for note in notes)
    assert not any("size chosen" in note for note in notes)
    for fit in ("crop", "stretch"):  # a fit that was typed is no question
        typed = load(f"folder({str(photos)!r}, fit={fit!r})")[0].notes
        assert not any("middle squares" in note for note in typed)
    with refused("fit must be 'crop', 'stretch' or 'pad', got 'strech'"):
        load(f"folder({str(photos)!r}, fit='strech')")
