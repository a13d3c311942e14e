"""The phase of `auto` that chooses between a linear probe on a pretrained body and training from scratch.

The probe comes first, because it is the cheapest and the one below which nothing should end. Where its features take
too long, the body gets smaller crops. Training from scratch gets a share of the time, with a schedule of its own.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Generator
from contextlib import closing
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from pocketlens.data.split import Split
from pocketlens.datasets import Aim, load
from pocketlens.events import Epoch, Note, Progress, Stage, Step
from pocketlens.pipeline.approaches import (
    FINE_TUNED,
    PROBE,
    SCRATCH,
    Approach,
    Judged,
    judge,
    judged_rows,
    judging_splits,
    obstacle,
    probe_recipe,
)
from pocketlens.pipeline.final import experiment_of, make_run, train_run, train_until
from pocketlens.pipeline.fine_tuned import fine_tuned_recipe, train_fine_tuned
from pocketlens.pipeline.plan import MOST_EPOCHS, SLACK
from pocketlens.pipeline.planning import plan_inputs
from pocketlens.pipeline.task import Task
from pocketlens.scoring.choice import Choice, choose
from pocketlens.text import format_duration
from pocketlens.training.run import Run

if TYPE_CHECKING:
    from pocketlens.recipe import Recipe

PHASE = "approach"
SMALLER = ((184, 160), (128, 112))  # px: the shorter side, and the middle that the body sees, to save time
FEATURES, FINE_TUNING, FROM_SCRATCH = 0.45, 0.4, 0.35  # of the time that is left, at most, for each of them
LEAST_STEPS = 15  # of a training from scratch that says anything
Event = Stage | Note | Step | Progress | Epoch


def choose_approach(task: Task) -> Generator[Event, None, Task]:
    """The task with the data of the approach that has the best validation accuracy; its recipe becomes the session's.

    Where no pretrained body is tried, the task stays as it is.
    """
    session = task.session
    if session.state.request.body in ("", "none"):
        return task
    recipe = probe_recipe(session.state.request.body)
    probe = _sized_for(task, recipe)
    if PHASE not in session.state.done:
        why = obstacle(probe, len(task.split.train))
        if why is None and not judging_splits(task.dataset, task.split):
            why = "no images can be held out to judge it on"
        if why is not None:
            yield Note(f"no pretrained body: {why}")
            return task
        yield (yield from _compare(task, probe))
    else:
        yield session.stage(PHASE)
    if session.state.done[PHASE].approach == SCRATCH:
        return task
    return replace(task, dataset=probe.dataset, sealed=probe.sealed)


def _sized_for(task: Task, recipe: Recipe) -> Approach:
    """A recipe with the data at its size; rows, split and test rows are those of the task, whatever the size."""
    request, limits = task.session.state.request, task.limits
    aim = Aim(recipe.model, recipe.prepare, request.minutes, limits.device)
    dataset, sealed = load(request.text, limits.data, version=request.hold_out, aim=aim)
    assert dataset.fingerprint == task.dataset.fingerprint, "the identity of images does not depend on their size"
    return Approach(PROBE, recipe, dataset, sealed)


def _compare(task: Task, probe: Approach) -> Generator[Event, None, Stage]:
    session, splits = task.session, judging_splits(task.dataset, task.split)
    whole = "validation images" if splits[0] is task.split else "development images, each held out of its training"
    judged: list[Judged] = []
    lines: list[str] = []
    found = yield from _probe(task, probe, splits)
    tried = [found, (yield from _fine_tuned(task, found, splits))] if isinstance(found, Judged) else [found]
    for each in (*tried, (yield from _from_scratch(task, splits))):
        if isinstance(each, Judged):
            judged.append(each)
        else:
            lines.append(each)
    if not judged:
        return session.finish_phase(Stage(PHASE, tuple(lines), {"chosen": SCRATCH, "candidates": []}))
    groups = task.dataset.groups
    choice = choose(
        {each.approach.name: each.right for each in judged},
        None if groups is None else groups[judged_rows(splits)],
    )
    lines = [*(_line(each, whole) for each in judged), *lines, *_in_words(choice)]
    lines += sorted({each.pretraining for each in judged if each.pretraining})
    taken = next(each.approach for each in judged if each.approach.name == choice.chosen)
    facts = {
        "chosen": choice.chosen,
        "choice": asdict(choice),
        "judged_on": f"{len(judged[0].right):,} {whole}",
        "candidates": [
            {"name": each.approach.name, "accuracy": each.accuracy.to_dict(), "seconds": round(each.seconds, 1)}
            for each in judged
        ],
    }
    is_scratch = choice.chosen == SCRATCH
    return session.finish_phase(Stage(PHASE, tuple(lines), facts), None if is_scratch else taken.recipe)


def _probe(task: Task, probe: Approach, splits: tuple[Split, ...]) -> Generator[Event, None, Judged | str]:
    """Fits the probe on every split, with the largest crops whose features fit into the time."""
    session = task.session
    is_open = session.state.request.body == "auto"
    smaller = [f"resize({side}, filter='bicubic') | middle({crop})" for side, crop in SMALLER] if is_open else []
    crops = [probe.recipe.prepare, *smaller]
    for prepare in crops:
        sized = replace(probe, recipe=probe.recipe.changed(prepare=prepare))
        own = replace(task, dataset=probe.dataset, sealed=probe.sealed)
        began, runs = session.spent, list[Run]()
        for number, split in enumerate(splits, 1):
            run = make_run(
                own,
                f"{PROBE}-{crops.index(prepare) + 1}-{number}",
                experiment_of(own, PROBE, sized.recipe, split),
                split,
            )
            seconds = yield from _fit_head(own, run, 1.0 if prepare == crops[-1] else FEATURES)
            if seconds is not None:
                instead = "left out" if prepare == crops[-1] else "taking smaller crops"
                yield Note(f"features with {prepare} would take {format_duration(seconds)}: {instead}")
                shutil.rmtree(run.path, ignore_errors=True)
                break
            runs.append(run)
        else:
            return judge(sized, runs, session.spent - began)
    return "the pretrained body takes too long here"


def _fit_head(task: Task, run: Run, share: float) -> Generator[Event, None, float | None]:
    """Fits the head of a probe; stops and gives the seconds where the features would take more than a share of what is
    left."""
    if run.status()[0] == "complete":
        return None
    session, first = task.session, None
    with closing(train_run(task, run)) as events:
        for event in events:
            if isinstance(event, Epoch):
                continue  # a fit has no epochs to show
            yield event
            if not isinstance(event, Step) or "features" not in event.what or event.done >= event.total:
                continue
            now = time.monotonic()
            if first is None:
                first = (now, event.done)
                continue
            per_image = (now - first[0]) / max(1, event.done - first[1])
            seconds = per_image * (event.total - event.done + len(task.sealed))
            if seconds > share * max(0.0, session.limit - session.spent):
                return seconds
    return None


def _fine_tuned(task: Task, probe: Judged, splits: tuple[Split, ...]) -> Generator[Event, None, Judged | str]:
    """Fine-tunes from the probe on every split, each with an equal share of the time."""
    session, own = task.session, replace(task, dataset=probe.approach.dataset, sealed=probe.approach.sealed)
    began, runs = session.spent, list[Run]()
    seconds = FINE_TUNING * max(0.0, session.limit - began) / len(splits)
    recipe = fine_tuned_recipe(probe.approach.recipe, probe.side)
    for number, split in enumerate(splits, 1):
        run = yield from train_fine_tuned(own, f"finetune-{number}", recipe, split, seconds)
        if run is None:
            return f"{FINE_TUNED}: not tried, {format_duration(seconds)} are too short for it"
        runs.append(run)
    return judge(replace(probe.approach, name=FINE_TUNED, recipe=recipe), runs, session.spent - began)


def _from_scratch(task: Task, splits: tuple[Split, ...]) -> Generator[Event, None, Judged | str]:
    """Trains the usual recipe on every split, each with an equal share of the time."""
    session, inputs = task.session, (yield from plan_inputs(task))
    base, began = session.state.base, session.spent
    seconds = FROM_SCRATCH * max(0.0, session.limit - began) / len(splits)
    n_train = max(len(split.train) for split in splits)
    per_epoch = SLACK * n_train * inputs.train_seconds
    epochs = min(MOST_EPOCHS * base.epochs, max(0.0, seconds - inputs.startup) / per_epoch)
    if epochs * math.ceil(n_train / base.batch_size) < LEAST_STEPS:
        return f"{SCRATCH}: not tried, the time is for {epochs:.2g} epochs"
    recipe, runs = base.changed(epochs=round(epochs, 2)), list[Run]()
    for number, split in enumerate(splits, 1):
        run = make_run(task, f"scratch-{number}", experiment_of(task, SCRATCH, recipe, split), split)
        if run.status()[0] != "complete":
            yield from train_until(session.spent + 1.3 * seconds, task, run)
        runs.append(run)
    approach = Approach(SCRATCH, base, task.dataset, task.sealed)
    return judge(approach, runs, session.spent - began)


def _line(judged: Judged, whole: str) -> str:
    accuracy, recipe = judged.accuracy, judged.approach.recipe
    shown = f"{accuracy.value:.2%} [{accuracy.low:.2%}, {accuracy.high:.2%}]"
    height, width, _ = judged.approach.dataset.shape
    return (
        f"{judged.approach.name}: {shown} of {len(judged.right):,} {whole}; {recipe.model} on images of {height} x "
        f"{width} px, {format_duration(judged.seconds)}"
    )


def _in_words(choice: Choice) -> list[str]:
    if choice.runner_up is None:
        return [f"chosen: {choice.chosen}, the only one that was tried"]
    points = f"{100 * choice.difference:+.2f} points [{100 * choice.low:+.2f}, {100 * choice.high:+.2f}]"
    word = "beyond chance" if choice.is_beyond_chance else "not beyond chance"
    lines = [f"chosen: {choice.chosen}, {points} against {choice.runner_up}, {word}"]
    if choice.chosen != choice.best:
        lines.append(f"{choice.best} is ahead by less than one standard error, and the cheaper one is taken")
    if 100 * choice.selection_bias >= 0.05:
        lines.append(f"of the best accuracy, {100 * choice.selection_bias:.2f} points are expected selection bias")
    return lines
