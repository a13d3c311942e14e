"""The comparisons and the search of `auto`: short paired trainings that change the recipe only by a verdict.

Each is a study like those of `compare` and `search`, kept in the session's folder under a label by which it is found
again after a kill.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import replace

import numpy as np

from pocketlens.events import Note, Stage, Step
from pocketlens.pipeline.candidates import augment_variants, model_variants, search_space
from pocketlens.pipeline.plan import REPEATS, PlannedPhase
from pocketlens.pipeline.session import AutoSession
from pocketlens.pipeline.short_training import describe_short, short_split
from pocketlens.pipeline.task import Task
from pocketlens.pipeline.verdicts import read_comparison_finding, read_search_finding, record_line
from pocketlens.report.study.page import write_study_page
from pocketlens.studies.compare import question, start_comparison
from pocketlens.studies.pool import Ended, Event, Going, run_study
from pocketlens.studies.search import run_search, start_search
from pocketlens.studies.store import Study, all_studies

MOST_TRIALS = 64
_TITLES = {"augment": "augmentations", "models": "models at equal cost", "search": "coarse-to-fine search"}


def run_comparison(task: Task, phase: PlannedPhase) -> Generator[Note | Step, None, Stage]:
    """Runs one study to its end or to its deadline; the session's recipe changes where a verdict says so."""
    session, kind = task.session, phase.name
    label = f"auto {session.id}: {_TITLES[kind]}"  # sessions of earlier versions are found by it, too
    study = next((study for study in all_studies(session.path) if study.label == label), None)
    if study is None:
        yield Note(f"{_TITLES[kind]}: {describe_short(phase, len(task.split.train))}")
        study = _start_study(task, phase, label)
    if study is None:
        return session.finish_phase(Stage(kind, ("skipped: no other recipe suits these images and the time",)))
    if kind not in session.state.deadlines:
        deadlines = {**session.state.deadlines, kind: session.spent + 1.2 * phase.seconds}
        expected = phase.short.seconds if phase.short else 0.0
        session.save(replace(session.state, deadlines=deadlines, expected=expected))
    running = run_search(study, task.limits) if kind == "search" else run_study(study, task.limits)
    yield from _run_until(session.state.deadlines[kind], session, study, running)
    session.save(replace(session.state, excess=_excess(study, session.state.expected)))
    page = write_study_page(study)
    finding = (read_search_finding if kind == "search" else read_comparison_finding)(study, session.state.base)
    facts = {"study": study.id, "page": str(page), **finding.facts}
    return session.finish_phase(Stage(kind, (*finding.lines, f"page: {page}"), facts), finding.recipe)


def _start_study(task: Task, phase: PlannedPhase, label: str) -> Study | None:
    """A new study, or None where there is no candidate to compare."""
    session, short = task.session, phase.short
    assert short is not None, "a comparison or a search is planned with its short training"
    split = short_split(task.split, task.dataset, short.rows, short.n_val)
    base = session.state.base.changed(epochs=short.epochs, batch_size=short.batch_size)
    named = {"label": label, "made_by": f"auto {session.id}", "seed": 0}
    if phase.name == "search":
        minutes = phase.seconds / 60
        search = {"space": search_space(base), "trials": MOST_TRIALS, "minutes": minutes, "method": "coarse-to-fine"}
        more = {**search, "rounds": 2, "rungs": [1.0], "keep": 0.5, "repeats": REPEATS, "jobs": 1, **named}
        return start_search(question(task.dataset, split, base, kind="search", **more), split, session.path)
    make = augment_variants if phase.name == "augment" else model_variants
    variants = make(base, task.dataset)[: phase.n_candidates]
    if len(variants) < 2:
        return None
    more = {"kind": "compare", "repeats": phase.repeats, "judge": "base", **named}
    return start_comparison(question(task.dataset, split, base, **more), split, variants, session.path)


def _run_until(
    deadline: float, session: AutoSession, study: Study, running: Generator[Event, None, None]
) -> Iterator[Note | Step]:
    """Runs the missing trials of a study until none is left or the session has spent `deadline` seconds."""
    with closing(running) as events:
        for event in events:
            records = study.records()
            n_done = sum(record.is_ended for record in records)
            total = max(len(records), 1)
            match event:
                case Ended(record):
                    yield Note(record_line(record, n_done, len(records)))
                case Going(trial, epoch):
                    epochs = math.ceil(trial.recipe.epochs)
                    what = f"{trial.arm}, seed {trial.seed}: epoch {min(epoch + 1, epochs)} of {epochs}"
                    yield Step(what, n_done, total)
            if session.spent > deadline and n_done < total:
                yield Note("time is up; only the trainings that have finished count")
                return


def _excess(study: Study, expected: float) -> float:
    """By how many seconds the median training took longer than expected, for the next plan; at least 0."""
    taken = [record.seconds for record in study.records() if record.status == "complete"]
    return max(0.0, float(np.median(taken)) - expected) if taken else 0.0
