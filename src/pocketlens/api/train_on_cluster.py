"""The seeds of one training as tasks on a Ray cluster: `train(..., cluster=ADDRESS)`."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

from pocketlens.api.requests import ResourcesRequest, TrainRequest
from pocketlens.api.resources import Wanted, reserve
from pocketlens.api.results import RunResult, TrainResult
from pocketlens.api.runs import command, runs_option
from pocketlens.events import Event, Events, Fact, Failure, Line, RunStarted, TrialEnded, TrialEvent, until_stopped
from pocketlens.studies.pool import train_runs
from pocketlens.text import clock
from pocketlens.training.run import Run

if TYPE_CHECKING:
    from pocketlens.api.data import LoadedData
    from pocketlens.recipe import Experiment
    from pocketlens.training.tracking import Tracker


def train_on_cluster(request: TrainRequest, experiment: Experiment, data: LoadedData) -> Events[TrainResult]:
    """Trains each seed as a task on the cluster, and says what becomes of each."""
    text = None if data.corrections is None else data.corrections.text
    wanted = Wanted(
        ResourcesRequest(cluster=request.cluster, track=request.track), request.machine, request.data.data, request.runs
    )
    with reserve(wanted) as reserved:
        yield from reserved.facts
        resources = reserved.resources
        runs = [
            Run.create(replace(experiment, seed=seed), data.split, request.runs, corrections=text)
            for seed in range(request.seed, request.seed + request.repeat)
        ]
        for run in runs:
            yield Fact("run", f"{run.id}, seed {run.experiment.seed}, in {run.path.parent}")
        events = train_runs(runs, resources.limits, jobs=resources.jobs, executor=resources.executor)
        ended = yield from until_stopped(_said(events, runs, resources.tracker))
    result = TrainResult(tuple(RunResult(run) for run in runs), ended.signal)
    yield from _end_lines(result)
    return result


def _said(
    events: Generator[TrialEvent, None, None], runs: list[Run], tracker: Tracker | None
) -> Generator[Event, None, None]:
    """What becomes of each run, in lines; the runs that have ended are mirrored by the tracker."""
    with closing(events):
        yield RunStarted(", ".join(run.id for run in runs), str(runs[0].path.parent), "the cluster")
        for event in events:
            if not isinstance(event, TrialEnded):
                continue
            run = runs[event.trial.number]
            if event.status != "complete":
                yield Failure(f"{event.trial.what}: {event.status}, {event.reason}")
            else:
                accuracy = "" if event.score is None else f"validation accuracy {event.score:.2%}, "
                yield Line(f"{event.trial.what}: {accuracy}in {clock(event.seconds)}")
                for line in RunResult(run).best_lines():
                    yield Line(f"  {line}")
            failure = None if tracker is None else tracker.follow(run)
            if failure is not None:
                yield Line(failure)


def _end_lines(result: TrainResult) -> Events[None]:
    if result.signal is not None:
        for each in result.runs:
            if each.status != "complete":
                yield Line(f"stopped; continue with: {command('resume', each.run)}")
    complete = TrainResult(result.complete)
    if complete.over_seeds is not None:
        yield Line(str(complete.over_seeds))
    if complete.runs:
        yield Line(f"next: {complete.last.next}{runs_option(complete.run)}")
