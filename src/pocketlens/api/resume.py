"""Runs that exist already: resume one, refit it on all rows, or reproduce it."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pocketlens.api.calls import run_call
from pocketlens.api.requests import Code, Machine, build, check_place, check_runs, signed
from pocketlens.api.results import RunResult, TrainResult
from pocketlens.api.runs import command, find_run
from pocketlens.api.shown import Shown
from pocketlens.api.train import Where, continue_run
from pocketlens.errors import PocketlensError
from pocketlens.events import Doing, Events, Fact, Line
from pocketlens.files import RUNS
from pocketlens.own_code import name_code
from pocketlens.text import counted

if TYPE_CHECKING:
    from pocketlens.api.runs import RunLike
    from pocketlens.studies.reproduce import Reproduced
    from pocketlens.training.run import Run


@dataclass(frozen=True, eq=False)
class ResumeRequest:
    """Which run, and where it is trained.

    Attributes:
        epochs: train a finished run to this number of epochs in total (`resume` only).
        data: where the data lies now, if it has moved; for a data set with a name, the folder to search first.
        code: the files of one's own that the run uses, or the functions; unchanged since it was made.
    """

    run: RunLike
    machine: Machine = field(default_factory=Machine)
    epochs: float | None = None
    data: Path | None = None
    save_every: int | None = None
    track: str | None = None
    runs: Path = RUNS
    code: Code = ()

    def found(self) -> Run:
        """The run, once folders and the tracker have been checked.

        Raises:
            PocketlensError: there is no such run, folder or tracker.
        """
        check_runs(self.runs)
        check_place(self.data)
        if self.track is not None:
            from pocketlens.training.tracking import check_tracker

            check_tracker(self.track)
        name_code(self.code)
        return find_run(self.run, self.runs)


def resume(run: RunLike, *, verbose: bool = True, **options: Any) -> TrainResult:
    """Continues a run that was stopped or killed; the result is the same to the byte: `pocketlens resume`.

    Args:
        run: the run, its folder, id or label, or "last".
        options: the fields of ResumeRequest; `device` and `threads`.

    Raises:
        PocketlensError: there is no such run, its data is not there, or its training fails.
    """
    return run_call(resuming(build(ResumeRequest, {"run": run}, options)), verbose=verbose)


def refit(run: RunLike, *, verbose: bool = True, **options: Any) -> TrainResult:
    """Trains a run's recipe again on training and validation rows together, to the chosen epoch: `pocketlens refit`.

    Args:
        run: the run, its folder, id or label, or "last".
        options: the fields of ResumeRequest; `device` and `threads`.

    Raises:
        PocketlensError: the run is not complete, or it has no validation rows.
    """
    return run_call(refitting(build(ResumeRequest, {"run": run}, options)), verbose=verbose)


def reproduce(run: RunLike, *, verbose: bool = True, **options: Any) -> ReproduceResult:
    """Trains a run again and says: equal to the byte, within seed noise, or different: `pocketlens reproduce`.

    Args:
        run: the run, its folder, id or label, or "last".
        options: the fields of ResumeRequest; `device` and `threads`.

    Raises:
        PocketlensError: the run is not complete, or its data is not there.
    """
    return run_call(reproducing(build(ResumeRequest, {"run": run}, options)), verbose=verbose)


for _call in (resume, refit, reproduce):
    signed(_call, ResumeRequest)


def resuming(request: ResumeRequest) -> Events[TrainResult]:
    """The events of `resume`; a complete run is left as it is, but for scores that it lacks."""
    from pocketlens.training.ranks import asked_ranks, joined

    ranks = asked_ranks(os.environ)
    run = request.found()
    status, reason = run.status()
    yield Fact("status", f"{status}{f' ({reason})' if reason else ''}")
    if status == "complete" and request.epochs is None:
        if run.lacks_scores and ranks.is_first:
            _score_again(run, request)
            yield Fact("scores", "computed again, as they were missing")
        yield from _mirror(request.track, run)
        return (yield from _ended(run, None))
    if request.epochs is not None and ranks.n > 1:
        raise PocketlensError(
            "resume --epochs makes a new run: start it without torchrun, then resume that run with it."
        )
    run.require_code()
    yield Doing("loading PyTorch and the data of the run")
    device = request.machine.prepare(run.experiment.recipe)
    from pocketlens.training.run import WatchedRun
    from pocketlens.training.run_data import load_of

    longer = "" if request.epochs is None else f" --epochs {request.epochs:g}"
    dataset, _ = load_of(run, request.data, command("resume", run, longer))
    if request.epochs is not None:
        from pocketlens.training.refit import extend

        run = extend(run, request.epochs, request.runs, data=dataset.text)
        yield Fact("extend", f"{counted(run.experiment.recipe.epochs, 'more epoch')} with a schedule of their own")
    with joined(ranks, device) as device:
        watched = run if ranks.is_first else WatchedRun(run.path)
        signal = yield from continue_run(watched, dataset, Where(device, ranks, request.save_every, request.track))
        ranks.wait()  # for the first one to have saved
    return (yield from _ended(run, signal))


def _score_again(run: Run, request: ResumeRequest) -> None:
    run.require_code()
    device = request.machine.prepare(run.experiment.recipe)
    from pocketlens.training.run_data import load_of, require_same
    from pocketlens.training.validation_scores import complete, leave_scores

    dataset, _ = load_of(run, request.data, command("resume", run))
    require_same(run, dataset)
    with run.lock():
        leave_scores(run, dataset, device)
        complete(run)


def refitting(request: ResumeRequest) -> Events[TrainResult]:
    """The events of `refit`."""
    run = request.found()
    run.require_code()
    yield Doing("loading PyTorch and the data of the run")
    device = request.machine.prepare(run.experiment.recipe)
    from pocketlens.training.ranks import ALONE
    from pocketlens.training.refit import refit as refit_run
    from pocketlens.training.run_data import load_of

    dataset, _ = load_of(run, request.data, command("refit", run))
    new = refit_run(run, request.runs, data=dataset.text)
    rows = f"all {counted(len(new.split.train), 'development row')}"
    yield Fact("refit", f"of {run.id}, on {rows}, without a validation set")
    signal = yield from continue_run(new, dataset, Where(device, ALONE, request.save_every))
    return (yield from _ended(new, signal))


@dataclass(frozen=True, eq=False)
class ReproduceResult(Shown):
    """A second training of a run, and how it compares with the first; `found` is None where it was stopped."""

    first: Run
    second: RunResult
    found: Reproduced | None
    signal: int | None = None

    def lines(self) -> list[str]:
        """What was found, for a person."""
        found = self.found
        if found is None:
            return []
        equal = f"run {self.first.id} was reproduced: equal to the byte"
        lines = [equal if found.word == "equal" else f"{found.word}: {found.how}"]
        if found.epoch is not None:
            before, after = _numbers(found.before), _numbers(found.after)
            lines.append(f"the first epoch that differs is {found.epoch}: {before}, then {after}")
        lines += [f"environment differs: {text}" for text in found.changed]
        return [*lines, f"next: {command('show', self.second.run)}"]

    def to_dict(self) -> dict[str, Any]:
        """What `--json` gives."""
        if self.found is None:
            return {**self.second.to_dict(), "next": command("resume", self.second.run)}
        return {"id": self.second.id, "reproduces": self.first.id, **asdict(self.found)}


def reproducing(request: ResumeRequest) -> Events[ReproduceResult]:
    """The events of `reproduce`."""
    run = request.found()
    if run.status()[0] != "complete":
        raise PocketlensError(f"run {run.id} must be complete to be reproduced, it is {run.status()[0]}.")
    run.require_code()
    yield Doing("loading PyTorch and the data of the run")
    device = request.machine.prepare(run.experiment.recipe)
    from pocketlens.studies.reproduce import compare_runs
    from pocketlens.training.ranks import ALONE
    from pocketlens.training.run import Run
    from pocketlens.training.run_data import load_of
    from pocketlens.training.warm_start import with_source

    dataset, _ = load_of(run, request.data, command("reproduce", run))
    repeated = replace(run.experiment, made_by=f"reproduce of {run.id}", data=dataset.text)
    experiment = with_source(repeated, request.runs)
    second = Run.create(experiment, run.split, request.runs, corrections=run.corrections())
    signal = yield from continue_run(second, dataset, Where(device, ALONE))
    if signal is not None:
        return ReproduceResult(run, RunResult(second), None, signal)
    return ReproduceResult(run, RunResult(second), compare_runs(run, second))


def _ended(run: Run, signal: int | None) -> Events[TrainResult]:
    result = RunResult(run)
    if signal is None:
        for line in result.lines():
            yield Line(line)
    return TrainResult((result,), signal)


def _mirror(track: str | None, run: Run) -> Events[None]:
    if track is not None:
        from pocketlens.training.tracking import Tracker

        failure = Tracker(track).follow(run)
        if failure is not None:
            yield Line(failure)


def _numbers(record: dict[str, Any]) -> str:
    if not record:
        return "no such epoch"
    kinds = (("train loss", "train_loss", ".6f"), ("val accuracy", "val_accuracy", ".4%"))
    return ", ".join(f"{name} {record[key]:{form}}" for name, key, form in kinds if record.get(key) is not None)
