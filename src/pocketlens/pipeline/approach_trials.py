"""How `auto` tries its approaches: a linear probe, training from scratch, and fine-tuning from the probe.

Where the features of a probe take too long, the body gets smaller crops; where they take little of the time, the
largest installed body whose features fit into a share of it is probed too. Training from scratch gets a share of the
time that is left. Fine-tuning comes last: its folds get as many epochs as the final training would have, so that what
is judged is what would be made. An approach that is behind beyond chance after a fold is dropped, and the others have
its time.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Generator
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from pocketlens.events import Epoch, Note, Progress, Stage, Step
from pocketlens.models._bodies import EMBEDDED, Body, find_body, larger_packaged
from pocketlens.pipeline.approaches import (
    FINE_TUNED,
    PROBE,
    SCRATCH,
    Approach,
    Judged,
    at_its_size,
    judge,
    judged_rows,
    why_dropped,
)
from pocketlens.pipeline.final import experiment_of, final_split, make_run, train_run, train_until
from pocketlens.pipeline.fine_tuned import Allowed, closing_seconds, train_fine_tuned
from pocketlens.pipeline.plan import LOOK, MOST_EPOCHS, SLACK
from pocketlens.pipeline.planning import plan_inputs, take_faster_precision
from pocketlens.recipe import read_recipe
from pocketlens.text import counted, format_duration
from pocketlens.training.fine_tune import NAMED, with_body_of
from pocketlens.training.run import Run

if TYPE_CHECKING:
    from pocketlens.data.split import Split
    from pocketlens.pipeline.task import Task

SMALLER = ((184, 160), (128, 112))  # px: the shorter side, and the middle that the body sees, to save time
FEATURES, FROM_SCRATCH = 0.45, 0.25  # of the time that is left, at most, for each of them
LARGER_FEATURES = 0.15  # of the time that is left, at most, for those of a larger body, test images included
MOST_OF_TIME = 0.75  # that is left, for all three
OVERTIME = 0.25  # of the time limit, for the features of the smallest crops where less is left
LEAST_STEPS = 15  # of a training from scratch that says anything
Event = Stage | Note | Step | Progress | Epoch
T = TypeVar("T")


def try_probe(task: Task, probe: Approach, splits: tuple[Split, ...]) -> Generator[Event, None, Judged | str]:
    """Fits the probe on every split, with the largest crops whose features fit into the time."""
    session = task.session
    is_open = session.state.request.body == "auto" and probe.name == PROBE
    smaller = [f"resize({side}, filter='bicubic') | middle({crop})" for side, crop in SMALLER] if is_open else []
    crops = [probe.recipe.prepare, *smaller]
    for prepare in crops:
        sized = replace(probe, recipe=probe.recipe.changed(prepare=prepare))
        own = at_its_size(task, probe)
        began, runs = session.spent, list[Run]()
        for number, split in enumerate(splits, 1):
            name = f"{probe.name.replace(' ', '-')}-{crops.index(prepare) + 1}-{number}"
            run = make_run(own, name, experiment_of(own, probe.name, sized.recipe, split), split)
            fitting = _fit_head(own, run, is_needed=prepare == crops[-1] and probe.name == PROBE)
            seconds = yield from _of_fold(fitting, number, len(splits))
            if seconds is not None:
                instead = "left out" if prepare == crops[-1] else "taking smaller crops"
                yield Note(f"features with {prepare} would take {format_duration(seconds)}: {instead}")
                shutil.rmtree(run.path, ignore_errors=True)
                break
            runs.append(run)
        else:
            return judge(sized, runs, session.spent - began)
    return f"{probe.name}: the pretrained body takes too long here"


def larger_body(task: Task, probe: Judged, splits: tuple[Split, ...]) -> Body | None:
    """The largest body that is installed beside the embedded one and whose features the time allows, or None.

    Their seconds follow from those of the probe that was `judged` and from the multiply-adds of both. Photos that are
    kept larger for it are read once more.
    """
    session, small = task.session, find_body(EMBEDDED)
    assert small is not None
    is_whole = probe.approach.recipe.prepare == small.prepare and probe.approach.recipe.model == small.text
    if session.state.request.body != "auto" or not is_whole:
        return None
    rows = len(judged_rows(splits))
    left = max(0.0, session.limit - session.spent)
    for body in larger_packaged():
        times = body.multiply_adds / small.multiply_adds * (1 + len(task.sealed) / max(1, rows))
        if session.state.loading + times * probe.seconds <= LARGER_FEATURES * left:
            return body
    return None


def _of_fold(events: Generator[Event, None, T], number: int, n_folds: int) -> Generator[Event, None, T]:
    """The events of one training of several, their notes with the fold that is held out of it."""
    with closing(events):
        while True:
            try:
                event = next(events)
            except StopIteration as end:
                value: T = end.value
                return value
            if n_folds > 1 and isinstance(event, Note):
                event = Note(f"fold {number} of {n_folds}: {event.text}")
            yield event


def _fit_head(task: Task, run: Run, *, is_needed: bool) -> Generator[Event, None, float | None]:
    """Fits the head of a probe; stops and gives the seconds where the features would take more than a share of what is
    left.

    Where it is needed it takes what is left, and somewhat more where little is: nothing else would learn as much in so
    short a time.
    """
    if run.status()[0] == "complete":
        return None
    session, began, first = task.session, time.monotonic(), None
    with closing(train_run(task, run)) as events:
        for event in events:
            if isinstance(event, Epoch):
                continue  # a fit has no epochs to show
            yield event
            if not isinstance(event, Step) or "features" not in event.what or not 0 < event.done < event.total:
                continue
            now, n_left = time.monotonic(), event.total - event.done + len(task.sealed)
            if first is None:  # the first images also wait for the body, so at most half of what they took is sure
                first = (now, event.done)
                seconds = 0.5 * (now - began) / event.done * n_left
            else:
                seconds = (now - first[0]) / max(1, event.done - first[1]) * n_left
            left = max(0.0, session.limit - session.spent)
            if seconds > (max(left, OVERTIME * session.limit) if is_needed else FEATURES * left):
                return seconds
    return None


def try_from_scratch(
    task: Task, splits: tuple[Split, ...], best: Judged | None
) -> Generator[Event, None, Judged | str]:
    """Trains the usual recipe on every split, each with an equal share of the time; `best` is the best one so far."""
    yield from take_faster_precision(task)
    session, inputs = task.session, (yield from plan_inputs(task))
    base, began = session.state.base, session.spent
    seconds = FROM_SCRATCH * max(0.0, session.limit - began) / len(splits)
    n_train = max(len(split.train) for split in splits)
    per_epoch = SLACK * n_train * inputs.train_seconds
    epochs = min(MOST_EPOCHS * base.epochs, max(0.0, seconds - inputs.startup) / per_epoch)
    if epochs * math.ceil(n_train / base.batch_size) < LEAST_STEPS:
        return f"{SCRATCH}: not tried, the time is for {counted(epochs, 'epoch', digits=2)}"
    approach, runs = Approach(SCRATCH, base, task.dataset, task.sealed), list[Run]()
    recipe = base.changed(epochs=round(epochs, 2))
    for number, split in enumerate(splits, 1):
        run = make_run(task, f"scratch-{number}", experiment_of(task, SCRATCH, recipe, split), split)
        if run.status()[0] != "complete":
            yield from _of_fold(train_until(session.spent + 1.3 * seconds, task, run), number, len(splits))
        runs.append(run)
        judged = judge(approach, runs, session.spent - began)
        if (why := why_dropped(judged, best, splits, number)) is not None:
            return why
    return judged


def try_fine_tuning(
    task: Task, probe: Judged, splits: tuple[Split, ...], best: Judged
) -> Generator[Event, None, Judged | str]:
    """Fine-tunes from the probe on every split, with the epochs of the final one; `best` is the best one so far."""
    session, own = task.session, at_its_size(task, probe.approach)
    began, runs, n_steps = session.spent, list[Run](), None
    look = 0.0 if "look" in session.state.done else LOOK * session.limit
    left = session.limit - began - look - closing_seconds(task)
    final = len(final_split(task).train) / max(len(split.train) for split in splits)  # times as long as a fold
    seconds = max(0.0, left) / (len(splits) + final)
    recipe = with_body_of(read_recipe(NAMED), probe.approach.recipe, probe.side)
    approach = replace(probe.approach, name=FINE_TUNED, recipe=recipe)
    for number, split in enumerate(splits, 1):
        tuning = train_fine_tuned(own, f"finetune-{number}", recipe, split, Allowed(seconds, n_steps))
        run = yield from _of_fold(tuning, number, len(splits))
        if run is None:
            room = f"{format_duration(seconds)} are too short for it" if seconds else "no time is left for it"
            return f"{FINE_TUNED}: not tried, {room}"
        runs.append(run)
        n_steps = run.experiment.n_steps  # the same for all folds
        judged = judge(approach, runs, session.spent - began)
        if (why := why_dropped(judged, best, splits, number)) is not None:
            return why
    return judged
