"""The final training of `auto`, and the short check before it that shows that the recipe learns at all.

The schedule is cut to the time before its first step. If the first steps show that the machine has become slower or
faster, the training restarts with another length; if time runs out all the same, it stops within one step.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pocketlens.api.train import Where, continue_run
from pocketlens.data.split import Split, make_split
from pocketlens.errors import PocketlensError
from pocketlens.events import Epoch, Note, Progress, Stage, Step
from pocketlens.files import read_json
from pocketlens.pipeline.plan import MOST_EPOCHS, PlanInputs, PlannedPhase, epochs_in
from pocketlens.pipeline.short_training import short_split
from pocketlens.pipeline.state import FinalAttempt
from pocketlens.recipe import Experiment, Recipe
from pocketlens.text import counted, format_duration
from pocketlens.training.ranks import ALONE
from pocketlens.training.run import Run

if TYPE_CHECKING:
    from pocketlens.pipeline.task import Task
    from pocketlens.training.train import Event

MOST_ATTEMPTS = 3
EARLY = 0.04  # of the steps, after which the pace is checked
LEAST_EARLY = 4  # steps, the first of which does not count
SLOW, FAST = 1.06, 0.85  # times the time that is left
SECONDS_BETWEEN_CHECKPOINTS = 20.0
LR_DIVISOR = 4.0  # for a learning rate at which the loss was not finite


@dataclass(frozen=True)
class Restart:
    """The training has to restart: steps take `pace` times as long as was measured."""

    pace: float


def train_check(task: Task, phase: PlannedPhase) -> Generator[Event, None, Stage]:
    """A short training on training rows; if it diverges, the recipe continues with a quarter of its learning rate."""
    session = task.session
    run = _check_run(task, phase)
    until = session.spent + 1.5 * phase.seconds + 1.0
    try:
        if run.status()[0] != "complete":
            yield from train_until(until, task, run)
    except PocketlensError as error:
        if run.status()[0] != "diverged":
            raise
        base = _with_smaller_lr(session.state.base)
        lines = (str(error), f"lowering the learning rate to {base.lr:g}")
        return session.finish_phase(Stage("check", lines, {"run": run.id, "val_accuracy": None}), base)
    accuracy = float(read_json(run.file("scores-val.json"))["top1"]["value"])
    epochs, n_train, chance = run.experiment.recipe.epochs, len(run.split.train), 1 / len(task.dataset.classes)
    said = [f"{counted(epochs, 'epoch')} on {counted(n_train, 'row')}: {100 * accuracy:.2f} % validation accuracy"]
    if accuracy <= 1.2 * chance:
        said.append(f"barely above chance ({100 * chance:.2f} %)")
    return session.finish_phase(Stage("check", tuple(said), {"run": run.id, "val_accuracy": accuracy}))


def train_final(task: Task, inputs: PlanInputs) -> Generator[Stage | Event, None, Run]:
    """The run that will be tested, trained to its end within the time."""
    session = task.session
    done = finished_run(task)
    if done is not None:
        yield session.stage("final")
        return done
    attempt = session.state.final or FinalAttempt(began=session.spent)
    session.save(replace(session.state, final=attempt))
    while True:
        run, restart = _final_run(task, inputs, attempt), None
        epochs, n_rows = run.experiment.recipe.epochs, len(run.split.train)
        rows = rows_in_words(n_rows, task)
        line = f"{run.experiment.recipe.model} for {counted(epochs, 'epoch')} on {rows}: run {run.id}"
        yield Stage("train", (line,), {"run": run.id, "epochs": epochs})
        try:
            restart = yield from _train_at_pace(task, run, inputs, attempt)
        except PocketlensError as error:
            if run.status()[0] != "diverged" or attempt.number >= MOST_ATTEMPTS:
                raise
            yield Note(f"{error} Restarting with a smaller learning rate.")
            session.save(replace(session.state, base=_with_smaller_lr(session.state.base)))
        if run.status()[0] == "complete":
            line = end_line(run, session.spent - attempt.began)
            yield session.finish_phase(Stage("final", (line,), {"run": run.id, "epochs": epochs}))
            return Run(run.path)  # read again: its experiment has changed if time ran out
        pace = attempt.pace if restart is None else restart.pace
        attempt = replace(attempt, number=attempt.number + 1, pace=pace)
        session.save(replace(session.state, final=attempt))
        shutil.rmtree(run.path, ignore_errors=True)


def finished_run(task: Task) -> Run | None:
    """The final run of a session in which it has ended before."""
    before = task.session.state.done.get("final")
    return None if before is None or before.run is None else Run.open(before.run, task.runs)


def final_split(task: Task) -> Split:
    """All development rows, unless the test set stays closed and validation rows have to judge."""
    if not task.session.state.opens:
        return task.split
    return replace(make_split(task.dataset, val_fraction=0.0, seed=task.split.seed), n_test=len(task.sealed))


def train_head(task: Task) -> Generator[Stage | Event, None, Run]:
    """The run that will be tested, where only the head of a pretrained body is fitted."""
    session, recipe = task.session, task.session.state.base
    done = finished_run(task)
    if done is not None:
        yield session.stage("final")
        return done
    split = final_split(task)
    run, began = make_run(task, "final", experiment_of(task, "final", recipe, split), split), session.spent
    rows = rows_in_words(len(split.train), task)
    facts = {"run": run.id, "epochs": recipe.epochs, "planned": round(max(0.0, session.limit - began), 1)}
    yield Stage("train", (f"{recipe.model}, its head fitted on {rows}: run {run.id}",), facts)
    if run.status()[0] != "complete":
        yield from train_run(task, run)
    yield session.finish_phase(Stage("final", (end_line(run, session.spent - began),), facts))
    return Run(run.path)


def _check_run(task: Task, phase: PlannedPhase) -> Run:
    """The run of the check, made unless it is there."""
    short, base = phase.short, task.session.state.base
    assert short is not None, "a check is planned with its short training"
    split = short_split(task.split, task.dataset, short.rows, short.n_val)
    return make_run(task, "check", experiment_of(task, "check", base.changed(epochs=short.epochs), split), split)


def _final_run(task: Task, inputs: PlanInputs, attempt: FinalAttempt) -> Run:
    """The run of an attempt at the final training, made with as many epochs as fit now unless it is there."""
    session = task.session
    split = final_split(task)
    left = max(0.0, session.limit - inputs.closing - session.spent)
    train_seconds, predict_seconds = inputs.train_seconds * attempt.pace, inputs.predict_seconds * attempt.pace
    epochs = epochs_in(left, replace(inputs, train_seconds=train_seconds, predict_seconds=predict_seconds))
    recipe = session.state.base.changed(epochs=epochs)
    name = "final" if attempt.number == 1 else f"final-{attempt.number}"
    return make_run(task, name, experiment_of(task, "final", recipe, split), split)


def experiment_of(task: Task, label: str, recipe: Recipe, split: Split) -> Experiment:
    """What the run of a phase is asked to do."""
    session, n_train = task.session, len(split.train)
    return Experiment(
        data=task.dataset.text,
        recipe=recipe,
        seed=session.state.request.seed,
        val_fraction=split.val_fraction,
        split_seed=split.seed,
        data_fingerprint=task.dataset.fingerprint,
        label=f"auto: {label}",
        made_by=f"auto {session.id}",
        minutes=session.state.request.minutes,
        rows=n_train if n_train < len(task.split.train) else None,
        hold_out=task.dataset.hold_out,
    )


def find_run(task: Task, name: str) -> Run | None:
    """The session's run of that name, from before a kill."""
    run = Run(task.runs / f"{task.session.id}-{name}")
    return run if run.file("experiment.json").is_file() else None


