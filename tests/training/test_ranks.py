"""One training in several processes: the same losses as in one, one writer, and all of them stop together."""

from __future__ import annotations

import math
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch
from children import child, receive
from made_studies import data_file
from made_trainings import contents

from pocketlens.training.ranks import ALONE, Ranks, asked_ranks
from pocketlens.training.run import Run, all_runs

TOLERANCE = 1e-5  # of a loss, relative: sums in another order, in float32, over some dozens of steps
LENET = ["--model", "lenet", "--sizes", "100%", "--epochs", "4", "--batch-size", "25", "--val-fraction", "0.25"]
HARD = ["--augment", "flip | crop(pad=1) | cutmix(p=0.5, until=0.8)", "--class-weight", "balanced", "--lr", "0.02"]
HARD += ["--optimizer", "muon(rest_lr=0.05) | sam(rho=0.02) | ema"]  # 56 rows in three batches: all parts are uneven
VIEWS = ["--augment", "crop(pad=1) | cutout(size=4)", "--loss", "jsd(views=2)", "--optimizer", "adamw", "--lr", "0.002"]


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def one_rank(pipe: Any, argv: list[str], environment: dict[str, str], waits: bool) -> None:
    """The command line as one of several ranks; it `waits` at the end of the first epoch, where it is asked to."""
    from importlib import import_module

    os.environ.update(environment)
    fit = import_module("pocketlens.training.fit")
    real = fit._end_epoch

    def wait_and_go_on(state: Any) -> Any:
        fit._end_epoch = real
        pipe.send("epoch")
        assert pipe.recv() == "go on"
        return real(state)

    if waits:
        fit._end_epoch = wait_and_go_on
    from pocketlens.cli import main

    raise SystemExit(main(argv))


def in_ranks(n: int, argv: list[str], meanwhile: Callable[[list[Any]], None] | None = None) -> list[int | None]:
    """The exit codes of n processes that train together; `meanwhile` gets them at the end of the first epoch."""
    common = {"TORCHELASTIC_RUN_ID": "test", "WORLD_SIZE": str(n), "MASTER_ADDR": "127.0.0.1"}
    common |= {"MASTER_PORT": str(free_port()), "GLOO_SOCKET_IFNAME": "lo"}
    with ExitStack() as stack:
        started = []
        for rank in range(n):
            own = {**common, "RANK": str(rank), "LOCAL_RANK": str(rank)} if n > 1 else {}
            started.append(stack.enter_context(child(one_rank, argv, own, meanwhile is not None)))
        if meanwhile is not None:
            for _, pipe in started:
                assert receive(pipe) == "epoch"
            meanwhile([process for process, _ in started])
            for process, pipe in started:
                if process.is_alive():
                    pipe.send("go on")
        for process, _ in started:
            process.join(300)
        return [process.exitcode for process, _ in started]


def options(folder: Path, *argv: str) -> list[str]:
    return [*argv, "--runs", str(folder), "--threads", "1", "--device", "cpu"]


def same_losses(first: Run, second: Run) -> None:
    assert len(first.history()) == len(second.history()) > 0
    for here, there in zip(first.history(), second.history(), strict=True):
        for name in ("train_loss", "val_loss"):
            assert math.isclose(here[name], there[name], rel_tol=TOLERANCE), (here, there)
        assert {key: here[key] for key in ("epoch", "step", "lr", "size")} == {
            key: there[key] for key in ("epoch", "step", "lr", "size")
        }


@pytest.mark.parametrize("n_rows", [2, 3, 7, 128])
def test_parts_are_all_rows_and_weigh_what_they_hold(n_rows: int) -> None:
    losses = torch.arange(float(n_rows))
    ranks = [Ranks(rank, 2) for rank in range(2)]
    parts = [losses[one.part(n_rows)] for one in ranks]
    assert torch.equal(torch.cat(parts), losses)
    assert abs(len(parts[0]) - len(parts[1])) <= 1
    weighted = [one.weighted(part.mean(), n_rows) for one, part in zip(ranks, parts, strict=True)]
    assert torch.allclose(torch.stack(weighted).mean(), losses.mean())


def test_alone_nothing_changes() -> None:
    value, net = torch.ones(3), torch.nn.Linear(1, 1)
    assert ALONE.wrap(net) is net
    assert ALONE.weighted(value, 3) is ALONE.mean(value) is ALONE.sum(value) is ALONE.from_first(value) is value
    assert [ALONE.highest(None), ALONE.highest(15)] == [None, 15]
    ALONE.wait()
    ALONE.check_equal(net)


