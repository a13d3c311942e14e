"""The tables of scores on the page of a run: all numbers, and those of each class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pocketlens.report.run.facts import Facts
from pocketlens.scoring.confusion_cells import MOST_WHOLE, is_whole, mistakes
from pocketlens.scoring.metrics import Estimate
from pocketlens.scoring.scores import ClassScore, Scores, show, show_interval
from pocketlens.text import shorten

N_FOUND, N_FOUND_PAIRS = 20_000, 5_000  # classes and pairs that the search of a page looks through
_LONGEST = 120  # letters of a name in it


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
class ClassTable:
    """The table of classes: the rows that stand in it, how many classes there are, and what its search looks through.

    With few classes all of them stand in it, and there is nothing to search.
    """

    rows: list[ClassRow]
    n: int
    find: dict[str, Any] | None


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


def class_table(facts: Facts, scores: Scores) -> ClassTable:
    """The classes, the lowest F1 first; with many, the first of them and data by which others are found by name."""
    rows = class_rows(scores)
    find = None if is_whole(len(rows)) else _find_data(facts, scores, rows[:N_FOUND])
    return ClassTable(rows[:MOST_WHOLE], len(rows), find)


def _find_data(facts: Facts, scores: Scores, rows: list[ClassRow]) -> dict[str, Any]:
    """What the page's script looks through: classes and confused pairs, with the names by number."""
    number = {name: index for index, name in enumerate(scores.classes)}
    pairs = facts.pairs[:N_FOUND_PAIRS]
    taken_for = [number.get(row.taken_for) for row in rows]
    used = {row.index for row in rows} | {index for index in taken_for if index is not None}
    used |= {index for pair in pairs for index in (pair.true, pair.predicted)}
    return {
        "names": {str(index): shorten(scores.classes[index], _LONGEST) for index in sorted(used)},
        "classes": [
            [row.index, row.score.support, *_rates(row.score), other, row.taken, row.mark, row.superclass]
            for row, other in zip(rows, taken_for, strict=True)
        ],
        "pairs": [
            [pair.true, pair.predicted, pair.count, *_short(pair.share), int(pair.beyond_chance), pair.distance]
            for pair in pairs
        ],
        "n": [len(scores.classes), len(facts.pairs)],
    }


def _rates(score: ClassScore) -> list[float | None]:
    return [*_short(score.f1), *_short(score.precision), *_short(score.recall)]


def _short(estimate: Estimate) -> list[float | None]:
    """Value and interval with the digits that are shown."""
    numbers = (estimate.value, estimate.low, estimate.high)
    return [None if number is None else round(number, 4) for number in numbers]


def class_rows(scores: Scores) -> list[ClassRow]:
    """The classes, the lowest F1 first and those without rows last."""
    wrong = mistakes(scores.confusion)
    starts = np.searchsorted(wrong.true, np.arange(len(scores.classes) + 1))
    found = scores.standouts()
    marks = {row.name: "below" for row in found.lowest} | {row.name: "above" for row in found.highest}
    rows = []
    for index, row in enumerate(scores.per_class):
        superclass = ""
        if scores.superclasses is not None and scores.superclass_of is not None:
            superclass = scores.superclasses[scores.superclass_of[index]]
        own = slice(starts[index], starts[index + 1])
        counts = wrong.count[own]
        count, n_wrong = int(counts.max(initial=0)), int(counts.sum())
        taken_for = scores.classes[wrong.predicted[own][counts.argmax()]] if count else ""
        rows.append(ClassRow(index, row, marks.get(row.name, ""), n_wrong, superclass, taken_for, count))
    return sorted(rows, key=lambda row: 2.0 if row.score.f1.value is None else row.score.f1.value)
