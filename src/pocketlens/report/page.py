"""The page of a run: one HTML file that needs no network and no other file, written into the run's folder.

Whatever comes from outside (class names, labels, file names) reaches the page through jinja2's autoescape alone; a
content security policy lets the browser run the one script of ours, by its hash, and load nothing.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pocketlens.dataset import Dataset
from pocketlens.files import write_text
from pocketlens.ledger import ordinal
from pocketlens.report.facts import Facts, read_facts
from pocketlens.report.figures import draw_curves
from pocketlens.report.methods import write_methods
from pocketlens.report.pictures import LONGEST_NAME, draw_matrix, encode_image
from pocketlens.scores import PART_NAMES, ClassScore, Scores, show, show_interval

if TYPE_CHECKING:
    from pocketlens.run import Run


@dataclass(frozen=True)
class ClassRow:
    """One row of the table of classes."""

    score: ClassScore
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


def write_report(run: Run, dataset: Dataset | None = None) -> Path:
    """Writes report.html into the run's folder and gives its path.

    Args:
        run: any run: finished or stopped, with or without a validation part, its test part opened or not.
        dataset: the development rows of the run; without them validation mistakes are listed without pictures.

    Raises:
        PocketlensError: `dataset` is not the one of the run, or a file of the run cannot be read.
    """
    path = run.file("report.html")
    write_text(path, render(read_facts(run, dataset)))
    return path


def render(facts: Facts) -> str:
    """The HTML text of the page."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    script = (Path(__file__).parent / "page.js.j2").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode()
    kept = next((int(record["epoch"]) for record in reversed(facts.history) if record.get("best")), None)
    figures = draw_curves(facts.history, kept if facts.recipe.keep == "best" else None)
    return environment.get_template("page.html.j2").render(
        facts=facts,
        scores=facts.scores,
        part=PART_NAMES[facts.scores.part] if facts.scores else "",
        opened=_opened(facts),
        methods=write_methods(facts),
        figures=[(Markup(figure.svg), figure.caption) for figure in figures],  # noqa: S704 (holds our own words alone)
        classes=_class_rows(facts.scores) if facts.scores else [],
        matrix=draw_matrix(facts.scores) if facts.scores else None,
        longest=LONGEST_NAME,
        mistakes=_mistakes(facts),
        script=Markup(script),  # noqa: S704 (our own file)
        script_hash=digest,
        show=show,
        show_interval=show_interval,
        numbers=_numbers(facts),
    )


def _opened(facts: Facts) -> str:
    """How often the test part has been opened: what the ledger says now, else what the scores say."""
    scores = facts.scores
    if scores is None or scores.part != "test" or scores.opening is None:
        return ""
    total = max(len(facts.openings), scores.openings or 0)
    if total == 1:
        return "This test part has been opened once."
    return f"This test part has been opened {total} times; this is the {ordinal(scores.opening)}."


def _numbers(facts: Facts) -> list[tuple[str, list[tuple[str, str]]]]:
    """The table of scores: for each name the (value, interval) of the judged part and of validation beside it."""
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
    wrong = scores.confusion * (1 - np.eye(len(scores.classes), dtype=np.int64))
    rows = []
    for index, row in enumerate(scores.per_class):
        superclass = ""
        if scores.superclasses is not None and scores.superclass_of is not None:
            superclass = scores.superclasses[scores.superclass_of[index]]
        other, count = int(wrong[index].argmax()), int(wrong[index].max())
        rows.append(ClassRow(row, superclass, scores.classes[other] if count else "", count))
    return sorted(rows, key=lambda row: 2.0 if row.score.f1.value is None else row.score.f1.value)


def _mistakes(facts: Facts) -> Sequence[Mistake]:
    if facts.mistakes is None or facts.scores is None:
        return []
    found, scores = facts.mistakes, facts.scores
    gallery = []
    for index in range(len(found.rows)):
        true, predicted = int(found.labels[index]), int(found.predicted[index])
        above: Any = scores.superclass_of
        gallery.append(
            Mistake(
                picture=None if found.images is None else encode_image(found.images[index]),
                row=int(found.rows[index]),
                true=scores.classes[true],
                predicted=scores.classes[predicted],
                probability=float(found.probability[index]),
                file=facts.files[index] if facts.files is not None else "",
                across=above is not None and above[true] != above[predicted],
            )
        )
    return gallery
