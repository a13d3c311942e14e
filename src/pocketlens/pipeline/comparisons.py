"""The comparisons and the search of `auto`: short paired trainings that change the recipe only by a verdict.

Each is a study like those of `compare` and `search`, kept in the session's folder under a label by which it is found
again after a kill.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from pocketlens.api import study as calls
from pocketlens.api.study_results import ComparisonResult, SearchResult
from pocketlens.events import Events, Note, Stage, Step, Stop, TrialEnded, TrialProgress
from pocketlens.pipeline.candidates import augment_variants, model_variants, search_space
from pocketlens.pipeline.plan import REPEATS, PlannedPhase
from pocketlens.pipeline.short_training import describe_short, short_split
from pocketlens.pipeline.verdicts import read_comparison_finding, read_search_finding, record_line
from pocketlens.studies.compare import start_comparison
from pocketlens.studies.executors import LOCAL, Resources
from pocketlens.studies.search import start_search
from pocketlens.studies.spec import ComparisonSpec, SearchSpec, make_spec
from pocketlens.studies.store import Study, all_studies

if TYPE_CHECKING:
    from pocketlens.pipeline.session import AutoSession
    from pocketlens.pipeline.task import Task

MOST_TRIALS = 64
TIME_IS_UP = 0  # in place of a signal
_TITLES = {"augment": "augmentations", "models": "models at equal cost", "search": "coarse-to-fine search"}


def run_comparison(task: Task, phase: PlannedPhase) -> Generator[Note | Step, None, Stage]:
    """Runs one study to its end or to its deadline; the session's recipe changes where a verdict says so."""
    session, kind, planned = task.session, phase.name, {"planned": round(phase.seconds, 1)}
    label = f"auto {session.id}: {_TITLES[kind]}"  # sessions of earlier versions are found by it, too
    study = next((study for study in all_studies(session.path) if study.label == label), None)
    if study is None:
        yield Note(f"{_TITLES[kind]}: {describe_short(phase, len(task.split.train))}")
        study = _start_study(task, phase, label)
    if study is None:
        return session.finish_phase(Stage(kind, ("skipped: no other recipe suits these images and the time",), planned))
    if kind not in session.state.deadlines:
        deadlines = {**session.state.deadlines, kind: session.spent + 1.2 * phase.seconds}
        expected = phase.short.seconds if phase.short else 0.0
        session.save(replace(session.state, deadlines=deadlines, expected=expected))
    run = calls.run_search if kind == "search" else calls.run_comparison
    running: Events[ComparisonResult | SearchResult] = run(study, Resources(task.limits, 1, LOCAL))
    result = yield from _run_until(session.state.deadlines[kind], session, study, running)
    session.save(replace(session.state, excess=_excess(study, session.state.expected)))
    page = calls.record_result(result)  # also of a study that was stopped at its deadline
    if isinstance(result, SearchResult):
        finding = read_search_finding(study, session.state.base, result.found)
    else:
        finding = read_comparison_finding(study, session.state.base, result.comparison)
    facts = {**planned, "study": study.id, "page": str(page), **finding.facts}
    return session.finish_phase(Stage(kind, (*finding.lines, f"page: {page}"), facts), finding.recipe)


def _start_study(task: Task, phase: PlannedPhase, label: str) -> Study | None:
    """A new study, or None where there is no candidate to compare."""
    session, short = task.session, phase.short
    assert short is not None, "a comparison or a search is planned with its short training"
    split = short_split(task.split, task.dataset, short.rows, short.n_val)
    base = session.state.base.changed(epochs=short.epochs, batch_size=short.batch_size)
    made_by = f"auto {session.id}"
    if phase.name == "search":
        search = SearchSpec(
            search_space(base), MOST_TRIALS, REPEATS, session.state.request.seed, minutes=phase.seconds / 60
        )
        spec = make_spec(task.dataset, split, base, search, label=label, made_by=made_by)
        return start_search(spec, split, session.path)
    make = augment_variants if phase.name == "augment" else model_variants
    variants = make(base, task.dataset)[: phase.n_candidates]
    if len(variants) < 2:
        return None
    design = ComparisonSpec(tuple(variants), phase.repeats, session.state.request.seed, pairs="base")
    spec = make_spec(task.dataset, split, base, design, label=label, made_by=made_by)
    return start_comparison(spec, split, session.path)


def _run_until(
    deadline: float, session: AutoSession, study: Study, running: Events[ComparisonResult | SearchResult]
) -> Generator[Note | Step, None, ComparisonResult | SearchResult]:
    """Runs the missing trials of a study until none is left or the session has spent `deadline` seconds."""
    is_late = False
    try:
        event = next(running)
        while True:
            records = study.records()
            n_done = sum(record.is_ended for record in records)
            match event:
                case TrialEnded(trial):
                    ended = next(record for record in records if record.trial.number == trial.number)
                    yield Note(record_line(ended, n_done, len(records)))
                case TrialProgress(trial, epoch):
                    epochs = trial.n_epochs
                    what = f"{trial.name}, seed {trial.seed}: epoch {min(epoch + 1, epochs)} of {epochs}"
                    yield Step(what, n_done, len(records))
            if not is_late and session.spent > deadline and n_done < len(records):
                is_late = True
                yield Note("time is up; only the trainings that have finished count")
                event = running.throw(Stop(TIME_IS_UP))
            else:
                event = next(running)
    except StopIteration as end:
        result: ComparisonResult | SearchResult = end.value
        return result
    finally:
        running.close()


def _excess(study: Study, expected: float) -> float:
    """By how many seconds the median training took longer than expected, for the next plan; at least 0."""
    taken = [record.seconds for record in study.records() if record.status == "complete"]
    return max(0.0, float(np.median(taken)) - expected) if taken else 0.0
