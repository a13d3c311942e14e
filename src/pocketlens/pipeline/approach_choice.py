"""The phase of `auto` that chooses between a linear probe on a pretrained body, fine-tuning, and training from scratch.

The probe comes first, because it is the cheapest and the one below which nothing should end.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from pocketlens.datasets import Aim, load
from pocketlens.events import Note, Stage
from pocketlens.models._bodies import EMBEDDED, probe_recipe
from pocketlens.pipeline.approach_trials import MOST_OF_TIME, Event, try_fine_tuning, try_from_scratch, try_probe
from pocketlens.pipeline.approaches import (
    PROBE,
    SCRATCH,
    Approach,
    Judged,
    at_its_size,
    judged_rows,
    judging_splits,
    obstacle,
)
from pocketlens.scoring.choice import Choice, choose
from pocketlens.text import format_duration

if TYPE_CHECKING:
    from pocketlens.data.split import Split
    from pocketlens.pipeline.task import Task
    from pocketlens.recipe import Recipe

PHASE = "approach"


def choose_approach(task: Task) -> Generator[Event, None, Task]:
    """The task with the data of the approach that has the best validation accuracy; its recipe becomes the session's.

    Where no pretrained body is tried, the task stays as it is.
    """
    session = task.session
    if session.state.request.body in ("", "none"):
        return task
    recipe, before = probe_recipe(_body_of(task)), session.state.done.get(PHASE)
    if before is not None:
        yield session.stage(PHASE)
        return task if before.approach == SCRATCH else at_its_size(task, _sized_for(task, recipe))
    probe, splits = _sized_for(task, recipe), judging_splits(task.dataset, task.split)
    why = obstacle(probe, len(task.split.train))
    if why is None and not splits:
        why = "no images can be held out to judge it on"
    if why is not None:
        yield Note(f"no pretrained body: {why}")
        session.save(replace(session.state, no_body=why))
        return task
    yield (yield from _compare(task, probe, splits))
    return task if session.state.done[PHASE].approach == SCRATCH else at_its_size(task, probe)


def _body_of(task: Task) -> str:
    body = task.session.state.request.body
    return EMBEDDED if body == "auto" else body


def _sized_for(task: Task, recipe: Recipe) -> Approach:
    """A recipe with the data at its size; rows, split and test rows are those of the task, whatever the size."""
    request, limits = task.session.state.request, task.limits
    if task.dataset.text == request.text:  # its size was typed, or its pictures are small: nothing was chosen for it
        return Approach(PROBE, recipe, task.dataset, task.sealed)
    aim = Aim(recipe.model, recipe.prepare, request.minutes, limits.device)
    dataset, sealed = load(request.text, limits.data, version=request.hold_out, aim=aim)
    assert dataset.fingerprint == task.dataset.fingerprint, "the identity of images does not depend on their size"
    return Approach(PROBE, recipe, dataset, sealed)


def _compare(task: Task, probe: Approach, splits: tuple[Split, ...]) -> Generator[Event, None, Stage]:
    session = task.session
    whole = "validation images" if splits[0] is task.split else "development images, each held out of its training"
    planned = round(MOST_OF_TIME * max(0.0, session.limit - session.spent), 1)
    found = yield from try_probe(task, probe, splits)
    best = found if isinstance(found, Judged) else None
    scratch = yield from try_from_scratch(task, splits, best)
    tried = [found, scratch]
    if isinstance(found, Judged):
        best = max((each for each in tried if isinstance(each, Judged)), key=lambda each: float(each.right.mean()))
        tried.insert(1, (yield from try_fine_tuning(task, found, splits, best)))  # the cheapest first
    judged = [each for each in tried if isinstance(each, Judged)]
    lines = [each for each in tried if isinstance(each, str)]
    if not judged:
        return session.finish_phase(Stage(PHASE, tuple(lines), _facts(planned, lines)))
    groups = task.dataset.groups
    choice = choose(
        {each.approach.name: each.right for each in judged},
        None if groups is None else groups[judged_rows(splits)],
    )
    not_tried = tuple(lines)
    lines = [*(_line(each, whole) for each in judged), *lines, *_in_words(choice)]
    lines += sorted({each.pretraining for each in judged if each.pretraining})
    taken = next(each.approach for each in judged if each.approach.name == choice.chosen)
    facts = {
        **_facts(planned, not_tried),
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


def _facts(planned: float, not_tried: Sequence[str]) -> dict[str, Any]:
    """What is known where nothing could be judged."""
    return {"chosen": SCRATCH, "candidates": [], "planned": planned, "not_tried": list(not_tried)}


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
