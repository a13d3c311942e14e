"""Curves as coordinates for inline SVG: small ones in the index, and charts that are drawn anew every two seconds.

The template draws them; they hold numbers alone. matplotlib, which the other pages use, takes a second for each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from pocketlens.report.study.figures import Scale, Tick

SPARK_WIDTH, SPARK_HEIGHT = 96.0, 24.0
WIDTH, HEIGHT = 420.0, 200.0  # of a chart's area


class Mark(NamedTuple):
    """A place in a picture."""

    x: float
    y: float


@dataclass(frozen=True)
class Spark:
    """A small curve: the points of a polyline, its last point, and what it shows, in words."""

    points: str
    last: Mark
    words: str


@dataclass(frozen=True)
class Line:
    """One line of a chart: its name, the points of a polyline, and its last value as text."""

    name: str
    points: str
    last: Mark
    value: str


@dataclass(frozen=True)
class Chart:
    """A chart over the epochs: lines, and the ticks of both axes."""

    title: str
    unit: str
    lines: tuple[Line, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]


class _Wanted(NamedTuple):
    """A chart of keys of the history."""

    title: str
    unit: str
    keys: tuple[str, ...]
    factor: float


_CHARTS = (
    _Wanted("Accuracy", "%", ("val_accuracy", "train_accuracy"), 100.0),
    _Wanted("Loss", "nats", ("val_loss", "train_loss"), 1.0),
    _Wanted("Learning rate", "", ("lr",), 1.0),
)
_NAMES = {"val": "validation", "train": "training"}


def spark(curve: Sequence[float], n_epochs: float | None, is_on_val: bool) -> Spark | None:
    """The small curve of accuracies, 0..1, from the first epoch to the planned last one; None without any."""
    if not curve:
        return None
    whole = max(len(curve), round(n_epochs or 0), 2)
    x = Scale(1, whole, 2, SPARK_WIDTH - 3)
    low, high = min(curve), max(curve)
    y = Scale(low, high, SPARK_HEIGHT - 3, 3) if high > low else None
    marks = [Mark(x(number), SPARK_HEIGHT / 2 if y is None else y(value)) for number, value in enumerate(curve, 1)]
    part = "validation" if is_on_val else "training"
    words = f"{part} accuracy by epoch: {100 * curve[0]:.1f} to {100 * curve[-1]:.1f} %"
    return Spark(_points(marks), marks[-1], words)


def charts(history: Sequence[dict[str, Any]], n_epochs: float | None) -> tuple[Chart, ...]:
    """The charts of a history for which there are numbers; the epochs that are still to come have their room."""
    drawn = []
    for wanted in _CHARTS:
        series = {key: [(row["epoch"], wanted.factor * row[key]) for row in history if row.get(key) is not None]
                  for key in wanted.keys}  # fmt: skip
        series = {key: points for key, points in series.items() if points}
        if series:
            drawn.append(_chart(wanted, series, max(len(history), n_epochs or 0, 2)))
    return tuple(drawn)


def _chart(wanted: _Wanted, series: dict[str, list[tuple[float, float]]], whole: float) -> Chart:
    values = [value for points in series.values() for _, value in points]
    low, high = (0.0, max(values)) if wanted.title == "Learning rate" else (min(values), max(values))
    margin = 0.06 * (high - low) or 0.5 * abs(high) or 1.0
    if wanted.unit == "%":
        low, high = max(0.0, low - margin), min(100.0, high + margin)
    else:
        low, high = max(0.0, low - margin), high + margin
    x, y = Scale(1, whole, 0, WIDTH), Scale(low, high, HEIGHT, 0)
    lines = []
    for key, points in series.items():
        marks = [Mark(x(epoch), y(value)) for epoch, value in points]
        shown = f"{points[-1][1]:.2f} %" if wanted.unit == "%" else f"{points[-1][1]:.4g}"
        lines.append(Line(_NAMES.get(key.partition("_")[0], ""), _points(marks), marks[-1], shown))
    x_ticks = tuple(Tick(at, f"{float(text):.0f}") for at, text in x.ticks(6) if float(text).is_integer())
    return Chart(wanted.title, wanted.unit, tuple(lines), x_ticks, tuple(y.ticks(4)))


def _points(marks: Sequence[Mark]) -> str:
    return " ".join(f"{mark.x:g},{mark.y:g}" for mark in marks)
