"""A sheet of paper of 1200 x 1500 px to draw on, in px from its upper left corner: texts that are cut where they would
not fit, pictures and charts. Light, whatever the machine's theme is."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketlens.text import printable

WIDTH, HEIGHT = 1200, 1500  # px
INK, MUTED, RULE, SOFT, BLUE, ORANGE = "#1b2127", "#59636d", "#e1e2df", "#f4f3ef", "#0072b2", "#b84c00"
_DPI = 100
_POINTS = 72 / _DPI  # of a px
_FURTHER = (  # fonts that have what DejaVu Sans lacks; those that are installed are used
    *("Noto Sans CJK JP", "Noto Sans CJK SC", "Hiragino Sans", "PingFang SC", "Microsoft YaHei", "Yu Gothic"),
    *(
        "Malgun Gothic",
        "Noto Sans Arabic",
        "Noto Sans Hebrew",
        "Noto Sans Devanagari",
        "Noto Sans Thai",
        "Arial Unicode MS",
    ),
)


@dataclass(frozen=True)
class Look:
    """How a text looks: px of its letters, colour, weight, and on which side of its x it stands."""

    size: float = 16
    colour: str = INK
    weight: str = "normal"
    align: str = "left"  # or "center", "right"


class Sheet:
    """The sheet; to be had from `sheet`."""

    def __init__(self) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self.figure = Figure(figsize=(WIDTH / _DPI, HEIGHT / _DPI), dpi=_DPI, facecolor="white")
        self._canvas: Any = FigureCanvasAgg(self.figure)

    def write(self, x: float, y: float, text: str, look: Look, most: float = WIDTH) -> None:
        """A line of text with its baseline at y, cut to `most` px."""
        self.figure.text(
            x / WIDTH,
            1 - y / HEIGHT,
            self.cut(text, look, most),
            fontsize=look.size * _POINTS,
            color=look.colour,
            weight=look.weight,
            ha=look.align,
            va="baseline",
            parse_math=False,
        )

    def cut(self, text: str, look: Look, most: float) -> str:
        """The text, or as much of its beginning as fits into `most` px, and `…`."""
        text = printable(text)[:400]
        if self.width_of(text, look) <= most:
            return text
        low, high = 0, len(text)  # letters that fit, letters that do not
        while high - low > 1:
            middle = (low + high) // 2
            fits = self.width_of(text[:middle].rstrip() + "…", look) <= most
            low, high = (middle, high) if fits else (low, middle)
        return text[:low].rstrip() + "…"

    def width_of(self, text: str, look: Look) -> float:
        """The px of a line of text."""
        from matplotlib.font_manager import FontProperties

        font = FontProperties(size=look.size * _POINTS, weight=look.weight)
        return float(self._canvas.get_renderer().get_text_width_height_descent(text, font, ismath=False)[0])

    def axes(self, left: float, top: float, width: float, height: float) -> Any:
        """Axes for a chart."""
        axes = self.figure.add_axes((left / WIDTH, 1 - (top + height) / HEIGHT, width / WIDTH, height / HEIGHT))
        axes.tick_params(labelsize=14 * _POINTS, length=0)
        return axes

    def rule(self, y: float) -> None:
        """A thin line across."""
        line = self.axes(60, y, WIDTH - 120, 1)
        line.set_axis_off()
        line.axhline(0, color=RULE, linewidth=1)

    def picture(self, left: float, top: float, side: float, pixels: NDArray[np.uint8], frame: str) -> None:
        """A picture, (H, W, C) or (H, W) uint8, as large as fits into a square, with a frame of a colour."""
        axes = self.axes(left, top, side, side)
        height, width = pixels.shape[:2]
        hard = max(height, width) < 64
        axes.imshow(pixels, cmap="gray", vmin=0, vmax=255, interpolation="nearest" if hard else "antialiased")
        longest = max(height, width)
        axes.set_xlim((width - longest) / 2 - 0.5, (width + longest) / 2 - 0.5)
        axes.set_ylim((height + longest) / 2 - 0.5, (height - longest) / 2 - 0.5)
        axes.set(xticks=[], yticks=[], facecolor=SOFT)
        for spine in axes.spines.values():
            spine.set(visible=True, color=frame, linewidth=1.5)

    def png(self) -> bytes:
        """The sheet as PNG."""
        buffer = io.BytesIO()
        self.figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
        return buffer.getvalue()


@contextmanager
def sheet() -> Iterator[Sheet]:
    """A sheet to draw on, for a `with`, within which `png` must be called, too."""
    import matplotlib
    from matplotlib.font_manager import get_font_names

    known = set(get_font_names())
    style: Any = {
        "font.family": ["DejaVu Sans", *(name for name in _FURTHER if name in known)],
        "text.parse_math": False,
        "axes.edgecolor": RULE,
        "axes.labelcolor": MUTED,
        "axes.linewidth": 0.8,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "grid.color": RULE,
        "grid.linewidth": 0.8,
        "xtick.color": MUTED,
        "ytick.color": MUTED,
        "text.color": INK,
        "legend.frameon": False,
    }
    with matplotlib.rc_context(style), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing", category=UserWarning)  # shown as a box
        warnings.filterwarnings("ignore", message="Matplotlib currently does not support", category=UserWarning)
        yield Sheet()
