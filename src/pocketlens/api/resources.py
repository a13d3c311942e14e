"""What trials run on: processes of this machine, or the nodes of a Ray cluster, and what each may use."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pocketlens.api.requests import Code, Machine, ResourcesRequest
from pocketlens.events import Fact
from pocketlens.files import RUNS
from pocketlens.text import counted

if TYPE_CHECKING:
    from pocketlens.studies.cluster import Cluster
    from pocketlens.studies.executors import Resources
    from pocketlens.studies.process import Limits


@dataclass(frozen=True)
class Wanted:
    """What resources follow from: the request, where to compute, where data is searched, the runs, and the code."""

    request: ResourcesRequest = field(default_factory=ResourcesRequest)
    machine: Machine = field(default_factory=Machine)
    data: Path | None = None
    runs: Path = RUNS
    code: Code = ()


@dataclass(frozen=True, eq=False)
class Reserved:
    """Resources, and what to say about them."""

    resources: Resources
    facts: tuple[Fact, ...] = ()


@contextlib.contextmanager
def reserve(wanted: Wanted) -> Iterator[Reserved]:
    """What trials run on until the block ends; of several at a time, each gets its share of the threads.

    Raises:
        PocketlensError: this machine has no such device, there is no such cluster, or a node does not see the runs.
    """
    from pocketlens.studies.executors import LOCAL, Resources
    from pocketlens.training.tracking import Tracker

    request = wanted.request
    tracker = None if request.track is None else Tracker(request.track)
    if request.cluster is None:
        jobs = request.jobs or 1
        limits = _limits(wanted, wanted.machine.prepare(), jobs)
        yield Reserved(Resources(limits, jobs, LOCAL, tracker))
        return
    from pocketlens.studies.cluster import connected

    with connected(request.cluster) as cluster:
        cluster.check(wanted.runs)
        limits = _limits(wanted, _device_on(cluster, wanted.machine), 1)
        room = cluster.n_jobs(limits)
        n = len(cluster.nodes())
        fact = Fact(
            "cluster",
            f"{counted(n, 'node')}, room for {counted(room, 'trial')} of "
            f"{counted(limits.threads or 1, 'thread')} on {limits.device}",
        )
        yield Reserved(Resources(limits, min(request.jobs or room, room), cluster, tracker), (fact,))


def _device_on(cluster: Cluster, machine: Machine) -> str:
    """The device of trials on a cluster: GPUs where it has any, whatever this machine has."""
    replace(machine, device="cpu").prepare()
    has_gpus = any(node["Resources"].get("GPU", 0) >= 1 for node in cluster.nodes())
    return machine.device if machine.device != "auto" else "cuda" if has_gpus else "cpu"


def _limits(wanted: Wanted, device: str, jobs: int) -> Limits:
    from pocketlens.studies.process import Limits

    request, threads = wanted.request, wanted.machine.threads
    if threads is None and (jobs > 1 or request.cluster is not None):
        import torch

        threads = max(1, torch.get_num_threads() // jobs)
    return Limits(
        device=device,
        threads=threads,
        seconds=None if request.trial_minutes is None else 60 * request.trial_minutes,
        memory=None if request.trial_memory is None else round(request.trial_memory * 1e9),
        data=_data_folder(wanted),
        folder=None if request.cluster is None else Path.cwd(),
    )


def _data_folder(wanted: Wanted) -> Path | None:
    """Where trials search data first; the nodes of a cluster do not have this shell's environment."""
    if wanted.data is not None:
        return wanted.data.resolve()
    named = os.environ.get("POCKETLENS_DATA")
    return Path(named).resolve() if named and wanted.request.cluster is not None else None
