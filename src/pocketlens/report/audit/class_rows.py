"""The classes on the page of an audit: counts, mean images, samples and outliers; of very many, some are shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pocketlens.audit.facts import MOST_SHOWN
from pocketlens.audit.outliers import ranked
from pocketlens.data.dataset import rows_by_class
from pocketlens.report.audit.sprites import Sprite, picture, strip
from pocketlens.report.audit.tables import rankings
from pocketlens.text import counted

if TYPE_CHECKING:
    from pocketlens.audit.audit import AuditReport
    from pocketlens.audit.class_difficulty import ClassDifficulty
    from pocketlens.audit.facts import Facts

N_OUTLIERS_OF_CLASS, N_OF_SUPERCLASS = 8, 5


@dataclass(frozen=True)
class ClassRow:
    """One class: its names, counts, mean image and samples."""

    name: str
    superclass: str
    n_train: int
    n_val: int
    share: float  # of the largest class
    average: str | None
    samples: Sprite | None
    rows: str


@dataclass(frozen=True)
class SuperclassRow:
    """One superclass: its classes with five samples each, a row of the image for each class."""

    name: str
    classes: tuple[str, ...]
    n: int
    average: str | None
    samples: Sprite | None
    shown: tuple[str, ...]  # the classes that have enough images for a row of samples


@dataclass(frozen=True)
class ClassOutliers:
    """The images of one class that one method ranks highest."""

    title: str
    name: str
    sprite: Sprite
    rows: str


def fewer_classes(facts: Facts) -> str:
    """Which classes are shown, where not all are."""
    n, shown = len(facts.counts), len(facts.shown)
    if shown == n:
        return ""
    return f"The {shown} of {counted(n, 'class')} with the fewest images are shown; counts.csv lists all."


def hardest_classes(report: AuditReport) -> tuple[ClassDifficulty, ...]:
    """The classes that are recognised least, the hardest first: all, or of very many some."""
    return (report.classes or ())[:MOST_SHOWN]


def class_rows(report: AuditReport) -> list[ClassRow]:
    """Every class that is shown, in the order of the data set."""
    dataset, facts = report.dataset, report.facts
    most = max(1, int(facts.n_of_class.max()))
    rows = []
    for label, average in zip(facts.shown.tolist(), facts.class_means, strict=True):
        above = ""
        if dataset.superclasses is not None and dataset.superclass_of is not None:
            above = dataset.superclasses[dataset.superclass_of[label]]
        n_train, n_val = facts.counts[label].tolist()
        chosen = facts.samples[label]
        mean = picture(average) if len(chosen) else None
        share, samples = (n_train + n_val) / most, strip(dataset.images[chosen])
        rows.append(ClassRow(dataset.classes[label], above, n_train, n_val, share, mean, samples, _listed(chosen)))
    return rows


def superclass_rows(report: AuditReport) -> list[SuperclassRow]:
    """The superclasses with five samples of each of their classes; none if there are no superclasses."""
    dataset, facts = report.dataset, report.facts
    if dataset.superclasses is None or dataset.superclass_of is None or facts.superclass_means is None:
        return []
    above, drawn = np.asarray(dataset.superclass_of), set(facts.shown.tolist())
    rows = []
    for group, name in enumerate(dataset.superclasses[: len(facts.superclass_means)]):
        labels = np.flatnonzero(above == group).tolist()
        full = [each for each in labels if each in drawn and len(facts.samples[each]) >= N_OF_SUPERCLASS]
        chosen = [facts.samples[label][:N_OF_SUPERCLASS] for label in full]
        sheet = strip(dataset.images[np.concatenate(chosen)], N_OF_SUPERCLASS) if full else None
        n = int(facts.n_of_class[labels].sum())
        average = picture(facts.superclass_means[group]) if n else None
        names, shown = (tuple(dataset.classes[label] for label in some) for some in (labels, full))
        rows.append(SuperclassRow(name, names, n, average, sheet, shown))
    return rows


def class_outliers(report: AuditReport) -> list[ClassOutliers]:
    """The highest ranked images of each class that is shown, by each method."""
    result = []
    dataset = report.dataset
    by_class = rows_by_class(dataset.labels, len(dataset.classes))
    for ranking in rankings(report):
        for label in report.facts.shown.tolist():
            rows = by_class[label]
            chosen = rows[ranked(ranking.scores[rows])[:N_OUTLIERS_OF_CLASS]]
            sprite = strip(dataset.images[chosen])
            if sprite is not None:
                result.append(ClassOutliers(ranking.title, dataset.classes[label], sprite, _listed(chosen)))
    return result


def _listed(rows: NDArray[np.int64]) -> str:
    return ", ".join(str(row) for row in rows.tolist())
