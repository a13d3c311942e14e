"""The scheduler: runs trainings on an executor, several at a time, and yields what happens as events.

It takes its work from a source: the waiting trials of a study, or a list of runs. A study that was killed at any moment
and is started again runs exactly what is missing; several processes may run one study.
"""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from typing import Protocol

from pocketlens.errors import PocketlensError
from pocketlens.events import TrialEnded, TrialEvent, TrialInfo, TrialMoved, TrialProgress, TrialStarted
from pocketlens.files import read_json, remove_file
from pocketlens.studies.executors import LOCAL, Executor, TrialHandle, free_slot
from pocketlens.studies.overrides import show_values
from pocketlens.studies.process import Limits, Outcome
from pocketlens.studies.spec import SearchSpec
from pocketlens.studies.store import Record, Study, Trial
from pocketlens.text import shorten
from pocketlens.training.run import Run
from pocketlens.training.warm_start import with_source

TICK = 0.25  # seconds between two polls of the running trials
LEAST_PATIENCE, TIMES_SLOWEST = 600.0, 10.0  # a trial hangs after ten times the slowest one, or ten minutes


def run_study(
    study: Study, limits: Limits, *, jobs: int = 1, executor: Executor = LOCAL
) -> Generator[TrialEvent, None, None]:
    """Runs all waiting trials, at most `jobs` at a time, and those that are enqueued meanwhile.

    A consumer that closes the generator stops the trials; they save their state and can be continued.

    Raises:
        PocketlensError: the study cannot be written.
    """
    return _run(_StudyTrials(study, limits), executor, jobs)


def train_runs(
    runs: Sequence[Run], limits: Limits, *, jobs: int = 1, executor: Executor = LOCAL
) -> Generator[TrialEvent, None, None]:
    """Trains runs, at most `jobs` at a time.

    A consumer that closes the generator stops the runs; they save their state and can be resumed.

    Raises:
        PocketlensError: the executor cannot run one of them.
    """
    return _run(_Runs(runs, limits), executor, jobs)


@dataclass(frozen=True)
class _Job:
    """A training that a source has given out; `claim` is closed when the training has ended."""

    info: TrialInfo
    run: Run
    limits: Limits
    claim: ExitStack = field(default_factory=ExitStack)


class _Source(Protocol):
    """Where jobs come from and where their outcomes go."""

    def take(self) -> _Job | TrialEnded | None:
        """The next job, or a trial that turns out to have ended before; None: there is none at the moment."""

    def is_empty(self) -> bool:
        """Whether there will be no more jobs, where none is running."""

    def end(self, job: _Job, outcome: Outcome, seconds: float) -> TrialEnded:
        """Records how a job has ended."""


@dataclass
class _Running:
    job: _Job
    handle: TrialHandle
    slot: int
    n_lost: int = 0  # how often its node was lost


def _run(source: _Source, executor: Executor, n_jobs: int) -> Generator[TrialEvent, None, None]:
    """Runs what a source gives out, until it is empty or the generator is closed."""
    running: list[_Running] = []
    try:
        while True:
            while len(running) < n_jobs:
                job = source.take()
                if job is None:
                    break
                if isinstance(job, TrialEnded):
                    yield job
                    continue
                slot = free_slot({each.slot for each in running})
                running.append(_Running(job, _start(executor, job, slot), slot))
                yield TrialStarted(job.info)
            if not running:
                if source.is_empty():
                    return
                time.sleep(TICK)  # another process runs the last ones
            yield from _poll(source, running)
    finally:
        _stop(source, running)


def _start(executor: Executor, job: _Job, slot: int) -> TrialHandle:
    try:
        return executor.start(job.run, job.limits, slot)
    except BaseException:
        job.claim.close()
        raise


def _poll(source: _Source, running: list[_Running]) -> Iterator[TrialEvent]:
    """Waits a tick for the running jobs; those that have ended are removed."""
    for each in list(running):
        job, handle = each.job, each.handle
        outcome = handle.wait(TICK / len(running))
        if handle.n_lost > each.n_lost:
            each.n_lost = handle.n_lost
            yield TrialMoved(job.info)
        if outcome is None:
            with suppress(PocketlensError):
                yield TrialProgress(job.info, len(job.run.history()), handle.seconds)
            continue
        ended = source.end(job, outcome, handle.seconds)
        running.remove(each)
        handle.close()
        job.claim.close()
        yield ended


def _stop(source: _Source, running: list[_Running]) -> None:
    """Stops what is still running. All jobs are asked before the first is waited for, so they save at the same time."""
    for each in running:
        each.handle.ask_to_stop()
    for each in running:
        outcome = each.handle.stop()
        if outcome.status != "stopped":
            source.end(each.job, outcome, each.handle.seconds)
        each.handle.close()
        each.job.claim.close()


