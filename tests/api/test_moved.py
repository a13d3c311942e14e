"""Data that has moved: every command that reads a run's data again finds it by --data, and export works without it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_images import class_folder, encoded, random_images, refused
from made_studies import new_comparison
from made_trainings import contents

import pocketlens as pl
from pocketlens.cli import main
from pocketlens.data.dataset import Dataset
from pocketlens.data.split import make_split
from pocketlens.datasets import absent, load, place_of, places_of
from pocketlens.files import read_json
from pocketlens.recipe import Experiment, read_recipe
from pocketlens.scoring.predictions import PICTURES, read_pictures
from pocketlens.studies.study_data import require_data
from pocketlens.training.run import Run
from pocketlens.training.run_data import data_if_moved, load_of
from pocketlens.training.train import train

TINY: dict[str, Any] = {"recipe": "small", "model": "mlp(hidden=(8,))", "sizes": "100%", "optimizer": "sgd"}
TINY |= {"augment": "none", "epochs": 1, "threads": 1, "device": "cpu", "verbose": False}


def trained(text: Path | str, runs: Path, **options: Any) -> Run:
    found: Run = pl.train(str(text), runs=runs, **{**TINY, **options}).run
    return found


def untrained(text: Path | str, runs: Path) -> Run:
    """A run before its training, which is enough to find its data."""
    dataset, _ = load(str(text))
    experiment = Experiment(dataset.text, read_recipe("small"), data_fingerprint=dataset.fingerprint)
    return Run.create(experiment, make_split(dataset), runs)


def a_folder(root: Path) -> str:
    return str(class_folder(root / "old" / "pets", {"cat": 12, "dog": 12}))


def a_table_inside(root: Path) -> str:
    folder = Path(a_folder(root))
    table(folder / "labels.csv", folder)
    return f"folder('{folder}', labels='labels.csv')"


def a_table_beside(root: Path) -> str:
    folder = Path(a_folder(root))
    table(folder.parent / "labels.csv", folder)
    return f"folder('{folder}', labels='{folder.parent / 'labels.csv'}')"


def a_test_inside(root: Path) -> str:
    folder = Path(a_folder(root)) / "development"
    class_folder(folder, {"cat": 12, "dog": 12})
    class_folder(folder.parent / "held", {"cat": 4, "dog": 4}, seed=5)
    return f"folder('{folder}', test='{folder.parent / 'held'}')"


def an_archive(root: Path) -> str:
    folder = Path(a_folder(root))
    shutil.make_archive(str(folder), "zip", folder)
    shutil.rmtree(folder)
    return f"{folder}.zip"


def an_npz(root: Path) -> str:
    path = root / "old" / "pets.npz"
    path.parent.mkdir()
    np.savez(path, images=random_images(24), labels=np.arange(24) % 2)
    return str(path)


def a_parquet(root: Path) -> str:
    path = root / "old" / "pets.parquet"
    path.parent.mkdir()
    cells = [{"bytes": encoded(image), "path": f"{row}.png"} for row, image in enumerate(random_images(24))]
    pq.write_table(pa.table({"image": cells, "label": ["cat", "dog"] * 12}), path)
    return str(path)


def table(path: Path, folder: Path) -> None:
    rows = [f"{file.relative_to(folder)},{file.parent.name}" for file in sorted(folder.rglob("*.png"))]
    path.write_text("file,label\n" + "\n".join(rows))


KINDS = (a_folder, a_table_inside, a_table_beside, a_test_inside, an_archive, an_npz, a_parquet)


@pytest.mark.parametrize("named", ["itself", "around"])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_moved_data_set_of_every_kind_is_found(kind: Callable[[Path], str], named: str, tmp_path: Path) -> None:
    run = untrained(kind(tmp_path), tmp_path / "runs")
    before = run.file("experiment.json").read_bytes()
    (tmp_path / "old").rename(tmp_path / "new")
    old = Path(str(place_of(run.experiment.data)))
    new = tmp_path / "new" / old.relative_to(tmp_path / "old")
    with refused(f"the data of run {run.id} is no longer at", f'"{old}"', "pocketlens test X --data NEW_LOCATION"):
        load_of(run, None, "pocketlens test X")
    dataset, sealed = load_of(run, new if named == "itself" else new.parent)
    assert dataset.fingerprint == run.experiment.data_fingerprint
    assert len(sealed) > 0
    assert run.file("experiment.json").read_bytes() == before, "what was asked for stays as it was"
    assert read_json(run.file("data.json")) == {"data": dataset.text}
    assert str(tmp_path / "old") not in dataset.text
    assert load_of(run)[0].fingerprint == dataset.fingerprint, "the new place is noted"


def test_the_commands_take_the_new_place_and_name_it_where_it_is_needed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = tmp_path / "my runs"
    run = trained(a_folder(tmp_path), runs)
    (tmp_path / "old").rename(tmp_path / "new")
    new, n_runs = tmp_path / "new" / "pets", len(list(runs.iterdir()))
    where = ["--runs", str(runs)]
    commands: dict[str, list[str]] = {verb: [] for verb in ("test", "refit", "reproduce", "robustness", "explain")}
    for verb, options in {**commands, "resume": ["--epochs", "2"]}.items():
        capsys.readouterr()
        assert main([verb, run.id, *options, *where]) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        command = " ".join(["pocketlens", verb, run.id, *options])
        assert f'give its new location: {command} --runs "{runs}" --data NEW_LOCATION' in said
    assert main(["report", run.id, *where]) == 0
    assert f'pocketlens report {run.id} --runs "{runs}" --data NEW_LOCATION' in capsys.readouterr().out
    assert len(list(runs.iterdir())) == n_runs, "nothing is left behind"
    again = pl.refit(run, data=new, runs=runs, threads=1, device="cpu", verbose=False)
    longer = pl.resume(run, epochs=2, runs=runs, threads=1, device="cpu", verbose=False)
    assert again.run.experiment.data == longer.run.experiment.data == f"folder(path='{new}')"
    assert pl.reproduce(run, runs=runs, threads=1, device="cpu", verbose=False).found.word == "equal"
    assert pl.test(again, data=new, runs=runs).scores.n == pl.test(run, runs=runs).scores.n
    assert pl.robustness(run, rows=2, data=new, runs=runs).found.n == 2
    assert "no images" not in str(pl.report(run, data=new, runs=runs))


def test_a_stopped_run_goes_on_at_the_new_place_to_the_same_bytes(tmp_path: Path) -> None:
    text = a_folder(tmp_path)
    options = {"batch_size": 4, "epochs": 3}
    whole = trained(text, tmp_path / "whole", **options)
    begun = Run.create(whole.experiment, whole.split, tmp_path / "begun")
    dataset, _ = load_of(begun)
    events = train(begun, dataset)
    for _ in range(4):
        next(events)
    events.close()  # type: ignore[attr-defined] # a generator, which saves its state
    (tmp_path / "old").rename(tmp_path / "new")
    pl.resume(begun, data=tmp_path / "new" / "pets", threads=1, device="cpu", verbose=False, runs=tmp_path / "begun")
    ours = contents(begun)
    assert ours.pop("data.json")
    assert ours == contents(whole)
    assert PICTURES in ours


def test_other_data_at_the_new_place_is_refused_and_the_difference_said(tmp_path: Path) -> None:
    run = trained(a_folder(tmp_path), tmp_path / "runs")
    (tmp_path / "old").rename(tmp_path / "new")
    new = tmp_path / "new" / "pets"
    other = class_folder(tmp_path / "other", {"cat": 12, "cow": 12})
    with refused("other", f"is not the data of run {run.id}", "does not have its classes 'cow'", "lacks", "'dog'"):
        load_of(run, other)
    with refused("is not the data", "as many images of the same classes, but other pixels"):
        load_of(run, class_folder(tmp_path / "pixels", {"cat": 12, "dog": 12}, seed=9))
    with refused("is not the data", "at least 2 classes"):
        load_of(run, class_folder(tmp_path / "one", {"cat": 12}))
    with refused("must be a folder or a file that exists", "nothing"):
        load_of(run, tmp_path / "nothing")
    class_folder(new, {"dog": 20}, seed=3)
    with refused("is not the data", "development images, the run has"):
        load_of(run, new)
    assert not run.file("data.json").exists()


def test_the_folder_around_does_not_hide_a_class_of_the_same_name(tmp_path: Path) -> None:
    run = untrained(class_folder(tmp_path / "cat", {"cat": 12, "dog": 12}), tmp_path / "runs")
    (tmp_path / "cat").rename(tmp_path / "animals")
    assert load_of(run, tmp_path / "animals")[0].text == f"folder(path='{tmp_path / 'animals'}')"


def test_a_path_of_another_system_is_understood(tmp_path: Path) -> None:
    (tmp_path / "pets").mkdir()
    (tmp_path / "pets" / "labels.csv").touch()
    text = r"folder(path='C:\data\pets', labels='C:\data\pets\labels.csv', group='slide')"
    wanted = f"folder(path='{tmp_path / 'pets'}', labels='{tmp_path / 'pets' / 'labels.csv'}', group='slide')"
    assert places_of(text, tmp_path)[0] == places_of(text, tmp_path / "pets")[0] == wanted
    assert absent(text) == r"C:\data\pets"
    assert absent(f"npz(path='{tmp_path / ('x' * 300)}')") is not None, "a name that no file can have"
    assert absent("digits") is None
    assert place_of("cifar100(labels='coarse')") is None


def test_a_name_keeps_its_folders(tmp_path: Path) -> None:
    run = untrained("digits", tmp_path / "runs")
    assert load_of(run, tmp_path)[0].text == "digits"
    (tmp_path / "file").touch()
    with refused("--data must be a folder that exists"):
        load_of(run, tmp_path / "file")
    assert not run.file("data.json").exists()


def test_a_trial_takes_data_for_a_place_only_where_it_has_moved(tmp_path: Path) -> None:
    run = untrained(a_folder(tmp_path), tmp_path / "runs")
    assert data_if_moved(run, tmp_path) is None
    (tmp_path / "old").rename(tmp_path / "new")
    assert data_if_moved(run, tmp_path / "new") == tmp_path / "new"


def test_a_study_looks_for_its_data_before_it_goes_on(tmp_path: Path) -> None:
    study, runs, path = new_comparison(tmp_path), tmp_path, tmp_path / "made.npz"
    path.rename(tmp_path / "elsewhere.npz")
    command = f"pocketlens study {study.id} --runs {runs}"
    with refused(f"the data of study {study.id} is no longer at", f'"{path}"', f"{command} --data NEW_LOCATION"):
        pl.study(str(study.path), runs=runs, verbose=False)
    np.savez(tmp_path / "other.npz", images=random_images(20), labels=np.arange(20) % 2)
    with refused("other.npz", f"is not the data of study {study.id}: it has 16 development images"):
        pl.study(str(study.path), runs=runs, data=tmp_path / "other.npz", verbose=False)
    assert not any(record.is_ended for record in study.records()), "no trial is lost"
    require_data(study, tmp_path / "elsewhere.npz", "")


@pytest.mark.parametrize("format", ["onnx", "torchscript", "safetensors"])
def test_export_without_the_data_is_checked_on_the_pictures_of_the_run(
    format: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = trained(a_folder(tmp_path), tmp_path / "runs", val_fraction=0.2)
    kept = read_pictures(run.file(PICTURES))
    dataset: Dataset = load_of(run)[0]
    assert set(kept.rows.tolist()) <= set(run.split.val.tolist())
    assert np.array_equal(kept.images, dataset.images[kept.rows])
    shutil.rmtree(tmp_path / "old")
    words = ["export", run.id, "--format", format, "--runs", str(tmp_path / "runs")]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert f"the file is checked on {len(kept.rows)} pictures that the run keeps" in said
    assert f"pocketlens export {run.id} --format {format}" in said
    assert f"on {len(kept.rows)} pictures that the run keeps: probabilities differ" in said
    assert f"{len(kept.rows)} pictures that the run keeps" in run.file("export/MODEL_CARD.md").read_text("utf-8")
    run.file(PICTURES).unlink()  # as in runs of before
    assert main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["n_checked"], found["checked_on"]) == (16, "images of noise")
    assert main([*words, "--data", str(class_folder(tmp_path / "x", {"cat": 4, "dog": 4}))]) == 2
    assert "is not the data of run" in capsys.readouterr().err


def test_export_with_changed_data_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = trained(a_folder(tmp_path), tmp_path / "runs")
    class_folder(tmp_path / "old" / "pets", {"cat": 20}, seed=4)
    assert main(["export", run.id, "--format", "safetensors", "--runs", str(tmp_path / "runs")]) == 0
    said = capsys.readouterr().out
    assert "pictures that the run keeps, because the data cannot be used" in said
    assert "is not the data of run" in said


def test_pictures_are_few_and_small(tmp_path: Path) -> None:
    big = class_folder(tmp_path / "big", {"a": 6, "b": 6}, (400, 400, 3))
    run = trained(f"folder('{big}', size=400)", tmp_path / "runs", val_fraction=0.5)
    assert read_pictures(run.file(PICTURES)).images.shape == (2, 400, 400, 3)
    alone = trained(class_folder(tmp_path / "small", {"a": 30, "b": 30}), tmp_path / "runs", val_fraction=0)
    assert len(read_pictures(alone.file(PICTURES)).rows) == 16
    assert run.file(PICTURES).stat().st_size < 1_100_000
