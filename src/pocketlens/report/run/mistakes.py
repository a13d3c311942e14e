"""The mistakes of a run as pictures: the worst of all, and the surest of each cause."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pocketlens.report.pictures import encode_image
from pocketlens.report.run.facts import Facts
from pocketlens.scoring.error_causes import CAUSES
from pocketlens.scoring.predictions import N_MISTAKES

N_OF_CAUSE = 8  # pictures of each cause of mistakes
_WHEN = (
    "the same image occurs in the data with another label",
    "another class is as probable as it usually is for its own images, and the given class is improbable",
    "the image resembles no class: the response is weaker than for 99 % of the correctly classified images",
    "these two classes are confused significantly often",
    "none of these",
)


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


def worst_shown(facts: Facts) -> Sequence[Mistake]:
    """The mistakes with the highest probability of the wrong class."""
    return _shown(facts, range(N_MISTAKES))


def causes_of(facts: Facts) -> list[Cause]:
    """Every cause with the surest of its mistakes; none where the predictions are not stored."""
    if facts.reliability is None or facts.mistakes is None or not len(facts.mistakes.rows):
        return []
    rows = facts.reliability.predictions.rows
    cause_of = dict(zip(rows.tolist(), facts.reliability.rows.cause.tolist(), strict=True))
    kept = [cause_of.get(int(row), -1) for row in facts.mistakes.rows]
    counts = facts.reliability.rows.counts()
    total = sum(counts.values())
    causes = []
    for index, (name, when) in enumerate(zip(CAUSES, _WHEN, strict=True)):
        places = [place for place, cause in enumerate(kept) if cause == index][:N_OF_CAUSE]
        pictures = tuple(_shown(facts, places)) if facts.mistakes.images is not None else ()
        causes.append(Cause(index, name, when, counts[name], counts[name] / max(total, 1), pictures))
    return causes


def _shown(facts: Facts, places: Sequence[int]) -> Sequence[Mistake]:
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
