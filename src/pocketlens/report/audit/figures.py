"""The charts of an audit: the images of each class, and the brightness of the pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pocketlens.audit.facts import MOST_SHOWN, Facts
from pocketlens.report.downloads import Table
from pocketlens.report.figures import FIRST, MUTED, SECOND, Figure, chart, finished
from pocketlens.text import counted

FEW_CLASSES = 20


def draw_counts(counts: NDArray[np.int64]) -> Figure:
    """Images of each class, the largest class first; the names are in the table, not here."""
    from matplotlib.ticker import MaxNLocator

    ordered = np.sort(counts)[::-1]
    with chart("look-counts", "Images per class", "classes, largest first", "development images") as axes:
        if len(ordered) > MOST_SHOWN:  # bars would have no width
            axes.stairs(ordered, np.arange(len(ordered) + 1) + 0.5, fill=True, color=FIRST)
        else:
            axes.bar(np.arange(1, len(ordered) + 1), ordered, width=0.8, color=FIRST)
        axes.set_xlim(0.4, len(ordered) + 0.6)
        axes.set_ylim(0, max(1, int(ordered[0])) * 1.05)
        if len(ordered) > FEW_CLASSES:
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
        else:
            axes.set_xticks([])  # their ranks would be read as their names
        axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
        axes.yaxis.set_major_formatter(lambda value, _: f"{value / 1000:g}k" if value >= 10_000 else f"{value:g}")
        axes.grid(visible=False, axis="x")
        table = Table(("rank", "development images"), tuple(enumerate(ordered.tolist(), 1)))
        many = f"each of {counted(len(counts), 'class')}" if len(counts) > 1 else "the only class"
        return finished(axes, f"Development images of {many}: {ordered[-1]:,} to {ordered[0]:,}.", table)


def draw_brightness(facts: Facts) -> Figure:
    """The distribution of brightness in each channel."""
    shares = facts.histogram / np.maximum(facts.histogram.sum(axis=1, keepdims=True), 1)
    looks = {"red": (SECOND, (0, (4, 1.5))), "green": (MUTED, (0, (1, 1.2))), "blue": (FIRST, "solid")}
    if len(shares) == 1:
        looks = {"grey": (FIRST, "solid")}
    with chart("look-brightness", "Pixel brightness", "brightness, from 0 (black) to 1", "% of pixels") as axes:
        middles = (np.arange(shares.shape[1]) + 0.5) / shares.shape[1]
        for (name, (colour, line)), share in zip(looks.items(), shares, strict=True):
            axes.plot(middles, 100 * share, color=colour, linestyle=line, label=name)
        axes.set_xlim(-0.03, 1.03)
        axes.set_ylim(bottom=0)
        if len(looks) > 1:
            axes.legend(loc="best", fontsize=8.5, handlelength=2.6)
        table = Table(("brightness", *looks), tuple(zip(middles.tolist(), *shares.tolist(), strict=True)))
        pairs = zip(looks, facts.mean, facts.std, strict=True)
        said = "; ".join(f"{name} {mean:.4f} ± {std:.4f}" for name, mean, std in pairs)
        return finished(axes, f"Mean and standard deviation of each channel: {said}.", table)
