"""The figures of a study's page as numbers: bars against the base, scores by trial, parallel coordinates, importance.

Only coordinates are computed here; the template draws them and escapes every text.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from pocketlens.scoring.significance import Floats
from pocketlens.studies.compare import Comparison
from pocketlens.studies.overrides import show_value, show_values
from pocketlens.studies.space import Domain
from pocketlens.studies.store import Record

FEWEST_FOR_IMPORTANCE = 8


class Tick(NamedTuple):
    """A tick of an axis: its coordinate, and the text beside it."""

    at: float
    text: str


@dataclass(frozen=True)
class Scale:
    """A linear scale from values to coordinates, with ticks at round values."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """The coordinate of a value; outside the scale that of the nearest end."""
        part = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return round(self.start + part * (self.end - self.start), 1)

    def ticks(self, n: int = 5) -> list[Tick]:
        """Ticks at about `n` round values."""
        rough = (self.high - self.low) / n
        size = 10 ** math.floor(math.log10(rough))
        step = next(size * k for k in (1, 2, 5, 10) if size * k >= rough)
        first = math.ceil(self.low / step - 1e-9)
        values = [index * step for index in range(first, math.floor(self.high / step + 1e-9) + 1)]
        digits = max(0, -math.floor(math.log10(step) + 1e-9))
        return [Tick(self(value), f"{value:.{digits}f}") for value in values]


def score_scale(comparison: Comparison, start: float, end: float) -> Scale | None:
    """A scale in per cent that holds every score, and every mean with its standard deviation."""
    values: list[float] = []
    for each in comparison.candidates:
        values += [100 * float(score) for score in each.scores if math.isfinite(score)]
        if each.mean is not None and each.sd is not None:
            values += [100 * (each.mean - each.sd), 100 * (each.mean + each.sd)]
    if not values:
        return None
    margin = 0.05 * (max(values) - min(values)) or 1.0
    return Scale(max(0.0, min(values) - margin), min(100.0, max(values) + margin), start, end)


@dataclass(frozen=True)
class Dot:
    """One trial of the history."""

    x: float
    y: float
    is_best: bool  # the best so far
    title: str


class History(NamedTuple):
    """A search's trials in their order, the SVG path of the best so far, and the scale of the scores."""

    dots: list[Dot]
    path: str
    scale: Scale


def history(records: Sequence[Record], width: float, height: float) -> History | None:
    """The history of a search; very low scores are clipped. None where there are fewer than two trials with scores."""
    rated = [record for record in records if record.score is not None and record.trial.phase == "search"]
    if len(rated) < 2:
        return None
    scores = np.array([100 * (record.score or 0.0) for record in rated])
    low = float(np.quantile(scores, 0.25)) - 0.5 * float(scores.max() - np.quantile(scores, 0.25))
    low = max(float(scores.min()), low)
    margin = 0.08 * (float(scores.max()) - low) or 1.0
    scale = Scale(low - margin, float(scores.max()) + margin, height, 0.0)
    dots, best, path = [], -math.inf, ""
    for index, (record, score) in enumerate(zip(rated, scores, strict=True)):
        x = round(width * (index + 0.5) / len(rated), 1)
        path += f"{'M' if not path else 'L'}{x},{scale(max(best, score))}" if score >= best or not path else f"H{x}"
        if score > best:
            path = path[: path.rfind("L")] + f"H{x}V{scale(score)}" if "L" in path else path
        dots.append(Dot(x, scale(float(score)), score > best, f"{record.trial.candidate}: {score:.2f} %"))
        best = max(best, float(score))
    return History(dots, path, scale)


@dataclass(frozen=True)
class Axis:
    """One address of the space, as a vertical line."""

    name: str
    x: float
    ticks: tuple[Tick, ...]


@dataclass(frozen=True)
class Thread:
    """One trial, as a line across the axes."""

    points: str
    rank: float  # 0 for the worst, 1 for the best
    title: str


class Parallel(NamedTuple):
    """Parallel coordinates; the threads in the order in which they are drawn, the best on top."""

    axes: list[Axis]
    threads: list[Thread]


