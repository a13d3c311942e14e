"""How the pages of the studies write numbers: shares in per cent, with their intervals."""

from __future__ import annotations

from typing import Any


def judgement(verdict: dict[str, Any] | None) -> str:
    """What can be told of a recipe against the first one; empty where there is one repeat."""
    if verdict is None:
        return ""
    return f"{verdict['word']}, {points(verdict)}" if verdict["difference"]["low"] is not None else ""


def points(verdict: dict[str, Any]) -> str:
    """A paired difference with its interval and its corrected p."""
    seen = verdict["difference"]
    return f"{signed(seen['mean'], seen['low'], seen['high'])} points, p {verdict['p_holm']:.2g}"


def signed(mean: float, low: float | None, high: float | None) -> str:
    """A difference in points."""
    return f"{100 * mean:+.2f}" + (
        f" [{100 * low:+.2f}, {100 * high:+.2f}]" if low is not None and high is not None else ""
    )


def share(estimate: dict[str, Any]) -> str:
    """An accuracy with its interval."""
    return f"{100 * estimate['value']:.2f} % [{100 * estimate['low']:.2f}, {100 * estimate['high']:.2f}]"


def coarse(scores: dict[str, Any]) -> str:
    """The accuracy over superclasses, where there is one."""
    return f"; superclasses by summed probabilities {share(scores['coarse'])}" if scores.get("coarse") else ""


def interval(mean: dict[str, Any]) -> str:
    """The interval of a mean over seeds."""
    return "" if mean["low"] is None else f"[{100 * max(0, mean['low']):.2f}, {100 * min(1, mean['high']):.2f}]"


def spread(sd: float | None) -> str:
    """The deviation over seeds."""
    return "" if sd is None else f" ± {100 * sd:.2f}"


def values(values: dict[str, Any]) -> str:
    """What a trial of a search had."""
    shown = (f"{key}={value:.4g}" if isinstance(value, float) else f"{key}={value}" for key, value in values.items())
    return ", ".join(shown) or "the base"


def percent(value: float | None) -> str:
    """A share in per cent."""
    return "n/a" if value is None else f"{100 * value:.2f} %"


def number(value: float | None) -> str:
    """A loss."""
    return "n/a" if value is None else f"{value:.3f}"


def duration(seconds: float) -> str:
    """Seconds as minutes."""
    return f"{seconds / 60:.1f} minutes"
