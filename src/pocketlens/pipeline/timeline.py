"""How `auto` spent its time: for each phase the seconds that were planned, those that it took, and what came of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from pocketlens.pipeline.phase_result import PhaseResult
from pocketlens.pipeline.state import AutoState
from pocketlens.text import counted, format_duration
from pocketlens.training.run import Run

TITLES = {
    "folds": "Folds",
    "approach": "Pretrained body, or from scratch",
    "plan": "Plan",
    "look": "Data",
    "augment": "Augmentations",
    "models": "Models at equal cost",
    "search": "Search",
    "check": "Does it learn?",
    "final": "Final training",
    "test": "Test",
}


@dataclass(frozen=True)
class Span:
    """One phase.

    Attributes:
        planned: seconds that it was given at most, or None where nothing was planned for it.
        took: seconds.
        start: seconds of work before it.
        result: what came of it, in a few words.
    """

    title: str
    planned: float | None
    took: float
    start: float
    result: str

    def in_words(self) -> str:
        """The two times."""
        took = format_duration(self.took)
        return f"took {took}" if self.planned is None else f"planned {format_duration(self.planned)}, took {took}"


@dataclass(frozen=True)
class Timeline:
    """All phases that have ended, and the seconds of its axis: those of the time limit, or more if more were spent."""

    spans: tuple[Span, ...]
    whole: float


def read_timeline(state: AutoState, run: Run, now: float) -> Timeline | None:
    """How the time of a session was spent up to `now`; None for sessions of before, which did not note it.

    Args:
        run: the final training.
        now: seconds of work.
    """
    done = {name: result for name, result in state.done.items() if name in TITLES}
    if not done or any(result.ended is None for result in done.values()):
        return None
    seconds = _planned(state.done)
    spans = [Span("Reading the data", None, state.loading, 0.0, "")]
    start = state.loading
    for name, result in done.items():
        ended = max(start, result.ended or 0.0)
        planned = seconds.get(name, result.planned)
        spans.append(Span(TITLES[name], planned, ended - start, start, _result(name, state, run)))
        start = ended
    spans.append(Span("Report", None, max(0.0, now - start), start, "this page and those that it links to"))
    return Timeline(tuple(spans), max(now, 60.0 * state.request.minutes))


def _planned(done: Mapping[str, PhaseResult]) -> dict[str, float]:
    """Seconds by phase as the plan had them."""
    plan = done.get("plan")
    return {} if plan is None else plan.seconds


def _result(name: str, state: AutoState, run: Run) -> str:
    """What came of a phase."""
    result = state.done[name]
    match name:
        case "folds":
            folded = result.folded
            assert folded is not None, "the phase has this score alone"
            return f"{counted(len(folded.folds), 'fold')}, each a test part once"
        case "approach":
            return f"{len(result.candidates)} tried, {result.approach} chosen"
        case "plan":
            return "measuring this machine, sharing out the time"
        case "look":
            return result.depth or "basic statistics only"
        case "augment" | "models" | "search":
            return "the recipe stays" if result.choice is None else f"chosen: {result.choice}"
        case "check":
            accuracy = result.val_accuracy
            return "it diverged; a smaller learning rate" if accuracy is None else f"{100 * accuracy:.1f} % validation"
        case "final":
            return describe_epochs(state, run)
        case _:
            scores = result.test_scores
            return "the test images stay sealed" if scores is None else counted(scores.n, "test image")


def describe_epochs(state: AutoState, run: Run) -> str:
    """How many epochs were planned, set at the start, and trained; those that differ."""
    if run.experiment.recipe.is_probe:
        return f"a linear head, fitted on {len(run.split.train):,} images"
    plan = state.done.get("plan")
    planned = None if plan is None else plan.epochs
    history, experiment = run.history(), run.experiment
    given, n_done = experiment.recipe.epochs, int(history[-1]["step"]) if history else 0
    per_epoch = max(1, math.ceil(len(run.split.train) / experiment.recipe.batch_size))
    if experiment.n_steps is not None:
        return f"{counted(n_done, 'step')}, about {n_done / per_epoch:.1f} epochs"
    parts = [] if planned is None or planned == given else [f"{counted(planned, 'epoch')} planned at first"]
    if experiment.stop_step is None:
        parts.append(f"{counted(given, 'epoch')} trained")
    else:
        parts.append(f"stopped after {min(given, n_done / per_epoch):.2g} of {counted(given, 'epoch')}")
    return ", ".join(parts)
