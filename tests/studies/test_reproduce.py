"""Reproducing runs: equal to the byte, within what a seed changes, or different, with the first epoch that differs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from made_studies import data_file
from made_trainings import PLAIN, finish, new_run

from pocketlens.cli import main
from pocketlens.studies.reproduce import compare_runs
from pocketlens.training.run import Run


def finished(folder: Path, **options: object) -> Run:
    recipe = options.pop("recipe", PLAIN)
    run = new_run(folder, recipe, **options)  # type: ignore[arg-type]
    finish(run)
    return run


def test_the_same_run_is_equal(tmp_path: Path) -> None:
    found = compare_runs(finished(tmp_path), finished(tmp_path))
    assert (found.word, found.epoch, found.changed) == ("equal", None, ())


def test_another_seed_is_within_the_noise_of_seeds_and_names_its_first_epoch(tmp_path: Path) -> None:
    runs = [finished(tmp_path, seed=seed) for seed in range(4)]
    found = compare_runs(runs[0], runs[1])
    assert found.word == "within seed noise"
    assert found.epoch == 1
    assert "of 4 seeds" in found.how
    assert found.before["train_loss"] != found.after["train_loss"]


def test_another_recipe_is_different(tmp_path: Path) -> None:
    good = finished(tmp_path / "a", recipe=PLAIN.changed(epochs=12.0, lr=0.1))
    bad = finished(tmp_path / "b", recipe=PLAIN.changed(lr=1e-6))
    found = compare_runs(good, bad)
    assert found.word == "different"
    assert "McNemar" in found.how


def test_one_changed_weight_is_seen(tmp_path: Path) -> None:
    first, second = finished(tmp_path), finished(tmp_path)
    checkpoint = second.checkpoint()
    name = next(name for name in checkpoint.tensors if name.startswith("weights/net.head"))
    checkpoint.tensors[name].view(-1)[0] += 1e-6
    second.save_checkpoint(checkpoint)
    assert compare_runs(first, second).word != "equal"


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, runs = data_file(tmp_path), str(tmp_path / "runs")
    argv = ["train", data, "--model", "mlp(hidden=(16,))", "--sizes", "100%", "--epochs", "2", "--runs", runs]
    assert main([*argv, "--label", "first"]) == 0
    capsys.readouterr()
    assert main(["reproduce", "first", "--runs", runs, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["word"], result["epoch"]) == ("equal", None)
    assert Run.open(result["id"], Path(runs)).experiment.made_by.startswith("reproduce of")
