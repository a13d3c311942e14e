"""train, warm start and refit: what stands in the run's folder in the end, and what a person is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from made_images import refused
from made_trainings import PLAIN, contents, finish, made_data, new_run

from pocketlens.components import parse_one, resolve
from pocketlens.data.split import make_split
from pocketlens.events import Epoch, Note, Progress
from pocketlens.files import read_json
from pocketlens.recipe import Recipe
from pocketlens.scoring.predictions import read_predictions
from pocketlens.training.classifier import load_classifier, predict_logits
from pocketlens.training.refit import refit
from pocketlens.training.run import Run
from pocketlens.training.train import train


def notes(events: list[object]) -> list[str]:
    return [event.text for event in events if isinstance(event, Note)]


def test_a_finished_run_holds_what_it_should(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    events = finish(run)
    assert [type(event).__name__ for event in events] == (["Progress"] * 3 + ["Epoch"]) * 3
    assert run.status() == ("complete", "")
    wanted = {
        "experiment.json",
        "split.json",
        "environment.json",
        "history.jsonl",
        "timing.jsonl",
        "status.json",
        "lock",
    }
    wanted |= {"checkpoint-00000006.safetensors", "checkpoint-00000009.safetensors"}
    wanted |= {"predictions-val.safetensors", "scores-val.json", "pictures.safetensors", "mistakes-latest.safetensors"}
    assert {path.name for path in run.path.iterdir()} == wanted
    assert run.environment["device"] == "cpu"
    assert run.environment["threads"] == torch.get_num_threads()
    predictions = read_predictions(run.file("predictions-val.safetensors"))
    assert predictions.rows.tolist() == run.split.val.tolist()
    again = predict_logits(load_classifier(run), made_data().images, run.split.val)
    assert np.array_equal(predictions.logits, again)
    accuracy = float((predictions.predicted == predictions.labels).mean())
    assert read_json(run.file("scores-val.json"))["top1"]["value"] == pytest.approx(accuracy)
    assert run.history()[-1]["val_accuracy"] == pytest.approx(accuracy)


def test_no_validation_rows_no_validation_scores(tmp_path: Path) -> None:
    run = new_run(tmp_path, PLAIN.changed(keep="best", patience=1), val_fraction=0.0)
    finish(run)
    assert not run.file("predictions-val.safetensors").exists()
    assert [record["val_accuracy"] for record in run.history()] == [None] * 3
    assert run.checkpoint().part("best/") == {}


def test_patience_stops_early_and_best_is_kept(tmp_path: Path) -> None:
    run = new_run(tmp_path, PLAIN.changed(lr=1e-9, epochs=9.0, keep="best", patience=2))  # it cannot get better
    events = finish(run)
    assert [record["best"] for record in run.history()] == [True, False, False]
    assert notes(events) == ["stopped early: epochs without a better validation score: 2"]
    assert [(event.bad_epochs, event.patience) for event in events if isinstance(event, Epoch)] == [
        (0, 2),
        (1, 2),
        (2, 2),
    ]
    assert notes(finish(run)) == ["continues after step 9 of 27"]  # once more changes nothing
    assert len(run.history()) == 3


# ---- warm start


def test_a_warm_start_says_what_it_took(tmp_path: Path) -> None:
    source = new_run(tmp_path, label="source")
    finish(source)
    run = new_run(tmp_path, PLAIN.changed(start="source", lr=1e-9))
    said = notes(finish(run))
    assert said == [
        f"starts from {source.id} (weights {source.weights_hash()}): 6 of 6 tensors fit (7,002 of 7,002 numbers); "
        "not taken: none"
    ]
    taken, given = run.checkpoint().result(), source.checkpoint().result()
    assert all(torch.allclose(taken[name], value, atol=1e-6) for name, value in given.items())
    assert run.history()[0]["val_accuracy"] == source.history()[-1]["val_accuracy"]


def test_a_new_head_and_a_deeper_body_are_named(tmp_path: Path) -> None:
    source = new_run(tmp_path)
    finish(source)
    new_head = notes(finish(new_run(tmp_path, PLAIN.changed(start=source.id, head="new"))))
    assert "4 of 6 tensors fit" in new_head[0]
    assert new_head[0].endswith("not taken: net.head.weight (new), net.head.bias (new)")
    wider = notes(finish(new_run(tmp_path, PLAIN.changed(start=source.id, model="mlp(hidden=(16, 5))"))))
    assert "net.body.3.weight (missing there)" in wider[0]
    assert "net.head.weight (4 x 16 there, 4 x 5 here)" in wider[0]
    with refused("lenet fits none; give --model 'mlp(hidden=(16,))'"):
        finish(new_run(tmp_path, PLAIN.changed(start=source.id, model="lenet")))


def test_a_warm_start_happens_once_and_resumes_exactly(tmp_path: Path) -> None:
    source = new_run(tmp_path)
    finish(source)
    unbroken, stopped = (new_run(tmp_path, PLAIN.changed(start=source.id)) for _ in range(2))
    finish(unbroken)
    events = train(stopped, made_data())
    for event in events:
        if isinstance(event, Progress) and event.step == 4:
            break
    events.close()
    assert notes(finish(stopped)) == ["continues after step 4 of 9"]
    assert contents(stopped) == contents(unbroken)


def test_a_source_without_weights_is_refused(tmp_path: Path) -> None:
    source = new_run(tmp_path)
    with refused(f"run {source.id} must have a readable checkpoint"):
        new_run(tmp_path, PLAIN.changed(start=source.id))


# ---- refit


def refitted(folder: Path, recipe: Recipe) -> tuple[Run, Run]:
    run = new_run(folder, recipe, label="mine", seed=3)
    finish(run)
    return run, refit(run, folder)


def test_refit_takes_all_rows_and_the_same_schedule(tmp_path: Path) -> None:
    run, new = refitted(tmp_path, PLAIN)
    assert new.experiment.recipe == run.experiment.recipe
    assert (new.experiment.seed, new.experiment.data_fingerprint) == (3, run.experiment.data_fingerprint)
    assert new.experiment.made_by == f"refit of {run.id}"
    assert (new.split.train.tolist(), new.split.val.tolist()) == (list(range(64)), [])
    assert (new.experiment.n_steps, new.experiment.stop_step) == (12, None)  # 3 epochs of 4 steps, as it had 3 of 3
    events = finish(new)
    assert [record["step"] for record in new.history()] == [4, 8, 12]
    peak, schedule = new.experiment.recipe.lr, resolve(parse_one("triangle", "schedules"), "schedules")
    rates = [event.lr for event in events if isinstance(event, Progress)]
    assert rates == pytest.approx([peak * schedule(step, 12, 4) for step in range(12)])
    with refused("already trained on all development images"):
        refit(new, tmp_path)


def test_refit_ends_at_the_best_epoch_on_the_schedule_of_all(tmp_path: Path) -> None:
    recipe = PLAIN.changed(lr=1e-9, epochs=9.0, keep="best", patience=2)  # the first epoch stays the best
    run, new = refitted(tmp_path, recipe)
    assert len(run.history()) == 3
    assert (new.experiment.n_steps, new.experiment.stop_step) == (36, 4)
    finish(new)
    assert [record["step"] for record in new.history()] == [4]
    schedule = resolve(parse_one("triangle", "schedules"), "schedules")
    assert new.history()[0]["lr"] == pytest.approx(1e-9 * schedule(3, 36, 4))
    run, new = refitted(tmp_path, recipe.changed(keep="last"))
    assert (new.experiment.n_steps, new.experiment.stop_step) == (36, 12)  # where it was stopped early


def test_refit_needs_a_finished_run(tmp_path: Path) -> None:
    with refused("must be complete before it is refitted, it is new"):
        refit(new_run(tmp_path), tmp_path)


def test_refit_of_part_of_an_epoch(tmp_path: Path) -> None:
    data = made_data(80)
    run = new_run(tmp_path, PLAIN.changed(epochs=2.5, batch_size=10), data, val_fraction=0.25)
    finish(run, data)
    assert run.history()[-1]["step"] == 15  # 2.5 epochs of 6 steps
    new = refit(run, tmp_path)
    assert new.experiment.n_steps == 20  # 2.5 epochs of 8 steps
    assert len(make_split(data, val_fraction=0.25).train) == 60
