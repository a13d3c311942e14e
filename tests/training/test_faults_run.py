"""What may go wrong around a training: other data, damaged checkpoints, full disks, rates that are too high."""

from __future__ import annotations

import json
import math
import os
import shutil
from collections import namedtuple
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from deaths import full_disk, watched
from made_images import refused
from made_trainings import PLAIN, contents, finish, made_data, new_run

from pocketlens.cli import main
from pocketlens.data.dataset import Dataset, hash_images
from pocketlens.data.split import make_split
from pocketlens.errors import PocketlensError
from pocketlens.events import Epoch, Note, Progress
from pocketlens.files import read_json, write_json
from pocketlens.recipe import Experiment
from pocketlens.training.fit import Diverged, check_weights, fit
from pocketlens.training.run import Run, all_runs
from pocketlens.training.state import State
from pocketlens.training.train import train


def notes(events: list[Any]) -> list[str]:
    return [event.text for event in events if isinstance(event, Note)]


def stop_after(run: Run, step: int) -> None:
    events = train(run, made_data())
    for event in events:
        if isinstance(event, Progress) and event.step == step:
            break
    events.close()


# ---- the run is resumed with something else


def other_data() -> dict[str, Dataset]:
    data = made_data()
    pixel, labels = data.images.copy(), data.labels.copy()
    pixel[5, 3, 3, 0] ^= 1
    labels[[0, 1]] = labels[[1, 0]]
    more = np.concatenate([data.images, data.images[:1] + 1])
    return {
        "one pixel": replace(data, images=pixel, hashes=hash_images(pixel)),
        "two labels": replace(data, labels=labels),
        "one row more": Dataset("made", more, np.append(data.labels, 0), data.classes, hash_images(more)),
        "one row less": data.take(np.arange(63)),
        "another order": data.take(np.arange(64)[::-1].copy()),
        "another class name": replace(data, classes=("a", "b", "c", "x")),
    }


@pytest.mark.parametrize("name", other_data())
def test_other_data_is_refused_and_nothing_is_changed(name: str, tmp_path: Path) -> None:
    data = other_data()[name]
    run = new_run(tmp_path)
    stop_after(run, 4)
    before = contents(run)
    with refused(run.experiment.data_fingerprint, data.fingerprint, "rows of made (64; ", f"{len(data)} rows"):
        finish(run, data)
    assert contents(run) == before
    finish(run)


def test_too_few_rows_are_refused_where_no_fingerprint_is_known(tmp_path: Path) -> None:
    run = new_run(tmp_path, data_fingerprint="")
    with refused("rows of made (64; no fingerprint)", "40 rows"):
        finish(run, made_data().take(np.arange(40)))


def test_another_recipe_under_the_same_checkpoint_is_refused(tmp_path: Path) -> None:
    changes: list[dict[str, Any]] = [{"epochs": 4.0}, {"batch_size": 8}, {"model": "mlp(hidden=(17,))"}]
    for change in changes:
        run = new_run(tmp_path)
        stop_after(run, 4)
        changed = replace(run.experiment, recipe=run.experiment.recipe.changed(**change))
        write_json(run.file("experiment.json"), changed.to_dict())
        with refused("checkpoint does not fit"):
            finish(Run(run.path))


@pytest.mark.parametrize(
    ("key", "value"), [("threads", 99), ("torch", "1.0"), ("processor", "an abacus"), ("device", "cuda")]
)
def test_another_environment_is_said(key: str, value: Any, tmp_path: Path) -> None:
    run = new_run(tmp_path)
    stop_after(run, 4)
    write_json(run.file("environment.json"), {**run.environment, key: value})
    said = notes(finish(run))
    assert len(said) == 2
    assert said[0].startswith(f"not bit-identical to an uninterrupted run because of {key} {value} -> ")


