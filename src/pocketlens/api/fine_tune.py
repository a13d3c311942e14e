"""The probe of a training whose head starts as one: taken where there is one already, else made first."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pocketlens.api.requests import ChosenRecipe, TrainRequest
from pocketlens.errors import PocketlensError
from pocketlens.events import Events, Fact, Line, RunStarted, until_stopped
from pocketlens.recipe import Experiment, Recipe
from pocketlens.text import counted

if TYPE_CHECKING:
    from pocketlens.api.data import LoadedData
    from pocketlens.training.run import Run


@dataclass(frozen=True, eq=False)
class FromProbe:
    """A training that goes on from a probe.

    Attributes:
        probe: its run.
        chosen: the recipe, with `start` and `head` filled in.
        minutes: that are left for the training; None: no limit.
        signal: what stopped the making of the probe, or None.
    """

    probe: Run
    chosen: ChosenRecipe
    minutes: float | None
    signal: int | None = None


def start_at_probe(
    request: TrainRequest, chosen: ChosenRecipe, experiment: Experiment, data: LoadedData, device: str
) -> Events[FromProbe]:
    """Takes or makes the probe that a recipe with `head="probe"` starts from; gives the recipe that starts from it.

    Args:
        request: what was asked for.
        chosen: the recipe.
        experiment: of the training; the probe's has its data, rows and seed.
        data: what is trained on.
        device: where to compute.

    Raises:
        PocketlensError: the run to start from is no probe on these rows, or the minutes are over when it is made.
    """
    from pocketlens.training.fine_tune import check_probe, find_probe, from_probe, probe_recipe
    from pocketlens.training.run import Run

    began, recipe, signal = time.monotonic(), chosen.recipe, None
    if recipe.start is not None:
        probe = Run.open(recipe.start, request.runs)
    else:
        wanted = replace(experiment, recipe=probe_recipe(recipe), label="")
        found = find_probe(wanted, data.split, request.runs)
        probe = found or _new_run(wanted, data, request.runs)
        if found is None:
            signal = yield from _make(probe, data, device)
        if signal is not None:
            return FromProbe(probe, chosen, None, signal)
    _check_typed(request, recipe, probe)
    check_probe(probe, probe.checkpoint(), data.dataset, data.split)
    yield Fact("probe", f"run {probe.id}: {_accuracy(probe)}")
    started = from_probe(recipe, probe, request.runs)
    if "augment" in request.recipe.changes:
        started = started.changed(augment=recipe.augment)  # as it was typed
    return FromProbe(probe, replace(chosen, recipe=started), _minutes_left(request, probe, time.monotonic() - began))


def _new_run(experiment: Experiment, data: LoadedData, runs: Path) -> Run:
    from pocketlens.training.run import Run

    return Run.create(
        experiment, data.split, runs, corrections=None if data.corrections is None else data.corrections.text
    )


def _make(probe: Run, data: LoadedData, device: str) -> Events[int | None]:
    """Makes the probe; gives the signal that stopped it, or None."""
    from pocketlens.training.train import train

    yield RunStarted(probe.id, str(probe.path.parent), device)
    try:
        signal = (yield from until_stopped(train(probe, data.dataset, device=device))).signal  # type: ignore[arg-type]
    except PocketlensError:
        shutil.rmtree(probe.path)  # nothing was fitted, so nothing stays behind
        raise
    if signal is not None:
        shutil.rmtree(probe.path)
        yield Line("stopped while fitting the probe; the same command continues with the features already computed")
    return signal


def _check_typed(request: TrainRequest, recipe: Recipe, probe: Run) -> None:
    theirs = probe.experiment.recipe
    for name in ("model", "prepare", "normalize"):
        if name in request.recipe.changes and getattr(recipe, name) != getattr(theirs, name):
            raise PocketlensError(
                f"--{name} must be that of the run to start from, {getattr(theirs, name)!r}, got "
                f"{getattr(recipe, name)!r}; leave out --{name}, or leave out --start, and a probe is fitted first."
            )


def _accuracy(probe: Run) -> str:
    last = probe.history()[-1]["val_accuracy"]
    return "no validation rows" if last is None else f"validation accuracy {last:.2%}"


def _minutes_left(request: TrainRequest, probe: Run, seconds: float) -> float | None:
    if request.minutes is None:
        return None
    left = request.minutes - seconds / 60
    if left <= 0:
        took = counted(seconds / 60, "minute", digits=2)
        raise PocketlensError(
            f"--minutes {request.minutes:g} is too short: the probe alone took {took}. It is run {probe.id}; the same "
            "command with more minutes continues from there."
        )
    return left
