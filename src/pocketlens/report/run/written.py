"""The files that tell of a run: its page, or the slim one without pictures, and the summary on one picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pocketlens.files import write_bytes
from pocketlens.report.run.facts import Facts
from pocketlens.report.run.page import write_page, write_slim_page
from pocketlens.report.run.summary_picture import SUMMARY, draw_summary

if TYPE_CHECKING:
    from pocketlens.data.dataset import Dataset
    from pocketlens.events import Work
    from pocketlens.training.run import Run


@dataclass(frozen=True)
class WrittenReport:
    """The page of a run and its summary, a PNG of 1200 x 1500 px."""

    page: Path
    summary: Path


def write_files(
    run: Run, facts: Facts, dataset: Dataset | None = None, *, slim: bool = False, unlimited: bool = False
) -> Work[WrittenReport]:
    """Writes report.html and summary.png, which the page holds, too, into the run's folder; beside them tables as CSV.

    Args:
        run, facts, dataset: the run, its facts and the development rows with which they were read.
        slim: writes report-slim.html instead, which holds no pictures, so that it can be sent by mail; report.html
            stays as it is.
        unlimited: the features for the map of report.html are computed however long that takes.
    """
    picture, summary = draw_summary(facts), run.file(SUMMARY)
    write_bytes(summary, picture)
    if slim:
        return WrittenReport(write_slim_page(run, facts), summary)
    page = yield from write_page(run, facts, dataset, summary=picture, unlimited=unlimited)
    return WrittenReport(page, summary)