# ---- damaged checkpoints


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "text"])
def test_a_damaged_checkpoint_is_set_aside_and_the_end_is_the_same(damage: str, tmp_path: Path) -> None:
    unbroken, run = (new_run(tmp_path / place) for place in "ab")
    finish(unbroken)
    stop_after(run, 8)
    assert [path.name for path in run.checkpoint_files()] == [
        "checkpoint-00000006.safetensors",
        "checkpoint-00000008.safetensors",
    ]
    newest = run.checkpoint_files()[1]
    whole = newest.read_bytes()
    flipped = whole[:-100] + bytes([whole[-100] ^ 4]) + whole[-99:]
    content = {"truncated": whole[: len(whole) // 2], "flipped": flipped, "empty": b"", "text": b"text " * 1000}[damage]
    newest.write_bytes(content)
    said = notes(finish(run))
    assert newest.name in said[0]
    assert "renamed to" in said[0]
    assert said[1:] == ["continues after step 6 of 9"]
    corrupt = run.file(f"{newest.name}.corrupt")
    assert corrupt.read_bytes() == content
    corrupt.unlink()
    assert contents(run) == contents(unbroken)


def test_truncated_at_50_lengths_the_one_before_is_used(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    finish(run)
    newest = run.checkpoint_files()[1]
    whole = newest.read_bytes()
    for length in np.random.default_rng(0).integers(0, len(whole), 50).tolist():
        newest.write_bytes(whole[:length])
        assert run.checkpoint().meta["step"] == 6
        assert len(run.set_aside_broken()) == 1
        assert not newest.exists()


# ---- full disks, other folders


def test_a_full_disk_while_saving_does_not_stop_the_training(tmp_path: Path) -> None:
    unbroken, run = (new_run(tmp_path / place) for place in "ab")
    finish(unbroken)
    seen: list[Any] = []
    with ExitStack() as full:
        for event in train(run, made_data()):
            seen.append(event)
            if isinstance(event, Epoch) and event.number == 1:
                full.enter_context(watched(run.path, full_disk(r"checkpoint|timing")))
            if isinstance(event, Epoch) and event.number == 3:
                before = contents(run)
                full.close()
    said = notes(seen)
    assert len(said) == 2
    assert said[0] == "the checkpoint after step 3 could not be written (No space left on device); training continues"
    assert [name for name in before if name.startswith((".", "checkpoint"))] == []
    assert run.status() == ("complete", "")
    left = contents(run)
    assert "checkpoint-00000006.safetensors" not in left  # it was never written
    assert left.items() <= contents(unbroken).items()


def test_a_disk_that_is_full_to_the_end_keeps_the_old_checkpoint(tmp_path: Path) -> None:
    unbroken, run = (new_run(tmp_path / place) for place in "ab")
    finish(unbroken)
    stop_after(run, 4)
    kept = run.checkpoint_files()[-1].read_bytes()
    with watched(run.path, full_disk(r"checkpoint|timing|history")), refused("No space left", "resume"):
        finish(run)
    assert run.status()[0] == "failed"
    assert run.checkpoint_files()[-1].read_bytes() == kept
    assert list(run.path.glob(".*")) == []
    finish(run)
    assert contents(run) == contents(unbroken)


def test_a_full_disk_when_the_training_is_stopped_is_said(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    events = train(run, made_data())
    next(events)
    with watched(run.path, full_disk("checkpoint")), refused("No space left", "free some space"):
        events.close()
    assert run.status()[0] == "killed"
    finish(run)


def test_a_history_that_could_not_be_written_is_written_later(tmp_path: Path) -> None:
    unbroken, run = (new_run(tmp_path / place) for place in "ab")
    finish(unbroken)
    with watched(run.path, full_disk("history")), refused("No space left"):
        finish(run)
    assert run.checkpoint().meta["step"] == 9
    assert run.history() == []
    finish(run)
    assert contents(run) == contents(unbroken)


def test_a_full_disk_makes_the_command_line_remove_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data, save = made_data(80), Run.save_checkpoint
    np.savez(tmp_path / "images.npz", images=data.images, labels=data.labels)

    def save_once(run: Run, checkpoint: Any) -> None:
        if run.checkpoint_files():
            disk.enter_context(watched(run.path, full_disk("")))
        save(run, checkpoint)

    monkeypatch.setattr(Run, "save_checkpoint", save_once)
    options = ["--model", "mlp", "--augment", "none", "--sizes", "100%", "--optimizer", "sgd", "--batch-size", "16"]
    with ExitStack() as disk:
        assert (
            main(["train", str(tmp_path / "images.npz"), *options, "--epochs", "2", "--runs", str(tmp_path / "r")]) == 2
        )
    assert "No space left on device" in capsys.readouterr().err
    (run,) = all_runs(tmp_path / "r")
    assert run.status()[0] == "killed"  # there was no room for a better word
    assert run.checkpoint().meta["step"] > 0


def test_a_disk_that_is_nearly_full_is_refused_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    run = new_run(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**12, 10**12 - 10**8, 10**8))
    with refused("must have room for three checkpoints", "100 MB are free"):
        finish(run)
    assert run.status() == ("new", "")
    assert run.checkpoint_files() == []
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**12, 10**12 - 2 * 10**8, 2 * 10**8))
    finish(run)


def test_nothing_is_written_outside_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "absent"))
    run = new_run(tmp_path / "runs")
    with watched(Path("/")) as watch:
        finish(run)
    assert len(watch.trace) > 30
    inside = os.path.relpath(run.path, "/")
    outside = [text for text in watch.trace if inside not in text]
    assert outside == []


