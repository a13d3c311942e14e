"""The page of a run: one HTML file that needs no network and no other file, and the tables of the run as CSV.

Both are written into the run's folder. What keeps hostile names harmless stands in `shell.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pocketlens.events import finish
from pocketlens.files import write_text
from pocketlens.report.run.csv_tables import csv_tables
from pocketlens.report.run.facts import Facts, read_facts
from pocketlens.report.run.feature_view import view_features
from pocketlens.report.run.gallery import choose_rows
from pocketlens.report.run.page_text import render

if TYPE_CHECKING:
    from pocketlens.data.dataset import Dataset, SealedTest
    from pocketlens.events import Work
    from pocketlens.training.run import Run


def write_report(run: Run, dataset: Dataset | None = None, sealed: SealedTest | None = None) -> Path:
    """Writes report.html into the run's folder and gives its path; beside it, of the part that was scored,
    predictions.csv, classes.csv, confusion.csv and pairs.csv.

    Args:
        run: any run: finished or stopped, with or without a validation part, its test part opened or not.
        dataset: the development rows of the run; without them validation mistakes are listed without pictures.
        sealed: its test part; its hashes tell which test mistakes show a picture that has another label elsewhere.

    Raises:
        PocketlensError: `dataset` is not the one of the run, or a file of the run cannot be read.
    """
    return finish(write_page(run, read_facts(run, dataset, sealed), dataset))


def write_page(
    run: Run, facts: Facts, dataset: Dataset | None, *, summary: bytes | None = None, unlimited: bool = False
) -> Work[Path]:
    """As `write_report`, for whoever has read the facts of the run already.

    Args:
        run, facts, dataset: the run, its facts and the development rows with which they were read.
        summary: the run as one picture (PNG), which can then be downloaded from the page.
        unlimited: features are computed however long that takes.
    """
    view = yield from view_features(run, facts, dataset, choose_rows(facts), unlimited=unlimited)
    return _write(run, facts, run.file("report.html"), render(facts, view, summary))


def write_slim_page(run: Run, facts: Facts) -> Path:
    """Writes report-slim.html, which holds no pictures, and the tables."""
    return _write(run, facts, run.file("report-slim.html"), render(facts.without_pictures()))


def _write(run: Run, facts: Facts, path: Path, text: str) -> Path:
    if facts.scores is not None:
        for name, table in csv_tables(facts, facts.scores).items():
            write_text(run.file(name), table)
    write_text(path, text)
    return path