def parallel(space: Sequence[Domain], records: Sequence[Record], width: float, height: float) -> Parallel:
    """Parallel coordinates of the search's trials: one axis for each address, and one for the score."""
    rated = [
        record
        for record in records
        if record.score is not None
        and record.trial.phase == "search"
        and all(domain.address in dict(record.trial.changes) for domain in space)
    ]
    if len(rated) < 2:
        return Parallel([], [])
    scores = np.array([record.score for record in rated], np.float64)
    order = scores.argsort().argsort() / max(1, len(rated) - 1)  # ranks in 0..1, so that outliers do not dominate
    n_axes = len(space) + 1
    xs = [round(width * index / (n_axes - 1), 1) for index in range(n_axes)]
    low, high = 100 * float(scores.min()), 100 * float(scores.max())
    scale = Scale(low, high if high > low else low + 1, height, 0.0)
    axes = [Axis(domain.address, x, _ticks(domain, height)) for domain, x in zip(space, xs, strict=False)]
    axes.append(Axis("validation accuracy, %", xs[-1], tuple(scale.ticks(4))))
    threads = []
    for record, score, rank in zip(rated, scores, order, strict=True):
        values = dict(record.trial.changes)
        ys = [round(height * (1 - domain.to_unit(values[domain.address])), 1) for domain in space]
        points = " ".join(f"{x},{y}" for x, y in zip(xs, [*ys, scale(100 * float(score))], strict=True))
        shown = show_values(values)
        threads.append(Thread(points, round(float(rank), 2), f"{record.trial.candidate}, {100 * score:.2f} %: {shown}"))
    return Parallel(axes, sorted(threads, key=lambda thread: thread.rank))


class Importance(NamedTuple):
    """The importance of an address of the space, as a share of that of all."""

    address: str
    share: float


def importance(space: Sequence[Domain], records: Sequence[Record]) -> list[Importance]:
    """The importance of each address, the most important first; they sum to 1. Empty where there are too few trials.

    Permutation importance in a random forest (Breiman 2001, "Random forests") on ranks of the scores, so that a few
    diverged trials do not dominate. It describes these trials and is not a test.
    """
    found = _table(space, records)
    if found is None:
        return []
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.inspection import permutation_importance

    units, scores = found
    ranks = scores.argsort().argsort().astype(np.float64)
    forest = RandomForestRegressor(n_estimators=50, min_samples_leaf=2, random_state=0).fit(units, ranks)
    raw = permutation_importance(forest, units, ranks, n_repeats=5, random_state=0).importances_mean
    positive = np.maximum(raw, 0.0)
    total = float(positive.sum()) or 1.0
    shares = [Importance(d.address, float(v / total)) for d, v in zip(space, positive, strict=True)]
    return sorted(shares, key=lambda each: -each.share)


def _table(space: Sequence[Domain], records: Sequence[Record]) -> tuple[Floats, Floats] | None:
    rated = [
        (record.score, dict(record.trial.changes))
        for record in records
        if record.score is not None and record.trial.phase == "search"
    ]
    rated = [(score, values) for score, values in rated if all(domain.address in values for domain in space)]
    if len(rated) < FEWEST_FOR_IMPORTANCE or len(space) < 2:
        return None
    units = np.array([[domain.to_unit(values[domain.address]) for domain in space] for _, values in rated])
    return units, np.array([score for score, _ in rated], np.float64)


def _ticks(domain: Domain, height: float) -> tuple[Tick, ...]:
    units: Sequence[float]
    if domain.kind == "choice":
        values: Sequence[Any] = domain.choices
        units = [domain.to_unit(choice) for choice in values]
    else:
        units = (0.0, 0.5, 1.0)
        values = [domain.low, domain.from_unit(0.5), domain.high]
    shown = [f"{value:.3g}" if isinstance(value, float) else show_value(value) for value in values]
    return tuple(Tick(round(height * (1 - unit), 1), text) for unit, text in zip(units, shown, strict=True))
