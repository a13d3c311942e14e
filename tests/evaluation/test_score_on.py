"""test --on: other labelled data is scored as predict judges it, on the record; the sealed test rows stay sealed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_images import class_folder, encoded, random_images, refused

import pocketlens as pl
from pocketlens.api.test import OnResult
from pocketlens.cli import main
from pocketlens.data.fit import Form
from pocketlens.datasets import load, load_whole
from pocketlens.datasets._headers import Rules
from pocketlens.evaluation.open_test import openings
from pocketlens.evaluation.score_on import read_scores_on
from pocketlens.files import ledger_file, read_json
from pocketlens.report.run.facts import read_facts
from pocketlens.scoring.ledger import all_openings
from pocketlens.scoring.predictions import read_predictions
from pocketlens.training.run import Run

TINY: dict[str, Any] = {"recipe": "small", "model": "mlp(hidden=(8,))", "sizes": "100%", "optimizer": "sgd"}
TINY |= {"augment": "none", "epochs": 1, "threads": 1, "device": "cpu", "verbose": False, "label": "mine"}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    pets = class_folder(tmp_path / "pets", {"cat": 15, "dog": 15})
    found: Run = pl.train(str(pets), runs=tmp_path / "runs", **TINY).run
    return found


def on(run: Run, other: Path | str, **options: Any) -> OnResult:
    found = pl.test(run, on=other, threads=1, device="cpu", **options)
    assert isinstance(found, OnResult)
    return found


def test_every_picture_of_the_folder_counts_as_predict_judges_it(run: Run, tmp_path: Path) -> None:
    later = class_folder(tmp_path / "later" / "train", {"cat": 4, "dog": 3}, (8, 8, 3), seed=7).parent
    class_folder(later / "test", {"cat": 2}, (20, 13, 3), seed=8)
    class_folder(later / "test", {"dog": 2}, (11, 30), seed=9)  # grey
    scores = on(run, later).scores
    assert (scores.part, scores.n) == ("on", 11)
    assert scores.classes == ("cat", "dog")
    assert [row.support for row in scores.per_class] == [6, 5]
    (path,) = run.path.glob("predictions-on-*.safetensors")
    predictions = read_predictions(path)
    files = read_json(next(run.path.glob("files-on-*.json")))
    rows = pl.predict(run, [later / file for file in files], threads=1, device="cpu")
    assert np.array_equal(predictions.logits, np.stack([row.logits for row in rows]))
    assert [scores.classes[label] for label in predictions.labels] == [file.split("/")[1] for file in files]
    assert scores.top1.low < scores.top1.value < scores.top1.high or scores.top1.value in (0, 1)


def test_deep_pictures_have_the_levels_of_the_model(tmp_path: Path) -> None:
    def deep(root: Path, low: int, seed: int) -> Path:
        for number, name in enumerate(("dim", "lit")):
            (root / name).mkdir(parents=True)
            for row, image in enumerate(random_images(12, (8, 8), seed + number)):
                values = (low + 3 * image.astype(np.uint16) + 900 * number).astype(np.uint16)
                (root / name / f"{row}.png").write_bytes(encoded(values))
        return root

    run = pl.train(str(deep(tmp_path / "first", 100, 1)), runs=tmp_path / "runs", **TINY).run
    later = deep(tmp_path / "later", 400, 5)
    on(run, later)
    predictions = read_predictions(next(run.path.glob("predictions-on-*.safetensors")))
    files = read_json(next(run.path.glob("files-on-*.json")))
    rows = pl.predict(run, [later / file for file in files], threads=1, device="cpu")
    assert np.array_equal(predictions.logits, np.stack([row.logits for row in rows]))


def test_the_test_rows_stay_sealed_and_the_ledger_has_its_own_line(run: Run, tmp_path: Path) -> None:
    _, sealed = load(str(tmp_path / "pets"))
    whole = class_folder(tmp_path / "all", {"cat": 15, "dog": 15})  # the same pictures again,
    class_folder(whole / "more", {"cat": 4, "dog": 4}, seed=6)  # and others, which lie deeper
    for name in ("cat", "dog"):
        for file in (whole / "more" / name).iterdir():
            file.rename(whole / name / f"more-{file.name}")
    found = on(run, whole).found
    assert found.scores.n_sealed == len(sealed) == 6
    assert found.scores.scores.n == 32
    assert found.scores.clean is not None
    assert (found.scores.clean.n_contaminated, found.scores.clean.n) == (24, 8)
    assert openings(sealed) == []
    assert [(entry.part, entry.run) for entry in all_openings()] == [("on", run.id)]
    assert not run.file("scores-test.json").exists()
    said = "\n".join(found.scores.lines())
    assert "24 images are equal in every pixel to development images of the run; of the other 8: " in said
    assert "6 more are test images of the run: they were left out and stay sealed" in said
    assert on(run, whole).found.n_openings == 2
    pl.test(run)
    assert openings(sealed)[0].part == "test"
    assert [entry.part for entry in read_facts(run).openings] == ["test"]
    with refused("not among the sealed test images", f"pocketlens test {run.id}"):
        test = class_folder(tmp_path / "held", {"cat": 15, "dog": 15})
        held = {row.tobytes() for row in sealed.hashes}
        whole_set = load_whole(str(test), Form((8, 8, 3)))._open()
        for file, row in zip(whole_set.files or (), whole_set.hashes, strict=True):
            if row.tobytes() not in held:
                (test / file).unlink()
        on(run, test)


def test_classes_are_found_by_name(run: Run, tmp_path: Path) -> None:
    with refused("run's classes alone", "does not know 'ant' (1 image), 'ox' (4 images)", "it knows 'cat', 'dog'"):
        on(run, class_folder(tmp_path / "odd", {"ant": 1, "cat": 3, "ox": 4}))
    assert not ledger_file().exists(), "nothing was scored"
    found = on(run, class_folder(tmp_path / "one", {"dog": 5, "empty": 0}, seed=2))
    assert found.found.scores.absent == ("cat",)
    assert found.scores.per_class[1].support == 5
    assert "there is no image of 1 of the run's classes: cat" in str(found)
    np.savez(tmp_path / "later.npz", images=random_images(6, (9, 9, 3), 4), labels=np.arange(6) % 2)
    with refused("does not know '0' (3 images)"):
        on(run, tmp_path / "later.npz")
    names = np.array(["dog", "cat"])
    np.savez(tmp_path / "later.npz", images=random_images(6, (9, 9), 4), labels=np.arange(6) % 3 // 2, classes=names)
    assert [row.support for row in on(run, tmp_path / "later.npz").scores.per_class] == [2, 4]
    cells = [{"bytes": encoded(image), "path": None} for image in random_images(5, (9, 12, 3), 6)]
    pq.write_table(pa.table({"image": cells, "label": ["dog", "dog", "cat", "dog", "dog"]}), tmp_path / "later.parquet")
    assert [row.support for row in on(run, tmp_path / "later.parquet").scores.per_class] == [1, 4]


def test_without_the_data_of_the_run(run: Run, tmp_path: Path) -> None:
    (tmp_path / "pets").rename(tmp_path / "moved")
    later = class_folder(tmp_path / "la ter", {"cat": 3, "dog": 3}, seed=4)
    found = on(run, later)
    assert found.found.scores.clean is None
    assert f'pocketlens test mine --on "{later}" --runs {tmp_path / "runs"} --data NEW_LOCATION' in str(found)
    assert "not known: the data of the run was not there" in str(found)
    assert on(run, later, data=tmp_path / "moved").found.scores.clean is not None
    with refused("is not the data of run"):
        on(run, later, data=later)


def test_the_command_the_page_and_show(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    later = class_folder(tmp_path / "later", {"cat": 3, "dog": 3}, seed=4)
    (later / "cat" / "bad.png").write_bytes(b"no picture")
    words = ["test", "mine", "--runs", str(tmp_path / "runs"), "--threads", "1", "--device", "cpu"]
    assert main([*words, "--on", str(later)]) == 2
    assert "bad='skip'" in capsys.readouterr().err
    text = f"folder('{later}', bad='skip')"
    capsys.readouterr()
    assert main([*words, "--on", text, "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert value["on"]["scores"]["n"] == 6
    assert value["ledger"]["part"] == "on"
    assert value["on"] == read_json(Path(value["scores"]))
    assert any("1 image cannot be read and was skipped" in note for note in value["notes"])
    assert main([*words, "--on", text]) == 0
    assert "they have been scored 2 times" in capsys.readouterr().out
    assert main(["show", "mine", "--runs", str(tmp_path / "runs")]) == 0
    assert "of 6 images" in capsys.readouterr().out
    page = pl.report(run).path.read_text("utf-8")
    assert 'id="others"' in page
    assert "The test images are still sealed" in page
    assert [each.data for each in read_scores_on(run)] == [f"folder(path='{later}', bad='skip')"]
    for more, said in (
        (["--views", "6"], "--views is for the run's own test rows"),
        (["--data", str(tmp_path / "x")], "--data must be"),
    ):
        assert main([*words, "--on", text, *more]) == 2
        assert said in capsys.readouterr().err
    assert main([*words, "--on", "no/such/folder"]) == 2
    assert "a path that exists" in capsys.readouterr().err


def test_a_result_scores_other_data_too(tmp_path: Path) -> None:
    result = pl.train("digits", runs=tmp_path / "runs", **TINY)
    machine = pl.Machine("cpu", 1)
    assert pl.test(result, on="digits", machine=machine).to_dict()["on"]["n_sealed"] == 359
    found = result.test(on="digits")
    assert found.found.scores.n_sealed == 359
    assert found.scores.n == 1438
    assert "digits" in found._repr_html_()


def test_the_cache_of_before_is_found() -> None:
    assert Rules(32, "skip", hold_out=1).how == "Rules(size=32, bad='skip', shape=None)"
    assert "Form" in Rules(form=Form((8, 8, 3))).how
