"""A finished run trained further: a complete schedule over the missing epochs, written down, the old run kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from made_images import refused
from made_studies import data_file
from made_trainings import PLAIN, contents, finish, made_data, new_run

from pocketlens.cli import main
from pocketlens.events import Note
from pocketlens.training.refit import extend
from pocketlens.training.run import Run
from pocketlens.training.train import train


def test_the_missing_epochs_have_a_complete_schedule_from_the_old_weights(tmp_path: Path) -> None:
    old = new_run(tmp_path, PLAIN.changed(epochs=2.0, augment="flip(alternate=False)"))
    finish(old)
    before = contents(old)
    new = extend(old, 5.0, tmp_path)
    notes = [event.text for event in train(new, made_data()) if isinstance(event, Note)]
    assert any(f"starts from {old.id}" in note and "not taken: none" in note for note in notes)
    assert [record["epoch"] for record in new.history()] == [1, 2, 3]
    rates = [record["lr"] for record in new.history()]
    assert rates[0] > rates[-1], "the schedule comes to its end again"
    assert rates[-1] == pytest.approx(old.history()[-1]["lr"], rel=1.0)
    assert new.history()[0]["train_loss"] < old.history()[0]["train_loss"]
    written = json.loads(new.file("experiment.json").read_text())
    assert (written["recipe"]["epochs"], written["seed"]) == (3.0, old.experiment.seed + 1)
    assert written["made_by"] == f"resume of {old.id}, to 5 epochs"
    assert Run(new.path).split.to_dict() == old.split.to_dict()
    assert contents(old) == before


def test_a_run_that_had_a_warm_start_is_trained_further_from_its_own_weights(tmp_path: Path) -> None:
    first = new_run(tmp_path, PLAIN.changed(epochs=1.0))
    finish(first)
    old = new_run(tmp_path, PLAIN.changed(epochs=1.0, start=first.id, head="new"))
    finish(old)
    new = extend(old, 2.0, tmp_path)
    assert (new.experiment.recipe.start, new.experiment.start_weights) == (old.id, old.weights_hash())
    assert any("not taken: none" in event.text for event in train(new, made_data()) if isinstance(event, Note))


def test_what_cannot_be_trained_further_is_refused(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    with refused("must be complete", "resume it first"):
        extend(run, 9.0, tmp_path)
    finish(run)
    with refused("has trained for 3 epochs", "must be more, got 3"):
        extend(run, 3.0, tmp_path)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = str(tmp_path / "runs")
    argv = ["train", data_file(tmp_path), "--model", "mlp(hidden=(16,))", "--sizes", "100%", "--runs", runs]
    assert main([*argv, "--epochs", "1"]) == 0
    capsys.readouterr()
    assert main(["resume", "last", "--epochs", "2", "--runs", runs, "--json"]) == 0
    out, err = capsys.readouterr()
    assert "1 more epoch with a schedule of their own" in err
    run = Run.open(json.loads(out)["id"], Path(runs))
    assert (run.status()[0], len(run.history())) == ("complete", 1)
    assert main(["resume", run.id, "--epochs", "1", "--runs", runs]) == 2
    assert "must be more" in capsys.readouterr().err