class _Runs:
    """A list of runs as a source of jobs."""

    def __init__(self, runs: Sequence[Run], limits: Limits) -> None:
        self._waiting = list(enumerate(runs))
        self._n_runs = len(runs)
        self._limits = limits
        self._best: float | None = None

    def take(self) -> _Job | None:
        """The next run."""
        if not self._waiting:
            return None
        number, run = self._waiting.pop(0)
        seed = run.experiment.seed
        info = TrialInfo(
            number=number,
            name=run.id,
            phase="repeats",
            seed=seed,
            what=f"run {run.id}, seed {seed}",
            n_epochs=math.ceil(run.experiment.recipe.epochs),
            folder=run.path,
        )
        return _Job(info, run, self._limits)

    def is_empty(self) -> bool:
        """Whether every run has been given out."""
        return not self._waiting

    def end(self, job: _Job, outcome: Outcome, seconds: float) -> TrialEnded:
        """Reads the score of a complete run."""
        scores = job.run.file("scores-val.json")
        score = None
        if outcome.status == "complete" and scores.exists():
            score = float(read_json(scores)["top1"]["value"])
            self._best = score if self._best is None else max(self._best, score)
        return TrialEnded(job.info, outcome.status, outcome.reason, score, seconds, self._best, self._n_runs)


class _StudyTrials:
    """The waiting trials of a study as a source of jobs, each claimed before it is given out."""

    def __init__(self, study: Study, limits: Limits) -> None:
        self._study, self._limits = study, limits
        self._claimed: dict[int, Record] = {}  # by number

    def take(self) -> _Job | TrialEnded | None:
        """Claims a trial. One that had ended when the process that ran it was killed is recorded and not run again."""
        study = self._study
        with ExitStack() as stack:
            record = stack.enter_context(study.claim())
            if record is None:
                return None
            ended = _ended_before(study, record)
            if ended is not None:
                study.end(ended)
                return self._event(ended)
            run, limits = _create_run(study, record), _with_patience(study, self._limits)
            self._claimed[record.trial.number] = record
            return _Job(_info(study, record.trial), run, limits, stack.pop_all())

    def is_empty(self) -> bool:
        """Whether every trial of the study has ended."""
        return all(record.is_ended for record in self._study.records())

    def end(self, job: _Job, outcome: Outcome, seconds: float) -> TrialEnded:
        """Writes the result of a trial to the journal."""
        ended = _record(self._study, self._claimed[job.info.number], outcome, seconds)
        self._study.end(ended)
        return self._event(ended)

    def _event(self, ended: Record) -> TrialEnded:
        records, design = self._study.records(), self._study.spec.design
        scores = [each.score for each in records if each.score is not None and each.trial.phase != "final"]
        total: int | None = len(records)
        if isinstance(design, SearchSpec) and ended.trial.phase == "search":
            total = design.trials if design.minutes is None else None
        return TrialEnded(
            trial=_info(self._study, ended.trial),
            status=ended.status,
            reason=ended.reason,
            score=ended.score,
            seconds=ended.seconds,
            best=max(scores, default=None),
            total=total,
        )


def _info(study: Study, trial: Trial) -> TrialInfo:
    return TrialInfo(
        number=trial.number,
        name=trial.candidate,
        phase=trial.phase,
        seed=trial.seed,
        what=describe_trial(trial),
        n_epochs=math.ceil(trial.recipe.epochs),
        folder=study.run(trial).path,
    )


def describe_trial(trial: Trial) -> str:
    """A trial in words: its recipe and seed, or in a search its values."""
    if trial.phase == "repeats" or not trial.changes:
        return f"{shorten(trial.candidate)}, seed {trial.seed}"
    values = show_values(dict(trial.changes))
    if trial.phase == "search":
        return f"{values} (base)" if trial.candidate == "base" else values
    return f"{trial.phase}, {trial.candidate}, seed {trial.seed}: {values}"


def _create_run(study: Study, record: Record) -> Run:
    run = study.run(record.trial)
    if run.file("experiment.json").is_file():
        return run
    experiment = with_source(study.experiment(record.trial), run.path.parent)
    corrections, split = study.corrections_of(record.trial), study.split_of(record.trial)
    text = None if corrections is None else corrections.text
    return Run.create(experiment, split, run.path.parent, corrections=text, name=run.path.name)


def _ended_before(study: Study, record: Record) -> Record | None:
    """The record of a trial that had ended when the process that watched it was killed."""
    run = study.run(record.trial)
    if not run.file("experiment.json").is_file():
        return None
    status, reason = run.status()
    if status not in ("complete", "diverged"):
        return None
    return _record(study, record, Outcome(status, reason), 0.0)


def _record(study: Study, record: Record, outcome: Outcome, seconds: float) -> Record:
    run = study.run(record.trial)
    ended = replace(record, status=outcome.status, reason=outcome.reason, seconds=round(seconds, 3))
    if outcome.status != "complete":
        return ended
    for old in run.checkpoint_files()[:-1]:
        remove_file(old)  # the last one of a finished trial is enough
    scores = run.file("scores-val.json")
    if not scores.exists():
        return replace(ended, status="no result", reason="it wrote no validation scores")
    values = read_json(scores)
    trained = sum(float(line["seconds"]) for line in run.timing())
    return replace(
        ended,
        score=values["top1"]["value"],
        loss=values["nll"]["value"],
        seconds=ended.seconds or round(trained, 3),
    )


def _with_patience(study: Study, limits: Limits) -> Limits:
    if limits.seconds is not None:
        return limits
    taken = [record.seconds for record in study.records() if record.status == "complete"]
    return replace(limits, seconds=max(LEAST_PATIENCE, TIMES_SLOWEST * max(taken))) if taken else limits
