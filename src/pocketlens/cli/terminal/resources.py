"""How trials are run: the options that say where, how many at a time and what each may use, and what follows from them.

Trials run in processes of this machine, or with `--cluster` as tasks of a Ray cluster.
"""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pocketlens.cli.terminal.options import Parser, add_machine, add_track, count, positive
from pocketlens.cli.terminal.setup import prepare_machine
from pocketlens.display.screen import Screen

if TYPE_CHECKING:
    from pocketlens.studies.cluster import Cluster
    from pocketlens.studies.executors import Means
    from pocketlens.studies.process import Limits
    from pocketlens.training.run import Run
    from pocketlens.training.tracking import Tracker


def add_running(parser: Parser) -> None:
    """How trials are run."""
    add_machine(parser)
    add_cluster(parser)
    add_track(parser)
    parser.add_argument(
        "--jobs", type=count, metavar="N", help="trials at the same time (1; on a cluster as many as have room)"
    )
    parser.add_argument(
        "--trial-minutes", type=positive, metavar="M", help="a trial hangs after so long (10, or 10 times the slowest)"
    )
    parser.add_argument(
        "--trial-memory", type=positive, metavar="GB", help="memory that a trial may take for itself (no limit)"
    )


def add_cluster(parser: Parser) -> None:
    """`--cluster`."""
    parser.add_argument(
        "--cluster",
        metavar="ADDRESS",
        help="run on the nodes of a Ray cluster: HOST:PORT of its head, or auto; --runs must be a shared folder",
    )


def check_running(args: argparse.Namespace) -> None:
    """Refuses an address that is none and a tracker that is not there, before torch is imported."""
    check_track(args)
    if args.cluster is not None:
        from pocketlens.studies.cluster import check_address

        check_address(args.cluster)


def check_track(args: argparse.Namespace) -> None:
    """Refuses a tracker that is not there, before torch is imported."""
    if args.track is not None:
        from pocketlens.training.tracking import check_tracker

        check_tracker(args.track)


def track_run(tracker: Tracker | None, run: Run, screen: Screen) -> None:
    """Brings the mirror of a run up to date, where there is a tracker, and says where that failed."""
    failure = None if tracker is None else tracker.follow(run)
    if failure is not None:
        screen.say(failure)


def tracker_of(args: argparse.Namespace) -> Tracker | None:
    """The tracker that is asked for, or None."""
    from pocketlens.training.tracking import Tracker

    name = getattr(args, "track", None)  # reproduce and refit have no such option
    return None if name is None else Tracker(name)


def this_machine(args: argparse.Namespace) -> argparse.Namespace:
    """The words for `prepare_machine` where training itself is done on other machines, whatever device they have."""
    return argparse.Namespace(device="cpu", threads=args.threads)


@contextlib.contextmanager
def running(args: argparse.Namespace, screen: Screen) -> Iterator[Means]:
    """What trials are run with, until the block ends: with several at a time, each gets its share of the threads.

    Raises:
        PocketlensError: this machine lacks the device, there is no such cluster, or a node does not see the runs.
    """
    from pocketlens.studies.executors import HERE, Means

    if args.cluster is None:
        jobs = args.jobs or 1
        yield Means(_limits(args, prepare_machine(args), jobs), jobs, HERE, tracker_of(args))
        return
    from pocketlens.studies.cluster import connected

    with connected(args.cluster) as cluster:
        cluster.check(args.runs)
        limits = _limits(args, _device_on(cluster, args), 1)
        room = cluster.n_jobs(limits)
        jobs = min(getattr(args, "jobs", None) or room, room)
        n = len(cluster.nodes())
        screen.fact("cluster", f"{n} nodes, room for {room} trials of {limits.threads} threads on {limits.device}")
        yield Means(limits, jobs, cluster, tracker_of(args))


def _device_on(cluster: Cluster, args: argparse.Namespace) -> str:
    """The device of trials on a cluster: GPUs where it has any, whatever this machine has."""
    prepare_machine(this_machine(args))
    has_gpus = any(node["Resources"].get("GPU", 0) >= 1 for node in cluster.nodes())
    device: str = args.device
    return device if device != "auto" else "cuda" if has_gpus else "cpu"


def _limits(args: argparse.Namespace, device: str, jobs: int) -> Limits:
    from pocketlens.studies.process import Limits

    threads = args.threads
    if threads is None and (jobs > 1 or args.cluster is not None):
        import torch

        threads = max(1, torch.get_num_threads() // jobs)
    minutes, memory = getattr(args, "trial_minutes", None), getattr(args, "trial_memory", None)
    return Limits(
        device=device,
        threads=threads,
        seconds=None if minutes is None else 60 * minutes,
        memory=None if memory is None else round(memory * 1e9),
        data=_data_folder(args),
        folder=None if args.cluster is None else Path.cwd(),
    )


def _data_folder(args: argparse.Namespace) -> Path | None:
    """Where trials look for data first; the nodes of a cluster have not been told what this shell was."""
    if args.data is not None:
        return Path(args.data.resolve())
    told = os.environ.get("POCKETLENS_DATA")
    return Path(told).resolve() if told and args.cluster is not None else None