# ---- numbers that are not finite


BREAKING = PLAIN.changed(lr=1e20, weight_decay=1e38, decay_on="all")  # the first step makes the weights infinite


def finite(run: Run) -> bool:
    return all(bool(value.isfinite().all()) for value in run.checkpoint().tensors.values())


def test_a_rate_that_is_too_high_stops_within_one_step(tmp_path: Path) -> None:
    run = new_run(tmp_path, PLAIN.changed(lr=1e20, schedule="constant", keep="best"))
    seen: list[Any] = []
    events = train(run, made_data(), save_every=1)
    with refused("diverged", "the loss is", "lr 1e+20", "rows [", "--lr"):
        seen.extend(events)
    steps = [event for event in seen if isinstance(event, Progress)]
    assert len(steps) < 5
    status, reason = run.status()
    assert status == "diverged"
    assert f"in step {len(steps) + 1} " in reason
    assert finite(run)
    assert run.checkpoint().meta["step"] == len(steps)
    assert run.checkpoint().part("best/") == {}
    with refused("diverged"):  # the same again
        finish(run)
    assert run.status() == (status, reason)


@pytest.mark.parametrize("bad", [math.inf, math.nan])
def test_a_loss_that_is_not_finite_stops_before_the_weights_change(bad: float) -> None:
    data = made_data()
    state = State(Experiment("made", PLAIN), data, make_split(data, val_fraction=0.25), "cpu")
    events = fit(state)
    next(events)
    before = {name: value.clone() for name, value in state.classifier.state_dict().items()}
    state.loss = lambda logits, targets: logits.sum(1) * 0 + bad
    with pytest.raises(Diverged, match=rf"loss is {bad} in step 2 at lr .* \(rows \[.*; try a smaller --lr than 0.05"):
        next(events)
    assert all(torch.equal(value, before[name]) for name, value in state.classifier.state_dict().items())
    assert state.step == 1


@pytest.mark.parametrize("bad", [math.inf, math.nan])
def test_a_loss_that_is_checked_late_stops_one_step_later_and_is_never_saved(bad: float) -> None:
    """As on CUDA, where a step does not wait for its loss."""
    data = made_data()
    state = State(Experiment("made", PLAIN), data, make_split(data, val_fraction=0.25), "cpu")
    state.checks_late = True
    events = fit(state)
    next(events)
    assert state.is_finite()
    real = state.loss
    state.loss = lambda logits, targets: real(logits, targets) + bad  # its gradients, and so the weights, are finite
    next(events)
    assert all(bool(value.isfinite().all()) for value in state.classifier.state_dict().values())
    assert not state.is_finite(), "the loss of the step that has been taken counts before anything is saved"
    said = rf"loss is {bad} in step 2 at lr .* \(rows \[.*detected one step later.* --lr than 0.05"
    with pytest.raises(Diverged, match=said):
        check_weights(state)
    with pytest.raises(Diverged, match=said):
        next(events)
    assert state.step == 2


def test_a_late_check_keeps_the_last_finite_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = State.__init__

    def checked_late(state: State, *args: Any, **options: Any) -> None:
        real(state, *args, **options)
        state.checks_late = True

    monkeypatch.setattr(State, "__init__", checked_late)
    run = new_run(tmp_path / "late", PLAIN.changed(lr=1e20, schedule="constant", keep="best"))
    with refused("diverged"):
        finish(run, save_every=1)
    assert run.status()[0] == "diverged"
    assert finite(run)
    late, usual = new_run(tmp_path / "a"), new_run(tmp_path / "b")
    finish(late)
    monkeypatch.undo()
    finish(usual)
    assert contents(late) == contents(usual)


