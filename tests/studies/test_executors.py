"""Where trials run on this machine: slots, and a GPU for each of them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from made_trainings import new_run

from pocketlens.studies import executors
from pocketlens.studies.executors import LOCAL, free_slot, gpu_of, visible_gpus
from pocketlens.studies.process import Limits


def test_slots_are_the_lowest_that_are_free() -> None:
    assert [free_slot(set()), free_slot({0}), free_slot({0, 2}), free_slot({1, 2})] == [0, 1, 1, 0]


def test_the_gpus_that_may_be_used() -> None:
    assert visible_gpus({}, 3) == ("0", "1", "2")
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": "5, 2"}, 2) == ("5", "2")
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": "GPU-ab,GPU-cd"}, 2) == ("GPU-ab", "GPU-cd")
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": ""}, 0) == ()


def test_each_slot_has_a_gpu_in_turn() -> None:
    assert [gpu_of(slot, ("0", "1", "2")) for slot in range(5)] == ["0", "1", "2", "0", "1"]
    assert gpu_of(3, ("7",)) is None
    assert gpu_of(0, ()) is None


@pytest.mark.parametrize(("device", "wanted"), [("cuda", ["2", "0", "2"]), ("cpu", [None, None, None])])
def test_trials_are_told_their_gpu(
    device: str, wanted: list[str | None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str | None] = []
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,0")
    monkeypatch.setattr(executors, "TrialProcess", lambda run, limits, gpu=None: told.append(gpu))
    for slot in range(3):
        LOCAL.start(new_run(tmp_path), Limits(device=device), slot)
    assert told == wanted


@pytest.mark.slow
def test_the_process_of_a_trial_sees_its_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pocketlens.studies import process

    monkeypatch.setattr(process, "_work", note_what_is_seen)
    handle = process.TrialProcess(new_run(tmp_path), Limits(), gpu="3")
    while handle.wait(1.0) is None:
        pass
    handle.close()
    assert handle.run.file("seen").read_text() == "3"


def note_what_is_seen(path: Path, limits: Limits, leash: Any, environment: dict[str, str]) -> None:
    os.environ.update(environment)
    (path / "seen").write_text(os.environ["CUDA_VISIBLE_DEVICES"])
