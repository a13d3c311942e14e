"""Charts as inline SVG by matplotlib, in the page's colours (light, dark, print); the learning curves stand here.

Every figure holds our own words and numbers only: no class name, label or path ever goes into one.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from typing import Any, NamedTuple

from pocketlens.report.downloads import Table

_WIDTH, _HEIGHT = 4.2, 2.9  # inches; about 300 points wide, so that 9 points stay legible on a phone

# What matplotlib draws in these colours takes the page's colours instead.
_INK, MUTED, GRID, FIRST, SECOND = "#010101", "#020202", "#030303", "#040404", "#050505"
_VARIABLES = {_INK: "--ink", MUTED: "--muted", GRID: "--rule", FIRST: "--blue", SECOND: "--orange"}

_STYLE: dict[str, Any] = {
    "axes.titley": 1.0,  # where it is by default, without measuring what is above the axes
    "svg.fonttype": "none",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": MUTED,
    "axes.labelcolor": MUTED,
    "axes.titlecolor": _INK,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "text.color": _INK,
    "lines.linewidth": 1.6,
    "lines.markersize": 4,
    "legend.frameon": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}


@dataclass(frozen=True)
class Figure:
    """One picture: its SVG (safe to place in the page as it is), what it shows, in words, and its numbers or None."""

    svg: str
    caption: str
    title: str
    table: Table | None


class Point(NamedTuple):
    """The value of a curve in an epoch."""

    epoch: int
    value: float


@dataclass(frozen=True)
class _Curve:
    """One line of a chart; its name is empty where it is the only one."""

    name: str
    points: tuple[Point, ...]


@dataclass(frozen=True)
class _Panel:
    """What one small chart shows: lines of (key of the history or of the gaps, name) over the epochs."""

    name: str
    title: str
    unit: str
    lines: tuple[tuple[str, str], ...]
    caption: str
    steps: bool = False
    zero: bool = False


_PANELS = (
    _Panel("loss", "Loss", "nats", (("train_loss", "training"), ("val_loss", "validation")), "Loss by epoch"),
    _Panel(
        "accuracy",
        "Accuracy",
        "%",
        (("train_accuracy", "training"), ("val_accuracy", "validation")),
        "Accuracy by epoch",
    ),
    _Panel(
        "accuracy-gap",
        "Generalisation gap, accuracy",
        "points",
        (("accuracy_gap", ""),),
        "Training minus validation accuracy",
        zero=True,
    ),
    _Panel(
        "loss-gap",
        "Generalisation gap, loss",
        "nats",
        (("loss_gap", ""),),
        "Validation minus training loss",
        zero=True,
    ),
    _Panel("lr", "Learning rate", "", (("lr", ""),), "Learning rate at the end of each epoch"),
    _Panel("size", "Image size", "px", (("size", ""),), "Image size at the end of each epoch", steps=True),
)


def draw_curves(history: tuple[dict[str, Any], ...], chosen: int | None = None) -> list[Figure]:
    """The learning curves of a run, those for which there are numbers; `chosen` marks the epoch that was kept."""
    table = [_with_gaps(record) for record in history]
    figures = []
    for panel in _PANELS:
        curves = [_Curve(name, _points(table, key)) for key, name in panel.lines]
        curves = [curve for curve in curves if curve.points]
        if curves:
            figures.append(_draw(panel, curves, chosen))
    return figures


def _with_gaps(record: dict[str, Any]) -> dict[str, Any]:
    """A record with accuracies in per cent and with the two gaps, where both of their numbers are there."""
    row = dict(record)
    for key in ("train_accuracy", "val_accuracy"):
        row[key] = None if record.get(key) is None else 100 * record[key]
    pairs = {"accuracy_gap": ("train_accuracy", "val_accuracy"), "loss_gap": ("val_loss", "train_loss")}
    for gap, (first, second) in pairs.items():
        both = row.get(first) is not None and row.get(second) is not None
        row[gap] = row[first] - row[second] if both else None
    return row


def _points(table: list[dict[str, Any]], key: str) -> tuple[Point, ...]:
    return tuple(Point(int(row["epoch"]), float(row[key])) for row in table if row.get(key) is not None)


@contextmanager
def chart(name: str, title: str, x: str, y: str) -> Iterator[Any]:
    """Axes in the page's style, for a `with`; `name` keeps the ids of its SVG apart from those of other charts."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure as Canvas

    style: Any = _STYLE | {"svg.hashsalt": name}  # so that no two pictures share an id
    with matplotlib.rc_context(style):
        figure = Canvas(figsize=(_WIDTH, _HEIGHT))
        FigureCanvasSVG(figure)
        axes = figure.add_axes((0.155, 0.155, 0.83, 0.76))
        axes.set_title(title)
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        yield axes


