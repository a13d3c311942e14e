"""The page of a run: one HTML file that needs no network and no other file, and the tables of the run as CSV.

Both are written into the run's folder. What keeps hostile names harmless stands in `shell.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pocketlens.files import write_text
from pocketlens.report.figures import draw_curves
from pocketlens.report.pictures import LONGEST_NAME, draw_matrix
from pocketlens.report.run.charts import draw_coverage, draw_reliability
from pocketlens.report.run.csv_tables import csv_tables
from pocketlens.report.run.facts import Facts, read_facts
from pocketlens.report.run.first_screen import first_screen
from pocketlens.report.run.gallery import make_gallery
from pocketlens.report.run.methods import write_methods, write_title
from pocketlens.report.run.mistakes import causes_of, label_doubts_are_unreliable, worst_shown
from pocketlens.report.shell import placed, render_page
from pocketlens.scoring.confusions import without_diagonal
from pocketlens.scoring.scores import PART_NAMES, ClassScore, Scores, show, show_interval

if TYPE_CHECKING:
    from pocketlens.data.dataset import Dataset, SealedTest
    from pocketlens.training.run import Run

N_PAIRS = 25  # rows in the table of confused pairs


@dataclass(frozen=True)
class ClassRow:
    """One row of the table of classes."""

    index: int
    score: ClassScore
    mark: str  # "below" or "above" the median, significantly, else empty
    wrong: int  # images that were predicted as another class
    superclass: str
    taken_for: str  # the class with which its images are confused most often; empty where none is wrong
    taken: int


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
    facts = read_facts(run, dataset, sealed)
    if facts.scores is not None:
        for name, text in csv_tables(facts, facts.scores).items():
            write_text(run.file(name), text)
    path = run.file("report.html")
    write_text(path, render(facts))
    return path


def render(facts: Facts) -> str:
    """The HTML text of the page."""
    scores, reliability = facts.scores, facts.reliability
    kept = next((int(record["epoch"]) for record in reversed(facts.history) if record.get("best")), None)
    matrix = draw_matrix(scores) if scores else None
    gallery = None
    if scores and matrix and reliability and facts.mistakes is not None and len(facts.mistakes.rows):
        gallery = make_gallery(scores, reliability, facts.mistakes, matrix.order)
    charts = [draw_reliability(reliability), draw_coverage(reliability.answered)] if reliability else []
    return render_page(
        "page.html.j2",
        ("sort.js.j2", "print.js.j2", "gallery.js.j2"),
        {
            "facts": facts,
            "heading": write_title(facts),
            "screen": first_screen(facts),
            "latest": next((row for row in reversed(facts.history) if row.get("val_accuracy") is not None), None),
            "scores": scores,
            "part": PART_NAMES[scores.part] if scores else "",
            "methods": write_methods(facts),
            "figures": placed(draw_curves(facts.history, kept if facts.recipe.keep == "best" else None)),
            "calibration_figures": placed(charts),
            "classes": _class_rows(scores) if scores else [],
            "standouts": scores.standouts() if scores else None,
            "matrix": matrix,
            "longest": LONGEST_NAME,
            "pairs": facts.pairs[:N_PAIRS],
            "n_clear": sum(pair.beyond_chance for pair in facts.pairs),
            "mistakes": worst_shown(facts),
            "causes": causes_of(facts),
            "doubts_are_unreliable": label_doubts_are_unreliable(facts),
            "gallery": gallery,
            "numbers": _numbers(facts),
        },
    )


def _numbers(facts: Facts) -> list[tuple[str, list[tuple[str, str]]]]:
    """The table of scores: for each name the (value, interval) of the scored part and of validation beside it."""
    columns = [scores for scores in (facts.scores, facts.val) if scores is not None]
    if len(columns) == 2 and columns[0] is columns[1]:
        columns = columns[:1]
    rows: dict[str, list[tuple[str, str]]] = {}
    for scores in columns:
        for name, estimate, kind in scores.rows():
            rows.setdefault(name, []).append((show(estimate, kind), show_interval(estimate, kind)))
    return list(rows.items())


def _class_rows(scores: Scores) -> list[ClassRow]:
    """The classes, the lowest F1 first and those without rows last."""
    wrong = without_diagonal(scores.confusion)
    found = scores.standouts()
    marks = {row.name: "below" for row in found.lowest} | {row.name: "above" for row in found.highest}
    rows = []
    for index, row in enumerate(scores.per_class):
        superclass = ""
        if scores.superclasses is not None and scores.superclass_of is not None:
            superclass = scores.superclasses[scores.superclass_of[index]]
        other, count = int(wrong[index].argmax()), int(wrong[index].max())
        n_wrong, taken_for = int(wrong[index].sum()), scores.classes[other] if count else ""
        rows.append(ClassRow(index, row, marks.get(row.name, ""), n_wrong, superclass, taken_for, count))
    return sorted(rows, key=lambda row: 2.0 if row.score.f1.value is None else row.score.f1.value)
