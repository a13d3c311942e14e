"""`auto --folds`: each fold is opened once, the result has all images, and a session that was stopped goes on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from made_images import refused
from made_sessions import followed
from PIL import Image

import pocketlens as pl
from pocketlens.cli import main
from pocketlens.data.dataset import Dataset, hash_images
from pocketlens.data.split import Parts
from pocketlens.datasets import load
from pocketlens.events import Note, Stage
from pocketlens.files import read_json
from pocketlens.pipeline import AutoOptions, AutoResult, approach_choice, approach_trials, entry
from pocketlens.pipeline.folds import run_folds
from pocketlens.pipeline.session import find_finished
from pocketlens.pipeline.state import AutoState
from pocketlens.recipe import NamedRecipe, Recipe, read_recipe
from pocketlens.scoring.ledger import all_openings
from pocketlens.training.run import Run, all_runs

MINUTES = 0.03


def paint(folder: Path, n: int = 10) -> None:
    """Two classes, one dark and one bright."""
    random = np.random.default_rng(len(folder.name) + n)
    for name, low in (("cat", 0), ("dog", 130)):
        (folder / name).mkdir(parents=True)
        for number in range(n):
            image = random.integers(low, low + 120, (16, 16, 3), np.uint8)
            Image.fromarray(image).save(folder / name / f"{number}.png")


@pytest.fixture
def options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AutoOptions:
    """Of a folder of photos, with a tiny network."""
    torch.set_num_threads(1)
    small = Recipe(model="mlp(hidden=(8,))", augment="none", sizes="100%", optimizer="sgd", lr=0.02, epochs=3.0)
    usual = NamedRecipe("small", small.changed(batch_size=8))
    monkeypatch.setattr(entry, "usual_recipe", lambda n_train, channels: usual)
    paint(tmp_path / "photos")
    runs = tmp_path / "runs"
    return AutoOptions(str(tmp_path / "photos"), minutes=MINUTES, body="none", runs=runs, folds=2)


def run_to_end(options: AutoOptions) -> tuple[list[Stage | Note], AutoResult]:
    return followed(run_folds(options))


@pytest.mark.slow
def test_every_fold_is_opened_once_and_the_result_has_all_images(options: AutoOptions) -> None:
    said, result = run_to_end(options)
    assert result.folds is not None
    assert [each.number for each in result.folds.folds] == [1, 2]
    assert result.folds.n == 20 == sum(each.n for each in result.folds.folds)
    assert result.folds.accuracy.value == sum(each.n_right for each in result.folds.folds) / 20
    assert result.test is None
    assert len(result.run.split.train) == 20, "also those that would be held out"
    assert [run.id for run in all_runs(options.runs) if "final" in run.id] == [result.run.id]

    opened = all_openings()
    assert [each.run for each in opened] == [each.run.name for each in result.folds.folds]
    for each in result.folds.folds:
        run = Run(each.run)
        dataset, sealed = load(run.experiment.data)
        assert (len(run.split.train), len(dataset), len(sealed)) == (10, 10, 10), "trained without its fold"

    state = read_json(max((options.runs / "autos").glob("*/auto.json")))
    assert 0 < state["folded"] < state["spent"]
    assert next(iter(state["done"])) == "folds"
    page = result.page.read_text(encoding="utf-8")
    assert "Each fold was a test part once" in page
    assert page.count('page<span class="hidden"> of fold') == 2
    test = next(event for event in said if isinstance(event, Stage) and event.name == "test")
    assert "of 20 images, each a test image once" in test.lines[0]
    names = [event.name for event in said if isinstance(event, Stage)]
    assert (names[:3], names[-1]) == (["auto", "data", "folds"], "report")

    with refused("has been opened before", f'pocketlens auto "{options.dataset}" --folds 2 --test'):
        run_to_end(options)
    assert len(list((options.runs / "autos").iterdir())) == 1, "nothing is left behind"


@pytest.mark.slow
def test_a_stopped_session_goes_on_with_the_folds_that_are_missing(options: AutoOptions) -> None:
    events = run_folds(options)
    for event in events:
        if isinstance(event, Note) and event.text.startswith("fold 1: "):
            break
    events.close()
    (path,) = (options.runs / "autos").iterdir()
    done = find_finished(path / "folds" / "1")
    assert done is not None
    assert find_finished(path / "folds" / "2") is None
    _, result = run_to_end(options)
    assert result.session == path.name
    assert result.folds is not None
    assert len(list((path / "folds" / "1" / "autos").iterdir())) == 1, "the first fold is not run again"
    assert result.folds.folds[0].run.name == f"{done.id}-final" or done.id in result.folds.folds[0].run.name
    assert len(all_openings()) == 2

    (fold,) = [each for each in result.stages if each.name == "folds"]
    assert fold.facts["folded"] == result.folds.to_dict()


@pytest.mark.slow
def test_a_given_test_part_stays_sealed(options: AutoOptions, tmp_path: Path) -> None:
    paint(tmp_path / "parts" / "train", n=8)
    paint(tmp_path / "parts" / "test", n=4)
    said, result = run_to_end(replace(options, dataset=str(tmp_path / "parts")))
    assert result.folds is not None
    assert result.folds.n == 16
    _, sealed = load(str(tmp_path / "parts"))
    assert sealed.fingerprint not in {each.test for each in all_openings()}
    test = next(event for event in said if isinstance(event, Stage) and event.name == "test")
    assert f"stays sealed; to open it: pocketlens test {result.run.id}" in test.lines[-1]


@pytest.mark.slow
def test_given_folds_on_the_command_line(
    options: AutoOptions, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paint(tmp_path / "given" / "fold1", n=6)
    paint(tmp_path / "given" / "fold2", n=4)
    words = ["--minutes", str(MINUTES), "--body", "none", "--runs", str(tmp_path / "runs"), "--device", "cpu", "--json"]
    assert main(["auto", str(tmp_path / "given"), "--folds", "given", *words]) == 0
    result = json.loads(capsys.readouterr().out)
    assert [(each["number"], each["n"]) for each in result["folds"]["folds"]] == [(1, 12), (2, 8)]
    assert result["folds"]["accuracy"]["low"] <= result["folds"]["accuracy"]["value"]


@pytest.mark.parametrize(("folds", "said"), [("1", "from 2 to 50, or given, got 1"), ("few", "got few")])
def test_other_folds_are_refused(
    folds: str, said: str, options: AutoOptions, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["auto", options.dataset, "--folds", folds, "--runs", str(options.runs)]) == 2
    assert said in capsys.readouterr().err
    assert not options.runs.exists()


def test_where_there_are_no_given_folds_the_message_says_what_to_type(options: AutoOptions) -> None:
    with refused("has no numbered folds", "--folds 5"):
        run_to_end(replace(options, folds="given"))


def test_a_state_of_before_has_no_folds(options: AutoOptions) -> None:
    state = {"format": 1, "asked": {"text": "digits", "minutes": 1, "open_again": False, "fingerprint": ""}}
    state |= {"spent": 1, "base": read_recipe("small").to_dict(), "begun": {}, "done": {}, "finished": ""}
    read = AutoState.from_dict({**state, "opens": True, "loading": 0}, "auto.json")
    assert read.folded == 0
    assert "folded" not in read.to_dict()


@pytest.mark.slow
def test_the_approach_is_chosen_in_each_fold(options: AutoOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = read_recipe("probe").changed(model="timm(name='test_resnet')", prepare="resize(32)")
    monkeypatch.setattr(approach_choice, "probe_recipe", lambda body: recipe)
    monkeypatch.setattr(approach_trials, "SMALLER", ())
    _, result = run_to_end(replace(options, body="auto", minutes=20.0))
    assert result.folds is not None
    assert [each.approach for each in result.folds.folds] == ["probe", "probe"]
    assert all("test_resnet" in each.model for each in result.folds.folds)
    assert len(result.run.split.train) == 20
    assert result.folds.accuracy.value == 1.0


@pytest.mark.slow
def test_a_data_set_of_ones_own_is_folded(options: AutoOptions, tmp_path: Path) -> None:
    result = pl.auto(own_set, minutes=MINUTES, folds=2, body="none", runs=tmp_path / "runs", verbose=False)
    assert result.folds is not None
    assert result.folds.n == 30


def own_set(folders: object) -> Parts:
    """Thirty images, dark and bright."""
    labels = np.arange(30) % 2
    images = np.random.default_rng(0).integers(0, 100, (30, 8, 8, 1)) + 100 * labels[:, None, None, None]
    pixels = images.astype(np.uint8)
    return Parts(Dataset("own", pixels, labels, ("dark", "bright"), hash_images(pixels)))
