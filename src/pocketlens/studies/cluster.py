"""Trials as tasks of a Ray cluster: an executor for several machines (Moritz et al. 2018, arXiv:1712.05889).

A task does what the local executor does for a trial: it starts the trial's process, waits for it and reads its outcome.
The folder of runs is on a file system that all nodes share and whose locks hold across them, so a study is claimed,
resumed and finished as on one machine. A trial whose node or Ray worker is lost is submitted again and continues from
its last checkpoint. Ray schedules the tasks; each one requests the threads, and the GPU, of its trial.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

from pocketlens import __version__
from pocketlens.errors import PocketlensError
from pocketlens.locks import is_locked, wait_for_lock
from pocketlens.studies.process import GRACE, ON_NODE, Limits, Outcome, TrialProcess
from pocketlens.training.run import Run

TICK = 0.25  # seconds between two polls of a trial by its task, which notices a request to stop between them
PATIENCE = 60.0  # seconds in which a node must answer
MOST_LOST = 5  # times that a trial may lose its node before the trial counts as the cause
SEEN_WITHIN = 30.0  # seconds in which a file written on one node appears on another; NFS caches names for so long


class Cluster:
    """An executor: the nodes of a Ray cluster to which this process is connected; see `connected`."""

    def __init__(self, ray: ModuleType, address: str) -> None:
        self.ray, self.address = ray, address
        self._task = ray.remote(_run_trial)

    def nodes(self) -> list[dict[str, Any]]:
        """Ray's description of each node that is alive."""
        return [node for node in self.ray.nodes() if node["Alive"]]

    def n_jobs(self, limits: Limits) -> int:
        """How many trials can run at the same time.

        Raises:
            PocketlensError: no node can run one.
        """
        need = _need(limits)
        rooms = [_room(node["Resources"], need) for node in self.nodes()]
        if sum(rooms) == 0:
            what = f"{need['num_cpus']} CPUs" + (" and a GPU" if need["num_gpus"] else "")
            raise PocketlensError(
                f"a node must have {what} for a trial, none has; give fewer --threads, or --device cpu."
            )
        return sum(rooms)

    def check(self, folder: Path) -> None:
        """Checks on every node that it sees a folder, and a lock that this process holds in it.

        Raises:
            PocketlensError: a node does not see the folder, or the lock, or has other versions of the software.
        """
        probe = folder / f".cluster-{secrets.token_hex(8)}"
        folder.mkdir(parents=True, exist_ok=True)
        try:
            held = wait_for_lock(probe)
            assert held is not None
            with held:
                asked = {self._ask_node(node, probe): node for node in self.nodes()}
                self._read_answers(asked, folder)
        finally:
            probe.unlink(missing_ok=True)

    def start(self, run: Run, limits: Limits, slot: int) -> ClusterTrial:  # noqa: ARG002 - Ray assigns the GPUs
        """Submits a trial to the cluster."""
        return ClusterTrial(self.ray, self._task.options(max_retries=0, **_need(limits)), run, limits)

    def _ask_node(self, node: dict[str, Any], probe: Path) -> Any:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        task = self.ray.remote(_look).options(num_cpus=0, max_retries=0, scheduling_strategy=there)
        return task.remote(str(probe.resolve()), _versions())

    def _read_answers(self, asked: dict[Any, dict[str, Any]], folder: Path) -> None:
        deadline = time.monotonic() + PATIENCE
        for answer, node in asked.items():
            name = f"node {node['NodeManagerAddress']} ({node['NodeManagerHostname']})"
            try:
                problem = self.ray.get(answer, timeout=max(0.0, deadline - time.monotonic()))
            except self.ray.exceptions.GetTimeoutError:
                raise PocketlensError(f"{name} has not answered within {PATIENCE:.0f} s; see: ray status.") from None
            except self.ray.exceptions.RayError as error:
                if all(node["NodeID"] != other["NodeID"] for other in self.nodes()):
                    continue  # it has died meanwhile, so Ray schedules nothing on it
                raise PocketlensError(f"{name} cannot run pocketlens: {_last_line(error)}.") from None
            if problem:
                raise PocketlensError(f"{name} {problem.format(folder=folder.resolve())}")


class ClusterTrial:
    """A trial that runs on a node or waits for one."""

    def __init__(self, ray: ModuleType, task: Any, run: Run, limits: Limits) -> None:
        self.run, self.n_lost, self.node = run, 0, ""
        self._ray, self._task, self._limits = ray, task, limits
        self._began, self._seconds = time.monotonic(), 0.0
        self._is_stopping = False
        self._answer = self._submitted()

    @property
    def seconds(self) -> float:
        """Of its process; while it is running, since it was submitted."""
        return self._seconds or time.monotonic() - self._began

    def wait(self, seconds: float) -> Outcome | None:
        """The outcome, or None while the trial is running; waits at most so many seconds.

        Raises:
            PocketlensError: its node cannot run any trial.
        """
        ready, _ = self._ray.wait([self._answer], timeout=seconds)
        if not ready:
            return None
        errors = self._ray.exceptions
        try:
            outcome = self._ended(self._ray.get(self._answer))
        except errors.OutOfMemoryError:
            return Outcome("out of memory", "its node ran out of memory, and Ray ended it")
        except errors.RayTaskError as error:
            raise PocketlensError(f"run {self.run.id} could not be run: {_last_line(error)}") from None
        except errors.RayError as error:  # its node, its Ray worker or the connection is lost
            self.n_lost += 1
            if self.n_lost > MOST_LOST:
                return Outcome("killed", f"it was lost with its node {self.n_lost} times, last: {_last_line(error)}")
            self._answer = self._submitted()
            return None
        if outcome.status == "complete":
            _wait_until_seen(self.run)
        return outcome

    def ask_to_stop(self) -> None:
        """Asks the trial to write a checkpoint and end; `stop` waits for that."""
        self._is_stopping = True
        self._ray.cancel(self._answer, force=False)

    def stop(self) -> Outcome:
        """Lets the trial write a checkpoint and end."""
        if not self._is_stopping:
            self.ask_to_stop()
        try:
            return self._ended(self._ray.get(self._answer, timeout=GRACE + PATIENCE))
        except self._ray.exceptions.RayError:  # it had not started, its node is lost, or it does not respond
            return Outcome("stopped")

    def close(self) -> None:
        """Ends the trial if it is still running."""
        if not self._ray.wait([self._answer], timeout=0)[0]:
            self._ray.cancel(self._answer, force=True)

    def _ended(self, trial: _EndedTrial) -> Outcome:
        self._seconds, self.node = trial.seconds, trial.node
        return trial.outcome

    def _submitted(self) -> Any:
        return self._task.remote(str(self.run.path.resolve()), self._limits)


