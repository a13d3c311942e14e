"""The last phase of `auto`: the final run's report, and the session's page, which tells its story and can be sent."""

from __future__ import annotations

from pathlib import Path

from pocketlens.audit.summary import sample_sheet
from pocketlens.events import Stage, Work
from pocketlens.files import write_bytes, write_text
from pocketlens.pipeline.downloads import story_downloads
from pocketlens.pipeline.story import Story, tell_story
from pocketlens.pipeline.task import Task
from pocketlens.report.run.facts import Facts, read_facts
from pocketlens.report.run.written import write_files
from pocketlens.report.shell import render_page
from pocketlens.training.run import Run


def write_pages(task: Task, run: Run) -> Work[Stage]:
    """Writes the sample sheet, the run's report and the session's page."""
    session = task.session
    samples = run.file("samples.png")
    write_bytes(samples, sample_sheet(task.dataset, task.split))
    facts = read_facts(run, task.dataset, task.sealed)
    written = yield from write_files(run, facts, task.dataset)
    page = write_story(session.path, tell_story(session.path, session.state, run, facts, session.worked), facts)
    lines = (
        f"samples  {samples}",
        f"summary  {written.summary}",
        f"report   {written.page}",
        f"session  {page}",
        f"{session.spent_in_words()}; next: pocketlens show {run.path}",
    )
    found = {
        "session": session.id,
        "run": run.id,
        "path": str(run.path),
        "report": str(written.page),
        "summary": str(written.summary),
        "samples": str(samples),
        "page": str(page),
        "seconds": round(session.worked, 1),
    }
    return session.finish_phase(Stage("report", lines, found))


def write_story(folder: Path, story: Story, facts: Facts) -> Path:
    """Writes report.html into the session's folder; returns its path."""
    path = folder / "report.html"
    values = {"story": story, "screen": story.screen, "facts": facts, "offers": story_downloads(story)}
    write_text(path, render_page("auto.html.j2", ("print.js.j2", "downloads.js.j2"), values))
    return path