def test_who_is_asked() -> None:
    assert asked_ranks({"WORLD_SIZE": "4", "RANK": "1"}) == ALONE  # something else has set them
    assert asked_ranks({"WORLD_SIZE": "4", "RANK": "1", "TORCHELASTIC_RUN_ID": "none"}) == Ranks(1, 4)


@pytest.mark.slow
@pytest.mark.parametrize(("recipe", "n"), [(HARD, 2), (HARD, 5), (VIEWS, 3)])
def test_several_processes_have_the_losses_of_one(recipe: list[str], n: int, tmp_path: Path) -> None:
    data = data_file(tmp_path)
    for folder, processes in (("one", 1), ("several", n)):
        argv = options(tmp_path / folder, "train", data, *LENET, *recipe)
        assert in_ranks(processes, argv) == [0] * processes
    (one,), (several,) = all_runs(tmp_path / "one"), all_runs(tmp_path / "several")
    assert several.status() == ("complete", "")
    assert several.environment["processes"] == n
    same_losses(one, several)
    assert not list(several.path.glob(".*.part"))


@pytest.mark.slow
def test_a_signal_to_one_stops_all_and_they_go_on_to_the_same_bytes(tmp_path: Path) -> None:
    data = data_file(tmp_path)
    argv = ["train", data, *LENET, *HARD]
    assert in_ranks(2, options(tmp_path / "unbroken", *argv)) == [0, 0]

    def tell_the_second(processes: list[Any]) -> None:
        os.kill(processes[1].pid, signal.SIGTERM)

    assert in_ranks(2, options(tmp_path / "broken", *argv), tell_the_second) == [143, 143]
    (run,) = all_runs(tmp_path / "broken")
    assert run.status()[0] == "stopped"
    assert 0 < run.checkpoint().meta["step"] < 12
    assert in_ranks(2, options(tmp_path / "broken", "resume", "last")) == [0, 0]
    (unbroken,) = all_runs(tmp_path / "unbroken")
    assert contents(run) == contents(unbroken)


@pytest.mark.slow
def test_one_that_dies_ends_all(tmp_path: Path) -> None:
    argv = options(tmp_path / "runs", "train", data_file(tmp_path), *LENET, *HARD)

    def kill_the_second(processes: list[Any]) -> None:
        processes[1].kill()
        processes[1].join()

    assert in_ranks(2, argv, kill_the_second) == [2, -signal.SIGKILL]
    (run,) = all_runs(tmp_path / "runs")
    assert run.status()[0] == "failed"
    assert in_ranks(1, options(tmp_path / "runs", "resume", "last")) == [0]
    assert run.status()[0] == "complete"


@pytest.mark.slow
def test_divergence_a_time_limit_and_small_batches(tmp_path: Path) -> None:
    data = data_file(tmp_path)
    wild = options(tmp_path / "wild", "train", data, *LENET, "--optimizer", "sgd", "--lr", "1e20")
    assert in_ranks(2, wild) == [2, 2]
    assert all_runs(tmp_path / "wild")[0].status()[0] == "diverged"
    timed = options(tmp_path / "timed", "train", data, *LENET, "--minutes", "5")
    assert in_ranks(2, timed) == [0, 0]
    small = options(tmp_path / "small", "train", data, *LENET, "--batch-size", "1")
    assert in_ranks(2, small) == [2, 2]
    assert not all_runs(tmp_path / "small")


@pytest.mark.slow
def test_torchrun_itself(tmp_path: Path) -> None:
    data = data_file(tmp_path)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    launch += ["-m", "pocketlens"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    argv = options(tmp_path / "runs", "train", data, *LENET, *HARD)
    done = subprocess.run([*launch, *argv], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("on cpu in 2 processes") == 1, "the others are silent"
    (run,) = all_runs(tmp_path / "runs")
    assert in_ranks(1, options(tmp_path / "one", "train", data, *LENET, *HARD)) == [0]
    same_losses(run, all_runs(tmp_path / "one")[0])
    refused = subprocess.run([*launch, "look", data], capture_output=True, text=True, env=environment, check=False)
    assert refused.stderr.count("torchrun works only with") == 1