@contextlib.contextmanager
def connected(address: str) -> Iterator[Cluster]:
    """The cluster at an address, "auto" for the one of this machine, until the block ends.

    Raises:
        PocketlensError: Ray is not installed, or there is no cluster of which this machine is a node.
    """
    ray = load_ray()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of what Ray will change for clusters with GPUs
            ray.init(address=address, log_to_driver=False, logging_level="ERROR", namespace="pocketlens")
    except (ConnectionError, ValueError, RuntimeError, OSError, TimeoutError) as error:
        raise PocketlensError(
            f"--cluster must be HOST:PORT of the head of a running Ray cluster of which this machine is a node, or "
            f"auto, got {address}: {_last_line(error)}; see: ray start --help"
        ) from None
    try:
        yield Cluster(ray, address)
    finally:
        ray.shutdown()


def load_ray() -> ModuleType:
    """Ray, with its usage reports turned off.

    Raises:
        PocketlensError: it is not installed.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        import ray
    except ImportError:
        raise PocketlensError('--cluster needs Ray: pip install "pocketlens[cluster]", on every node.') from None
    module: ModuleType = ray
    return module


def check_address(address: str) -> None:
    """Refuses a malformed address before anything slow is done.

    Raises:
        PocketlensError: it is not `auto` or HOST:PORT.
    """
    host, _, port = address.rpartition(":")
    if address != "auto" and not (host and "/" not in host and port.isdigit() and 0 < int(port) < 65536):
        raise PocketlensError(f"--cluster must be auto, or HOST:PORT such as 10.0.0.1:6379, got {address!r}.")


def _versions() -> dict[str, str]:
    return {"pocketlens": __version__, "torch": version("torch")}


def _need(limits: Limits) -> dict[str, int]:
    return {"num_cpus": limits.threads or 1, "num_gpus": int(limits.device.startswith("cuda"))}


def _room(resources: dict[str, float], need: dict[str, int]) -> int:
    """How many trials that need so much fit into a node at the same time."""
    names = {"num_cpus": "CPU", "num_gpus": "GPU"}
    return min(int(resources.get(names[key], 0) // n) for key, n in need.items() if n)


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:300] if lines else type(error).__name__


def _wait_until_seen(run: Run) -> None:
    """Waits until the files that the trial's node has written appear here."""
    deadline = time.monotonic() + SEEN_WITHIN
    names = ["scores-val.json"] if len(run.split.val) else []
    while time.monotonic() < deadline:
        there = os.listdir(run.path)  # makes NFS refresh its cache
        if run.status()[0] == "complete" and all(name in there for name in names):
            return
        time.sleep(TICK)


# ---- on the node


def _look(probe: str, wanted: dict[str, str]) -> str:
    """What is wrong with this node; empty where nothing is."""
    path, here = Path(probe), _versions()
    other = [f"{name} {here[name]} and not {wanted[name]}" for name in wanted if here[name] != wanted[name]]
    if other:
        return f"has {', '.join(other)}: all nodes must have the same versions, so that scores can be compared."
    if not _appears(path):
        return "cannot see {folder}: --runs must be a folder on a file system that all nodes share."
    if is_locked(path):
        return ""
    return (
        "sees {folder} but not the locks in it: the shared file system must support locks across nodes, as NFS 4 does."
    )


@dataclass(frozen=True)
class _EndedTrial:
    """The outcome of a trial, the seconds that its process took, and its node's name."""

    outcome: Outcome
    seconds: float
    node: str


def _run_trial(path: str, limits: Limits) -> _EndedTrial:
    run, node = Run(Path(path)), socket.gethostname()
    if not _appears(run.file("experiment.json")):
        raise PocketlensError(f"node {node} cannot see {path}: --runs must be on a file system that all nodes share.")
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # as on one machine, see api/requests.py
    with open(run.file("trial.log"), "a", encoding="utf-8") as log:
        log.write(f"{ON_NODE}{node}\n")
    process = TrialProcess(run, limits)
    try:
        outcome = None
        while outcome is None:
            outcome = process.wait(TICK)
    except KeyboardInterrupt:  # the driver asks the task to stop
        outcome = process.stop()
    finally:
        process.close()
    return _EndedTrial(outcome, process.seconds, node)


def _appears(path: Path) -> bool:
    deadline = time.monotonic() + SEEN_WITHIN
    while not path.exists():
        if time.monotonic() > deadline:
            return False
        with contextlib.suppress(OSError):
            os.listdir(path.parent)  # makes NFS refresh its cache
        if not path.parent.exists():
            return False
        time.sleep(TICK)
    return True
