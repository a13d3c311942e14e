"""predict: the same logits as in training, a row for every file whatever it is, and nothing of hostile models."""

from __future__ import annotations

import csv
import io
import json
import os
import resource
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_deep import deep_png
from made_images import class_folder, encoded, random_images, refused
from made_predictors import made_facts, made_predictor, save_model
from made_trainings import PLAIN, finish, made_data, new_run
from PIL import Image
from test_checkpoint import hostile_files
from test_folder import ODD_NAMES
from test_images import bomb, corpus

from pocketlens.cli import main
from pocketlens.data.dataset import Dataset
from pocketlens.datasets import load
from pocketlens.inference.predict import Row, find_files, find_model, open_predictor, predict, predict_files
from pocketlens.scoring.metrics import log_probabilities
from pocketlens.scoring.predictions import Predictions, read_predictions, write_predictions
from pocketlens.training.run import Run

SMALL = PLAIN.changed(epochs=1.0)


def logits_of(rows: list[Row]) -> np.ndarray:
    assert all(row.logits is not None for row in rows), [row.reason for row in rows if row.reason]
    return np.stack([row.logits for row in rows])


def varied_folder(root: Path) -> Path:
    """Two classes of files in every mode, of many sizes, turned by EXIF, animated, and 16 bits deep."""
    random = np.random.default_rng(0)
    for name in ("a", "b"):
        folder = root / name
        folder.mkdir(parents=True)
        for place, mode in enumerate(("RGB", "RGBA", "L", "LA", "P", "1", "CMYK")):
            pixels = random.integers(0, 256, (14 + place, 23 - place, 3), np.uint8)
            kind = "TIFF" if mode == "CMYK" else "PNG"
            (folder / f"{mode}.{kind.lower()}").write_bytes(encoded(pixels, kind, mode))
        for turn in range(1, 9):
            exif = Image.Exif()
            exif[0x0112] = turn
            pixels = random.integers(0, 256, (12, 20, 3), np.uint8)
            (folder / f"turn{turn}.jpg").write_bytes(encoded(pixels, "JPEG", exif=exif))
        frames = [Image.fromarray(random.integers(0, 256, (12, 12), np.uint8)) for _ in range(2)]
        frames[0].save(folder / "moving.gif", save_all=True, append_images=frames[1:])
        for place in range(4):
            deep = random.integers(0, 40_000, (12, 12), np.uint16)
            (folder / f"deep{place}.png").write_bytes(encoded(deep))
    return root


def files_of(dataset: Dataset, root: Path, rows: np.ndarray) -> list[Path]:
    assert dataset.files is not None
    return [root / dataset.files[row] for row in rows]


def test_files_give_the_logits_that_training_had_to_the_bit(tmp_path: Path) -> None:
    root = varied_folder(tmp_path / "images")
    dataset, _ = load(f"folder({str(root)!r}, size=12)")
    assert dataset.levels is not None
    recipe = SMALL.changed(prepare="resize(10) | sharpen(2)", model="lens(width=0.1)")
    run = new_run(tmp_path / "runs", recipe, dataset, val_fraction=0.5)
    finish(run, dataset)
    wanted = read_predictions(run.file("predictions-val.safetensors"))
    rows = list(predict(run, files_of(dataset, root, wanted.rows)))
    assert np.array_equal(logits_of(rows), wanted.logits)
    notes = [note for row in rows for note in row.notes]
    assert any(note.startswith("resized from") for note in notes)
    probabilities = np.exp(log_probabilities(wanted.logits / open_predictor(run).temperature.value))  # type: ignore[union-attr]
    assert rows[0].probabilities == pytest.approx(sorted(probabilities[0], reverse=True), rel=1e-6)


@pytest.mark.slow
def test_real_images_give_the_logits_that_training_had(tmp_path: Path, data_folder: Path) -> None:
    whole, _ = load("fashion_mnist", data_folder)
    dataset = whole.take(np.arange(0, 60_000, 100))
    run = new_run(tmp_path / "runs", SMALL.changed(model="lens(width=0.1)", batch_size=128), dataset, val_fraction=0.5)
    finish(run, dataset)
    wanted = read_predictions(run.file("predictions-val.safetensors"))
    for row in wanted.rows:
        (tmp_path / f"{row}.png").write_bytes(encoded(dataset.images[row]))
    rows = list(predict(run, [tmp_path / f"{row}.png" for row in wanted.rows]))
    assert np.array_equal(logits_of(rows), wanted.logits)


