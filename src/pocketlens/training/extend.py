"""Training a finished run for more epochs than were first asked for.

The rule: a schedule that has come to its end is not stretched. The new run begins with the weights of the old one and
has a complete schedule of the same kind, with its own warm-up and end, over the missing epochs (a warm restart;
Loshchilov and Hutter 2017, SGDR, arXiv:1608.03983). Its seed is the next one: with the same one every image would be
augmented as it was before. All of this stands in its experiment.json; the old run stays as it is.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pocketlens.errors import PocketlensError
from pocketlens.training.run import RUNS, Run
from pocketlens.training.state import SMALLEST, make_plan


def extend(run: Run, epochs: float, runs: Path = RUNS) -> Run:
    """A new run that trains a finished one further, until both together have trained for `epochs` epochs.

    Raises:
        PocketlensError: the run is not complete, or has trained as long already.
    """
    status = run.status()[0]
    if status != "complete":
        raise PocketlensError(f"run {run.id} must be complete to be trained further, it is {status}; resume it first.")
    meta, experiment = run.checkpoint().meta, run.experiment
    plan = make_plan(experiment.recipe, len(run.split.train), (SMALLEST, SMALLEST, 1), None)
    done = meta["step"] / plan.steps_per_epoch
    if epochs <= done:
        raise PocketlensError(f"run {run.id} has trained for {done:g} epochs; --epochs must be more, got {epochs:g}.")
    recipe = experiment.recipe.changed(start=str(run.path.resolve()), head="keep", epochs=round(epochs - done, 6))
    longer = replace(
        experiment,
        recipe=recipe,
        seed=experiment.seed + 1,
        n_steps=None,
        minutes=None,
        stop_step=None,
        factors=None,
        label="",
        made_by=f"resume of {run.id}, to {epochs:g} epochs",
    )
    return Run.create(longer, run.split, runs, corrections=run.corrections())
