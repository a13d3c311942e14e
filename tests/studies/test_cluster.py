"""Trials as tasks of a Ray cluster: what a node must see, what happens to a trial that is lost, and a real cluster."""

from __future__ import annotations

import fcntl
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from made_cluster import two_nodes
from made_studies import data_file
from made_trainings import contents, new_run

from pocketlens.errors import PocketlensError
from pocketlens.studies import cluster
from pocketlens.studies.cluster import MOST_LOST, Cluster, ClusterTrial, _EndedTrial, _look, _versions, check_address
from pocketlens.studies.process import Limits, Outcome
from pocketlens.studies.store import Study, all_studies
from pocketlens.training.run import Run, all_runs

BASE = ["--model", "mlp(hidden=(16,))", "--augment", "none", "--optimizer", "sgd", "--lr", "0.05", "--sizes", "100%"]
PATIENCE = 600.0  # seconds; machines may be busy


@pytest.mark.parametrize("address", ["auto", "10.0.0.1:6379", "head.local:6379"])
def test_addresses(address: str) -> None:
    check_address(address)


@pytest.mark.parametrize("address", ["", "head", "ray://10.0.0.1:10001", "10.0.0.1:0", ":6379", "10.0.0.1:x"])
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(PocketlensError, match=r"auto, or HOST:PORT"):
        check_address(address)


def test_a_node_looks_at_the_folder_its_locks_and_its_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    probe = tmp_path / "probe"
    monkeypatch.setattr(cluster, "SEEN_WITHIN", 0.0)
    assert "cannot see {folder}" in _look(str(probe), _versions())
    with open(probe, "w") as file:
        assert "not the locks" in _look(str(probe), _versions())  # nobody holds one, as it looks without flock
        fcntl.flock(file, fcntl.LOCK_EX)
        assert _look(str(probe), _versions()) == ""
        assert "torch" in _look(str(probe), {**_versions(), "torch": "1.0"})


class Lost(Exception):
    """Ray's error for a task whose node has died."""


class FakeRay:
    """A cluster whose nodes die `n_deaths` times before one does the work."""

    exceptions = SimpleNamespace(
        OutOfMemoryError=MemoryError, RayTaskError=KeyError, RayError=Lost, GetTimeoutError=TimeoutError
    )

    def __init__(self, n_deaths: int, *nodes: dict[str, float], error: type[Exception] = Lost) -> None:
        self.n_deaths, self.error, self.n_submitted = n_deaths, error, 0
        self._nodes = [{"Alive": True, "Resources": resources} for resources in nodes]

    def nodes(self) -> list[dict[str, Any]]:
        return [*self._nodes, {"Alive": False, "Resources": {"CPU": 64.0}}]

    def remote(self, function: Any) -> Any:
        if isinstance(function, str):
            raise TypeError
        return self._submit if function is None else function

    def _submit(self, *_: Any) -> int:
        self.n_submitted += 1
        return self.n_submitted

    @staticmethod
    def wait(tasks: list[int], timeout: float) -> tuple[list[int], list[int]]:
        return tasks, []

    def get(self, task: int) -> _EndedTrial:
        if task <= self.n_deaths:
            raise self.error("node died")
        return _EndedTrial(Outcome("diverged"), 5.0, "second")


def fake_trial(folder: Path, ray: FakeRay) -> ClusterTrial:
    return ClusterTrial(ray, SimpleNamespace(remote=ray._submit), new_run(folder), Limits())  # type: ignore[arg-type]


def test_a_lost_trial_is_given_to_another_node(tmp_path: Path) -> None:
    trial = fake_trial(tmp_path, FakeRay(2))
    assert [trial.wait(0), trial.wait(0)] == [None, None]
    assert trial.n_lost == 2
    assert trial.wait(0) == Outcome("diverged")
    assert (trial.seconds, trial.node) == (5.0, "second")


def test_a_trial_that_is_lost_again_and_again_is_given_up(tmp_path: Path) -> None:
    ray = FakeRay(100)
    trial = fake_trial(tmp_path, ray)
    outcomes = [trial.wait(0) for _ in range(MOST_LOST + 1)]
    assert outcomes[:-1] == [None] * MOST_LOST
    assert outcomes[-1] is not None
    assert outcomes[-1].status == "killed"
    assert ray.n_submitted == MOST_LOST + 1


