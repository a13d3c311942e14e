"""Ranges of options: checked, with one line that says what was given, and drawn from."""

from __future__ import annotations

from torch import Tensor

from pocketlens.draws import Draws
from pocketlens.errors import PocketlensError, is_number
from pocketlens.errors import check_range as check_range
from pocketlens.errors import check_whole as check_whole


def check_pair(component: str, option: str, value: object, low: float, high: float) -> None:
    """An option must be two numbers (a, b) with low <= a <= b <= high.

    Raises:
        PocketlensError: it is not.
    """
    is_pair = isinstance(value, (tuple, list)) and len(value) == 2 and all(is_number(part) for part in value)
    if not is_pair or not low <= value[0] <= value[1] <= high:  # type: ignore[index]
        raise PocketlensError(
            f"{component}: {option} must be two numbers (smallest, largest) in {low:g}..{high:g}, got {value!r}."
        )


def check_fill(component: str, fill: object) -> None:
    """What stands beyond the border: a number in 0..1, 'edge' or 'reflect'.

    Raises:
        PocketlensError: it is something else.
    """
    if fill not in ("edge", "reflect") and not (is_number(fill) and 0 <= fill <= 1):  # type: ignore[operator]
        raise PocketlensError(f"{component}: fill must be a number in 0..1, 'edge' or 'reflect', got {fill!r}.")


def between(draws: Draws, what: str, low: float, high: float) -> Tensor:
    """(B,) float32, uniform in low..high."""
    return low + (high - low) * draws.uniform(what)[:, 0]


def factor(draws: Draws, what: str, strength: float) -> Tensor:
    """(B,) float32, uniform in 1 - strength .. 1 + strength, and not below 0."""
    return between(draws, what, max(0.0, 1 - strength), 1 + strength)


def whether(draws: Draws, p: float) -> Tensor:
    """(B,) bool: true with probability `p`."""
    return draws.uniform("whether")[:, 0] < p
