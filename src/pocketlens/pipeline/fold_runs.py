"""The folds of `auto --folds`: a session of its own for each, and the accuracy over the images of all.

Each lies below the main session and has the fold as its test part: sealed until its final training has ended, and
opened once, with a line in the ledger. Where the main session was killed, folds that have ended are read again.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pocketlens.errors import PocketlensError
from pocketlens.events import Epoch, Note, Progress, Stage, Step
from pocketlens.pipeline.fold_data import folded_text, numbers_of, rows_of
from pocketlens.pipeline.fold_scores import FoldedScore, FoldScore
from pocketlens.pipeline.procedure import run_auto
from pocketlens.pipeline.result import AutoResult, result_of
from pocketlens.pipeline.session import find_finished
from pocketlens.scoring.pooled import pooled_accuracy
from pocketlens.scoring.predictions import read_predictions
from pocketlens.text import counted, format_duration

if TYPE_CHECKING:
    from pocketlens.data.dataset import Dataset
    from pocketlens.pipeline.options import AutoOptions
    from pocketlens.pipeline.phases import AutoEvent
    from pocketlens.pipeline.task import Task

PHASE = "folds"
LEAST_SHARE = 0.5  # of a fold's time, that the final training gets where the folds took longer


def score_folds(task: Task, options: AutoOptions) -> Generator[AutoEvent, None, Stage]:
    """Runs the folds that are missing, and records the score over all of them.

    Raises:
        PocketlensError: a fold has been opened by another run meanwhile.
    """
    session, numbers = task.session, numbers_of(task.dataset)
    minutes = options.minutes / (len(numbers) + 1)
    sizes = [len(rows_of(task.dataset, number)) for number in numbers]
    yield Note(
        f"{counted(len(numbers), 'fold')} of {min(sizes):,} to {counted(max(sizes), 'image')}, each sealed until its "
        f"training has ended; {format_duration(60 * minutes)} for each and for the training on all images"
    )
    scores, right = [], np.zeros(len(task.dataset), bool)
    for place, number in enumerate(numbers):
        yield Step(f"fold {number}, {place + 1} of {len(numbers)}", place, len(numbers))
        result = yield from _run_fold(task, replace(options, minutes=minutes), number)
        rows = rows_of(task.dataset, number)
        right[rows] = _read_right(result, number, task.dataset.labels[rows])
        scores.append(_fold_score(number, right[rows], result))
        yield Note(scores[-1].line())
    pooled = _pool(task.dataset, right, tuple(scores))
    lines = [*(each.line() for each in scores), pooled.line()]
    if left := len(task.dataset) - pooled.n:
        what = counted(left, "image")
        lines.append(f"not scored: {what} of classes that only one fold would have; training in every fold")
    stage = session.finish_phase(Stage(PHASE, tuple(lines), {"folded": pooled.to_dict()}))
    most = 60.0 * (options.minutes - LEAST_SHARE * minutes)
    session.save(replace(session.state, folded=round(min(session.worked, most), 2)))
    return stage


def _run_fold(task: Task, options: AutoOptions, number: int) -> Generator[AutoEvent, None, AutoResult]:
    """The outcome of a fold's session, which is run to its end unless it has ended before."""
    runs = task.session.path / PHASE / str(number)
    finished = find_finished(runs)
    if finished is not None:
        return result_of(finished)
    assert options.folds is not None
    text = folded_text(options.dataset, options.folds, number)
    with closing(run_auto(replace(options, dataset=text, runs=runs, folds=None), task.limits.device)) as events:
        while True:
            try:
                event = next(events)
            except StopIteration as end:
                result: AutoResult = end.value
                return result
            if isinstance(event, (Step, Progress, Epoch)):  # its lines stand on its own page
                yield event


def _read_right(result: AutoResult, number: int, labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which images of a fold its classifier has right."""
    if result.test is None:
        raise PocketlensError(f"fold {number} has been opened by another run meanwhile; add --test to score it again.")
    predictions = read_predictions(result.run.file("predictions-test.safetensors"))
    assert np.array_equal(predictions.labels, labels), "a fold's test rows are those of the fold"
    return np.asarray(predictions.predicted == labels)


def _fold_score(number: int, right: NDArray[np.bool_], result: AutoResult) -> FoldScore:
    return FoldScore(
        number=number,
        n=len(right),
        n_right=int(right.sum()),
        approach=result.choices.get("approach") or "from scratch",
        model=result.run.experiment.recipe.model,
        seconds=round(result.seconds, 1),
        run=result.run.path,
        page=result.page,
    )


def _pool(dataset: Dataset, right: NDArray[np.bool_], scores: tuple[FoldScore, ...]) -> FoldedScore:
    rows = np.concatenate([rows_of(dataset, each.number) for each in scores])
    assert dataset.folds is not None
    groups = None if dataset.groups is None else dataset.groups[rows]
    accuracy = pooled_accuracy(right[rows], dataset.folds[rows], groups)
    return FoldedScore(accuracy, len(rows), None if groups is None else len(np.unique(groups)), scores)
