"""The latest mistakes of a training: right, the same after a kill, small, and of no effect on anything else."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_trainings import PLAIN, contents, finish, made_data, new_run

from pocketlens.data.dataset import Dataset
from pocketlens.errors import PocketlensError
from pocketlens.events import Epoch
from pocketlens.scoring.predictions import (
    LATEST,
    N_LATEST,
    PICTURES,
    Mistakes,
    merged,
    read_latest,
    read_predictions,
    surest_mistakes,
    worst_mistakes,
)
from pocketlens.training import train as train_file
from pocketlens.training import validation_scores
from pocketlens.training.run import Run
from pocketlens.training.train import train


def trained(folder: Path, data: Dataset, **changes: Any) -> Run:
    run = new_run(folder, PLAIN.changed(lr=1e-5, **changes), data)
    finish(run, data)
    return run


def test_they_are_the_worst_of_the_last_epoch_with_their_pictures(tmp_path: Path) -> None:
    data = made_data(160)
    run = trained(tmp_path, data)
    found = read_latest(run.file(LATEST))
    predictions = read_predictions(
        run.file("predictions-val.safetensors")
    )  # of the same weights, as the last ones count
    wrong = predictions.predicted != predictions.labels
    assert (found.epoch, found.n, found.n_images) == (3, wrong.sum(), len(run.split.val))
    assert found.n > N_LATEST
    wanted = worst_mistakes(predictions, N_LATEST)
    for name in ("rows", "labels", "predicted", "probability"):
        np.testing.assert_array_equal(getattr(found.shown, name), getattr(wanted, name))
    np.testing.assert_array_equal(found.shown.images, data.images[wanted.rows])
    assert found.true == tuple(data.classes[label] for label in wanted.labels)
    assert found.predicted == tuple(data.classes[label] for label in wanted.predicted)


def test_they_change_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = made_data(64)
    with_them = contents(trained(tmp_path / "with", data, keep="best"))
    monkeypatch.setattr(train_file, "leave_latest", lambda *_: None)
    without = contents(trained(tmp_path / "without", data, keep="best"))
    assert with_them.pop(LATEST)
    assert with_them == without


@pytest.mark.parametrize("at", ["before the checkpoint", "after the checkpoint"])
def test_a_training_that_is_killed_around_their_writing_ends_with_the_same(
    at: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = made_data(64)
    whole = contents(trained(tmp_path / "whole", data))
    run = new_run(tmp_path / "killed", PLAIN.changed(lr=1e-5), data)

    class Killed(BaseException):
        pass

    def die(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Run, "save_checkpoint" if at == "before the checkpoint" else "add_timing", die)
        with pytest.raises(Killed):
            finish(run, data)
    assert read_latest(run.file(LATEST)).epoch == 1
    finish(Run(run.path), data)
    assert contents(run) == whole


def test_a_full_disk_does_not_end_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(validation_scores, "write_latest", fail)
    run = trained(tmp_path, made_data(64), epochs=1.0)
    assert run.status()[0] == "complete"
    assert not run.file(LATEST).exists()


def test_without_validation_rows_there_are_none(tmp_path: Path) -> None:
    data = made_data(64)
    run = new_run(tmp_path, PLAIN.changed(epochs=1.0), data, val_fraction=0.0)
    finish(run, data)
    assert not run.file(LATEST).exists()


def test_large_pictures_are_few_and_no_mistakes_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = made_data(96)
    monkeypatch.setattr(validation_scores, "PICTURE_BYTES", 3 * data.images[0].size)
    run = new_run(tmp_path, PLAIN.changed(lr=1e-5), data)
    events = train(run, data)
    next(event for event in events if isinstance(event, Epoch))
    found = read_latest(run.file(LATEST))
    assert (found.epoch, len(found.shown.rows)) == (1, 3), "written as soon as the epoch has ended"
    assert found.n > 3
    assert not run.file(PICTURES).exists()
    events.close()
    nothing = merged([surest_mistakes(np.eye(4, dtype=np.float32), np.arange(4))])
    validation_scores.leave_latest(run, data, {"epoch": 2, "val_accuracy": 1.0}, nothing)
    found = read_latest(run.file(LATEST))
    assert (found.epoch, found.n, found.true) == (2, 0, ())
    run.file(LATEST).write_bytes(run.checkpoint_files()[-1].read_bytes()[:-1])
    with pytest.raises(PocketlensError, match="mistakes-latest"):
        read_latest(run.file(LATEST))


def test_the_surest_of_several_blocks_by_hand() -> None:
    logits = np.array([[0, 3], [5, 0], [0, 0], [np.nan, 1], [0, 9], [2, 0]], np.float32)
    labels = np.array([0, 0, 1, 0, 0, 1])
    found = merged([surest_mistakes(logits[:2], labels[:2]), surest_mistakes(logits[2:], labels[2:], 2)])
    assert found.rows.tolist() == [4, 0, 5, 2]
    assert found.predicted.tolist() == [1, 1, 0, 0]
    assert found.probability == pytest.approx([1 / (1 + np.exp(-each)) for each in (9.0, 3.0, 2.0, 0.0)])
    whole = surest_mistakes(logits, labels)
    assert isinstance(whole, Mistakes)
    np.testing.assert_array_equal(whole.rows, found.rows)
