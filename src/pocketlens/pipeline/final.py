"""The final training of `auto`, and the short one that shows beforehand that the recipe learns at all.

A schedule is cut to the time before its first step. Where the first steps show that the machine is slower or faster
than it was, it is begun anew with another length; where time is over in spite of that, it ends within one step.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from pocketlens.data.dataset import Dataset
from pocketlens.data.split import Split, make_split
from pocketlens.errors import PocketlensError
from pocketlens.events import Note, Progress, Stage
from pocketlens.files import read_json
from pocketlens.pipeline.comparisons import short_split
from pocketlens.pipeline.plan import MOST_EPOCHS, Known, Part, epochs_in
from pocketlens.pipeline.session import Way
from pocketlens.recipe import Experiment, Recipe
from pocketlens.text import say_duration
from pocketlens.training.run import Run
from pocketlens.training.train import Event, train

MOST_TRIES = 3
EARLY = 0.04  # of the steps, after which the pace is looked at
LEAST_EARLY = 4  # steps, the first of which does not count
SLOW, FAST = 1.06, 0.85  # times the time that is left
SAVE = 20.0  # seconds between two checkpoints
GENTLER = 4.0  # a rate at which the loss was not finite is divided by it


@dataclass(frozen=True, eq=False)
class Final:
    """What the final training is made of."""

    way: Way
    dataset: Dataset
    split: Split
    runs: Path
    device: str


@dataclass(frozen=True)
class _Anew:
    """The training has to begin anew: steps take `factor` times as long as was measured."""

    factor: float


def train_check(final: Final, part: Part) -> Generator[Stage | Event, None, Stage]:
    """A short training on training rows; where it diverges, the recipe goes on with a quarter of its rate."""
    way, short = final.way, part.short
    assert short is not None, "a check has a short training"
    split = short_split(final.split, final.dataset, short.rows, short.n_val)
    recipe = way.base.changed(epochs=short.epochs)
    run = _made(final, f"{way.id}-check", _experiment(final, recipe, "check", len(split.train)), split)
    until = way.spent + 1.5 * part.seconds + 1.0
    try:
        if run.status()[0] != "complete":
            yield from _within(final, run, until)
    except PocketlensError as error:
        if run.status()[0] != "diverged":
            raise
        base = way.base.changed(lr=way.base.lr / GENTLER)
        lines = (str(error), f"the final training has a smaller learning rate, {base.lr:g}")
        return way.end(Stage("check", lines, {"run": run.id, "val_accuracy": None}), base)
    accuracy = float(read_json(run.file("scores-val.json"))["top1"]["value"])
    line = f"{recipe.epochs:g} epochs on {len(split.train):,} rows: {100 * accuracy:.2f} % of validation images right"
    chance = 1 / len(final.dataset.classes)
    said = [line] if accuracy > 1.2 * chance else [line, f"that is hardly more than chance, {100 * chance:.2f} %"]
    return way.end(Stage("check", tuple(said), {"run": run.id, "val_accuracy": accuracy}))


def train_final(final: Final, known: Known) -> Generator[Stage | Event, None, Run]:
    """The run that will be judged, trained to its end within the time."""
    way = final.way
    if "final" in way.done:
        stage = way.stage("final")
        yield stage
        return Run.open(str(stage.facts["run"]), final.runs)
    tries, pace = int(way.value.get("tries", 1)), float(way.value.get("pace", 1.0))
    began = float(way.value["begun"].get("final", way.spent))
    way.note(begun={**way.value["begun"], "final": began})
    split = make_split(final.dataset, val_fraction=0.0) if way.value["opens"] else final.split
    while True:
        name = f"{way.id}-final" + ("" if tries == 1 else f"-{tries}")
        run = Run(final.runs / name)
        if not run.file("experiment.json").is_file():
            left = way.limit - known.end - way.spent
            now = replace(known, image=known.image * pace, judge=known.judge * pace)
            recipe = way.base.changed(epochs=epochs_in(max(0.0, left), now))
            run = _made(final, name, _experiment(final, recipe, "final", None), split)
        recipe = run.experiment.recipe
        rows = f"{len(split.train):,} {'development' if way.value['opens'] else 'training'} rows"
        line = f"{recipe.model} for {recipe.epochs:g} epochs on {rows}: run {run.id}"
        yield Stage("train", (line,), {"run": run.id, "epochs": recipe.epochs})
        try:
            for event in _watched(final, run, known, tries):
                if isinstance(event, _Anew):
                    pace = event.factor
                else:
                    yield event
        except PocketlensError as error:
            if run.status()[0] != "diverged" or tries >= MOST_TRIES:
                raise
            yield Note(f"{error}; it begins anew with a smaller learning rate")
            way.note(base=way.base.changed(lr=way.base.lr / GENTLER).to_dict())
        if run.status()[0] == "complete":
            stage = Stage("final", (_say_end(run, way.spent - began),), {"run": run.id, "epochs": recipe.epochs})
            yield way.end(stage)
            return Run(run.path)  # what it was asked has changed where its time was over
        tries += 1
        way.note(tries=tries, pace=pace)
        shutil.rmtree(run.path, ignore_errors=True)


def _watched(final: Final, run: Run, known: Known, tries: int) -> Iterator[Event | _Anew]:
    """The training's events; `_Anew` and the end where its first steps say that its length is wrong."""
    way, stop_at = final.way, final.way.limit - known.end
    began, n_seen, expected = time.monotonic(), 0, 0.0
    with closing(_within(final, run, stop_at)) as events:
        for event in events:
            yield event
            if not isinstance(event, Progress) or tries >= MOST_TRIES:
                continue
            n_seen += 1
            if n_seen == 1:
                began = time.monotonic()  # the first step also waits for whatever begins with it
                continue
            expected += way.value["measured"]["steps"].get(str(event.size), known.image * event.n_images)
            if n_seen != max(LEAST_EARLY, round(EARLY * event.n_steps)) or event.step > max(
                LEAST_EARLY, 3 * EARLY * event.n_steps
            ):
                continue
            factor = (time.monotonic() - began) / max(expected, 1e-9)
            planned = known.once * run.experiment.recipe.epochs / known.epochs
            needed = factor * planned * (1 - event.step / event.n_steps)
            left = stop_at - way.spent
            longer = run.experiment.recipe.epochs < 0.95 * MOST_EPOCHS * known.epochs
            if needed > SLOW * left or (needed < FAST * left and longer):
                pace = "slower" if needed > left else "faster"
                times = f"{say_duration(needed)} to go, {say_duration(left)} left"
                yield Note(f"this machine is {pace} now: {times}; it begins anew")
                yield _Anew(factor)
                return


