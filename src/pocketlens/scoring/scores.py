"""Scores: the evaluation of predictions, every number with its interval.

`score` computes them, `to_dict` is the content of scores-val.json and scores-test.json, `lines` is for the terminal.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pocketlens.errors import PocketlensError
from pocketlens.scoring import metrics
from pocketlens.scoring.confusion_cells import read_confusion, stored_confusion
from pocketlens.scoring.ledger import describe_openings
from pocketlens.scoring.metrics import Estimate
from pocketlens.scoring.predictions import Predictions
from pocketlens.text import counted

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from pocketlens.data.duplicates import Duplicates

PART_NAMES = {"val": "validation", "test": "test", "on": "other data"}


@dataclass(frozen=True)
class ClassScore:
    """One class: its rows, how often it was predicted, and three scores; they are None for a class without rows."""

    name: str
    support: int
    predicted: int
    precision: Estimate
    recall: Estimate
    f1: Estimate

    def to_dict(self) -> dict[str, Any]:
        """One entry of scores-val.json's `per_class`."""
        rates = {name: getattr(self, name).to_dict() for name in ("precision", "recall", "f1")}
        return {"class": self.name, "support": self.support, "predicted": self.predicted, **rates}

    @staticmethod
    def from_dict(value: dict[str, Any]) -> ClassScore:
        """The reverse of `to_dict`."""
        rates = (Estimate.from_dict(value[name]) for name in ("precision", "recall", "f1"))
        return ClassScore(str(value["class"]), int(value["support"]), int(value["predicted"]), *rates)


@dataclass(frozen=True)
class Standouts:
    """The classes whose F1 is significantly below or above the median.

    Attributes:
        middle: the median F1 of the classes that have rows.
        lowest: the classes below it, in ascending order; highest: those above it, in descending order.
        n_within: the number of classes that do not differ significantly from the median.
    """

    middle: float
    lowest: tuple[ClassScore, ...]
    highest: tuple[ClassScore, ...]
    n_within: int


class ScoreRow(NamedTuple):
    """A number over all classes, and how it is shown: as a "share" in per cent or as a "score"."""

    name: str
    estimate: Estimate
    kind: str


@dataclass(frozen=True)
class Majority:
    """The most frequent class, and its share of the images, 0..1: the accuracy of always answering it."""

    name: str
    share: float


