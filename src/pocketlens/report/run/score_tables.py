"""The tables of scores on the page of a run: all numbers, and those of each class."""

from __future__ import annotations

from dataclasses import dataclass

from pocketlens.report.run.facts import Facts
from pocketlens.scoring.confusions import without_diagonal
from pocketlens.scoring.scores import ClassScore, Scores, show, show_interval


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


def score_rows(facts: Facts) -> list[tuple[str, list[tuple[str, str]]]]:
    """The table of scores: for each name the (value, interval) of the scored part and of validation beside it."""
    columns = [scores for scores in (facts.scores, facts.val) if scores is not None]
    if len(columns) == 2 and columns[0] is columns[1]:
        columns = columns[:1]
    rows: dict[str, list[tuple[str, str]]] = {}
    for scores in columns:
        for name, estimate, kind in scores.rows():
            rows.setdefault(name, []).append((show(estimate, kind), show_interval(estimate, kind)))
    return list(rows.items())


def class_rows(scores: Scores) -> list[ClassRow]:
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
