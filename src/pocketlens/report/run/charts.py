"""Charts of probabilities: the reliability diagram and accuracy by coverage."""

from __future__ import annotations

from pocketlens.report.downloads import Table
from pocketlens.report.figures import FIRST, GRID, MUTED, SECOND, Figure, chart, finished
from pocketlens.report.run.reliability import Reliability
from pocketlens.scoring.calibration import Calibration
from pocketlens.scoring.scores import show_interval
from pocketlens.scoring.selective import Selective


def draw_reliability(reliability: Reliability) -> Figure:
    """Accuracy by probability, with 95 % intervals, before and after the temperature."""
    with chart("reliability", "Reliability", "highest probability, %", "accuracy, %") as axes:
        total = len(reliability.predictions.rows)
        for part in reliability.before.bins:
            middle, width = 50 * (part.low + part.high), 100 * (part.high - part.low)
            axes.bar(middle, 100 * part.n / total, 0.9 * width, color=GRID, zorder=0.5)
        axes.plot([0, 100], [0, 100], color=MUTED, linewidth=0.8, linestyle=":")
        _points(axes, reliability.before, FIRST, "o", "uncalibrated")
        if reliability.after is not None:
            _points(axes, reliability.after, SECOND, "s", "with temperature")
        axes.set_xlim(0, 104)
        axes.set_ylim(0, 100)
        axes.legend(loc="upper left", fontsize=8.5)
        both = [("uncalibrated", reliability.before), ("with temperature", reliability.after)]
        table = Table(
            ("probabilities", "from", "to", "images", "mean probability", "accuracy", "low", "high"),
            tuple(
                (name, each.low, each.high, each.n, each.probability, *each.accuracy.to_dict().values())
                for name, calibration in both
                if calibration is not None
                for each in calibration.bins
            ),
        )
        return finished(
            axes,
            "Accuracy in 15 bins of the highest probability, with 95 % intervals; a calibrated model is on the dotted "
            "line. Grey: share of images in each bin. Expected calibration error "
            f"{_points_of(reliability.before)} points"
            f"{'' if reliability.after is None else f', with temperature {_points_of(reliability.after)}'}.",
            table,
        )


def draw_coverage(answered: tuple[Selective, ...]) -> Figure:
    """Accuracy over the most confident rows, by coverage."""
    with chart("coverage", "Selective prediction", "coverage, % of images", "accuracy, %") as axes:
        shares = [100 * row.coverage for row in answered]
        low, high = ([100 * (value or 0.0) for value in values] for values in zip(*_intervals(answered), strict=True))
        axes.fill_between(shares, low, high, color=FIRST, alpha=0.2, linewidth=0)
        axes.plot(
            shares, [100 * (row.accuracy.value or 0.0) for row in answered], color=FIRST, marker="o", markersize=3
        )
        axes.set_xlim(0, 104)
        table = Table(
            ("coverage", "least probability", "accuracy", "low", "high"),
            tuple((row.coverage, row.threshold, *row.accuracy.to_dict().values()) for row in answered),
        )
        half = min(answered, key=lambda row: abs(row.coverage - 0.5))
        return finished(
            axes,
            "Accuracy if only the most confident images are classified, with its 95 % interval: "
            f"{100 * (half.accuracy.value or 0.0):.2f} % at {100 * half.coverage:.0f} % coverage, "
            f"{100 * (answered[-1].accuracy.value or 0.0):.2f} % for all images.",
            table,
        )


def _points_of(calibration: Calibration) -> str:
    between = show_interval(calibration.ece_interval, "share")
    return f"{100 * calibration.ece:.2f}{' ' + between if between else ''}"


def _points(axes: object, calibration: Calibration, colour: str, marker: str, name: str) -> None:
    bins = calibration.bins
    x = [100 * part.probability for part in bins]
    y = [100 * (part.accuracy.value or 0.0) for part in bins]
    below = [value - 100 * (part.accuracy.low or 0.0) for value, part in zip(y, bins, strict=True)]
    above = [100 * (part.accuracy.high or 0.0) - value for value, part in zip(y, bins, strict=True)]
    axes.errorbar(  # type: ignore[attr-defined]
        x, y, [below, above], color=colour, marker=marker, markersize=3.5, linewidth=1, elinewidth=0.8, label=name
    )


def _intervals(answered: tuple[Selective, ...]) -> list[tuple[float | None, float | None]]:
    return [(row.accuracy.low, row.accuracy.high) for row in answered]
