"""The plot of a learning-rate range test: SVG that follows the light or dark of its reader, or PNG on white."""

from __future__ import annotations

import io
from typing import Any

from pocketlens.text import counted
from pocketlens.training.lr_range import LrRange

# Okabe and Ito's colours for those who do not tell all colours apart; each with one for dark ground.
_COLOURS = {
    "ink": ("#1a1a1a", "#ececec"),
    "muted": ("#5f5f5f", "#a8a8a8"),
    "rule": ("#dedede", "#3a3a3a"),
    "each": ("#8a8a8a", "#8b8b8b"),
    "mean": ("#0072b2", "#56b4e9"),
    "suggested": ("#d55e00", "#e69f00"),
    "ground": ("#ffffff", "#161616"),
}
_NAMED = {name: f"#{number:06x}" for number, name in enumerate(_COLOURS, start=0xA0B0C1)}  # placeholders in the SVG


def draw_lr_range(result: LrRange) -> tuple[bytes, bytes]:
    """(SVG, PNG): the loss over the rate, its running mean, the suggested rate and where training diverged."""
    return _svg(result), _png(result)


def _svg(result: LrRange) -> bytes:
    import matplotlib

    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "lr-range"}):  # equal results, equal bytes
        _draw(result, _NAMED).savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    for name, placeholder in _NAMED.items():
        text = text.replace(placeholder, f"var(--{name})")
    light, dark = (";".join(f"--{name}:{pair[place]}" for name, pair in _COLOURS.items()) for place in (0, 1))
    style = f"<style>svg{{{light}}}@media (prefers-color-scheme: dark){{svg{{{dark}}}}}</style>"
    opening = text.index(">", text.index("<svg")) + 1
    return (text[:opening] + style + text[opening:]).encode()


def _png(result: LrRange) -> bytes:
    buffer = io.BytesIO()
    figure = _draw(result, {name: pair[0] for name, pair in _COLOURS.items()})
    figure.savefig(buffer, format="png", dpi=150, metadata={"Software": None})
    return buffer.getvalue()


def _draw(result: LrRange, colour: dict[str, str]) -> Any:
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    style: Any = {
        "font.family": "sans-serif",
        "font.size": 10,
        "text.color": colour["ink"],
        "axes.labelcolor": colour["ink"],
        "axes.edgecolor": colour["muted"],
        "xtick.color": colour["muted"],
        "ytick.color": colour["muted"],
        "legend.frameon": False,
    }
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(6.4, 4.0), facecolor=colour["ground"], layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot(facecolor=colour["ground"])
        axes.grid(color=colour["rule"], linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_xscale("log")
        axes.plot(result.lr, result.loss, ".", markersize=4, color=colour["each"], label="each batch")
        axes.plot(result.lr, result.smooth, linewidth=2, color=colour["mean"], label="running mean")
        if result.suggested is not None:
            said = f"suggested: {result.suggested:g}"
            axes.axvline(result.suggested, linewidth=1.5, linestyle="--", color=colour["suggested"], label=said)
        if result.diverged is not None:
            said = f"diverged at {result.diverged:.3g}"
            axes.axvline(result.diverged, linewidth=1.5, linestyle=":", color=colour["muted"], label=said)
        lowest, highest = min(result.smooth), max(result.smooth)
        axes.set_ylim(lowest - 0.2 * (highest - lowest) - 1e-9, highest + 0.3 * (highest - lowest) + 1e-9)
        axes.set_xlabel("learning rate")
        axes.set_ylabel("training loss")
        axes.set_title(f"Learning-rate range test, {counted(len(result.lr), 'step')} at {result.size} px", loc="left")
        axes.legend(loc="best")
        figure.draw_without_rendering()
    return figure
