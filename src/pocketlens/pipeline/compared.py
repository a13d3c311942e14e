"""What `auto` compared, in the words and coordinates of its page: candidates with intervals, and which one won."""

from __future__ import annotations

from dataclasses import dataclass

from pocketlens.pipeline.approaches import FINE_TUNED, LARGER, PROBE, SCRATCH
from pocketlens.pipeline.phase_result import PhaseResult, RatedCandidate
from pocketlens.pipeline.state import AutoState
from pocketlens.report.study.figures import Scale
from pocketlens.scoring.metrics import Estimate
from pocketlens.scoring.scores import show, show_interval
from pocketlens.text import capitalised, format_duration

WIDTH = 200.0  # of the plot of intervals, in units of its own
_NAMES = {
    PROBE: "a linear head on a pretrained network",
    LARGER: "a linear head on a larger pretrained network",
    FINE_TUNED: "the pretrained network, fine-tuned",
    SCRATCH: "a network trained from scratch",
    "base": "the recipe as it was",
}
_TITLES = {
    "approach": "A pretrained network, or from scratch",
    "augment": "Augmentations",
    "models": "Networks at equal cost",
    "search": "Learning rate, momentum and smoothing: the best trials with new seeds",
}
_VERDICTS = {"better": "better", "worse": "worse", "cannot tell": "no clear difference"}


@dataclass(frozen=True)
class Mark:
    """An accuracy on the plot: x coordinates of its value and of its interval, which may be absent."""

    at: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class CandidateRow:
    """One candidate."""

    name: str
    note: str  # its name in lists and texts, or empty
    accuracy: str
    interval: str
    estimate: Estimate
    mark: Mark
    verdict: str  # against the recipe as it was
    time: str
    seconds: float
    is_chosen: bool


@dataclass(frozen=True)
class Tick:
    """A number below the plot."""

    x: float
    text: str


@dataclass(frozen=True)
class Compared:
    """The candidates of one phase, and what was decided."""

    title: str
    judged_on: str
    rows: tuple[CandidateRow, ...]
    ticks: tuple[Tick, ...]
    said: str


def read_compared(state: AutoState) -> tuple[Compared, ...]:
    """Every phase of a session that compared candidates and noted their accuracy."""
    return tuple(
        _compared(name, state.done[name]) for name in _TITLES if name in state.done and _candidates(state.done[name])
    )


def _candidates(result: PhaseResult) -> list[RatedCandidate]:
    return [each for each in result.candidates if each.accuracy.value is not None]


def _compared(phase: str, result: PhaseResult) -> Compared:
    found = _candidates(result)
    scale, verdicts, chosen = _scale([each.accuracy for each in found]), result.verdicts, result.winner
    rows = []
    for each in found:
        name, accuracy = each.name, each.accuracy
        shown = _NAMES.get(name, name)
        rows.append(
            CandidateRow(
                name=capitalised(shown) if name in _NAMES else shown,
                note=name if name in (PROBE, LARGER, FINE_TUNED, SCRATCH) else _values(each),
                accuracy=show(accuracy, "share"),
                interval=show_interval(accuracy, "share"),
                estimate=accuracy,
                mark=_mark(accuracy, scale),
                verdict=_VERDICTS.get(verdicts.get(name, ""), ""),
                time=format_duration(each.seconds),
                seconds=each.seconds,
                is_chosen=name == chosen,
            )
        )
    ticks = tuple(Tick(x, text) for x, text in scale.ticks(4))
    return Compared(_TITLES[phase], result.judged_on, tuple(rows), ticks, _said(phase, result))


def _values(candidate: RatedCandidate) -> str:
    """What a trial of a search changes; other candidates are named by it."""
    values = candidate.values or ""
    return "" if values in candidate.name else values


def _scale(accuracies: list[Estimate]) -> Scale:
    """From the lowest to the highest end of an interval, in per cent."""
    ends = [100 * end for each in accuracies for end in (each.value, each.low, each.high) if end is not None]
    low, high = max(0.0, min(ends)), min(100.0, max(ends))
    margin = 0.06 * (high - low) or 1.0
    return Scale(max(0.0, low - margin), min(100.0, high + margin), 0.0, WIDTH)


def _mark(accuracy: Estimate, scale: Scale) -> Mark:
    low, high = (None if end is None else scale(100 * end) for end in (accuracy.low, accuracy.high))
    return Mark(scale(100 * (accuracy.value or 0.0)), low, high)


def _said(phase: str, result: PhaseResult) -> str:
    """What was decided, in one sentence."""
    if phase == "approach":
        return _choice(result)
    if result.choice is None:
        return "None of them is better beyond chance, so the recipe stays as it was."
    return f"Better beyond chance, and taken into the recipe: {result.choice}."


def _choice(result: PhaseResult) -> str:
    name = _NAMES.get(str(result.approach), str(result.approach))
    choice = result.decision
    if choice is None:
        return f"Taken: {name}."
    if choice.runner_up is None:
        return f"Taken: {name}, the only one that was tried."
    if choice.chosen != choice.best:
        best = _NAMES.get(choice.best, choice.best)
        return f"Taken: {name}. {capitalised(best)} is ahead by less than one standard error, and costs more."
    points, rival = f"{100 * choice.difference:.1f} points", _NAMES.get(choice.runner_up, choice.runner_up)
    word = "which is more than chance" if choice.is_beyond_chance else "which may be chance"
    return f"Taken: {name}, {points} ahead of {rival}, {word}."
