"""What an older pocketlens left on a disk is read as it was, and gone on with to the same bytes.

`fixtures/before_rooms.zip` holds runs, studies and ways of `auto` from before the code was moved into rooms;
`fixtures/README.md` says how it was made. Nothing but the command line is used here.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import torch
from PIL import Image

from pocketlens.cli import main

FIXTURE = Path(__file__).parent / "fixtures" / "before_rooms.zip"
MADE_IN = b"/made/before_rooms"  # stands in the fixture's texts for the folder in which it lies
MACHINE = ["--threads", "1", "--device", "cpu"]

# Every run: what made it, its label, its status, how many of the validation images were right, and its recipe.
RUNS = [
    ("auto", "auto: check", "complete", "8 of 9", "c9f18410"),
    ("auto", "auto: final", "complete", None, "c9f18410"),
    ("train", "complete", "complete", "28 of 30", "67b97116"),
    ("train", "stopped", "stopped", "29 of 30", "6a25cb0a"),
    ("train", "killed", "killed", "23 of 30", "296a5ab9"),
    ("train", "corrected", "complete", "29 of 30", "1fe1727f"),
    ("refit", "corrected", "complete", None, "1fe1727f"),
    ("train", "warm", "complete", "29 of 30", "53c7be9c"),
    ("train", "appended", "complete", "29 of 30", "fd19fee3"),
    ("features", "forest", "complete", "28 of 30", "843571e3"),
    ("auto", "auto: check", "complete", "5 of 9", "dca63b00"),
    ("auto", "auto: final", "killed", None, "08954edb"),
]
TESTED = {"complete": 27, "corrected": 29, "warm": 29, "appended": 25, "forest": 26}  # of 30 test images are right
OPENINGS = 2  # of the test part that the ledger knows of

# What the code of that time made of the two runs that had not ended: the hashes of the last checkpoint's tensors and
# of the validation predictions. They are the same on the same kind of machine with the same libraries.
ENDS = {
    "stopped": (
        "0ea9b57337e825c8c1800b9c7ea2a6d88f97f653c7b0d3601ff26948b546c992",
        "0720e010e1c4ccc4294640a279121b9434144fe19e329e4b581d83a258274b5e",
    ),
    "killed": (
        "a68643dbc1b0ec905329adb65b7f942eb64cb04e87c6d334b08faeff0c7b1496",
        "9f8a80238599e1cafeb9707434d3d1be1810c250788fcdd6b4a84612ee00c364",
    ),
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that was left, in its new place; the test works in it and has its ledger."""
    place = tmp_path / "before"
    with zipfile.ZipFile(FIXTURE) as file:
        file.extractall(place)
    for path in (path for path in place.rglob("*") if path.is_file()):
        content = path.read_bytes()
        if MADE_IN in content:
            assert path.suffix in (".json", ".jsonl"), "no hash is taken of a text with a path in it"
            path.write_bytes(content.replace(MADE_IN, str(place).encode()))
    monkeypatch.chdir(place)
    monkeypatch.setenv("POCKETLENS_HOME", str(place / "home"))
    return place


# ---- runs


def test_every_run_is_listed_and_shown(capsys: pytest.CaptureFixture[str]) -> None:
    runs = json_of(["list", "runs"], capsys)["runs"]
    assert [described(run) for run in runs] == RUNS
    assert [run["label"] for run in runs if run["tested"]] == ["auto: final", "complete"]
    for run in runs:
        shown = json_of(["show", run["id"]], capsys)
        assert [shown[key] for key in run] == list(run.values())
        assert len(shown["history"]) == run["epochs"]
        assert shown["recipe_fields"]["batch_size"] > 0
    assert main(["list", "runs"]) == 0
    assert main(["show", "last"]) == 0
    out = capsys.readouterr().out
    assert all(run["id"] in out for run in runs)
    assert "cannot be read" not in out


