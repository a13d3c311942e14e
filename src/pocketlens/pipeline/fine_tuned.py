"""Fine-tuning in `auto`: the recipe `finetune` from the probe on, for as many steps as a share of the time allows."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from dataclasses import replace

import numpy as np

from pocketlens.data.split import Split, make_split
from pocketlens.errors import PocketlensError
from pocketlens.events import Note, Progress, Stage, Step
from pocketlens.pipeline.final import end_line, experiment_of, find_run, make_run, train_run
from pocketlens.pipeline.task import Task
from pocketlens.recipe import Recipe, read_recipe
from pocketlens.training.budget import plan_steps
from pocketlens.training.fine_tune import with_crops_of
from pocketlens.training.run import Run
from pocketlens.training.train import Event

LEAST_STEPS = 20  # of a fine-tuning that can change anything
SAVE_EVERY = 25  # steps
CLOSING, TEST_SPEED = 10.0, 20.0  # seconds for the report; test images per second, roughly, with a body


def fine_tuned_recipe(probe: Recipe, side: int) -> Recipe:
    """The recipe `finetune` with the body and the preparation of a probe, whose body sees images of `side` px."""
    recipe = read_recipe("finetune")
    return recipe.changed(
        model=probe.model,
        prepare=probe.prepare,
        normalize=probe.normalize,
        augment=with_crops_of(recipe.augment, side),
    )


def train_fine_tuned(
    task: Task, name: str, recipe: Recipe, split: Split, seconds: float
) -> Generator[Event, None, Run | None]:
    """Fine-tunes for about so many seconds, found again after a kill; None where they are for too few steps."""
    run = find_run(task, name)
    if run is None:
        yield Step("measuring the steps of fine-tuning", 0, 1)
        experiment = experiment_of(task, name, recipe, split)
        alphas = _alphas(task)
        if not len(split.val) and alphas:
            experiment = replace(experiment, alpha=float(np.median(alphas)))
        try:
            budget = plan_steps(
                experiment, task.dataset, split, minutes=max(seconds, 1.0) / 60, device=task.limits.device
            )
        except PocketlensError:
            return None
        yield Step("measuring the steps of fine-tuning", 1, 1)
        if budget.n_steps < LEAST_STEPS:
            return None
        run = make_run(task, name, replace(experiment, n_steps=budget.n_steps), split)
    if run.status()[0] != "complete":
        yield from _train_until(task, run, task.session.spent + 1.3 * seconds)
    return Run(run.path)


def finish_fine_tuned(task: Task) -> Generator[Stage | Event, None, Run]:
    """The run that will be tested: fine-tuned on all development rows in the time that is left."""
    session, recipe = task.session, task.session.state.base
    before = session.state.done.get("final")
    if before is not None and before.run is not None:
        yield session.stage("final")
        return Run.open(before.run, task.runs)
    split = make_split(task.dataset, val_fraction=0.0) if session.state.opens else task.split
    split = replace(split, n_test=len(task.sealed))
    began = session.spent
    left = session.limit - began - CLOSING - len(task.sealed) / TEST_SPEED
    rows = f"{len(split.train):,} {'development' if session.state.opens else 'training'} rows"
    yield Stage("train", (f"{recipe.model}, fine-tuned from its probe on {rows}",), {})
    run = yield from train_fine_tuned(task, "final", recipe, split, left)
    if run is None:
        yield Note("the time that is left is too short to fine-tune; fitting the probe alone")
        probe = read_recipe("probe").changed(model=recipe.model, prepare=recipe.prepare, normalize=recipe.normalize)
        run = make_run(task, "final", experiment_of(task, "final", probe, split), split)
        yield from train_run(task, run)
    facts = {"run": run.id, "epochs": run.experiment.recipe.epochs}
    yield session.finish_phase(Stage("final", (end_line(run, session.spent - began),), facts))
    return Run(run.path)


def _alphas(task: Task) -> list[float]:
    """What the judged fine-tunings of this session have chosen between probe (0) and fine-tuned weights (1)."""
    found = sorted(task.runs.glob(f"{task.session.id}-finetune-*"))
    metas = [Run(path).checkpoint().meta for path in found if Run(path).status()[0] == "complete"]
    return [float(meta["interpolation"]["alpha"]) for meta in metas if "interpolation" in meta]


def _train_until(task: Task, run: Run, until: float) -> Generator[Event, None, None]:
    """Trains to the end or, once the session has spent `until` seconds, to the step that it has reached."""
    step = 0
    with closing(train_run(task, run, SAVE_EVERY)) as events:
        for event in events:
            yield event
            if isinstance(event, Progress):
                step = event.step
                if task.session.spent > until and step < event.n_steps:
                    break
        else:
            return
    yield Note(f"time is up: stopping after step {step:,}, before the learning rate reaches 0")
    stopped = replace(run.experiment, stop_step=step)
    yield from train_run(task, Run.create(stopped, run.split, run.path.parent, name=run.path.name))
