"""SIGTERM and Ctrl-C in every phase of `pocketlens train`: saved, said, and resumed to the same bytes."""

from __future__ import annotations

import os
import signal
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from children import call, child, receive
from made_trainings import contents, made_data

from pocketlens.training.run import Run, all_runs

PHASES = ("first batch", "validation", "save", "scores")
OPTIONS = [
    "--model",
    "mlp(hidden=(16,))",
    "--augment",
    "none",
    "--sizes",
    "100%",
    "--optimizer",
    "adam",
    "--lr",
    "0.01",
]
OPTIONS += ["--batch-size", "16", "--epochs", "3", "--val-fraction", "0.25", "--device", "cpu", "--threads", "1"]


def command_line(pipe: Any, argv: list[str], phase: str | None, block: bool) -> None:
    """The command line, in a child that tells when it comes to a phase for the first time, and waits there."""
    from pocketlens.cli import main

    places: dict[str, tuple[Any, str]] = {
        "first batch": (import_module("pocketlens.training.fit"), "_batch"),
        "validation": (import_module("pocketlens.training.fit"), "validate"),
        "save": (Run, "save_checkpoint"),
        "scores": (import_module("pocketlens.training.train"), "leave_scores_if_they_fit"),
    }
    if phase is not None:
        owner, name = places[phase]
        real = getattr(owner, name)

        def wait_and_go_on(*args: Any) -> Any:
            setattr(owner, name, real)
            pipe.send(phase)
            if block:
                time.sleep(600)
            assert pipe.recv() == "go on"
            return real(*args)

        setattr(owner, name, wait_and_go_on)
    raise SystemExit(main(argv))


def ended(argv: list[str], phase: str | None = None, signals: tuple[int, ...] = ()) -> int | None:
    """The exit code of the command line, which gets the signals in a phase."""
    with child(command_line, argv, phase, len(signals) > 1) as (process, pipe):
        if phase is not None:
            assert receive(pipe) == phase
            for number in signals:
                assert process.pid is not None
                os.kill(process.pid, number)
                time.sleep(0.2)
            if len(signals) == 1:
                pipe.send("go on")
        process.join(300)
        return process.exitcode


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path, data = tmp_path_factory.mktemp("data") / "images.npz", made_data(80)
    np.savez(path, images=data.images, labels=data.labels)
    return path


@pytest.fixture(scope="module")
def unbroken(images: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    runs = tmp_path_factory.mktemp("unbroken")
    assert ended(["train", str(images), *OPTIONS, "--runs", str(runs)]) == 0
    return contents(all_runs(runs)[0])


@pytest.mark.parametrize(
    ("phase", "number", "code"),
    [
        ("save", signal.SIGTERM, 143),
        ("validation", signal.SIGINT, 130),
        *(pytest.param(phase, signal.SIGTERM, 143, marks=pytest.mark.slow) for phase in PHASES if phase != "save"),
        *(pytest.param(phase, signal.SIGINT, 130, marks=pytest.mark.slow) for phase in PHASES if phase != "validation"),
    ],
)
def test_a_signal_in_every_phase(
    phase: str, number: int, code: int, images: Path, unbroken: dict[str, str], tmp_path: Path
) -> None:
    assert ended(["train", str(images), *OPTIONS, "--runs", str(tmp_path)], phase, (number,)) == code
    (run,) = all_runs(tmp_path)
    if phase == "scores":  # there was nothing left to stop
        assert run.status() == ("complete", "")
    else:
        status, reason = run.status()
        assert status == "stopped"
        assert reason.startswith("after step ")
        assert run.checkpoint().meta["step"] == {"first batch": 1, "validation": 3, "save": 4}[phase]
    assert ended(["resume", "last", "--runs", str(tmp_path), "--device", "cpu", "--threads", "1"]) == 0
    assert contents(run) == unbroken


def test_a_second_control_c_ends_at_once_and_the_last_save_is_whole(images: Path, tmp_path: Path) -> None:
    argv = ["train", str(images), *OPTIONS, "--save-every", "1", "--runs", str(tmp_path)]
    assert ended(argv, "validation", (signal.SIGINT, signal.SIGINT)) == 130  # else it sleeps for 600 s and is ended
    (run,) = all_runs(tmp_path)
    assert run.status()[0] == "killed"
    assert call(newest_step, run.path) == 3


def newest_step(path: Path) -> int:
    return int(Run(path).checkpoint().meta["step"])
