"""A step of a reproduction and its outcome, and how the pages write numbers: shares in per cent, with intervals."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Step:
    """One command, and the question of the report that it answers.

    Attributes:
        row: of the report's table, such as "B4".
        name: of the step, which the run or study that it makes has as its label; later commands may use it.
        question: what the report asked.
        command: as it is typed behind `pocketlens`; @NAME is the folder of what the step of that name has made.
            --runs, --label and the folders of pages are added.
        reported: what the report got.
        note: what a reader of our number must know.
        curves: whether accuracy and gap by epoch are told of every recipe of a study.
        exits: the exit code that is expected; 2 where the clear message is what is asked for.
    """

    row: str
    name: str
    question: str
    command: str
    reported: str = ""
    note: str = ""
    curves: bool = False
    exits: int = 0


@dataclass(frozen=True)
class Done:
    """A step that was run: its exit code, seconds, JSON, and the last lines that it said."""

    step: Step
    words: list[str]
    code: int
    seconds: float
    result: dict[str, Any]
    said: list[str] = field(default_factory=list)
    resumed: bool = False


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
