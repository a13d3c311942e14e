"""New runs from finished ones, not yet trained: `refit` uses all rows, `extend` trains further."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pocketlens.data.split import Split
from pocketlens.errors import PocketlensError
from pocketlens.files import RUNS
from pocketlens.recipe import Experiment, looks_back
from pocketlens.text import counted
from pocketlens.training.run import Run
from pocketlens.training.state import SMALLEST, make_plan
from pocketlens.training.warm_start import start_from, with_source


def refit(run: Run, runs: Path = RUNS, *, data: str | None = None) -> Run:
    """A new run, not yet trained, of the same recipe and schedule on training and validation rows, to the chosen epoch.

    A schedule that follows the validation scores is replayed, epoch by epoch. `data` is the component text of the data
    where it has moved since.

    Raises:
        PocketlensError: the run is not complete, or has no validation rows.
    """
    status, reason = run.status()
    if status != "complete":
        raise PocketlensError(
            f"run {run.id} must be complete before it is refitted, it is {status} {reason}".rstrip() + "."
        )
    if run.experiment.features_of:
        raise PocketlensError(
            f"run {run.id} is a classifier fitted on features; use pocketlens features with --val-fraction 0."
        )
    old = run.split
    if len(old.val) == 0:
        raise PocketlensError(
            f"run {run.id} was already trained on all development images"
            + (f"; test it with: pocketlens test {run.id}" if old.n_test != 0 else ", so there is nothing to add")
        )
    rows = np.sort(np.concatenate([old.train, old.val]))
    meta = run.checkpoint().meta
    experiment = run.experiment
    best = [record["step"] for record in meta["history"] if record["best"]]
    chosen = max(best) if best and experiment.recipe.keep == "best" else meta["step"]
    before, after = (_steps_per_epoch(experiment, n_rows) for n_rows in (len(old.train), len(rows)))
    factor = after / before  # the same number of epochs
    steps = round(meta["n_steps"] * factor)
    refitted = replace(
        experiment,
        data=data or experiment.data,
        val_fraction=0.0,
        n_steps=steps,
        stop_step=None if chosen == meta["n_steps"] else max(1, round(chosen * factor)),
        factors=_recorded_factors(run) if looks_back(experiment.recipe.schedule) else None,
        alpha=_chosen_alpha(meta),
        made_by=f"refit of {run.id}",
    )
    refitted = _with_its_own_probe(refitted, run)
    if refitted.recipe.start is not None:  # `runs` may be another folder than the run's
        start = Run.open(refitted.recipe.start, run.path.parent).path.resolve()
        refitted = replace(refitted, recipe=refitted.recipe.changed(start=str(start)))
    refitted = with_source(refitted, runs)
    split = Split(rows, rows[:0], old.seed, 0.0, n_test=old.n_test)
    return Run.create(refitted, split, runs, corrections=run.corrections())


def _with_its_own_probe(experiment: Experiment, run: Run) -> Experiment:
    """Where a run starts from a probe, the refit fits the probe again, on all rows, too."""
    recipe = experiment.recipe
    if recipe.start is None or recipe.head != "keep":
        return experiment
    probe = Run.open(recipe.start, run.path.parent).experiment.recipe
    if not probe.is_probe:
        return experiment
    return replace(experiment, recipe=recipe.changed(start=probe.start, head="probe"), start_weights="")


def _chosen_alpha(meta: dict[str, Any]) -> float | None:
    """Where the run's result lies between its first and its last weights, where it does."""
    return float(meta["interpolation"]["alpha"]) if "interpolation" in meta else None


def _recorded_factors(run: Run) -> tuple[float, ...]:
    """The factor on the peak learning rates in each epoch; a refit has no validation scores to compute it from."""
    return tuple(float(record["factor"]) for record in run.history())


def _steps_per_epoch(experiment: Experiment, n_rows: int) -> int:
    return make_plan(experiment.recipe, n_rows, (SMALLEST, SMALLEST, 1), None).steps_per_epoch


def extend(run: Run, epochs: float, runs: Path = RUNS, *, data: str | None = None) -> Run:
    """A new run, not yet trained, that trains a finished one further until both have trained for `epochs` in total.

    `data` is the component text of the data where it has moved since.

    Raises:
        PocketlensError: the run is not complete, or has trained for that long already.
    """
    status = run.status()[0]
    if status != "complete":
        raise PocketlensError(f"run {run.id} must be complete to be trained further, it is {status}; resume it first.")
    checkpoint, experiment = run.checkpoint(), run.experiment
    if experiment.recipe.is_probe:
        where = "" if run.path.parent == RUNS else f' --runs "{run.path.parent}"'
        raise PocketlensError(
            f"run {run.id} is a fitted head, which has no epochs to train on for; train its body from there: "
            f'pocketlens train "{data or experiment.data}" --recipe finetune --start {run.id} '
            f"--epochs {epochs:g}{where}"
        )
    plan = make_plan(experiment.recipe, len(run.split.train), (SMALLEST, SMALLEST, 1), None)
    done = checkpoint.meta["step"] / plan.steps_per_epoch
    if epochs <= done:
        raise PocketlensError(
            f"run {run.id} has trained for {counted(done, 'epoch')}; --epochs must be more, got {epochs:g}."
        )
    recipe = experiment.recipe.changed(start=str(run.path.resolve()), head="keep", epochs=round(epochs - done, 6))
    longer = replace(
        experiment,
        data=data or experiment.data,
        recipe=recipe,
        seed=experiment.seed + 1,
        n_steps=None,
        minutes=None,
        stop_step=None,
        factors=None,
        alpha=None,
        start_weights="",  # of this run's own source, where it had one
        start_outputs=(),
        label="",
        made_by=f"resume of {run.id}, to {counted(epochs, 'epoch')}",
    )
    longer = start_from(run, checkpoint, longer, runs).experiment
    return Run.create(longer, run.split, runs, corrections=run.corrections())