def test_bad_files_have_a_row_and_change_no_other(tmp_path: Path) -> None:
    predictor = made_predictor("lens(width=0.1)")
    images = random_images(30, (12, 12, 3))
    for place, image in enumerate(images):
        (tmp_path / f"{place:02}.png").write_bytes(encoded(image))
    good = list(predict_files(predictor, sorted(tmp_path.iterdir()), batch_size=16))
    for place, (name, data) in enumerate(sorted(corpus().items())):
        assert name
        (tmp_path / f"{2 * place:02}.png").write_bytes(data)
    mixed = list(predict_files(predictor, sorted(tmp_path.iterdir()), batch_size=16))
    assert [row.file for row in mixed] == [row.file for row in good]
    assert [place for place, row in enumerate(mixed) if row.reason is not None] == list(range(0, 24, 2))
    for before, after in zip(good, mixed, strict=True):
        if after.reason is None:
            assert np.array_equal(before.logits, after.logits)
        else:
            assert after.logits is None
            assert after.classes == ()
            assert after.reason.isprintable()


def test_what_is_no_file_has_a_row(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "bomb.png").write_bytes(bomb(9_000))
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    paths = [tmp_path / name for name in ("pipe.png", "absent.png", "bomb.png", "loop.png")]
    reasons = [row.reason for row in predict_files(made_predictor(), [*paths, tmp_path, Path("a\0b")])]
    assert reasons[0] == "it is not a file"
    assert reasons[1] == "No such file or directory"
    assert reasons[2] == "81 Mpx > 25 Mpx"
    assert reasons[3] is not None
    assert "links" in reasons[3]
    assert reasons[4] == "it is not a file"
    assert reasons[5] is not None


def test_deep_images_without_levels_are_unreadable(tmp_path: Path) -> None:
    (tmp_path / "deep.png").write_bytes(encoded(np.arange(144, dtype=np.uint16).reshape(12, 12) * 400))
    (row,) = predict_files(made_predictor(), [tmp_path / "deep.png"])
    assert row.reason is not None
    assert "the range to scale them from is unknown" in row.reason
    (row,) = predict_files(made_predictor(levels=[0.0, 60_000.0]), [tmp_path / "deep.png"])
    assert row.reason is None


def test_weights_that_are_not_finite_give_no_probabilities(tmp_path: Path) -> None:
    predictor = made_predictor()
    with torch.no_grad():
        next(predictor.classifier.parameters()).fill_(float("nan"))
    (tmp_path / "a.png").write_bytes(encoded(random_images(1)[0]))
    (row,) = predict_files(predictor, [tmp_path / "a.png"])
    assert row.reason == "the model's logits are not finite"


def test_the_stored_class_list_counts_when_a_folder_is_added_later(tmp_path: Path) -> None:
    root = class_folder(tmp_path / "images", {"bee": 8, "cat": 8}, (12, 12, 3))
    dataset, _ = load(str(root))
    run = new_run(tmp_path / "runs", SMALL, dataset)
    finish(run, dataset)
    before = list(predict(run, root / "cat"))
    class_folder(root, {"ant": 3}, (12, 12, 3))
    after = list(predict(run, root / "cat"))
    assert [row.classes for row in before] == [row.classes for row in after]
    assert set(after[0].classes) == {"bee", "cat"}


def test_a_refit_takes_the_temperature_of_its_run(tmp_path: Path) -> None:
    from pocketlens.training.refit import refit

    run = new_run(tmp_path, SMALL)
    finish(run)
    again = refit(run, tmp_path)
    finish(again)
    assert open_predictor(again).temperature == open_predictor(run).temperature
    alone = new_run(tmp_path, SMALL, val_fraction=0.0)
    finish(alone)
    predictor = open_predictor(alone)
    assert predictor.temperature is None
    assert "not calibrated" in predictor.calibration
    logits = np.array([[1.0, 3.0]], np.float32)
    assert predictor.probabilities(logits)[0] == pytest.approx(np.exp([1, 3]) / np.exp([1, 3]).sum())


