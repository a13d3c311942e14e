"""Charts of several runs in one: validation accuracy by epoch, and accuracy by cost. Runs are named by number alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pocketlens.report.downloads import Table
from pocketlens.report.figures import FIRST, MUTED, SECOND, Figure, Point, chart, finished
from pocketlens.text import counted

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")  # Okabe and Ito's
_DASHES = ("-", "--", "-.", ":")
MOST = 24  # runs whose curves can be told apart, by colour and dashes


@dataclass(frozen=True)
class RunCurve:
    """The accuracy of a run by epoch, in 0..1; without points where there is none."""

    number: int
    points: tuple[Point, ...]


@dataclass(frozen=True)
class RunCost:
    """What a run cost, and its highest validation accuracy in per cent."""

    number: int
    cost: float
    accuracy: float


def draw_runs(curves: Sequence[RunCurve], title: str = "Validation accuracy", unit: str = "%") -> Figure:
    """Accuracy in %, or loss, by epoch of up to 24 runs; the values of accuracies are in 0..1."""
    from matplotlib.ticker import MaxNLocator

    factor = 100 if unit == "%" else 1
    with chart(title, title, "epoch", unit) as axes:
        for place, curve in enumerate(curves[:MOST]):
            if curve.points:
                epochs, shares = zip(*curve.points, strict=True)
                style = _DASHES[place // len(_COLOURS)]
                marker = "o" if len(curve.points) < 3 else ""
                colour = _COLOURS[place % len(_COLOURS)]
                values = [factor * share for share in shares]
                axes.plot(epochs, values, style, color=colour, marker=marker, label=curve.number)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
        axes.legend(
            loc="lower right" if unit == "%" else "upper right",
            fontsize=8,
            ncols=2 if len(curves) > 6 else 1,
            title="run",
            title_fontsize=8,
        )
        more = f" The first {MOST} of {counted(len(curves), 'run')}." if len(curves) > MOST else ""
        missing = [str(curve.number) for curve in curves[:MOST] if not curve.points]
        none = f" Not drawn, as it was not measured: run {', '.join(missing)}." if missing else ""
        points = tuple((curve.number, *point) for curve in curves for point in curve.points)
        table = Table(("run", "epoch", f"{title.lower()}{'' if unit == '%' else f', {unit}'}"), points)
        return finished(axes, f"{title} by epoch.{none}{more}", table)


def draw_cost(runs: Sequence[RunCost], front: set[int], name: str) -> Figure:
    """Highest validation accuracy by cost; `front` holds the numbers of the runs on the Pareto front."""
    with chart(name, "Accuracy by cost", name, "highest validation accuracy, %") as axes:
        for run in runs:
            best, place = run.number in front, (run.cost, run.accuracy)
            axes.plot(*place, "o" if best else "x", color=SECOND if best else FIRST, markersize=6)
            axes.annotate(str(run.number), place, xytext=(5, 4), textcoords="offset points", fontsize=8)
        steps = sorted((run.cost, run.accuracy) for run in runs if run.number in front)
        axes.plot(*zip(*steps, strict=True), color=MUTED, linewidth=0.8, drawstyle="steps-post", zorder=0.5)
        axes.margins(0.12)
        if max(run.cost for run in runs) > 20 * min(run.cost for run in runs):
            axes.set_xscale("log")
        return finished(
            axes,
            f"Accuracy by {name}. Orange dots: the Pareto front, where no other run is as accurate at lower cost.",
            Table(
                ("run", name, "highest validation accuracy, %", "on the Pareto front"),
                tuple((run.number, run.cost, run.accuracy, "yes" if run.number in front else "no") for run in runs),
            ),
        )
