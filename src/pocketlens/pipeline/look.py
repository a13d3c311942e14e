"""The audit of `auto`: duplicates, outliers and label issues, as deep as the time allows."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace

from pocketlens.audit.audit import audit
from pocketlens.audit.body import Sight, choose_sight, is_cached, small_models, without_test
from pocketlens.audit.options import CHECKS, AuditOptions
from pocketlens.audit.summary import summarize
from pocketlens.data.dataset import Dataset, Loaded
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
BODY_SECONDS = 0.08  # for an image of 224 px, on one core
SHARE_OF_TEST = 0.3  # of an audit's seconds, which the features of test images may take
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


def audit_data(task: Task, phase: PlannedPhase, chosen: Task | None = None) -> Generator[Step, None, Stage]:
    """Audits the data as deep as planned and reports the gravest findings; the page lies in the session's folder.

    Args:
        task: with the images that are looked at.
        phase: as planned.
        chosen: with the same images at the size for a pretrained body, where one was tried.
    """
    session, planned = task.session, {"planned": round(phase.seconds, 1)}
    if phase.depth is None:
        line = f"basic statistics only; for more: {as_command(('pocketlens', 'look', task.dataset.text))}"
        return session.finish_phase(Stage("look", (line,), planned))
    skip = frozenset(CHECKS) - frozenset(DEPTHS[phase.depth])
    patience = PATIENCE * phase.seconds
    until = session.spent + patience
    sight = _sight(task, chosen, phase.seconds)
    working = audit(task.dataset, task.sealed, AuditOptions(skip=skip, device=task.limits.device), sight.view)
    while True:
        try:
            step = next(working)
        except StopIteration as end:
            report = replace(end.value, sight=sight.line)
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


def _sight(task: Task, chosen: Task | None, seconds: float) -> Sight:
    """With a pretrained body where its features have been computed for the probe, so that they cost nothing here.

    Those of test images, by which it finds more duplicates, must be computed: where that takes long, it does not.
    """
    if chosen is None:
        return Sight(None, "")
    sight = choose_sight(task.dataset, task.sealed, lambda _: Loaded(chosen.dataset, chosen.sealed))
    if sight.view is None:
        return sight
    if not is_cached(sight.view, task.limits.device):
        return small_models("in this session, another pretrained body or none has seen all images")
    takes_long = len(task.sealed) * BODY_SECONDS > SHARE_OF_TEST * seconds
    return without_test(sight) if takes_long else sight
