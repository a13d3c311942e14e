"""`auto --folds`: the whole procedure of `auto` once for each fold, then on all rows, which gives the result."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from pocketlens.events import Stage
from pocketlens.pipeline.entry import open_task
from pocketlens.pipeline.fold_runs import PHASE, score_folds
from pocketlens.pipeline.look import summary_stage
from pocketlens.pipeline.phases import AutoEvents, Found, find_classifier, finish
from pocketlens.pipeline.procedure import opening_stage, with_clock
from pocketlens.text import counted

if TYPE_CHECKING:
    from pocketlens.pipeline.options import AutoOptions
    from pocketlens.pipeline.task import Task


def run_folds(options: AutoOptions, device: str = "cpu") -> AutoEvents:
    """As `run_auto`, with `options.folds`: every image is a test image once, and the result is trained on all of them.

    Each fold gets an equal share of the time, and the training on all rows what is left.

    Raises:
        PocketlensError: as `run_auto`; there are no such folds, or one of them has been opened before.
    """
    began = time.monotonic()
    yield opening_stage(options)
    with open_task(options, device, began) as task:
        notes = tuple(note for note in task.dataset.notes if not note.startswith("there are no test images"))
        task = replace(task, dataset=replace(task.dataset, notes=notes))
        return (yield from with_clock(task.session, _run_phases(task, options)))


def _run_phases(task: Task, options: AutoOptions) -> AutoEvents:
    session = task.session
    yield from session.opening(has_begun=session.state.has_begun or (session.path / PHASE).is_dir())
    yield summary_stage(task)
    yield session.stage(PHASE) if PHASE in session.state.done else (yield from score_folds(task, options))
    found = yield from find_classifier(task)
    yield session.finish_phase(_test_stage(found))
    return (yield from finish(found))


def _test_stage(found: Found) -> Stage:
    """The score of the session is that of the folds; a test part that the data gives stays sealed."""
    task, n, n_sealed = found.task, len(found.task.dataset), len(found.task.sealed)
    folded = task.session.state.done[PHASE].folded
    assert folded is not None
    by_whom = (
        f"each was judged by a classifier trained without its fold; the result is trained on all {counted(n, 'image')}"
    )
    lines = [folded.line(), by_whom]
    if n_sealed:
        lines.append(
            f"the given test part ({counted(n_sealed, 'image')}) stays sealed; to open it: pocketlens test "
            f"{found.run.id}"
        )
    return Stage("test", tuple(lines), {"opened": False, "openings": 0, "test": None})