def finished(axes: Any, caption: str, table: Table | None = None) -> Figure:
    """The chart as SVG for the page, with the numbers that it shows; to be called inside the `with` of `chart`."""
    buffer = io.StringIO()
    axes.figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return Figure(_for_page(buffer.getvalue(), caption), caption, axes.get_title(loc="left"), table)


def _draw(panel: _Panel, curves: list[_Curve], chosen: int | None) -> Figure:
    with chart(panel.name, panel.title, "epoch", panel.unit) as axes:
        _paint(axes, panel, curves, chosen)
        caption = f"{panel.caption}: {'; '.join(_describe(curve, panel.unit) for curve in curves)}."
        return finished(axes, caption, _table(panel, curves))


def _table(panel: _Panel, curves: list[_Curve]) -> Table:
    """A row for each epoch, a column for each curve."""
    names = tuple(curve.name or panel.title.lower() for curve in curves)
    values = [dict(curve.points) for curve in curves]
    epochs = sorted({epoch for each in values for epoch in each})
    unit = f", {panel.unit}" if panel.unit else ""
    header = ("epoch", *(f"{name}{unit}" for name in names))
    return Table(header, tuple((epoch, *(each.get(epoch) for each in values)) for epoch in epochs))


def _paint(axes: Any, panel: _Panel, curves: list[_Curve], chosen: int | None) -> None:
    from matplotlib.ticker import MaxNLocator

    # training is a plain line and validation a dashed one with points, so that colour is not needed to tell them apart
    looks: tuple[dict[str, Any], ...] = (
        {"color": FIRST, "marker": ""},
        {"color": SECOND, "marker": "o", "linestyle": (0, (4, 1.5))},
    )
    drawstyle = "steps-mid" if panel.steps else "default"
    for curve, look in zip(curves, looks, strict=False):
        few = {"marker": "o"} if len(curve.points) < 3 else {}
        epochs, values = zip(*curve.points, strict=True)
        axes.plot(epochs, values, label=curve.name or None, drawstyle=drawstyle, **{**look, **few})
    if panel.zero:
        axes.axhline(0, color=MUTED, linewidth=0.8)
    if chosen is not None:
        axes.axvline(chosen, color=MUTED, linewidth=0.8, linestyle=":", label="kept")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=panel.steps))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}".replace("-", "\u2212"))
    epochs_seen = [point.epoch for curve in curves for point in curve.points]
    margin = 0.5 if len(set(epochs_seen)) == 1 else 0.03 * (max(epochs_seen) - min(epochs_seen))
    axes.set_xlim(min(epochs_seen) - margin, max(epochs_seen) + margin)
    if panel.name in ("accuracy", "lr", "size"):
        axes.set_ylim(bottom=0)
    if len(curves) > 1:
        axes.legend(loc="best", fontsize=8.5, handlelength=2.2)


def _describe(curve: _Curve, unit: str) -> str:
    first, last = curve.points[0], curve.points[-1]
    unit, start = f" {unit}" if unit else "", f"{curve.name} " if curve.name else ""
    if len(curve.points) == 1:
        text = f"{start}{last.value:.3g}{unit} in epoch {first.epoch}"
    else:
        text = f"{start}from {first.value:.3g} to {last.value:.3g}{unit}"
    return text.replace(" -", " \u2212")  # a true minus sign


def _for_page(svg: str, caption: str) -> str:
    """matplotlib's SVG without what the page does not need, in the page's colours and with words for those who hear."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<g id="[^"]*">', "<g>", svg)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r"<style[^>]*>.*?</style>", "", svg, flags=re.DOTALL)  # it would reach beyond the picture
    svg = re.sub(r'font-family: [^;"]*(; )?', "", svg)  # the page's own face
    svg = re.sub(r'(font: [\d.a-z% ]*px )[^;"]*', r"\1var(--sans)", svg)
    svg = re.sub(r"\s+", " ", svg).replace("> <", "><")
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, f"var({variable})")
    return svg.replace("<svg ", f'<svg class="plot" role="img" aria-label="{escape(caption)}" ', 1).strip()
