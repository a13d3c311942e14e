"""The look of `auto`: duplicates, odd images and doubtful labels, as deep as the time allows."""

from __future__ import annotations

from collections.abc import Generator

from pocketlens.audit.audit import CHECKS, AuditOptions, audit
from pocketlens.data.dataset import Dataset, SealedTest
from pocketlens.errors import PocketlensError
from pocketlens.events import Stage, Step
from pocketlens.pipeline.plan import Part
from pocketlens.pipeline.session import Way
from pocketlens.report.audit.findings import findings
from pocketlens.report.audit.page import write_audit_page
from pocketlens.text import say_duration

DEPTHS = {  # what is looked for, and which parts of a look that takes
    "duplicates, odd images, doubtful labels, hard classes and unlike parts": CHECKS[:5],
    "duplicates and odd images": ("duplicates", "outliers"),
    "duplicates": ("duplicates",),
}
MOST_LINES = 8
PATIENCE = 2.0  # times the expected seconds, after which a look is left out


def expected_looks(dataset: Dataset, n_test: int) -> tuple[tuple[str, float], ...]:
    """How long a look of each depth takes, roughly, on two slow cores (measured on 60,000 images of 28 and 32 px)."""
    height, width, _ = dataset.shape
    n, size = len(dataset), 0.3 + 0.7 * height * width / 1024
    pairs = 2.0 + (n + n_test) * 2.5e-3 * size
    odd = 4.0 + n * 4e-3 * size
    labels = 4.0 + n * 1e-3
    return tuple(zip(DEPTHS, (pairs + odd + labels, pairs + odd, pairs), strict=True))


def look_deeper(way: Way, data: tuple[Dataset, SealedTest], part: Part, device: str) -> Generator[Step, None, Stage]:
    """Looks as deep as was planned, and says the gravest that it has found; the page lies in the way's folder."""
    if not part.depth:
        return way.end(Stage("look", ("plain facts alone; more with: pocketlens look " + data[0].text,)))
    skip = frozenset(CHECKS) - frozenset(DEPTHS[part.depth])
    until, working = way.spent + PATIENCE * part.seconds, audit(*data, AuditOptions(skip=skip, device=device))
    while True:
        try:
            step = next(working)
        except StopIteration as end:
            report = end.value
            break
        except PocketlensError as error:
            return way.end(Stage("look", (f"left out: {error}",)))
        yield step
        if way.spent > until:
            working.close()
            return way.end(Stage("look", (f"left out: it took longer than {say_duration(PATIENCE * part.seconds)}",)))
    page = write_audit_page(report, way.path / "look")
    found = findings(report)
    lines = [f"{'!' if finding.serious else ' '} {finding.text}" for finding in found[:MOST_LINES]]
    facts = {"page": str(page), "depth": part.depth, "findings": [finding.text for finding in found]}
    return way.end(Stage("look", (*lines, f"page: {page}"), facts))