@dataclass(frozen=True, eq=False)
class Scores:
    """A classifier's scores on one part.

    Attributes:
        part: "val" or "test".
        n: rows that were scored.
        top1, top5: accuracies; top5 is None where there are at most five classes.
        nll: mean negative log-likelihood in nats.
        coarse: accuracy over superclasses by summed probabilities, or None without superclasses.
        averages: ["macro" or "weighted"]["precision", "recall" or "f1"], over the classes that have rows.
        confusion: (K, K) int64 counts, sparse; row = true class, column = predicted class.
        clean: the score without the test images that duplicate development images; None where these are not known.
        opening, openings: this was the `opening`-th of `openings` openings of this test part; None for validation.
    """

    part: str
    n: int
    classes: tuple[str, ...]
    top1: Estimate
    top5: Estimate | None
    nll: Estimate
    coarse: Estimate | None
    per_class: tuple[ClassScore, ...]
    averages: dict[str, dict[str, Estimate]]
    confusion: csr_array
    superclasses: tuple[str, ...] | None = None
    superclass_of: tuple[int, ...] | None = None
    opening: int | None = None
    openings: int | None = None
    clean: Clean | None = None

    @property
    def majority(self) -> Majority:
        """What the same answer for every image is worth."""
        support = self.confusion.sum(axis=1)
        largest = int(support.argmax())
        return Majority(self.classes[largest], float(support[largest] / max(1, self.n)))

    def without_contaminated(self, predictions: Predictions, duplicates: Duplicates) -> Scores:
        """These test scores, with those without the images that duplicate development images."""
        return replace(self, clean=Clean.of(predictions, duplicates))

    def to_dict(self) -> dict[str, Any]:
        """What scores-val.json and scores-test.json hold: numbers, texts and None; never NaN."""
        return {
            "part": self.part,
            "n": self.n,
            **{name: _optional(getattr(self, name)) for name in ("top1", "top5", "nll", "coarse")},
            "averages": {
                kind: {name: estimate.to_dict() for name, estimate in row.items()}
                for kind, row in self.averages.items()
            },
            "opening": self.opening,
            "openings": self.openings,
            "clean": None if self.clean is None else self.clean.to_dict(),
            "per_class": [row.to_dict() for row in self.per_class],
            "superclasses": None if self.superclasses is None else list(self.superclasses),
            "superclass_of": None if self.superclass_of is None else list(self.superclass_of),
            "confusion": stored_confusion(self.confusion),
        }

    @staticmethod
    def from_dict(value: dict[str, Any], source: str = "scores") -> Scores:
        """The reverse of `to_dict`.

        Raises:
            PocketlensError: a key is missing or of the wrong type.
        """
        try:
            return _from_dict(value)
        except (KeyError, TypeError, ValueError) as error:
            raise PocketlensError(f"{source} must hold the scores of a run ({error!r}).") from None

    def ranked(self) -> list[ClassScore]:
        """The classes that have rows, in ascending order of F1."""
        return sorted((row for row in self.per_class if row.f1.value is not None), key=lambda row: row.f1.value or 0.0)

    def standouts(self) -> Standouts:
        """The classes whose F1 differs significantly from the median.

        Such a class's interval, with Bonferroni's correction for the number of classes (without it, one class in twenty
        would be named by chance), contains neither the median F1 nor any value of the interval of the accuracy, which
        is the F1 of all rows together: with few rows, the median itself is uncertain. Classes of few rows must pass the
        exact binomial test, too.
        """
        ranked = self.ranked()
        middle = float(np.median([row.f1.value or 0.0 for row in ranked])) if ranked else 0.0
        floor, ceiling = min(middle, self.top1.low or 0.0), max(middle, self.top1.high or 0.0)
        counts = [(round((row.recall.value or 0.0) * row.support), row.support + row.predicted) for row in ranked]
        hits, both = np.array(counts, np.int64).reshape(-1, 2).T
        below, above = metrics.stands_out(hits, both - hits, floor, ceiling)
        lowest, highest = ([row for row, out in zip(ranked, which, strict=True) if out] for which in (below, above))
        return Standouts(middle, tuple(lowest), tuple(highest[::-1]), len(ranked) - len(lowest) - len(highest))

    def lines(self) -> list[str]:
        """Lines for the terminal: the numbers with their intervals, then the classes that stand out."""
        head = [
            f"{PART_NAMES.get(self.part, self.part)}, {counted(self.n, 'image')}, {counted(len(self.classes), 'class')}"
        ]
        if self.opening is not None and self.openings is not None:
            head.append(describe_openings(self.opening, self.openings))
        head += [] if self.clean is None else [self.clean.line()]
        table = [
            f"  {name:<22} {show(estimate, kind):>9}  {show_interval(estimate, kind)}"
            for name, estimate, kind in self.rows()
        ]
        table += _standout_lines(self.standouts()) if self.ranked() else []
        return head + table

    def rows(self) -> list[ScoreRow]:
        """The defined numbers over all classes."""
        table: list[tuple[str, Estimate | None, str]] = [
            ("top-1 accuracy", self.top1, "share"),
            *([self.clean.row()] if self.clean and self.clean.n_contaminated else []),
            ("top-5 accuracy", self.top5, "share"),
            ("superclass accuracy", self.coarse, "share"),
            ("log-loss (nats)", self.nll, "score"),
        ]
        for kind, scores in self.averages.items():
            table += [
                (f"{kind} {'F1' if name == 'f1' else name}", estimate, "score") for name, estimate in scores.items()
            ]
        return [ScoreRow(name, estimate, kind) for name, estimate, kind in table if estimate is not None]

    def _repr_html_(self) -> str:
        cells = "".join(
            f"<tr><th>{escape(name)}</th><td>{show(estimate, kind)}</td><td>{show_interval(estimate, kind)}</td></tr>"
            for name, estimate, kind in self.rows()
        )
        caption = "; ".join(self.lines()[: 1 if self.opening is None else 2])
        return f"<table><caption>{escape(caption)}</caption>{cells}</table>"


def score(
    predictions: Predictions,
    classes: tuple[str, ...],
    superclasses: tuple[str, ...] | None = None,
    superclass_of: tuple[int, ...] | None = None,
) -> Scores:
    """The scores of predictions.

    Raises:
        PocketlensError: the number of classes is not the number of logits.
    """
    logits, labels, n_classes = predictions.logits, predictions.labels, len(classes)
    if logits.shape[1] != n_classes:
        raise PocketlensError(
            f"there must be one logit for each class; got {logits.shape[1]} and {counted(n_classes, 'class')}."
        )
    confusion = metrics.confusion_matrix(labels, predictions.predicted, n_classes)
    coarse = None
    if superclasses is not None and superclass_of is not None:
        coarse = metrics.coarse_accuracy(logits, labels, superclass_of, len(superclasses))
    return Scores(
        part=predictions.part,
        n=len(labels),
        classes=tuple(classes),
        top1=metrics.top_k(logits, labels, 1),
        top5=metrics.top_k(logits, labels, 5) if n_classes > 5 else None,
        nll=metrics.mean_nll(logits, labels),
        coarse=coarse,
        per_class=_class_rows(confusion, classes),
        averages=metrics.averages(confusion),
        confusion=confusion,
        superclasses=superclasses,
        superclass_of=superclass_of,
    )


def show(estimate: Estimate, kind: str) -> str:
    """`75.31 %` for a share, `0.753` for a score, `n/a` where it is not defined."""
    return "n/a" if estimate.value is None else _number(estimate.value, kind)


def show_interval(estimate: Estimate, kind: str) -> str:
    """`[74.45, 76.15]`, or an empty text where there is no interval."""
    if estimate.low is None or estimate.high is None:
        return ""
    return f"[{_number(estimate.low, kind).rstrip(' %')}, {_number(estimate.high, kind).rstrip(' %')}]"