def test_other_errors_of_a_node(tmp_path: Path) -> None:
    outcome = fake_trial(tmp_path / "a", FakeRay(1, error=MemoryError)).wait(0)
    assert outcome is not None
    assert outcome.status == "out of memory"
    with pytest.raises(PocketlensError, match="node died"):
        fake_trial(tmp_path / "b", FakeRay(1, error=KeyError)).wait(0)


def test_how_many_trials_have_room() -> None:
    ray = FakeRay(0, {"CPU": 4.0}, {"CPU": 3.0, "GPU": 2.0}, {"CPU": 1.0})
    executor = Cluster(ray, "auto")  # type: ignore[arg-type]
    assert executor.n_jobs(Limits(threads=1)) == 8
    assert executor.n_jobs(Limits(threads=2)) == 3
    assert executor.n_jobs(Limits(threads=1, device="cuda")) == 2
    with pytest.raises(PocketlensError, match=r"8 CPUs.*fewer --threads"):
        executor.n_jobs(Limits(threads=8))


def start(*argv: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "pocketlens", *argv]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(what: str, holds: Any) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, f"waited for {what} in vain"
        time.sleep(0.02)


def n_ended(study: Study) -> int:
    return sum(record.is_ended for record in study.records())


@pytest.mark.slow
@pytest.mark.skipif(find_spec("ray") is None, reason='needs Ray: pip install "pocketlens[cluster]"')
def test_a_cluster_whose_driver_and_then_a_node_are_killed(tmp_path: Path) -> None:
    data, runs = data_file(tmp_path), tmp_path / "shared" / "runs"
    common = ["--runs", str(runs), "--threads", "1"]
    asked = [
        "compare",
        data,
        "base",
        "lr=0.2",
        *BASE,
        "--batch-size",
        "16",
        "--epochs",
        "80",
        "--val-fraction",
        "0.25",
    ]
    with two_nodes() as (address, nodes):
        there = [*common, "--cluster", address]
        driver = start(*asked, "--repeat", "3", *there)
        wait_for("a trial's end", lambda: driver.poll() is not None or any(n_ended(s) for s in all_studies(runs)))
        assert driver.poll() is None, driver.communicate()[1]
        driver.send_signal(signal.SIGKILL)
        driver.communicate()
        (study,) = all_studies(runs)
        assert 0 < n_ended(study) < 4, "two that were at work may end without the driver, and two must be left"

        driver = start("study", "last", *there)
        wait_for("two trials at work", lambda: driver.poll() is not None or at_work(study) == 2)
        assert driver.poll() is None, driver.communicate()
        assert nodes.stdin is not None
        nodes.stdin.write("kill\n")
        nodes.stdin.flush()
        output, errors = driver.communicate(timeout=PATIENCE)
        assert driver.returncode == 0, output + errors
        assert "was lost; the trial continues on another one" in output

        trained = start("train", data, *BASE, "--batch-size", "16", "--epochs", "2", "--repeat", "2", *there)
        output, errors = trained.communicate(timeout=PATIENCE)
        assert trained.returncode == 0, output + errors
        assert "over 2 seeds" in output
    assert [run.status()[0] for run in all_runs(runs)] == ["complete"] * 2

    records = study.records()
    assert [record.status for record in records] == ["complete"] * 6
    ended = [line["trial"] for line in study.journal.lines() if line["event"] == "ended"]
    assert sorted(ended) == list(range(6)), "each trial has ended once"
    for record in records:  # no overlap, no gap, wherever it was lost
        assert [line["epoch"] for line in study.run(record.trial).history()] == list(range(1, 81))
    local = start(*asked, "--repeat", "1", *common)
    output, errors = local.communicate(timeout=PATIENCE)
    assert local.returncode == 0, output + errors
    here = all_studies(runs)[-1]
    for record in here.records():
        run, twin = here.run(record.trial), study.run(record.trial)
        assert run.weights_hash() == twin.weights_hash()
        for name in ("history.jsonl", "predictions-val.safetensors"):
            assert contents(run)[name] == contents(twin)[name]


def at_work(study: Study) -> int:
    """How many trials have trained an epoch and have not ended."""
    runs = [study.run(record.trial) for record in study.records() if not record.is_ended]
    return sum(run.is_locked() and bool(run.history()) for run in runs if isinstance(run, Run))