def _within(final: Final, run: Run, until: float) -> Generator[Event, None, None]:
    """Trains a run to its end or, once so many seconds are spent, to the step that it stands at."""
    way, step = final.way, 0
    every = max(1, math.ceil(SAVE / max(way.value["measured"]["steps"].values())))
    with closing(_trained(run, final, every)) as events:
        for event in events:
            yield event
            step = event.step if isinstance(event, Progress) else step
            if step and way.spent > until and isinstance(event, Progress) and event.step < event.n_steps:
                break
        else:
            return
    experiment, n_steps = run.experiment, int(run.checkpoint().meta["n_steps"])
    yield Note(f"the time is over: it ends after step {step:,} of {n_steps:,}, before its learning rate has come to 0")
    short = Run.create(replace(experiment, stop_step=step), run.split, run.path.parent, name=run.path.name)
    yield from _trained(short, final, None)


def _trained(run: Run, final: Final, every: int | None) -> Generator[Event, None, None]:
    yield from train(run, final.dataset, device=final.device, save_every=every)


def _experiment(final: Final, recipe: Recipe, label: str, rows: int | None) -> Experiment:
    kept = rows is not None and rows < len(final.split.train)
    whole = label == "final" and bool(final.way.value["opens"])
    return Experiment(
        data=final.dataset.text,
        recipe=recipe,
        val_fraction=0.0 if whole else final.split.val_fraction,
        data_fingerprint=final.dataset.fingerprint,
        label=f"auto: {label}",
        made_by=f"auto {final.way.id}",
        minutes=final.way.value["asked"]["minutes"],
        rows=rows if kept else None,
    )


def _made(final: Final, name: str, experiment: Experiment, split: Split) -> Run:
    run = Run(final.runs / name)
    if run.file("experiment.json").is_file():
        return run
    return Run.create(experiment, split, final.runs, name=name)


def _say_end(run: Run, seconds: float) -> str:
    last = run.history()[-1]
    value = last["val_accuracy"]
    judged = "" if value is None else f", {100 * value:.2f} % of validation images right"
    return f"trained in {say_duration(seconds)}, training loss {last['train_loss']:.3f}{judged}"