def make_run(task: Task, name: str, experiment: Experiment, split: Split) -> Run:
    """The session's run of that name; made of the experiment unless it is there."""
    found = find_run(task, name)
    return found or Run.create(experiment, split, task.runs, name=f"{task.session.id}-{name}")


def _train_at_pace(
    task: Task, run: Run, inputs: PlanInputs, attempt: FinalAttempt
) -> Generator[Event, None, Restart | None]:
    """Trains the run to its end; returns early where its first steps show that its schedule has the wrong length."""
    session, measured = task.session, task.session.state.measured
    assert measured is not None, "the plan's inputs come from a measurement"
    stop_at = session.limit - inputs.closing
    began, n_seen, expected = time.monotonic(), 0, 0.0
    with closing(train_until(stop_at, task, run)) as events:
        for event in events:
            yield event
            if not isinstance(event, Progress) or attempt.number >= MOST_ATTEMPTS:
                continue
            n_seen += 1
            if n_seen == 1:
                began = time.monotonic()  # the first step also waits for everything that starts with it
                continue
            expected += measured.step_seconds.get(str(event.size), inputs.train_seconds * event.n_images)
            n_early = max(LEAST_EARLY, round(EARLY * event.n_steps))
            if n_seen != n_early or event.step > max(LEAST_EARLY, 3 * EARLY * event.n_steps):
                continue
            epochs = run.experiment.recipe.epochs
            planned = inputs.final_seconds * epochs / inputs.epochs
            pace = pace_of_all(time.monotonic() - began, expected, planned * (n_seen - 1) / event.n_steps)
            needed = pace * planned * (1 - event.step / event.n_steps)
            left = stop_at - session.spent
            may_grow = epochs < 0.95 * MOST_EPOCHS * inputs.epochs
            if needed > SLOW * left or (needed < FAST * left and may_grow):
                faster, length = ("slower", "shorter") if needed > left else ("faster", "longer")
                times = f"{format_duration(needed)} to go, {format_duration(left)} left"
                yield Note(f"steps are {faster} than measured: {times}; restarting with a {length} schedule")
                return Restart(pace)
    return None


