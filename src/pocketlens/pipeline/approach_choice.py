"""The phase of `auto` that chooses between a linear probe on a pretrained body, fine-tuning, and training from scratch.

The probe comes first, because it is the cheapest and the one below which nothing should end. Where a larger body is
installed and the time is enough for its features, it is probed too, and the better of the two is fine-tuned.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from pocketlens.datasets import Aim, load
from pocketlens.events import Note, Stage
from pocketlens.models._bodies import EMBEDDED, body_named_in, probe_recipe
from pocketlens.pipeline.approach_trials import (
    MOST_OF_TIME,
    Event,
    larger_body,
    try_fine_tuning,
    try_from_scratch,
    try_probe,
)
from pocketlens.pipeline.approaches import (
    LARGER,
    PROBE,
    SCRATCH,
    Approach,
    Judged,
    at_its_size,
    judged_rows,
    judging_splits,
    obstacle,
)
from pocketlens.pipeline.phase_result import RatedCandidate
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
        if before.approach == SCRATCH:
            return task
        body = body_named_in(session.state.base.model) or _body_of(task)
        return at_its_size(task, _sized_for(task, probe_recipe(body)))
    probe, splits = _sized_for(task, recipe), judging_splits(task.dataset, task.split)
    why = obstacle(probe, len(task.split.train))
    if why is None and not splits:
        why = "no images can be held out to judge it on"
    if why is not None:
        yield Note(f"no pretrained body: {why}")
        session.save(replace(session.state, no_body=why))
        return task
    taken = yield from _compare(task, probe, splits)
    return task if taken is None or taken.name == SCRATCH else at_its_size(task, taken)


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


def _compare(task: Task, probe: Approach, splits: tuple[Split, ...]) -> Generator[Event, None, Approach | None]:
    """Tries the approaches and yields the stage; gives the one that is taken, None where none could be judged."""
    session = task.session
    whole = "validation images" if splits[0] is task.split else "development images, each held out of its training"
    planned = round(MOST_OF_TIME * max(0.0, session.limit - session.spent), 1)
    tried = yield from _try_all(task, probe, splits)
    judged = [each for each in tried if isinstance(each, Judged)]
    lines = [each for each in tried if isinstance(each, str)]
    if not judged:
        yield session.finish_phase(Stage(PHASE, tuple(lines), _facts(planned, lines)))
        return None
    choice = _choose(task, judged, splits)
    not_tried = tuple(lines)
    lines = [*(_line(each, whole) for each in judged), *lines, *_in_words(choice)]
    lines += sorted({each.pretraining for each in judged if each.pretraining})
    taken = next(each.approach for each in judged if each.approach.name == choice.chosen)
    facts = {
        **_facts(planned, not_tried),
        "chosen": choice.chosen,
        "choice": asdict(choice),
        "judged_on": f"{len(judged[0].right):,} {whole}",
        "candidates": [RatedCandidate(each.approach.name, each.accuracy, each.seconds).to_dict() for each in judged],
    }
    is_scratch = choice.chosen == SCRATCH
    yield session.finish_phase(Stage(PHASE, tuple(lines), facts), None if is_scratch else taken.recipe)
    return taken


def _try_all(task: Task, probe: Approach, splits: tuple[Split, ...]) -> Generator[Event, None, list[Judged | str]]:
    """What was tried, the cheapest first, and lines on what was not."""
    found = yield from try_probe(task, probe, splits)
    if not isinstance(found, Judged):
        return [found, (yield from try_from_scratch(task, splits, None))]
    tried: list[Judged | str] = [found]
    body = larger_body(task, found, splits)
    if body is not None:
        yield Note(f"{body.name} is installed too, and the time allows its features")
        larger = replace(_sized_for(task, probe_recipe(body.name)), name=LARGER)
        tried.append((yield from try_probe(task, larger, splits)))
    probes = [each for each in tried if isinstance(each, Judged)]
    if len(probes) > 1:
        chosen = _choose(task, probes, splits).chosen
        found = next(each for each in probes if each.approach.name == chosen)
    scratch = yield from try_from_scratch(task, splits, found)
    ahead = [each for each in (found, scratch) if isinstance(each, Judged)]
    best = max(ahead, key=lambda each: float(each.right.mean()))
    return [*tried, (yield from try_fine_tuning(task, found, splits, best)), scratch]


def _choose(task: Task, judged: list[Judged], splits: tuple[Split, ...]) -> Choice:
    groups = task.dataset.groups
    return choose(
        {each.approach.name: each.right for each in judged},
        None if groups is None else groups[judged_rows(splits)],
    )


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