@pytest.mark.parametrize("label", TESTED)
def test_a_run_is_tested_on_the_same_ledger(label: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = ledger(folder)
    assert len(before) == OPENINGS
    tested = json_of(["test", label, *MACHINE], capsys)
    assert (tested["test"]["opening"], tested["test"]["openings"]) == (OPENINGS + 1, OPENINGS + 1)
    assert (tested["test"]["n"], round(30 * tested["test"]["top1"]["value"], 3)) == (30, TESTED[label])
    *first, last = ledger(folder)
    assert first == before
    assert {line["test"] for line in first} == {last["test"]}
    assert last == tested["ledger"]
    run = next(run for run in reversed(json_of(["list", "runs"], capsys)["runs"]) if run["label"] == label)
    assert (last["run"], last["recipe"]) == (run["id"], run["recipe"])
    if label == "complete":  # it had been tested, and its weights have not changed
        assert {key: last[key] for key in last if key != "time"} == {k: v for k, v in before[-1].items() if k != "time"}


@pytest.mark.slow
def test_pages_are_written(capsys: pytest.CaptureFixture[str]) -> None:
    for label in ("complete", "corrected", "forest"):
        page = Path(json_of(["report", label], capsys)["report"]).read_text(encoding="utf-8")
        assert page.startswith("<!")
        assert all(name in page for name in ("bar", "box", "cross"))
    paths = json_of(["report", "complete", "warm", "killed"], capsys)
    assert all(Path(paths[ending]).is_file() for ending in ("html", "csv", "md", "tex"))


@pytest.mark.parametrize("label", ["complete", "forest"])
def test_a_run_predicts_and_so_does_its_export(label: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with np.load("shapes.npz") as arrays:
        for row, image in enumerate(arrays["test_images"][:6]):
            Image.fromarray(image).save(folder / f"{row}.png")
    images = [f"{row}.png" for row in range(6)]
    rows = predicted([label, *images], capsys)
    assert [row["classes"][0]["class"] for row in rows] == ["bar", "box", "cross"] * 2
    exported = json_of(["export", label, "--format", "safetensors"], capsys)
    assert exported["n_changed"] == 0
    assert Path(exported["card"]).is_file()
    assert predicted([exported["path"], *images], capsys) == rows


def test_a_run_is_exported_to_onnx(capsys: pytest.CaptureFixture[str]) -> None:
    for module in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(module)
    exported = json_of(["export", "complete", "--format", "onnx"], capsys)
    assert exported["n_checked"] == 30
    assert exported["n_changed"] == 0


@pytest.mark.parametrize("label", ENDS)
def test_what_was_cut_short_ends_in_the_same_bytes(
    label: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = json_of(["show", label], capsys)
    run = folder / shown["path"]
    timing = (run / "timing.jsonl").read_text(encoding="utf-8")
    resumed = json_of(["resume", label, *MACHINE], capsys)
    assert (resumed["id"], resumed["status"]) == (shown["id"], "complete")
    assert resumed["step"] == {"stopped": 80, "killed": 45}[label]
    assert resumed["val"]["top1"]["value"] > 0.9
    history, added = json_of(["show", label], capsys)["history"], lines_after(timing, run / "timing.jsonl")
    assert history[: len(shown["history"])] == shown["history"]
    assert [line["epoch"] for line in added] == list(range(len(shown["history"]) + 1, len(history) + 1))
    again = json_of(["reproduce", label, *MACHINE], capsys)
    if is_same_machine(again):
        checkpoint = sorted(run.glob("checkpoint-*.safetensors"))[-1]
        predictions = hashlib.sha256((run / "predictions-val.safetensors").read_bytes()).hexdigest()
        assert (tensors_hash(checkpoint), predictions) == ENDS[label]
        assert again["word"] == "equal", "as if it had not been cut short"


@pytest.mark.parametrize("label", ["complete", "warm", "appended"])
def test_a_run_is_trained_again_to_the_same_bytes(label: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The recipe, the start, the split, the draws and the weights: all that follows from an old experiment.json."""
    found = json_of(["reproduce", label, *MACHINE], capsys)
    assert found["word"] == "equal" or not is_same_machine(found)
    runs = json_of(["list", "runs"], capsys)["runs"]
    assert runs[-1]["id"] == found["id"]
    assert [run["recipe"] for run in runs if run["label"] == label] == [runs[-1]["recipe"]] * 2


def test_corrected_labels_are_found_again(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (given,) = (run for run in json_of(["list", "runs"], capsys)["runs"] if described(run) == RUNS[5])
    again = json_of(["refit", given["id"], *MACHINE], capsys)
    first, second = (json.loads(path.read_text(encoding="utf-8")) for path in refits(folder, given["id"]))
    assert again["status"] == "complete"
    assert first == second
    assert (first["n_relabelled"], first["relabel_hash"]) == (2, "038a90c58639a027")


# ---- studies


def test_studies_are_listed_and_say_what_they_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    studies = json_of(["study", "list"], capsys)["studies"]
    listed = [(study["kind"], study["label"], study["ended"], study["trials"], study["running"]) for study in studies]
    assert listed == [("search", "searched", 2, 3, 0), ("compare", "compared", 4, 4, 0), ("sweep", "swept", 4, 4, 0)]
    for study, line in (
        (studies[1], "B against A: cannot tell, -46.67 points [-131.37, +38.04], p 0.09 (t test, n 2);"),
        (studies[2], "B against A: cannot tell, -3.33 points [-45.69, +39.02], p 0.5 (t test, n 2);"),
    ):
        path = folder / "pocketlens-runs" / "studies" / study["id"]
        journal, result = (path / "journal.jsonl").read_bytes(), (path / "result.json").read_bytes()
        assert main(["study", study["label"], *MACHINE]) == 0
        assert line in capsys.readouterr().out
        assert (path / "report.html").is_file()
        assert (path / "journal.jsonl").read_bytes() == journal, "nothing was trained again"
        assert (path / "result.json").read_bytes() == result


@pytest.mark.slow
def test_a_killed_search_goes_on_with_what_is_missing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (path,) = (path for path in (folder / "pocketlens-runs" / "studies").iterdir() if (path / "trials.csv").exists())
    before = {file: file.stat().st_mtime_ns for file in path.glob("trials/*-000[01]/*")}
    (third,) = path.glob("trials/*-0002")
    journal, timing = (place.read_text(encoding="utf-8") for place in (path / "journal.jsonl", third / "timing.jsonl"))
    found = json_of(["study", "searched", *MACHINE], capsys)
    assert found["n_trials"] == 7, "four of the search, and three with a new seed"
    assert found["winner"]["name"] == "base"
    assert {file: file.stat().st_mtime_ns for file in before} == before, "what had ended is left as it is"
    lines = lines_after(journal, path / "journal.jsonl")
    assert [line["trial"] for line in lines if line["event"] == "ended"] == [2, 3, 4, 5, 6]
    added = lines_after(timing, third / "timing.jsonl")
    assert [line["epoch"] for line in added] == [4, 5, 6, 7, 8], "the third goes on where it was"


# ---- auto


def test_a_way_that_was_killed_in_its_last_training_goes_on(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ways = {way: state(folder / "pocketlens-runs" / "autos" / way) for way in all_ways(folder)}
    assert [way["finished"] for way in ways.values()] == ["complete", "", ""]
    assert next(iter(ways.values()))["done"]["report"]["facts"]["seconds"] > 0
    killed = list(ways)[1]
    run = folder / "pocketlens-runs" / f"{killed}-final"
    timing = (run / "timing.jsonl").read_text(encoding="utf-8")
    goes_on(killed, ["--minutes", "0.3"], folder, capsys)
    assert json_of(["show", run.name], capsys)["status"] == "complete"
    assert lines_after(timing, run / "timing.jsonl")[0]["epoch"] == 6, "five were done before"
    assert len(ledger(folder)) == OPENINGS + 1


@pytest.mark.slow
def test_a_way_that_was_killed_in_a_comparison_goes_on(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    killed = all_ways(folder)[2]
    (study,) = (folder / "pocketlens-runs" / "autos" / killed / "studies").iterdir()
    before = {file: file.stat().st_mtime_ns for file in study.glob("trials/*-000[01]/*")}
    result = goes_on(killed, ["--minutes", "3"], folder, capsys)
    assert "augment" in [stage["stage"] for stage in result["stages"]]
    assert {file: file.stat().st_mtime_ns for file in before} == before, "what had ended is left as it is"
    labels = [json.loads(path.read_text(encoding="utf-8"))["label"] for path in study.parent.glob("*/study.json")]
    assert sum(label.endswith("augmentations") for label in labels) == 1, "the study is found again"
    assert len(ledger(folder)) == OPENINGS + 1


def goes_on(way: str, words: list[str], folder: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Asks for a way as it was asked for, and checks that the one of that id was gone on with, and has ended."""
    ways = all_ways(folder)
    done = list(state(folder / "pocketlens-runs" / "autos" / way)["done"])
    result = json_of(["auto", "shapes.npz", *words, "--test", *MACHINE], capsys)
    assert all_ways(folder) == ways, "none was begun"
    assert state(folder / "pocketlens-runs" / "autos" / way)["finished"] == "complete"
    assert list(state(folder / "pocketlens-runs" / "autos" / way)["done"])[: len(done)] == done
    assert Path(result["report"]).is_file()
    (tested,) = (stage for stage in result["stages"] if stage["stage"] == "test")
    assert tested["opened"]
    return result


# ---- what the tests share


def json_of(argv: list[str], capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """What a command that must succeed gives with --json."""
    capsys.readouterr()
    code = main([*argv, "--json"])
    out, err = capsys.readouterr()
    assert code == 0, err
    value: dict[str, Any] = json.loads(out)
    return value


def predicted(argv: list[str], capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """The rows that `predict` gives."""
    capsys.readouterr()
    assert main(["predict", *argv, *MACHINE, "--json"]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def described(run: dict[str, Any]) -> tuple[str, str, str, str | None, str]:
    """A run as it stands in RUNS."""
    n = 9 if run["label"].startswith("auto") else 30
    right = None if run["val_accuracy"] is None else f"{n * run['val_accuracy']:g} of {n}"
    return run["made_by"].split()[0], run["label"], run["status"], right, run["recipe"]


def refits(folder: Path, run: str) -> list[Path]:
    """What was asked in the refits of a run."""
    paths = sorted((folder / "pocketlens-runs").glob("*/experiment.json"))
    return [path for path in paths if f"refit of {run}" in path.read_text(encoding="utf-8")]


def ledger(folder: Path) -> list[dict[str, Any]]:
    """The openings of test parts."""
    return [json.loads(line) for line in (folder / "home" / "ledger.jsonl").read_text(encoding="utf-8").splitlines()]


def all_ways(folder: Path) -> list[str]:
    """The ids of the ways of `auto`, oldest first."""
    return sorted(path.name for path in (folder / "pocketlens-runs" / "autos").iterdir())


def state(way: Path) -> dict[str, Any]:
    """What a way has written down."""
    value: dict[str, Any] = json.loads((way / "auto.json").read_text(encoding="utf-8"))
    return value


def tensors_hash(path: Path) -> str:
    """The hash of all named tensors of a safetensors file."""
    digest = hashlib.sha256()
    for name, value in sorted(safetensors.numpy.load_file(path).items()):
        digest.update(f"{name} {value.dtype} {value.shape}".encode() + np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()


def lines_after(before: str, path: Path) -> list[dict[str, Any]]:
    """What has been added to a file of JSON lines; the clock's values in it tell a second training from the first."""
    now = path.read_text(encoding="utf-8")
    assert now.startswith(before)
    return [json.loads(line) for line in now[len(before) :].splitlines()]


def is_same_machine(reproduced: dict[str, Any]) -> bool:
    """Whether the numbers must be the same here as where the fixture was made, by what `reproduce` has found."""
    has_its_instructions = torch.backends.cpu.get_cpu_capability() == "AVX2"  # which runs of then do not tell
    is_alike = all(text.startswith(("pocketlens ", "cores ", "python ")) for text in reproduced["changed"])
    return is_alike and has_its_instructions