def test_files_folders_and_globs_in_the_order_of_their_naming(tmp_path: Path) -> None:
    root = class_folder(tmp_path / "images", {"b": 2, "a": 2})
    (root / "b" / ".DS_Store").write_bytes(b"x")
    (root / "b" / "notes.txt").write_bytes(b"x")
    (root / "self").symlink_to(root)
    single = root / "b" / "001.png"
    found = find_files([str(single), str(root), str(root / "**" / "000.png"), str(root / "?")])
    names = [str(path.relative_to(root)) for path in found.paths]
    tree = ["a/000.png", "a/001.png", "b/000.png", "b/001.png"]
    assert names == ["b/001.png", *tree, "a/000.png", "b/000.png", *tree]
    assert any("hidden" in note for note in found.notes)
    (root / "b" / "._002.png").write_bytes(b"x")
    assert [path.name for path in find_files([str(root / "b" / "*.png")]).paths] == ["000.png", "001.png"]
    assert find_files([str(root / "b" / "._002.png")]).paths == (root / "b" / "._002.png",)
    odd = tmp_path / "[1].png"
    odd.write_bytes(b"")
    assert find_files([str(odd)]).paths == (odd,)
    with refused("absent.png", "must be a file, a folder or a glob"):
        find_files([str(single), str(root / "absent.png")])
    with refused("glob"):
        find_files([str(root / "*.jpg")])
    empty = tmp_path / "empty"
    empty.mkdir()
    with refused("at least one image"):
        find_files([str(empty)])
    (empty / "out.png").symlink_to(single)
    with refused("links", "out.png"):
        find_files([str(empty)])
    assert len(find_files([str(empty)], follow=True).paths) == 1


def test_the_same_model_from_a_run_and_from_an_exported_file(tmp_path: Path) -> None:
    path = save_model(tmp_path / "model.safetensors")
    (tmp_path / "a.png").write_bytes(encoded(random_images(1, (20, 30, 3))[0]))
    (ours,) = predict(made_predictor(), tmp_path / "a.png")
    (theirs,) = predict(path, str(tmp_path / "a.png"), top=2)
    assert np.array_equal(ours.logits, theirs.logits)
    assert theirs.probabilities == ours.probabilities[:2]
    assert theirs.notes == ("resized from 30 x 20",)


# ---- hostile models


