"""Charts of several runs in one: validation accuracy by epoch, and accuracy by cost. Runs are named by number alone."""

from __future__ import annotations

from collections.abc import Sequence

from pocketlens.report.figures import FIRST, MUTED, SECOND, Figure, chart, finished

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")  # Okabe and Ito's
_DASHES = ("-", "--", "-.", ":")
MOST = 24  # runs whose curves can be told apart, by colour and dashes


def draw_runs(curves: Sequence[tuple[int, Sequence[tuple[int, float]]]]) -> Figure:
    """Accuracy by epoch of up to 24 runs, each (number, points)."""
    from matplotlib.ticker import MaxNLocator

    with chart("runs", "Validation accuracy", "epoch", "%") as axes:
        for place, (number, points) in enumerate(curves[:MOST]):
            if points:
                epochs, values = zip(*points, strict=True)
                style = _DASHES[place // len(_COLOURS)]
                marker = "o" if len(points) < 3 else ""
                colour = _COLOURS[place % len(_COLOURS)]
                axes.plot(epochs, [100 * value for value in values], style, color=colour, marker=marker, label=number)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
        axes.legend(loc="lower right", fontsize=8, ncols=2 if len(curves) > 6 else 1, title="run", title_fontsize=8)
        more = f" The first {MOST} of {len(curves)} runs." if len(curves) > MOST else ""
        missing = [str(number) for number, points in curves[:MOST] if not points]
        none = f" Not drawn, as without a validation set: run {', '.join(missing)}." if missing else ""
        return finished(axes, f"Validation accuracy by epoch.{none}{more}")


def draw_cost(points: Sequence[tuple[int, float, float]], front: set[int], name: str) -> Figure:
    """Highest validation accuracy in per cent by cost, each point (number, cost, accuracy); `front` holds numbers."""
    with chart(name, "Accuracy by cost", name, "highest validation accuracy, %") as axes:
        for number, cost, accuracy in points:
            best = number in front
            axes.plot(cost, accuracy, "o" if best else "x", color=SECOND if best else FIRST, markersize=6)
            axes.annotate(str(number), (cost, accuracy), xytext=(5, 4), textcoords="offset points", fontsize=8)
        steps = sorted((cost, accuracy) for number, cost, accuracy in points if number in front)
        axes.plot(*zip(*steps, strict=True), color=MUTED, linewidth=0.8, drawstyle="steps-post", zorder=0.5)
        axes.margins(0.12)
        if max(cost for _, cost, _ in points) > 20 * min(cost for _, cost, _ in points):
            axes.set_xscale("log")
        return finished(
            axes, f"Accuracy by {name}. Orange dots: the Pareto front, where no other run is as accurate at lower cost."
        )
