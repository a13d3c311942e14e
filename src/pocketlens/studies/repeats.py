"""Runs that belong to no study, trained at a place of trials: the repeats of `pocketlens train` on a cluster."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Sequence
from dataclasses import dataclass

from pocketlens.errors import PocketlensError
from pocketlens.training.run import Run
from pocketlens.studies.executors import Place, Worker, free_slot
from pocketlens.studies.process import Ending, Limits
from pocketlens.studies.pool import TICK


@dataclass(frozen=True)
class RunGoing:
    """A run is still at work."""

    run: Run
    epoch: int  # finished ones
    seconds: float


@dataclass(frozen=True)
class RunEnded:
    """A run has ended."""

    run: Run
    ending: Ending
    seconds: float


@dataclass(frozen=True)
class _Working:
    run: Run
    worker: Worker
    slot: int


def train_runs(
    runs: Sequence[Run], limits: Limits, place: Place, *, jobs: int
) -> Generator[RunGoing | RunEnded, None, None]:
    """Trains runs, at most `jobs` at a time; a consumer that closes the generator stops them, and they save themselves.

    Raises:
        PocketlensError: the place cannot work on one of them.
    """
    waiting, working = list(runs), list[_Working]()
    try:
        while waiting or working:
            while waiting and len(working) < jobs:
                run, slot = waiting.pop(0), free_slot({work.slot for work in working})
                working.append(_Working(run, place.start(run, limits, slot), slot))
            for work in list(working):
                ending = work.worker.wait(TICK / len(working))
                if ending is None:
                    with contextlib.suppress(PocketlensError):
                        yield RunGoing(work.run, len(work.run.history()), work.worker.seconds)
                    continue
                working.remove(work)
                work.worker.close()
                yield RunEnded(work.run, ending, work.worker.seconds)
    finally:
        for work in working:
            work.worker.ask_to_stop()
        for work in working:
            work.worker.stop()
            work.worker.close()
