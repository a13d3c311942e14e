"""The charts of a look at a data set: images of each class, and how bright the pixels are."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketlens.audit.facts import Facts
from pocketlens.report.figures import Colours, Figure, paint


def draw_counts(counts: NDArray[np.int64]) -> Figure:
    """Images of each class, the largest class first; names stand in the table, not here."""
    ordered = np.sort(counts)[::-1]

    def draw(axes: Any, colours: Colours) -> None:
        from matplotlib.ticker import MaxNLocator

        axes.bar(np.arange(1, len(ordered) + 1), ordered, width=0.8, color=colours.first)
        axes.set_title("Images of each class")
        axes.set_xlabel("class, by its number of images")
        axes.set_ylabel("development images")
        axes.set_xlim(0.4, len(ordered) + 0.6)
        axes.set_ylim(0, max(1, int(ordered[0])) * 1.05)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
        axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
        axes.yaxis.set_major_formatter(lambda value, _: f"{value / 1000:g}k" if value >= 10_000 else f"{value:g}")
        axes.grid(visible=False, axis="x")

    caption = f"Development images of each of {len(counts):,} classes: from {ordered[-1]:,} to {ordered[0]:,}."
    return paint("look-counts", caption, draw)


def draw_brightness(facts: Facts) -> Figure:
    """How often each brightness stands in each channel."""
    shares = facts.histogram / np.maximum(facts.histogram.sum(axis=1, keepdims=True), 1)
    names = ("grey",) if len(shares) == 1 else ("red", "green", "blue")

    def draw(axes: Any, colours: Colours) -> None:
        looks = ((colours.second, (0, (4, 1.5))), (colours.ink, (0, (1, 1.2))), (colours.first, "solid"))
        looks = looks[2:] if len(names) == 1 else looks
        middles = (np.arange(shares.shape[1]) + 0.5) / shares.shape[1]
        for name, share, (colour, line) in zip(names, shares, looks, strict=True):
            axes.plot(middles, 100 * share, color=colour, linestyle=line, label=name)
        axes.set_title("Brightness of the pixels")
        axes.set_xlabel("brightness, 0 black to 1 full")
        axes.set_ylabel("% of pixels")
        axes.set_xlim(-0.03, 1.03)
        axes.set_ylim(bottom=0)
        if len(names) > 1:
            axes.legend(loc="best", fontsize=8.5, handlelength=2.6)

    pairs = zip(names, facts.mean, facts.std, strict=True)
    said = "; ".join(f"{name} {mean:.4f} ± {std:.4f}" for name, mean, std in pairs)
    return paint("look-brightness", f"Mean and standard deviation of each channel: {said}.", draw)