def _standout_lines(found: Standouts, most: int = 10) -> list[str]:
    """Lines for the lowest and the highest F1, at most `most` of each, and for the other classes."""
    lines = []
    for title, where, rows in (("lowest", "below", found.lowest), ("highest", "above", found.highest)):
        if rows:
            lines.append(f"  {title} F1, significantly {where} the median of {found.middle:.3f}")
            lines += [
                f"    {row.name:<20} {show(row.f1, 'score'):>9}  {show_interval(row.f1, 'score')}  "
                f"{counted(row.support, 'image')}"
                for row in rows[:most]
            ]
            lines += [f"    and {len(rows) - most} more"] if len(rows) > most else []
    if found.n_within and (found.lowest or found.highest):
        lines.append(
            f"  the other {counted(found.n_within, 'class does', 'classes do')} not differ significantly "
            "from the median"
        )
    elif found.n_within > 1:
        lines.append(
            f"  no class stands out: none of the {found.n_within} F1 scores differs significantly from their median, "
            f"{found.middle:.3f}"
        )
    return lines


def _number(value: float, kind: str) -> str:
    return f"{100 * value:.2f} %" if kind == "share" else f"{value:.3f}"


def _class_rows(confusion: csr_array, classes: tuple[str, ...]) -> tuple[ClassScore, ...]:
    scores = metrics.class_scores(confusion)
    rows = []
    for index, name in enumerate(classes):
        estimates = (
            Estimate.of(values[index], *intervals[index])
            for values, intervals in (
                (scores.precision, scores.precision_interval),
                (scores.recall, scores.recall_interval),
                (scores.f1, scores.f1_interval),
            )
        )
        rows.append(ClassScore(name, int(scores.support[index]), int(scores.predicted[index]), *estimates))
    return tuple(rows)


def _optional(estimate: Estimate | None) -> dict[str, float | None] | None:
    return None if estimate is None else estimate.to_dict()


def _from_dict(value: dict[str, Any]) -> Scores:
    numbers = {name: Estimate.from_dict(value[name]) if value[name] else None for name in ("top5", "coarse")}
    return Scores(
        part=str(value["part"]),
        n=int(value["n"]),
        classes=tuple(str(row["class"]) for row in value["per_class"]),
        top1=Estimate.from_dict(value["top1"]),
        nll=Estimate.from_dict(value["nll"]),
        top5=numbers["top5"],
        coarse=numbers["coarse"],
        per_class=tuple(ClassScore.from_dict(row) for row in value["per_class"]),
        averages={
            kind: {name: Estimate.from_dict(estimate) for name, estimate in row.items()}
            for kind, row in value["averages"].items()
        },
        confusion=read_confusion(value["confusion"], len(value["per_class"])),
        superclasses=None if value["superclasses"] is None else tuple(value["superclasses"]),
        superclass_of=None if value["superclass_of"] is None else tuple(value["superclass_of"]),
        opening=value["opening"],
        openings=value["openings"],
        clean=Clean.from_dict(value["clean"]) if value.get("clean") else None,  # absent in files of before it was known
    )


@dataclass(frozen=True)
class Clean:
    """The score over the test images that do not show a picture of the development rows.

    Attributes:
        n: those images.
        n_contaminated: the others, which the classifier may have seen.
        complete: near duplicates were searched for; else `n_contaminated` counts equal pixels alone.
        top1: accuracy over the `n`; its value is None where there are none.
    """

    n: int
    n_contaminated: int
    complete: bool
    top1: Estimate

    @staticmethod
    def of(predictions: Predictions, duplicates: Duplicates) -> Clean:
        """The score of test predictions without the rows that duplicate development images."""
        dirty = np.isin(predictions.rows, duplicates.contaminated())
        right = (predictions.predicted == predictions.labels)[~dirty]
        top1 = metrics.proportion(int(right.sum()), len(right))
        return Clean(int((~dirty).sum()), int(dirty.sum()), duplicates.complete, top1)

    def line(self) -> str:
        """How many test images have duplicates in the development set, for the terminal."""
        line = self.in_words()
        return line if self.complete else f"{line}; to search for near duplicates: pocketlens look DATASET"

    def in_words(self) -> str:
        """How many test images have duplicates in the development set."""
        if self.n_contaminated:
            what = f"{counted(self.n_contaminated, 'test image has', 'test images have')} a duplicate"
            return f"{what} among the development images ({'exact or near' if self.complete else 'exact'})"
        kind = "a duplicate" if self.complete else "an exact duplicate"
        return f"no test image has {kind} among the development images"

    def row(self) -> ScoreRow:
        """The row of the table of scores."""
        return ScoreRow(f"top-1 of {self.n:,} clean", self.top1, "share")

    def to_dict(self) -> dict[str, Any]:
        """What scores-test.json holds."""
        return {**vars(self), "top1": self.top1.to_dict()}

    @staticmethod
    def from_dict(value: dict[str, Any]) -> Clean:
        """The reverse of `to_dict`."""
        return Clean(
            int(value["n"]), int(value["n_contaminated"]), bool(value["complete"]), Estimate.from_dict(value["top1"])
        )