def pace_of_all(taken: float, expected: float, usual: float) -> float:
    """How many times as long as measured all steps take, by the first ones, which have the smallest images.

    Steps that are slower than measured are so by a factor: the machine is. Those that are faster save the same seconds
    at every size, as what was measured too high is what a step costs beside its images, and large images gain less.

    Args:
        taken: seconds of the first steps.
        expected: seconds that they were expected to take.
        usual: seconds that as many steps are expected to take in the mean over all sizes.
    """
    return max(taken / max(expected, 1e-9), 1 + (taken - expected) / max(usual, 1e-9))


def train_until(until: float, task: Task, run: Run, save_every: int | None = None) -> Generator[Event, None, None]:
    """Trains a run to its end or, once the session has spent `until` seconds, to the step that it has reached.

    `save_every` is the steps between checkpoints; None: as many as take 20 seconds with the recipe that was measured.
    """
    session, step, n_steps = task.session, 0, 0
    if save_every is None:
        assert session.state.measured is not None, "the plan's inputs come from a measurement"
        slowest = max(session.state.measured.step_seconds.values())
        save_every = max(1, math.ceil(SECONDS_BETWEEN_CHECKPOINTS / slowest))
    with closing(train_run(task, run, save_every)) as events:
        for event in events:
            yield event
            if isinstance(event, Progress):
                step, n_steps = event.step, event.n_steps
                if session.spent > until and step < n_steps:
                    break
        else:
            return
    yield Note(f"time is up: stopping after step {step:,} of {n_steps:,}, before the learning rate reaches 0")
    stopped = replace(run.experiment, stop_step=step)
    yield from train_run(task, Run.create(stopped, run.split, run.path.parent, name=run.path.name))


def train_run(task: Task, run: Run, save_every: int | None = None) -> Generator[Event, None, None]:
    """Trains a run to its end on the task's data and device, as `pocketlens train` does; says it in its own words."""
    with closing(continue_run(run, task.dataset, Where(task.limits.device, ALONE, save_every))) as events:
        for event in events:
            if isinstance(event, Progress | Epoch | Note | Step):
                yield event


def _with_smaller_lr(recipe: Recipe) -> Recipe:
    return recipe.changed(lr=recipe.lr / LR_DIVISOR)


def rows_in_words(n: int, task: Task) -> str:
    """`400 development rows`, or `training rows` where validation rows are kept apart to the end."""
    return counted(n, "development row" if task.session.state.opens else "training row")


def end_line(run: Run, seconds: float) -> str:
    """How long a training took and how it ended."""
    last = run.history()[-1]
    accuracy = last["val_accuracy"]
    judged = "" if accuracy is None else f", validation accuracy {100 * accuracy:.2f} %"
    return f"trained in {format_duration(seconds)}, training loss {last['train_loss']:.3f}{judged}"
