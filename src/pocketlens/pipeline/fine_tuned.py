"""Fine-tuning in `auto`: the recipe `finetune` from the probe on, for as many steps as a share of the time allows."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace

from pocketlens.data.split import Split
from pocketlens.errors import PocketlensError
from pocketlens.events import Note, Stage, Step
from pocketlens.pipeline.final import (
    end_line,
    experiment_of,
    final_split,
    find_run,
    finished_run,
    make_run,
    rows_in_words,
    train_run,
    train_until,
)
from pocketlens.pipeline.interpolations import Curve, best_alpha, read_curve
from pocketlens.pipeline.task import Task
from pocketlens.recipe import Experiment, Recipe
from pocketlens.training.budget import plan_steps
from pocketlens.training.fine_tune import probe_recipe
from pocketlens.training.run import Run
from pocketlens.training.train import Event

LEAST_STEPS = 20  # of a fine-tuning that can change anything
SAVE_EVERY = 25  # steps
CLOSING, TEST_SPEED = 10.0, 20.0  # seconds for the report; test images per second, roughly, with a body


@dataclass(frozen=True)
class Allowed:
    """For how long a fine-tuning may train: seconds, and the steps that fit into them; None: they are measured."""

    seconds: float
    n_steps: int | None = None


def closing_seconds(task: Task) -> float:
    """Roughly how long the test and the report take with a body."""
    return CLOSING + len(task.sealed) / TEST_SPEED


def train_fine_tuned(
    task: Task, name: str, recipe: Recipe, split: Split, allowed: Allowed
) -> Generator[Event, None, Run | None]:
    """Fine-tunes for about so many seconds, found again after a kill; None where they are for too few steps."""
    run, n_steps = find_run(task, name), allowed.n_steps
    if run is None:
        experiment = experiment_of(task, name, recipe, split)
        if not len(split.val) and (curves := _curves(task)):
            experiment = replace(experiment, alpha=best_alpha(curves))
        if n_steps is None:
            n_steps = yield from _measure_steps(task, experiment, split, allowed.seconds)
        if n_steps < LEAST_STEPS:
            return None
        run = make_run(task, name, replace(experiment, n_steps=n_steps), split)
    if run.status()[0] != "complete":
        yield from train_until(task.session.spent + 1.3 * allowed.seconds, task, run, SAVE_EVERY)
    return Run(run.path)


def _measure_steps(task: Task, experiment: Experiment, split: Split, seconds: float) -> Generator[Event, None, int]:
    """How many steps of a fine-tuning fit into so many seconds."""
    yield Step("measuring the steps of fine-tuning", 0, 1)
    try:
        budget = plan_steps(experiment, task.dataset, split, minutes=max(seconds, 1.0) / 60, device=task.limits.device)
    except PocketlensError:
        return 0
    yield Step("measuring the steps of fine-tuning", 1, 1)
    return budget.n_steps


def finish_fine_tuned(task: Task) -> Generator[Stage | Event, None, Run]:
    """The run that will be tested: fine-tuned on all development rows in the time that is left."""
    session, recipe = task.session, task.session.state.base
    done = finished_run(task)
    if done is not None:
        yield session.stage("final")
        return done
    split, began = final_split(task), session.spent
    left = session.limit - began - closing_seconds(task)
    rows = rows_in_words(len(split.train), task)
    yield Stage("train", (f"{recipe.model}, fine-tuned from its probe on {rows}",), {})
    run = yield from train_fine_tuned(task, "final", recipe, split, Allowed(left))
    if run is None:
        yield Note("the time that is left is too short to fine-tune; fitting the probe alone")
        run = make_run(task, "final", experiment_of(task, "final", probe_recipe(recipe), split), split)
        yield from train_run(task, run)
    facts = {"run": run.id, "epochs": run.experiment.recipe.epochs, "planned": round(max(0.0, left), 1)}
    yield session.finish_phase(Stage("final", (end_line(run, session.spent - began),), facts))
    return Run(run.path)


def _curves(task: Task) -> list[Curve]:
    """What the judged fine-tunings of this session have right between the probe (0) and the fine-tuned weights (1)."""
    paths = sorted(task.runs.glob(f"{task.session.id}-finetune-*/interpolation.json"))
    return [curve for path in paths if (curve := read_curve(Run(path.parent))) is not None]
