"""The page of a run: one HTML file that needs no network and no other file, and the tables of the run as CSV.

Both are written into the run's folder. What keeps hostile names harmless stands in `shell.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pocketlens.files import write_text
from pocketlens.report.figures import draw_curves
from pocketlens.report.pictures import LONGEST_NAME, draw_matrix, encode_image
from pocketlens.report.run.charts import draw_coverage, draw_reliability
from pocketlens.report.run.facts import Facts, opened, read_facts
from pocketlens.report.run.gallery import Gallery, make_gallery
from pocketlens.report.run.methods import write_methods
from pocketlens.report.shell import placed, render_page
from pocketlens.scoring.confusions import classes_csv, confusion_csv, pairs_csv, without_diagonal
from pocketlens.scoring.error_causes import CAUSES, predictions_csv
from pocketlens.scoring.predictions import N_MISTAKES
from pocketlens.scoring.scores import PART_NAMES, ClassScore, Scores, show, show_interval

if TYPE_CHECKING:
    from pocketlens.data.dataset import Dataset, SealedTest
    from pocketlens.training.run import Run

N_PAIRS = 25  # rows in the table of confused pairs
N_OF_CAUSE = 8  # pictures of each cause of mistakes
_WHEN = (
    "the same image occurs in the data with another label",
    "another class is as probable as it usually is for its own images, and the given class is improbable",
    "the image resembles no class: the response is weaker than for 99 % of the correctly classified images",
    "these two classes are confused significantly often",
    "none of these",
)


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


@dataclass(frozen=True)
class Mistake:
    """One picture of the gallery."""

    picture: str | None  # data URI
    row: int
    true: str
    predicted: str
    probability: float
    file: str
    across: bool  # whether the mistake leaves the superclass; False where there are none


@dataclass(frozen=True)
class Cause:
    """One cause of mistakes: how many there are, and the surest of them as pictures."""

    index: int
    name: str
    when: str
    count: int
    share: float
    mistakes: tuple[Mistake, ...]


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
        for name, text in _tables(facts, facts.scores).items():
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
        ("sort.js.j2", "gallery.js.j2"),
        {
            "facts": facts,
            "scores": scores,
            "part": PART_NAMES[scores.part] if scores else "",
            "opened": opened(facts),
            "methods": write_methods(facts),
            "figures": placed(draw_curves(facts.history, kept if facts.recipe.keep == "best" else None)),
            "calibration_figures": placed(charts),
            "classes": _class_rows(scores) if scores else [],
            "standouts": scores.standouts() if scores else None,
            "matrix": matrix,
            "longest": LONGEST_NAME,
            "pairs": facts.pairs[:N_PAIRS],
            "n_clear": sum(pair.beyond_chance for pair in facts.pairs),
            "mistakes": _mistakes(facts, range(N_MISTAKES)),
            "causes": _causes(facts, gallery),
            "gallery": gallery,
            "numbers": _numbers(facts),
        },
    )


def _tables(facts: Facts, scores: Scores) -> dict[str, str]:
    """CSV texts by file name."""
    tables = {
        "classes.csv": classes_csv(scores),
        "confusion.csv": confusion_csv(scores),
        "pairs.csv": pairs_csv(scores),
    }
    if facts.reliability is not None:
        reliability = facts.reliability
        tables["predictions.csv"] = predictions_csv(
            reliability.predictions, reliability.rows, scores.classes, reliability.files
        )
    return tables


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


def _mistakes(facts: Facts, places: Sequence[int]) -> Sequence[Mistake]:
    """Some of the mistakes, by their places among all that are kept, with pictures."""
    if facts.mistakes is None or facts.scores is None:
        return []
    found, scores = facts.mistakes, facts.scores
    files = {}
    if facts.reliability is not None and facts.reliability.files is not None:
        files = dict(zip(facts.reliability.predictions.rows.tolist(), facts.reliability.files, strict=True))
    pictures = []
    for index in (place for place in places if place < len(found.rows)):
        true, predicted, row = int(found.labels[index]), int(found.predicted[index]), int(found.rows[index])
        above: Any = scores.superclass_of
        pictures.append(
            Mistake(
                picture=None if found.images is None else encode_image(found.images[index]),
                row=row,
                true=scores.classes[true],
                predicted=scores.classes[predicted],
                probability=float(found.probability[index]),
                file=files.get(row, ""),
                across=above is not None and above[true] != above[predicted],
            )
        )
    return pictures


def _causes(facts: Facts, gallery: Gallery | None) -> list[Cause]:
    if facts.reliability is None or facts.mistakes is None or gallery is None:
        return []
    rows = facts.reliability.predictions.rows
    cause_of = dict(zip(rows.tolist(), facts.reliability.rows.cause.tolist(), strict=True))
    kept = [cause_of.get(int(row), -1) for row in facts.mistakes.rows]
    counts = facts.reliability.rows.counts()
    total = sum(counts.values())
    causes = []
    for index, (name, when) in enumerate(zip(CAUSES, _WHEN, strict=True)):
        places = [place for place, cause in enumerate(kept) if cause == index][:N_OF_CAUSE]
        pictures = tuple(_mistakes(facts, places)) if facts.mistakes.images is not None else ()
        causes.append(Cause(index, name, when, counts[name], counts[name] / max(total, 1), pictures))
    return causes
