"""The last phase of `auto`: the final run's report, and the session's page, which links to the pages of its phases."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from pocketlens.audit.summary import sample_sheet
from pocketlens.events import Stage
from pocketlens.files import write_bytes, write_text
from pocketlens.pipeline.fold_scores import FoldedScore
from pocketlens.pipeline.state import PhaseResult
from pocketlens.pipeline.task import Task
from pocketlens.report import write_report
from pocketlens.report.shell import render_page
from pocketlens.scoring.metrics import Estimate
from pocketlens.scoring.scores import show, show_interval
from pocketlens.text import format_duration
from pocketlens.training.run import Run

_TITLES = {
    "folds": "Folds",
    "approach": "Pretrained body, or from scratch",
    "plan": "Plan",
    "look": "Data",
    "augment": "Augmentations",
    "models": "Models at equal cost",
    "search": "Search",
    "check": "Does it learn?",
    "final": "Final training",
    "test": "Test",
}


@dataclass(frozen=True)
class ApproachRow:
    """An approach that was tried, in the words of the page's table."""

    name: str
    accuracy: str
    interval: str
    time: str
    is_chosen: bool


@dataclass(frozen=True)
class FoldRow:
    """A fold, in the words of the page's table."""

    name: str
    n: str
    accuracy: str
    interval: str
    chosen: str
    link: str  # to its page


@dataclass(frozen=True)
class Section:
    """One phase on the page."""

    title: str
    lines: tuple[str, ...]
    link: str | None  # to the phase's own page, relative to this one
    approaches: tuple[ApproachRow, ...] = ()
    judged_on: str = ""  # the images on which these were judged
    folds: tuple[FoldRow, ...] = ()


def write_pages(task: Task, run: Run) -> Stage:
    """Writes the sample sheet, the run's report and the session's page."""
    session = task.session
    samples = run.file("samples.png")
    write_bytes(samples, sample_sheet(task.dataset, task.split))
    report = write_report(run, task.dataset, task.sealed)
    page = write_session_page(session.path, f"auto: {task.dataset.text}", session.state.done, report)
    lines = (
        f"samples  {samples}",
        f"report   {report}",
        f"session  {page}",
        f"{session.spent_in_words()}; next: pocketlens show {run.path}",
    )
    facts = {
        "session": session.id,
        "run": run.id,
        "path": str(run.path),
        "report": str(report),
        "samples": str(samples),
        "page": str(page),
        "seconds": round(session.worked, 1),
    }
    return session.finish_phase(Stage("report", lines, facts))


def write_session_page(folder: Path, heading: str, done: dict[str, PhaseResult], report: Path) -> Path:
    """Writes report.html into the session's folder; returns its path."""
    path = folder / "report.html"
    sections = [_section(_TITLES[name], result, folder) for name, result in done.items() if name in _TITLES]
    values = {"heading": heading, "sections": sections, "report": _relative(report, folder), "session": folder.name}
    write_text(path, render_page("auto.html.j2", (), values))
    return path


def _section(title: str, result: PhaseResult, folder: Path) -> Section:
    lines = tuple(line for line in result.lines if not line.startswith("page: "))
    link = None if result.page is None else _relative(result.page, folder)
    judged_on = str(result.facts.get("judged_on", ""))
    return Section(title, lines, link, _approaches(result), judged_on, _folds(result, folder))


def _folds(result: PhaseResult, folder: Path) -> tuple[FoldRow, ...]:
    found = FoldedScore.of(result)
    return tuple(
        FoldRow(
            str(each.number),
            f"{each.n:,}",
            show(each.accuracy, "share"),
            show_interval(each.accuracy, "share"),
            f"{each.approach}: {each.model}",
            _relative(each.page, folder),
        )
        for each in (() if found is None else found.folds)
    )


def _approaches(result: PhaseResult) -> tuple[ApproachRow, ...]:
    rows = []
    for each in result.facts.get("candidates", ()):
        accuracy = Estimate.from_dict(each["accuracy"])
        time, is_chosen = format_duration(each["seconds"]), each["name"] == result.approach
        shown, interval = show(accuracy, "share"), show_interval(accuracy, "share")
        rows.append(ApproachRow(each["name"], shown, interval, time, is_chosen))
    return tuple(rows)


def _relative(path: Path, folder: Path) -> str:
    return os.path.relpath(path.resolve(), folder.resolve())
