"""The calls from Python give the numbers of their commands, with the same names and defaults; mistakes are one line."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import pocketlens as pl
from pocketlens.api.compare import CompareRequest, SweepRequest
from pocketlens.api.requests import TrainRequest, build
from pocketlens.api.search import SearchRequest
from pocketlens.cli import COMMANDS, _parse, main
from pocketlens.cli.terminal.options import data_of, machine_of, recipe_of
from pocketlens.errors import PocketlensError
from pocketlens.files import read_json

TINY = {
    "recipe": "small",
    "model": "mlp(hidden=(16,))",
    "sizes": "100%",
    "optimizer": "sgd",
    "lr": 0.05,
    "batch_size": 64,
}
WORDS = [word for key, value in TINY.items() for word in (f"--{key.replace('_', '-')}", str(value))]


def command(*argv: str, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """What a command gives with --json."""
    capsys.readouterr()
    assert main([*argv, "--json"]) == 0
    value: dict[str, Any] = json.loads(capsys.readouterr().out)
    return value


def test_train_test_report_and_predict_are_their_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = pl.train("digits", epochs=2, seed=1, threads=1, runs=tmp_path / "python", **TINY)
    words = ["train", "digits", *WORDS, "--epochs", "2", "--seed", "1", "--threads", "1", "--runs"]
    typed = command(*words, str(tmp_path / "typed"), capsys=capsys)["runs"][0]
    assert run.val.top1.value == typed["val"]["top1"]["value"]
    other = pl.Run.open("last", tmp_path / "typed")
    assert run.run.experiment == other.experiment, "the call has the defaults of the command"
    assert run.run.weights_hash() == other.weights_hash()

    scores = run.test(views=2)
    tested = command("test", other.id, "--views", "2", "--runs", str(tmp_path / "typed"), capsys=capsys)
    assert scores.scores.top1.value == tested["test"]["top1"]["value"]
    assert (scores.opening.run, tested["ledger"]["run"]) == (run.id, other.id)

    page = run.report().path
    assert page == run.path / "report.html"
    assert page.read_text(encoding="utf-8").startswith("<!")

    picture = tmp_path / "0.png"
    Image.fromarray(pl.load("digits")[0].images[0, ..., 0]).save(picture)
    (row,) = pl.predict(run, [picture], top=3)
    assert len(row.classes) == 3
    assert main(["predict", other.id, str(picture), "--runs", str(tmp_path / "typed"), "--json", "--top", "3"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert [each["class"] for each in said["classes"]] == list(row.classes)
    assert np.allclose([each["probability"] for each in said["classes"]], row.probabilities)


def test_several_seeds_and_what_a_notebook_shows(tmp_path: Path) -> None:
    runs = pl.train("digits", epochs=1, repeat=2, threads=1, runs=tmp_path, verbose=False, **TINY)
    assert [each.run.experiment.seed for each in runs.runs] == [0, 1]
    assert runs.over_seeds.n == 2
    assert str(runs.over_seeds) in runs._repr_html_()
    assert runs.last.id in runs._repr_html_()
    with pytest.raises(AttributeError, match="nonsense"):
        _ = runs.nonsense


def test_nothing_is_printed_unless_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pl.train("digits", epochs=0.1, threads=1, runs=tmp_path, verbose=False, **TINY)
    assert capsys.readouterr().out == ""
    pl.train("digits", epochs=0.1, threads=1, runs=tmp_path, **TINY)
    assert "next: pocketlens test" in capsys.readouterr().out


def test_resume_refit_and_reproduce(tmp_path: Path) -> None:
    run = pl.train("digits", epochs=1, threads=1, runs=tmp_path, verbose=False, **TINY)
    assert pl.resume(run, verbose=False, runs=tmp_path).id == run.id
    longer = pl.resume(run, epochs=2, threads=1, verbose=False, runs=tmp_path)
    assert longer.id != run.id
    whole = pl.refit(run, threads=1, verbose=False, runs=tmp_path)
    assert whole.val is None
    assert len(whole.run.split.train) == 1438
    assert pl.reproduce(run, threads=1, verbose=False, runs=tmp_path).found.word == "equal"
    with pytest.raises(PocketlensError, match=r"no option .epoch.\. Did you mean .epochs.\?"):
        pl.resume(run, epoch=2)


@pytest.mark.slow
def test_compare_is_its_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipes = ["base", "lr=0.2"]
    verdict = pl.compare("digits", recipes, repeat=2, epochs=1, threads=1, runs=tmp_path / "python", **TINY)
    words = ["compare", "digits", *recipes, *WORDS, "--epochs", "1", "--repeat", "2", "--threads", "1", "--runs"]
    typed = command(*words, str(tmp_path / "typed"), capsys=capsys)
    assert [v.word for v in verdict.verdicts] == [each["word"] for each in typed["verdicts"]]
    mine, theirs = verdict.to_dict(), typed
    for each in (*mine["recipes"], *theirs["recipes"]):
        del each["seconds"]
    assert json.loads(json.dumps(mine["recipes"])) == theirs["recipes"]
    assert read_json(verdict.study.path / "result.json")["n_val"] == typed["n_val"]
    assert "base" in verdict._repr_html_()
    again = pl.study(str(verdict.study.path), runs=tmp_path / "python", threads=1, verbose=False)
    assert again.to_dict()["verdicts"] == verdict.to_dict()["verdicts"]


@pytest.mark.slow
def test_sweep_and_search_take_mappings(tmp_path: Path) -> None:
    swept = pl.sweep(
        "digits", {"lr": [0.05, 0.2]}, repeat=1, epochs=0.5, threads=1, runs=tmp_path, verbose=False, **TINY
    )
    assert [each.name for each in swept.comparison.candidates] == ["base", "lr=0.2"]
    found = pl.search(
        "digits", {"lr": "log(0.01,0.5)"}, trials=2, repeat=0, epochs=0.5, threads=1, runs=tmp_path, verbose=False,
        **TINY,
    )  # fmt: skip
    assert set(found.winner) == {"lr"}
    assert read_json(found.study.path / "winner.json")["model"] == "mlp(hidden=(16,))"


def test_show_and_list(tmp_path: Path) -> None:
    assert "parameters" in str(pl.show("lenet"))
    assert any(item["name"] == "lens" for item in pl.list_kind("models").values["models"])
    with pytest.raises(PocketlensError, match=r"Did you mean .models."):
        pl.list_kind("model")
    assert "no runs in" in str(pl.list_kind("runs", runs=tmp_path))
    assert "no studies in" in str(pl.list_studies(runs=tmp_path))


def test_every_command_has_its_call() -> None:
    calls = {name.replace("-", "_") for name in COMMANDS} - {"list", "open"}
    assert calls <= set(pl.__all__)
    assert {"list_kind", "open_runs"} <= set(pl.__all__)


@pytest.mark.parametrize(
    ("call", "words"),
    [("train", ["digits"]), ("lr_range", ["digits"]), ("compare", ["digits", "small", "resnet20"]),
     ("sweep", ["digits", "--try", "lr=0.1"]), ("search", ["digits", "--space", "lr=log(0.1,1)"]),
     ("features", ["last", "digits"]), ("auto", ["digits"]), ("resume", ["last"]), ("refit", ["last"]),
     ("reproduce", ["last"]), ("study", ["last"]), ("robustness", ["last"]), ("test", ["last"])],
)  # fmt: skip
def test_calls_and_commands_have_the_same_defaults(call: str, words: list[str]) -> None:
    parameters = inspect.signature(getattr(pl, call)).parameters
    args = vars(_parse([call.replace("_", "-"), *words]))
    same = {name for name in args if name in parameters} - {"dataset", "recipes", "space", "run", "name"}
    assert len(same) >= 3
    for name in same:
        assert args[name] == parameters[name].default, name


def test_only_calls_with_a_recipe_take_its_fields() -> None:
    takers = {name for name in ("train", "compare", "search", "auto", "resume", "look")
              if "recipe_fields" in inspect.signature(getattr(pl, name)).parameters}  # fmt: skip
    assert takers == {"train", "compare", "search"}


def test_a_request_from_words_is_that_from_keywords() -> None:
    args = _parse(["train", "digits", "--epochs", "3", "--lr", "0.1", "--val-fraction", "0.2", "--threads", "2"])
    typed = TrainRequest(data_of(args), recipe_of(args), machine_of(args))
    assert (
        build(TrainRequest, {"dataset": "digits"}, {"epochs": 3.0, "lr": 0.1, "val_fraction": 0.2, "threads": 2})
        == typed
    )


@pytest.mark.parametrize(
    ("kind", "options", "words"),
    [
        (TrainRequest, {"epoch": 3}, "there is no option 'epoch'. did you mean 'epochs'?"),
        (CompareRequest, {"repeats": 3}, "did you mean 'repeat'?"),
        (SweepRequest, {"grids": True}, "did you mean 'grid'?"),
        (SearchRequest, {"trial": 3}, "did you mean 'trials'?"),
    ],
)
def test_an_unknown_keyword_has_a_hint(kind: type, options: dict[str, Any], words: str) -> None:
    with pytest.raises(PocketlensError) as caught:
        build(kind, {"dataset": "digits"}, options)
    assert words.lower() in str(caught.value).lower()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"repeat": 0}, "repeat must be 1 or more"),
        ({"val_fraction": 1.5}, "val_fraction must be"),
        ({"keep": "best", "val_fraction": 0}, "val-fraction must be above 0"),
        ({"lr": "fast"}, "lr must be"),
        ({"relabel": "nothing.csv"}, "must be a file that exists"),
        ({"device": "abacus"}, "--device must be one that this machine has"),
    ],
)
def test_mistakes_in_values(options: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(PocketlensError, match=words):
        pl.train("digits", runs=tmp_path, verbose=False, **options)
    assert not list(tmp_path.iterdir()), "nothing is left behind"


def test_corrected_labels_stand_beside_the_recipes_of_a_study(tmp_path: Path) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text("row\n")
    with pytest.raises(PocketlensError, match=r"one of the recipes .*\"relabel=.*labels.csv\""):
        pl.compare("digits", ["base", "lr=0.2"], relabel=labels, runs=tmp_path, verbose=False)
    with pytest.raises(PocketlensError, match="relabel is for the head probe and not for logistic"):
        pl.features("tf_efficientnet_lite0", "digits", kind="logistic", relabel=labels, runs=tmp_path, verbose=False)
