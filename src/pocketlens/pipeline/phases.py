"""The phases of `auto`, from a look at the data to the report.

Every phase records its result in the session before the next one begins; a session that was killed resumes with the
phases that are missing. The test set is opened once, for the one classifier that was chosen before.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pocketlens.events import Epoch, Note, Progress, Stage, Step
from pocketlens.pipeline.approach_choice import choose_approach
from pocketlens.pipeline.comparisons import run_comparison
from pocketlens.pipeline.final import train_check, train_final, train_head
from pocketlens.pipeline.final_score import score_final
from pocketlens.pipeline.fine_tuned import finish_fine_tuned
from pocketlens.pipeline.look import audit_data, expected_seconds, summary_stage
from pocketlens.pipeline.page import write_pages
from pocketlens.pipeline.plan import LOOK, PlannedPhase, look_phase, make_plan
from pocketlens.pipeline.planning import plan_inputs, plan_recipe, settled
from pocketlens.pipeline.result import AutoResult, result_of
from pocketlens.pipeline.task import Task

if TYPE_CHECKING:
    from pocketlens.training.run import Run

AutoEvent = Stage | Note | Step | Progress | Epoch
AutoEvents = Generator[AutoEvent, None, AutoResult]


def run_phases(task: Task) -> AutoEvents:
    """Runs the phases that are missing; yields what happens, and a Stage for each phase, and returns the result."""
    session = task.session
    yield from session.opening(has_begun=session.state.has_begun)
    yield summary_stage(task)
    found = yield from find_classifier(task)
    yield score_final(found.task, found.run)
    return (yield from finish(found))


@dataclass(frozen=True, eq=False)
class Found:
    """The classifier that a session ends with: its run, and the task with the data at the size that it wants."""

    task: Task
    run: Run


def find_classifier(task: Task) -> Generator[AutoEvent, None, Found]:
    """All phases up to the end of the final training: the choice of the approach, its audit, comparisons, trainings."""
    chosen = yield from choose_approach(task)
    if chosen.session.state.base.head == "probe":
        return Found(chosen, (yield from _finish_with_body(task, chosen)))
    return Found(chosen, (yield from _finish_from_scratch(task)))


def finish(found: Found) -> AutoEvents:
    """Writes the pages, after the test, and closes the session."""
    session = found.task.session
    yield (yield from write_pages(found.task, found.run))
    session.save(replace(session.state, finished="complete"))
    return result_of(session)


def _finish_from_scratch(task: Task) -> Generator[AutoEvent, None, Run]:
    """The plan, and all that it holds, up to the final training."""
    session = task.session
    inputs = yield from plan_recipe(task)
    for kind in ("look", "augment", "models", "search", "check"):
        if kind in session.state.done:
            yield session.stage(kind)
            continue
        phase = make_plan(inputs, session.spent, settled(session.state)).phase(kind)
        if phase is None and kind in session.state.deadlines:
            phase = PlannedPhase(kind, 0.0)  # it has begun, so it is brought to its end
        if phase is not None:
            yield (yield from _run_phase(task, phase))
            inputs = yield from plan_inputs(task)
    return (yield from train_final(task, inputs))


def _finish_with_body(task: Task, chosen: Task) -> Generator[AutoEvent, None, Run]:
    """An audit of the small images, as deep as its share of the time allows, and the final fit or fine-tuning."""
    session = task.session
    if "look" in session.state.done:
        yield session.stage("look")
    else:
        seconds = expected_seconds(task.dataset, len(task.sealed))
        yield (yield from audit_data(task, look_phase(seconds, LOOK * session.limit), chosen))
    finish = train_head if session.state.base.is_probe else finish_fine_tuned
    return (yield from finish(chosen))


def _run_phase(task: Task, phase: PlannedPhase) -> Generator[AutoEvent, None, Stage]:
    match phase.name:
        case "look":
            return (yield from audit_data(task, phase))
        case "check":
            return (yield from train_check(task, phase))
        case _:
            return (yield from run_comparison(task, phase))
