"""Confusions: which classes are taken for each other beyond chance, and how far mistakes lead from the truth.

The distance of two classes is that in the tree of superclasses: 0 for the same class, 1 inside a superclass, 2 across
(Bertinetto et al. 2020, "Making better mistakes", arXiv 1912.09393). Pairs are tested against mistakes that fall on
all other classes alike; of the pairs named at most 5 % are expected to be chance (Benjamini, Hochberg 1995).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pocketlens.files import csv_text
from pocketlens.scoring.metrics import Counts, Estimate, Floats, proportion
from pocketlens.scoring.scores import Scores

FALSE_DISCOVERIES = 0.05


@dataclass(frozen=True)
class Pair:
    """Rows of class `true` that were taken for `predicted`, both by number.

    Attributes:
        share: count of the rows of the true class.
        beyond_chance: more often than mistakes that fall on all other classes alike would be.
        distance: 1 inside a superclass, 2 across, None without superclasses.
    """

    true: int
    predicted: int
    count: int
    share: Estimate
    beyond_chance: bool
    distance: int | None


@dataclass(frozen=True)
class SuperclassScore:
    """One superclass: its rows, how many have the right superclass, and where its mistakes go.

    Attributes:
        right: rows whose class is right; inside: wrong class of this superclass; across: of another superclass.
        taken_for, taken: the other superclass that it is most often taken for, and how often; empty and 0 where none.
    """

    name: str
    n: int
    coarse: Estimate
    right: int
    inside: int
    across: int
    taken_for: str
    taken: int


@dataclass(frozen=True)
class Severity:
    """How far mistakes lead.

    Attributes:
        inside: the share of mistakes that stay inside the superclass.
        mean_distance: of all mistakes, from 1 (all inside) to 2 (all across).
        coarse: rows for which the superclass of the predicted class is right; scores sum probabilities instead.
        rows: one for each superclass.
    """

    n_wrong: int
    inside: Estimate
    mean_distance: Estimate
    coarse: Estimate
    rows: tuple[SuperclassScore, ...]


def confused_pairs(scores: Scores) -> tuple[Pair, ...]:
    """All confusions that occur, the most frequent first, then the largest share."""
    wrong = without_diagonal(scores.confusion)
    support = scores.confusion.sum(axis=1)
    above = scores.superclass_of
    clear = beyond_chance(scores.confusion)
    cells = np.argwhere(wrong > 0)
    share = wrong / np.maximum(support, 1)[:, None]
    order = np.lexsort((cells[:, 1], cells[:, 0], -share[tuple(cells.T)], -wrong[tuple(cells.T)]))
    return tuple(
        Pair(
            true=int(true),
            predicted=int(predicted),
            count=int(wrong[true, predicted]),
            share=proportion(int(wrong[true, predicted]), int(support[true])),
            beyond_chance=bool(clear[true, predicted]),
            distance=None if above is None else 1 if above[true] == above[predicted] else 2,
        )
        for true, predicted in cells[order]
    )


def beyond_chance(confusion: Counts) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """(K, K) bool: the confusions that are more frequent than if a class's mistakes fell on all others alike.

    Exact binomial test for each cell; with two classes there is nothing to be compared.
    """
    from scipy.special import bdtrc  # scipy.stats, which has both tests, takes a second to import

    n = len(confusion)
    wrong = without_diagonal(confusion)
    cells = wrong > 0
    if n < 3 or not cells.any():
        return np.zeros((n, n), bool)
    mistakes = np.broadcast_to(wrong.sum(axis=1)[:, None], (n, n))
    p = np.ones((n, n))
    p[cells] = bdtrc(wrong[cells] - 1, mistakes[cells], 1 / (n - 1))
    others = ~np.eye(n, dtype=bool)
    clear = np.zeros((n, n), bool)
    clear[others] = _false_discovery_rates(p[others]) <= FALSE_DISCOVERIES
    return clear


def _false_discovery_rates(p: Floats) -> Floats:
    """(N,) the smallest rate of false discoveries at which each of N tests is one. Source: Benjamini, Hochberg 1995."""
    order = np.argsort(p)[::-1]
    rates = np.minimum.accumulate(p[order] * len(p) / np.arange(len(p), 0, -1))
    found = np.empty(len(p))
    found[order] = np.minimum(rates, 1.0)
    return found


def severity(scores: Scores) -> Severity | None:
    """How far mistakes lead; None without superclasses."""
    if scores.superclasses is None or scores.superclass_of is None:
        return None
    above, names = np.asarray(scores.superclass_of), scores.superclasses
    wrong = without_diagonal(scores.confusion)
    same = above[:, None] == above[None, :]
    n_wrong, n_inside = int(wrong.sum()), int(wrong[same].sum())
    inside = proportion(n_inside, n_wrong)
    across = proportion(n_wrong - n_inside, n_wrong)
    distance = Estimate(*(None if value is None else 1 + value for value in (across.value, across.low, across.high)))
    member = np.eye(len(names), dtype=np.int64)[above]  # (K, S)
    coarse = member.T @ scores.confusion @ member  # (S, S)
    return Severity(
        n_wrong=n_wrong,
        inside=inside,
        mean_distance=distance,
        coarse=proportion(int(np.trace(coarse)), scores.n),
        rows=tuple(_superclass(names, index, coarse, scores.confusion, above) for index in range(len(names))),
    )


def without_diagonal(confusion: Counts) -> Counts:
    """The mistakes alone."""
    return np.asarray(confusion * (1 - np.eye(len(confusion), dtype=np.int64)))


def confusion_csv(scores: Scores) -> str:
    """The matrix as CSV: a row for each true class, a column for each predicted one."""
    rows = ([name, *counts] for name, counts in zip(scores.classes, scores.confusion.tolist(), strict=True))
    return csv_text(["true \\ predicted", *scores.classes], rows)


def pairs_csv(scores: Scores) -> str:
    """All confusions as CSV, the most frequent first."""
    header = ["true", "predicted", "count", "of", "share", "low", "high", "beyond_chance", "distance"]
    support = scores.confusion.sum(axis=1)
    rows = []
    for pair in confused_pairs(scores):
        names = [scores.classes[pair.true], scores.classes[pair.predicted]]
        numbers = [pair.count, int(support[pair.true]), pair.share.value, pair.share.low, pair.share.high]
        rows.append([*names, *numbers, "yes" if pair.beyond_chance else "no", pair.distance])
    return csv_text(header, rows)


def classes_csv(scores: Scores) -> str:
    """Precision, recall and F1 of each class with their intervals as CSV, and whether it stands out."""
    found = scores.standouts()
    place = {row.name: "lowest" for row in found.lowest} | {row.name: "highest" for row in found.highest}
    names = ("precision", "recall", "f1")
    header = ["class", "superclass", "support", "predicted"]
    header += [f"{name}{end}" for name in names for end in ("", "_low", "_high")]
    rows = []
    for index, row in enumerate(scores.per_class):
        above = "" if scores.superclass_of is None else (scores.superclasses or ())[scores.superclass_of[index]]
        numbers = [number for name in names for number in getattr(row, name).to_dict().values()]
        rows.append([row.name, above, row.support, row.predicted, *numbers, place.get(row.name, "within noise")])
    return csv_text([*header, "stands_out"], rows)


def _superclass(
    names: tuple[str, ...], index: int, coarse: Counts, confusion: Counts, above: Counts
) -> SuperclassScore:
    own = above == index
    n, kept = int(coarse[index].sum()), int(coarse[index, index])
    right = int(np.diagonal(confusion)[own].sum())
    others = np.where(np.arange(len(names)) == index, 0, coarse[index])
    other = int(others.argmax())
    taken = int(others[other])
    return SuperclassScore(
        names[index], n, proportion(kept, n), right, kept - right, n - kept, names[other] if taken else "", taken
    )
