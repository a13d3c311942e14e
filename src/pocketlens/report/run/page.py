"""The page of a run: one HTML file that needs no network and no other file, and the tables of the run as CSV.

Both are written into the run's folder. What keeps hostile names harmless stands in `shell.py`.
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING

from pocketlens.files import write_text
from pocketlens.report.figures import draw_curves
from pocketlens.report.pictures import LONGEST_NAME, draw_matrix
from pocketlens.report.run.charts import draw_coverage, draw_reliability
from pocketlens.report.run.csv_tables import csv_tables, score_downloads
from pocketlens.report.run.facts import Facts, read_facts
from pocketlens.report.run.first_screen import first_screen
from pocketlens.report.run.gallery import make_gallery
from pocketlens.report.run.methods import write_methods, write_title
from pocketlens.report.run.mistakes import causes_of, worst_shown
from pocketlens.report.run.score_tables import class_table, score_rows
from pocketlens.report.shell import placed, render_page

if TYPE_CHECKING:
    from pocketlens.data.dataset import Dataset, SealedTest
    from pocketlens.training.run import Run

SCRIPTS = (
    "sort.js.j2",
    "print.js.j2",
    "gallery_pictures.js.j2",
    "gallery_filter.js.j2",
    "gallery.js.j2",
    "matrix.js.j2",
    "threshold.js.j2",
    "downloads.js.j2",
    "gallery_start.js.j2",
)
N_PAIRS = 25  # rows in the table of confused pairs


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
    return write_page(run, read_facts(run, dataset, sealed))


def write_page(run: Run, facts: Facts, summary: bytes | None = None, name: str = "report.html") -> Path:
    """As `write_report`, for whoever has read the facts of the run already.

    Args:
        run: the run.
        facts: what is known of it.
        summary: the run as one picture (PNG), which can then be downloaded from the page.
        name: of the page.
    """
    if facts.scores is not None:
        for table, text in csv_tables(facts, facts.scores).items():
            write_text(run.file(table), text)
    path = run.file(name)
    write_text(path, render(facts, summary))
    return path


def render(facts: Facts, summary: bytes | None = None) -> str:
    """The HTML text of the page."""
    scores, reliability, screen = facts.scores, facts.reliability, first_screen(facts)
    kept = next((int(record["epoch"]) for record in reversed(facts.history) if record.get("best")), None)
    matrix, classes = (draw_matrix(scores), class_table(facts, scores)) if scores else (None, None)
    gallery = make_gallery(facts, () if matrix is None else matrix.order)
    charts = [draw_reliability(reliability), draw_coverage(reliability.answered)] if reliability else []
    return render_page(
        "page.html.j2",
        (*SCRIPTS, *(("find.js.j2",) if classes and classes.find else ())),
        {
            "facts": facts,
            "summary": None if summary is None else f"data:image/png;base64,{base64.b64encode(summary).decode()}",
            "heading": write_title(facts),
            "screen": screen,
            "latest": next((row for row in reversed(facts.history) if row.get("val_accuracy") is not None), None),
            "scores": scores,
            "part": screen.part if screen else "",
            "methods": write_methods(facts),
            "figures": placed(draw_curves(facts.history, kept if facts.recipe.keep == "best" else None), facts.run_id),
            "calibration_figures": placed(charts, facts.run_id),
            "offers": score_downloads(facts),
            "classes": classes,
            "standouts": scores.standouts() if scores else None,
            "matrix": matrix,
            "longest": LONGEST_NAME,
            "pairs": facts.pairs[:N_PAIRS],
            "n_clear": sum(pair.beyond_chance for pair in facts.pairs),
            "mistakes": worst_shown(facts),
            "causes": causes_of(facts),
            "gallery": gallery,
            "numbers": score_rows(facts),
        },
    )
