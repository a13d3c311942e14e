"""The levels of deep images: which values become 0 and 255, so that few odd pixels do not cost all others their depth.

The 0.1 % and the 99.9 % percentile of the training pixels, each moved outwards to the last value within half of their
distance (Tukey's whiskers, 1977, with other hinges): uniform, normal and most skewed data lose no pixel, and a stuck
pixel, a hot spot or a dead line costs at most one of the eight bits. Before that, two kinds of values are set aside,
where a stretch without values as long as the range of all others lies between: one value that repeats (no data,
saturation), and values that are few or stand in few images (hot pixels, a saturated slice). They become 0 or 255 like
all that is beyond.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pocketlens.data.images import Levels, Pixels

_LOW, _HIGH, _BEYOND = 0.001, 0.999, 0.5
_N_VALUES = 4_000_000  # of all images together
_FEWEST_LEFT = 16  # different values, below which nothing is set aside: a mask has two
_MOST_IMAGES = 0.02  # share of the images whose values may be set aside, or one image
_MOST_VALUES, _MOST_REPEATED = 0.005, 0.5  # share of the values that may be, and of the same value
_FEW_LEVELS = 16  # of 256, below which to say that most of the values share so few


@dataclass(frozen=True, eq=False)
class Sample:
    """Values of one image: its smallest, its largest, and some of all of them."""

    low: float
    high: float
    values: NDArray[np.float32]  # (n,), sorted


@dataclass(frozen=True)
class FoundLevels:
    """Levels, and what they do to the values."""

    levels: Levels
    extremes: Levels  # the smallest and the largest value of all
    clipped: float = 0.0  # which share of the values lies beyond the levels, 0..1
    n_used: int = 256  # how many of the 256 levels the middle 90 % of the values have

    def describe(self) -> str:
        """Such as `300 became 0 and 1300 became 255; 0.02 % of the values lie beyond (up to 65535) and are clipped`."""
        low, high = self.levels
        text = f"{_shown(low)} became 0 and {_shown(high)} became 255"
        ends = [f"down to {_shown(self.extremes[0])}"] if self.extremes[0] < low else []
        ends += [f"up to {_shown(self.extremes[1])}"] if self.extremes[1] > high else []
        if ends:
            share = f"{100 * self.clipped:.2g} %" if self.clipped >= 1e-5 else "less than 0.001 %"
            text += f"; {share} of the values lie beyond ({', '.join(ends)}) and were clipped"
        if self.n_used < _FEW_LEVELS:
            text += f"; 90 % of the values have only {self.n_used} of the 256 levels"
        return text


def sample(pixels: Pixels, n_images: int) -> Sample:
    """Values of one of `n_images` images, all of them where these are few, else drawn at random, always the same."""
    values = pixels.reshape(-1)
    most = max(64, _N_VALUES // max(1, n_images))
    if len(values) > most:
        values = values[np.random.default_rng(0).integers(0, len(values), most)]
    return Sample(float(pixels.min()), float(pixels.max()), np.sort(values.astype(np.float32)))


def extreme_levels(samples: Sequence[Sample]) -> FoundLevels:
    """The smallest and the largest value: the rule of runs of before."""
    levels = min(each.low for each in samples), max(each.high for each in samples)
    return FoundLevels(levels, levels)


def robust_levels(samples: Sequence[Sample]) -> FoundLevels:
    """The levels by the rule above, of at least one image."""
    extremes = extreme_levels(samples).levels
    values = np.concatenate([each.values for each in samples])
    image = np.repeat(np.arange(len(samples)), [len(each.values) for each in samples])
    order = np.argsort(values, kind="stable")
    values, image = values[order], image[order]
    first, end = _set_aside(values, image, len(samples))
    kept = values[first:end].astype(np.float64)
    low, high = (float(kept[min(len(kept) - 1, int(share * len(kept)))]) for share in (_LOW, _HIGH))
    reach = _BEYOND * (high - low)
    low = float(kept[np.searchsorted(kept, low - reach)])
    high = float(kept[np.searchsorted(kept, high + reach, side="right") - 1])
    if first == 0 and low == float(values[0]):  # values that were not drawn are kept too where they lie close by
        low = extremes[0] if extremes[0] >= low - reach else low
    if end == len(values) and high == float(values[-1]):
        high = extremes[1] if extremes[1] <= high + reach else high
    n_inside = int(np.searchsorted(values, high, side="right") - np.searchsorted(values, low))
    middle = np.clip(values[[len(values) // 20, len(values) - 1 - len(values) // 20]], low, high)
    n_used = 1 + round(255 * float(middle[1] - middle[0]) / (high - low)) if high > low else 256
    return FoundLevels((low, high), extremes, 1 - n_inside / len(values), n_used)


def _set_aside(values: NDArray[np.float32], image: NDArray[np.int64], n_images: int) -> tuple[int, int]:
    """The range of places in the sorted values that is left when values that stand apart at either end are not."""
    first, end = 0, len(values)
    for _ in range(4):  # such as a value for no data and one for saturation, of two kinds of files
        starts = first + np.flatnonzero(np.diff(values[first:end])) + 1  # of every different value but the first
        if len(starts) < _FEWEST_LEFT:
            break
        gaps = values[starts].astype(np.float64) - values[starts - 1]
        widest = int(np.argmax(gaps))
        cut = int(starts[widest])
        spans = float(values[cut - 1] - values[first]), float(values[end - 1] - values[cut])
        n_different = widest + 1, len(starts) - widest
        side = 0 if cut - first < end - cut else 1  # the smaller one
        if gaps[widest] <= spans[1 - side] or n_different[1 - side] < _FEWEST_LEFT:
            break
        part = slice(first, cut) if side == 0 else slice(cut, end)
        most = _MOST_REPEATED if n_different[side] == 1 else _MOST_VALUES
        is_few = part.stop - part.start <= most * len(values)
        if not is_few and len(np.unique(image[part])) > max(1.0, _MOST_IMAGES * n_images):
            break
        first, end = (cut, end) if side == 0 else (first, cut)
    return first, end


def _shown(value: float) -> str:
    return f"{value:.0f}" if value == int(value) and abs(value) < 1e9 else f"{value:.4g}"