def test_a_late_check_sees_the_last_loss_of_all(tmp_path: Path) -> None:
    data = made_data()
    state = State(Experiment("made", PLAIN), data, make_split(data, val_fraction=0.25), "cpu")
    state.checks_late = True
    real, events = state.loss, fit(state)
    next(event for event in events if isinstance(event, Progress) and event.step == 8)
    state.loss = lambda logits, targets: real(logits, targets) + math.nan
    next(events)
    with pytest.raises(Diverged, match="loss is nan in step 9 "):
        next(events)
    assert len(state.history) == 2


@pytest.mark.parametrize("save_every", [None, 1])
def test_weights_that_the_last_step_broke_are_never_kept(save_every: int | None, tmp_path: Path) -> None:
    """The loss of the only step is finite; nothing but the weights tells."""
    for val_fraction in (0.0, 0.25):
        run = new_run(tmp_path, BREAKING.changed(batch_size=64, epochs=1.0), val_fraction=val_fraction)
        with refused("diverged", "weights are not finite after step 1"):
            finish(run, save_every=save_every)
        assert run.status()[0] == "diverged"
        assert run.checkpoint_files() == []
        assert run.history() == []


def test_a_stop_never_keeps_weights_that_are_not_finite(tmp_path: Path) -> None:
    run = new_run(tmp_path, BREAKING)
    events = train(run, made_data())
    next(event for event in events if isinstance(event, Progress))
    events.close()
    assert run.checkpoint_files() == []


def test_every_json_file_is_strict(tmp_path: Path) -> None:
    run = new_run(tmp_path, val_fraction=0.0)
    finish(run)
    paths = [*run.path.glob("*.json"), *run.path.glob("*.jsonl")]
    assert len(paths) == 6
    for path in paths:
        for text in path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]:
            json.loads(text, parse_constant=lambda name: pytest.fail(name))
    read_json(run.file("experiment.json"))


# ---- very small data


@pytest.mark.parametrize("n", [17, 33, 49])
@pytest.mark.parametrize("model", ["mlp(hidden=(8,), batch_norm=True)", "lens(width=0.125)"])
def test_one_image_more_than_whole_batches_trains(n: int, model: str, tmp_path: Path) -> None:
    data = made_data(n)
    run = new_run(tmp_path, PLAIN.changed(model=model, epochs=1.0), data, val_fraction=0.0)
    sizes = [event.n_images for event in finish(run, data) if isinstance(event, Progress)]
    assert sum(sizes) == n
    assert min(sizes) >= 8


def test_fewer_images_than_a_batch_and_a_single_one(tmp_path: Path) -> None:
    few = made_data(8)
    assert len(finish(new_run(tmp_path, PLAIN.changed(batch_size=1000), few), few)) == 6  # 3 epochs of 1 step
    one = made_data(1)
    finish(new_run(tmp_path, PLAIN, one), one)
    for model in ("mlp(hidden=(8,), batch_norm=True)", "lens(width=0.125)"):
        run = new_run(tmp_path, PLAIN.changed(model=model), one)
        with refused("cannot train on batches of a single image"):
            finish(run, one)
        assert run.status()[0] == "new"


def test_batches_of_one_that_were_asked_for(tmp_path: Path) -> None:
    data = made_data(8)
    finish(new_run(tmp_path, PLAIN.changed(batch_size=1, epochs=1.0), data), data)
    with refused("cannot train on batches of a single image", "--batch-size"):
        finish(new_run(tmp_path, PLAIN.changed(batch_size=1, model="mlp(batch_norm=True)"), data), data)


def test_a_single_class_trains(tmp_path: Path) -> None:
    data = made_data(16, n_classes=1)
    run = new_run(tmp_path, PLAIN, data)
    finish(run, data)
    assert run.history()[-1]["val_accuracy"] == 1.0


def test_no_training_rows_are_refused(tmp_path: Path) -> None:
    data = made_data(16)
    split = make_split(data, val_fraction=0.25)
    with refused("at least one training row"):
        State(Experiment("made", PLAIN), data, replace(split, train=split.train[:0]), "cpu")
    with pytest.raises(PocketlensError, match="at least one image"):
        new_run(tmp_path, PLAIN, made_data(0))