@pytest.mark.parametrize("name", hostile_files(Path("canary")))
def test_hostile_model_files_are_refused_and_do_nothing(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    canary, path = tmp_path / "canary", tmp_path / "model.safetensors"
    path.write_bytes(hostile_files(canary)[name])
    (tmp_path / "a.png").write_bytes(encoded(random_images(1)[0]))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert main(["predict", str(path), str(tmp_path / "a.png")]) == 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50 * 1024  # KiB
    assert capsys.readouterr().err.count("\n") == 1
    assert not canary.exists()


@pytest.mark.parametrize(
    "facts",
    [
        {"model": "os.system('touch canary')"},
        {"model": "mlp(hidden=__import__('os').mkdir('canary'))"},
        {"model": "../../evil"},
        {"model": "mlp(hidden=(100000, 100000, 100000))"},
        {"model": "mlp(hidden=(9,))"},
        {"model": "lens"},
        {"classes": ["a", "b", "c"]},
        {"classes": []},
        {"classes": "abcd"},
        {"classes": [1, 2, 3, 4]},
        {"shape": [10**6, 10**6, 3]},
        {"image_shape": [10**6, 10**6, 3]},
        {"image_shape": [12, 12, 1]},
        {"image_shape": [12.0, 12, 3]},
        {"image_shape": [0, 12, 3]},
        {"image_shape": None},
        {"prepare": "resize(1000000)"},
        {"prepare": "evil.evil(x=1)"},
        {"levels": [float("nan"), 1.0]},
        {"levels": 7},
        {"mean": "many"},
        {"std": [1.0]},
    ],
    ids=str,
)
def test_a_hostile_description_is_one_line(
    facts: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    save_model(tmp_path / "model.safetensors", {**made_facts(), **facts})
    (tmp_path / "a.png").write_bytes(encoded(random_images(1)[0]))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert main(["predict", "model.safetensors", "a.png"]) == 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50 * 1024  # KiB
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert "model.safetensors" in err or "models:" in err or "operations:" in err
    assert sorted(os.listdir()) == ["a.png", "model.safetensors"]


@pytest.mark.parametrize("temperature", [7, {"value": 0, "n": 1, "run": "x"}, {"value": "a"}, {"value": -1.0}, [1]])
def test_a_bad_temperature_is_refused(temperature: Any, tmp_path: Path) -> None:
    path = save_model(tmp_path / "model.safetensors", temperature=temperature)
    with refused("model.safetensors", "temperature"):
        open_predictor(path)


def test_only_safetensors_are_opened(tmp_path: Path) -> None:
    for name in ("model.pt", "model.onnx", "model.pkl"):
        (tmp_path / name).write_bytes(b"x")
        with refused(name, "may contain code"):
            find_model(str(tmp_path / name))
    with refused("absent"):
        find_model("absent", tmp_path)


# ---- the command


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model and three pictures, one of them bad."""
    monkeypatch.chdir(tmp_path)
    save_model(tmp_path / "model.safetensors")
    (tmp_path / "images").mkdir()
    for place, image in enumerate(random_images(2, (12, 12, 3))):
        (tmp_path / "images" / f"{place}.png").write_bytes(encoded(image))
    (tmp_path / "images" / "bad.png").write_bytes(b"bad")
    return tmp_path


def run_predict(*argv: str) -> int:
    return main(["predict", "model.safetensors", *argv, "--threads", "1", "--device", "cpu"])


def csv_rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))


def test_rows_on_standard_output_and_all_else_on_standard_error(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_predict("images") == 4
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert [line.split()[0] for line in lines] == ["images/0.png", "images/1.png", "images/bad.png"]
    assert "unreadable: it is not one of PNG" in lines[2]
    assert lines[0].count("%") == 4
    assert "calibrated: temperature 1.700, fitted on 100 validation images" in err
    assert "3: 2 predicted, 1 unreadable" in err
    assert "next: pocketlens serve model.safetensors" in err


def test_json_lines(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_predict("images", "--json", "--top", "2") == 4
    values = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [value["status"] for value in values] == ["ok", "ok", "unreadable"]
    assert [len(value["classes"]) for value in values] == [2, 2, 0]
    assert values[2]["reason"].startswith("it is not one of")
    rows = list(predict_files(made_predictor(), sorted((place / "images").iterdir())))
    assert values[0]["classes"][0] == {"class": rows[0].classes[0], "probability": rows[0].probabilities[0]}


def test_a_csv_with_everything(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_predict("images", "--out", "a.csv", "--json") == 4
    summary = json.loads(capsys.readouterr().out)
    said = summary.pop("calibration")
    assert said == "calibrated: temperature 1.700, fitted on 100 validation images of run made"
    assert summary == {"model": "model.safetensors", "out": "a.csv", "images": 3, "unreadable": 1, "calibrated": True}
    rows = csv_rows(place / "a.csv")
    assert [row["status"] for row in rows] == ["ok", "ok", "unreadable"]
    assert sum(float(rows[0][f"probability_{k}"]) for k in range(1, 5)) == pytest.approx(1, abs=1e-5)
    assert rows[2]["class_1"] == rows[2]["probability_1"] == ""
    assert run_predict("images", "--out", "a.jsonl") == 4
    assert len((place / "a.jsonl").read_text().splitlines()) == 3


def test_paths_on_standard_input(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def give(data: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))

    give(b"images/0.png\r\n\nimages/absent.png\nimages/1.png")
    assert run_predict("-", "images/0.png", "--json") == 4
    values = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [value["file"] for value in values] == [
        "images/0.png", "images/0.png", "images/absent.png", "images/1.png"
    ]  # fmt: skip
    assert values[2]["reason"] == "No such file or directory"
    (place / "new\nline.png").write_bytes((place / "images" / "0.png").read_bytes())
    give(b"new\nline.png\0")
    assert run_predict("-", "--null", "--json") == 0
    assert json.loads(capsys.readouterr().out)["file"] == "new\nline.png"
    give(b"")
    assert run_predict("-") == 2


def test_exit_codes(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_predict("images/0.png") == 0
    assert run_predict("images/bad.png") == 3
    assert run_predict("images/?.png") == 0
    assert main(["predict", "absent", "images"]) == 2
    for argv in (["nothing.png"], ["images", "--out", "a.txt"], ["images", "--out", "absent/a.csv"], ["images", "-0"]):
        capsys.readouterr()
        assert run_predict(*argv) == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_odd_names_and_classes_are_harmless_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    monkeypatch.chdir(tmp_path)
    classes = ["=HYPERLINK(1)", "+1", "@x", "\x1b[2J"]
    save_model(tmp_path / "model.safetensors", made_facts(classes=classes))
    (tmp_path / "d").mkdir()
    for name in ODD_NAMES:
        (tmp_path / "d" / name).write_bytes(encoded(random_images(1, (12, 12, 3))[0]))
    monkeypatch.chdir(tmp_path / "d")
    for argv in ([], ["--json"], ["--out", "../a.csv"]):
        assert main(["predict", "../model.safetensors", ".", *argv, "--threads", "1"]) == 0
        for text in capsysbinary.readouterr():
            assert text.count(b"\n") >= 0
            assert not set(text) & (set(range(32)) - {10} | {127}), "control bytes"
    data = (tmp_path / "a.csv").read_bytes()
    assert not set(data) & (set(range(32)) - {10} | {127})
    rows = csv_rows(tmp_path / "a.csv")
    assert len(rows) == len(ODD_NAMES)
    for row in rows:
        assert not any(cell.startswith(("=", "+", "-", "@")) for cell in row.values())
    assert {row["class_1"] for row in rows} <= {"'=HYPERLINK(1)", "'+1", "'@x", "\\x1b[2J"}
    assert main(["predict", "../model.safetensors", "--threads", "1", "--", "-dash.png"]) in (0, 2)


def test_a_killed_writing_leaves_no_half_file(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pocketlens.cli import predict as command

    (place / "a.csv").write_text("old")
    monkeypatch.setattr(command, "_csv_line", lambda row, top: "" if row is None else 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run_predict("images", "--out", "a.csv")
    assert (place / "a.csv").read_text() == "old"
    assert not list(place.glob(".*"))


def test_predict_needs_only_what_it_reads(tmp_path: Path) -> None:
    """A run that was copied elsewhere, without its data, predicts."""
    run = new_run(tmp_path / "runs", SMALL)
    finish(run)
    moved = tmp_path / "elsewhere"
    run.path.rename(moved)
    (tmp_path / "a.png").write_bytes(encoded(made_data().images[0]))
    (row,) = predict(Run(moved), tmp_path / "a.png")
    assert row.reason is None
    (again,) = predict(moved, tmp_path / "a.png")
    assert np.array_equal(again.logits, row.logits)


@pytest.mark.slow
def test_ten_thousand_images_with_ten_bad_ones(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    many = place / "many"
    many.mkdir()
    images = random_images(100, (12, 12, 3))
    data = [encoded(image) for image in images]
    bad = set(np.random.default_rng(0).choice(10_000, 10, replace=False).tolist())
    for place_ in range(10_000):
        (many / f"{place_:05}.png").write_bytes(b"bad" if place_ in bad else data[place_ % 100])
    assert run_predict("many", "--out", "a.csv") == 4
    assert "10,000: 9,990 predicted, 10 unreadable" in capsys.readouterr().out
    rows = csv_rows(place / "a.csv")
    assert len(rows) == 10_000
    assert {number for number, row in enumerate(rows) if row["status"] == "unreadable"} == bad
    good = [row for number, row in enumerate(rows) if number not in bad]
    assert all(row["class_1"] for row in good)


def test_another_depth_than_that_of_training_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    eight, deep = tmp_path / "eight.png", tmp_path / "deep.png"
    eight.write_bytes(encoded(random_images(1, (12, 12, 3))[0]))
    deep.write_bytes(deep_png(random_images(1, (12, 12, 3))[0].astype(np.uint16) * 16))
    first, second = predict_files(made_predictor(levels=[0.0, 4095.0]), [eight, deep])
    assert "it has 8 bits, but the model was trained on deeper images" in first.notes
    assert second.notes == ()
    first, second = predict_files(made_predictor(), [eight, deep])
    assert first.notes == ()
    assert second.notes == ("of its 16 bits, the upper 8 are used",)
    for levels, said in (([0.0, 4095.0], "1 of 2 have 8 bits, but"), (None, "1 of 2 have colour of 16 bits, of which")):
        model = save_model(tmp_path / "model.safetensors", made_facts(levels=levels))
        assert main(["predict", str(model), str(eight), str(deep)]) == 0
        assert said in capsys.readouterr().err


def test_photos_that_are_too_large_are_decoded_smaller_and_the_limit_is_an_option(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, kind in (("large.jpg", "JPEG"), ("large.png", "PNG")):
        (tmp_path / name).write_bytes(encoded(np.zeros((200, 320, 3), np.uint8), kind))
    model, files = (
        save_model(tmp_path / "model.safetensors"),
        [str(tmp_path / f"large.{end}") for end in ("jpg", "png")],
    )
    assert main(["predict", str(model), *files, "--max-pixels", "20000"]) == 4
    shown = capsys.readouterr()
    out = shown.out.splitlines()
    assert "unreadable: 0.064 Mpx > 0.02 Mpx" in out[1]
    limit = shown.err.partition("to read them: ")[2].split("\n")[0]
    assert limit == "--max-pixels 1000000"
    assert main(["predict", str(model), *files, *limit.split()]) == 0
    capsys.readouterr()
    assert "unreadable" not in out[0]
    row, _ = predict(model, files)
    assert "resized from 320 x 200" in row.notes


def test_files_that_are_no_images_are_named_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "scans").mkdir()
    for i in range(3):
        (tmp_path / "scans" / f"{i}.dcm").write_bytes(bytes(128) + b"DICM")
    with refused("none was found: 3 files end in .dcm (convert them to 16-bit PNG or TIFF first)."):
        find_files([str(tmp_path / "scans")])
    (tmp_path / "scans" / "photo").write_bytes(encoded(random_images(1)[0]))
    found = find_files([str(tmp_path / "scans")])
    assert [path.name for path in found.paths] == ["photo"]
    assert "3 files end in .dcm (convert" in found.notes[0]


def test_a_picture_unlike_anything_in_training_is_marked(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    familiarity = {"threshold": -1e9, "share": 0.99, "n": 500}  # every energy is higher
    save_model(place / "model.safetensors", familiarity=familiarity)
    assert run_predict("images") == 4
    out, err = capsys.readouterr()
    assert [line.endswith("%   unlike anything in training") for line in out.splitlines()] == [True, True, False]
    assert "marked as unlike anything in training: pictures with a higher energy than 99 % of 500 validation" in err
    assert "2 are unlike anything in training" in err
    assert run_predict("images", "--json") == 4
    values = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [value["unfamiliar"] for value in values] == [True, True, None]
    assert run_predict("images", "--out", "a.csv") == 4
    assert csv_rows(place / "a.csv")[0]["notes"] == "unlike anything in training"
    capsys.readouterr()
    save_model(place / "model.safetensors", familiarity={**familiarity, "threshold": None, "n": 15})
    assert run_predict("images", "--json") == 4
    out, err = capsys.readouterr()
    assert "are not marked: 15 validation images are too few, 99 are needed" in err
    assert {json.loads(line)["unfamiliar"] for line in out.splitlines()} == {None}


@pytest.mark.parametrize("familiarity", [7, {"threshold": "a"}, {"threshold": 1.0, "share": 2, "n": 1}, [1]])
def test_a_bad_threshold_is_refused(familiarity: Any, tmp_path: Path) -> None:
    path = save_model(tmp_path / "model.safetensors", familiarity=familiarity)
    with refused("model.safetensors", "familiarity"):
        open_predictor(path)


def test_too_few_validation_images_give_no_temperature(tmp_path: Path) -> None:
    run = new_run(tmp_path, SMALL)
    finish(run)
    found = read_predictions(run.file("predictions-val.safetensors"))
    labels = np.arange(15) % 2
    logits = 4 * np.eye(found.logits.shape[1], dtype=np.float32)[labels]
    write_predictions(run.file("predictions-val.safetensors"), Predictions("val", np.arange(15), labels, logits))
    predictor = open_predictor(run)
    assert predictor.calibration == "not calibrated: 15 validation images, all of them right, are too few"
    assert not predictor.is_calibrated
    assert predictor.probabilities(logits)[0] == pytest.approx(np.exp(log_probabilities(logits))[0])
    assert predictor.is_unfamiliar(logits[0]) is None
