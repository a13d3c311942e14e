"""The audit of `auto`: duplicates, outliers and label issues, as deep as the time allows."""

from __future__ import annotations

from collections.abc import Generator

from pocketlens.audit.audit import audit
from pocketlens.audit.options import CHECKS, AuditOptions
from pocketlens.audit.summary import summarize
from pocketlens.data.dataset import Dataset
from pocketlens.errors import PocketlensError
from pocketlens.events import Stage, Step
from pocketlens.pipeline.plan import PlannedPhase
from pocketlens.pipeline.task import Task
from pocketlens.report.audit.findings import findings
from pocketlens.report.audit.page import write_audit_page
from pocketlens.text import as_command, format_duration

DEPTHS = {  # in words, and which parts of an audit that takes
    "duplicates, outliers, label issues, hard classes and distribution shift": CHECKS[:5],
    "duplicates and outliers": ("duplicates", "outliers"),
    "duplicates": ("duplicates",),
}
MOST_LINES = 8
PATIENCE = 2.0  # times the expected seconds, after which an audit is stopped


def expected_seconds(dataset: Dataset, n_test: int) -> dict[str, float]:
    """How long an audit of each depth takes, roughly, on two slow cores (measured on 60,000 images of 28 and 32 px)."""
    height, width, _ = dataset.shape
    n, size = len(dataset), 0.3 + 0.7 * height * width / 1024
    pairs = 2.0 + (n + n_test) * 2.5e-3 * size
    odd = 4.0 + n * 4e-3 * size
    labels = 4.0 + n * 1e-3
    return dict(zip(DEPTHS, (pairs + odd + labels, pairs + odd, pairs), strict=True))


def summary_stage(task: Task) -> Stage:
    """What is in the data set, in a few lines."""
    summary = summarize(task.dataset, task.sealed, task.split)
    return Stage("data", tuple(summary.lines()), {"look": summary.to_dict()})


def audit_data(task: Task, phase: PlannedPhase) -> Generator[Step, None, Stage]:
    """Audits the data as deep as planned and reports the gravest findings; the page lies in the session's folder."""
    session, planned = task.session, {"planned": round(phase.seconds, 1)}
    if phase.depth is None:
        line = f"basic statistics only; for more: {as_command(('pocketlens', 'look', task.dataset.text))}"
        return session.finish_phase(Stage("look", (line,), planned))
    skip = frozenset(CHECKS) - frozenset(DEPTHS[phase.depth])
    patience = PATIENCE * phase.seconds
    until = session.spent + patience
    working = audit(task.dataset, task.sealed, AuditOptions(skip=skip, device=task.limits.device))
    while True:
        try:
            step = next(working)
        except StopIteration as end:
            report = end.value
            break
        except PocketlensError as error:
            return session.finish_phase(Stage("look", (f"skipped: {error}",), planned))
        yield step
        if session.spent > until:
            working.close()
            line = f"stopped: it took longer than {format_duration(patience)}"
            return session.finish_phase(Stage("look", (line,), planned))
    page = write_audit_page(report, session.path / "look")
    found = findings(report)
    lines = [f"{'!' if finding.serious else ' '} {finding.text}" for finding in found[:MOST_LINES]]
    facts = {**planned, "page": str(page), "depth": phase.depth, "findings": [finding.text for finding in found]}
    return session.finish_phase(Stage("look", (*lines, f"page: {page}"), facts))
