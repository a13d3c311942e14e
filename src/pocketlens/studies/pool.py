"""Running a study: takes one waiting trial after the other, and gives what happens as events until none is left.

Killed at any moment and started again it runs exactly what is missing; several processes may run one study.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

from pocketlens.errors import PocketlensError
from pocketlens.files import read_json, remove_file
from pocketlens.studies.executors import HERE, Place, Worker, free_slot
from pocketlens.studies.process import Ending, Limits
from pocketlens.studies.store import Record, Study, Trial
from pocketlens.training.run import Run
from pocketlens.training.warm_start import with_source

TICK = 0.25  # seconds between two looks at the processes
LEAST_PATIENCE, TIMES_SLOWEST = 600.0, 10.0  # a trial hangs after ten times the slowest one, or ten minutes


@dataclass(frozen=True)
class Began:
    """A trial's process has been started."""

    trial: Trial


@dataclass(frozen=True)
class Going:
    """A trial is still at work."""

    trial: Trial
    epoch: int  # finished ones
    seconds: float


@dataclass(frozen=True)
class Moved:
    """A trial's node was lost; it goes on from its last checkpoint elsewhere."""

    trial: Trial


@dataclass(frozen=True)
class Ended:
    """A trial has ended."""

    record: Record


Event = Began | Going | Moved | Ended


@dataclass
class _Working:
    record: Record
    process: Worker
    claim: ExitStack
    slot: int
    n_lost: int = 0  # how often it was lost with its node


def run_study(study: Study, limits: Limits, *, jobs: int = 1, place: Place = HERE) -> Generator[Event, None, None]:
    """Runs all trials that wait, at most `jobs` at a time; trials that are asked for meanwhile are run, too.

    A consumer that closes the generator stops the trials; they save themselves and wait to be gone on with.

    Raises:
        PocketlensError: the study cannot be written.
    """
    working: list[_Working] = []
    try:
        while True:
            while len(working) < jobs:
                claim = ExitStack()
                record = claim.enter_context(study.claim())
                if record is None:
                    claim.close()
                    break
                ended = _finished_before(study, record)
                if ended is not None:  # its process was the last thing that worked before all was killed
                    study.end(ended)
                    claim.close()
                    yield Ended(ended)
                    continue
                slot = free_slot({work.slot for work in working})
                process = place.start(_made(study, record), _patient(study, limits), slot)
                working.append(_Working(record, process, claim, slot))
                yield Began(record.trial)
            if not working:
                if all(record.is_ended for record in study.records()):
                    return
                time.sleep(TICK)  # another process works on the last ones
            yield from _look(study, working)
    finally:
        for work in working:
            work.process.ask_to_stop()
        for work in working:
            ending = work.process.stop()
            if ending.status != "stopped":
                study.end(_record(study, work.record, ending, work.process.seconds))
            work.process.close()
            work.claim.close()


def _look(study: Study, working: list[_Working]) -> Iterator[Event]:
    for work in list(working):
        ending = work.process.wait(TICK / len(working))
        if work.process.n_lost > work.n_lost:
            work.n_lost = work.process.n_lost
            yield Moved(work.record.trial)
        if ending is None:
            run = study.run(work.record.trial)
            with contextlib.suppress(PocketlensError):
                yield Going(work.record.trial, len(run.history()), work.process.seconds)
            continue
        ended = _record(study, work.record, ending, work.process.seconds)
        study.end(ended)
        working.remove(work)
        work.process.close()
        work.claim.close()
        yield Ended(ended)


def _made(study: Study, record: Record) -> Run:
    run = study.run(record.trial)
    if run.file("experiment.json").is_file():
        return run
    experiment = with_source(study.experiment(record.trial), run.path.parent)
    return Run.create(experiment, study.split, run.path.parent, name=run.path.name)


def _finished_before(study: Study, record: Record) -> Record | None:
    """The record of a trial that had come to its end when the process that watched it was killed."""
    run = study.run(record.trial)
    if not run.file("experiment.json").is_file():
        return None
    status, reason = run.status()
    if status not in ("complete", "diverged"):
        return None
    return _record(study, record, Ending(status, reason), 0.0)


def _record(study: Study, record: Record, ending: Ending, seconds: float) -> Record:
    run = study.run(record.trial)
    ended = replace(record, status=ending.status, reason=ending.reason, seconds=round(seconds, 3))
    if ending.status != "complete":
        return ended
    for old in run.checkpoint_files()[:-1]:
        remove_file(old)  # of a finished trial the last one is enough
    scores = run.file("scores-val.json")
    if not scores.exists():
        return replace(ended, status="no result", reason="it left no validation scores")
    values = read_json(scores)
    trained = sum(float(line["seconds"]) for line in run.timing())
    return replace(
        ended,
        score=values["top1"]["value"],
        loss=values["nll"]["value"],
        seconds=ended.seconds or round(trained, 3),
    )


def _patient(study: Study, limits: Limits) -> Limits:
    if limits.seconds is not None:
        return limits
    taken = [record.seconds for record in study.records() if record.status == "complete"]
    return replace(limits, seconds=max(LEAST_PATIENCE, TIMES_SLOWEST * max(taken))) if taken else limits


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
class _WorkingRun:
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
    waiting, working = list(runs), list[_WorkingRun]()
    try:
        while waiting or working:
            while waiting and len(working) < jobs:
                run, slot = waiting.pop(0), free_slot({work.slot for work in working})
                working.append(_WorkingRun(run, place.start(run, limits, slot), slot))
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
