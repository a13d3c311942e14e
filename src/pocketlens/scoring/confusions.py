"""Confusions: which classes are taken for each other beyond chance, and how far mistakes lead from the truth.

The distance of two classes is that in the tree of superclasses: 0 for the same class, 1 inside a superclass, 2 across
(Bertinetto et al. 2020, "Making better mistakes", arXiv 1912.09393). Pairs are tested against mistakes that fall on
all other classes alike; of the pairs named at most 5 % are expected to be chance (Benjamini, Hochberg 1995).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pocketlens.files import csv_text
from pocketlens.scoring.confusion_cells import cells, is_whole, mistakes
from pocketlens.scoring.metrics import Counts, Estimate, proportion, wilson
from pocketlens.scoring.scores import Scores

if TYPE_CHECKING:
    from scipy.sparse import csr_array

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
    wrong, above = mistakes(scores.confusion), scores.superclass_of
    support = np.asarray(scores.confusion.sum(axis=1))[wrong.true]
    clear, share, interval = beyond_chance(scores.confusion), wrong.count / support, wilson(wrong.count, support)
    return tuple(
        Pair(
            true=(true := int(wrong.true[place])),
            predicted=(predicted := int(wrong.predicted[place])),
            count=int(wrong.count[place]),
            share=Estimate.of(share[place], *interval[place]),
            beyond_chance=bool(clear[place]),
            distance=None if above is None else 1 if above[true] == above[predicted] else 2,
        )
        for place in np.lexsort((wrong.predicted, wrong.true, -share, -wrong.count))
    )


def beyond_chance(confusion: csr_array | Counts) -> NDArray[np.bool_]:
    """(M,) bool: which of `mistakes` are more frequent than if those of their class fell on all others alike.

    Exact binomial test for each cell; with two classes there is nothing to be compared. The cells that are 0 count as
    tests, with p = 1: they come last, so that only their number is needed for the correction.
    """
    from scipy.special import bdtrc  # scipy.stats, which has the same, takes a second to import

    n, wrong = confusion.shape[0], mistakes(confusion)
    if n < 3 or not len(wrong.count):
        return np.zeros(len(wrong.count), bool)
    of_class = np.bincount(wrong.true, weights=wrong.count, minlength=n).astype(np.int64)
    p = bdtrc(wrong.count - 1, of_class[wrong.true], 1 / (n - 1))
    order = np.argsort(p)
    found = p[order] * (n * (n - 1) / np.arange(1, len(p) + 1))
    clear = np.empty(len(p), bool)
    clear[order] = np.minimum.accumulate(found[::-1])[::-1] <= FALSE_DISCOVERIES
    return clear


def severity(scores: Scores) -> Severity | None:
    """How far mistakes lead; None without superclasses."""
    from scipy.sparse import coo_array

    if scores.superclasses is None or scores.superclass_of is None:
        return None
    above, names = np.asarray(scores.superclass_of), scores.superclasses
    wrong = mistakes(scores.confusion)
    same = above[wrong.true] == above[wrong.predicted]
    n_wrong, n_inside = int(wrong.count.sum()), int(wrong.count[same].sum())
    inside = proportion(n_inside, n_wrong)
    across = proportion(n_wrong - n_inside, n_wrong)
    distance = Estimate(*(None if value is None else 1 + value for value in (across.value, across.low, across.high)))
    every = cells(scores.confusion)
    between = (above[every.true], above[every.predicted])
    coarse = coo_array((every.count, between), shape=(len(names), len(names))).tocsr()  # (S, S)
    right = np.bincount(above, weights=scores.confusion.diagonal(), minlength=len(names)).astype(np.int64)
    return Severity(
        n_wrong=n_wrong,
        inside=inside,
        mean_distance=distance,
        coarse=proportion(int(coarse.trace()), scores.n),
        rows=tuple(_superclass(names, index, coarse, int(right[index])) for index in range(len(names))),
    )


def confusion_csv(scores: Scores) -> str:
    """The matrix as CSV: a row for each true class, a column for each predicted one; with many classes its cells."""
    names, confusion = scores.classes, scores.confusion
    if is_whole(len(names)):
        rows = ([name, *counts] for name, counts in zip(names, confusion.toarray().tolist(), strict=True))
        return csv_text(["true \\ predicted", *names], rows)
    found = zip(*(each.tolist() for each in vars(cells(confusion)).values()), strict=True)
    return csv_text(["true", "predicted", "count"], ([names[i], names[j], count] for i, j, count in found))


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


def _superclass(names: tuple[str, ...], index: int, coarse: csr_array, right: int) -> SuperclassScore:
    taken_for = coarse[[index]].toarray()[0]  # (S,)
    n, kept = int(taken_for.sum()), int(taken_for[index])
    taken_for[index] = 0
    other = int(taken_for.argmax())
    taken = int(taken_for[other])
    return SuperclassScore(
        names[index], n, proportion(kept, n), right, kept - right, n - kept, names[other] if taken else "", taken
    )
