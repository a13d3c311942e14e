"""What fits into the time limit: how long each phase may take, and which ones are skipped. Arithmetic only.

The final training comes first: it gets most of the time, up to three times its recipe's epochs. The rest goes to the
audit and to short paired trainings. A short training is a complete schedule over as many rows and epochs as fit; one
that is so much shorter than the final training that it says little about it is not run at all.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from pocketlens.text import counted, format_duration

LEAST_FINAL, MOST_FINAL = 0.62, 0.75  # of the time, for the final training; more only if nothing else needs it
MOST_EPOCHS = 3.0  # times a recipe's epochs, if there is time
LOOK, CHECK, MOST_CHECK = 0.1, 0.1, 45.0  # of the time, at most; seconds
CHECK_EPOCHS = 2.0  # of a training that only has to show that the recipe learns
SHARES = {"augment": 0.3, "models": 0.3, "search": 0.4}  # of the time for short trainings
CANDIDATES = {"augment": 3, "models": 3}  # the recipe included
REPEATS, MOST_REPEATS = 3, 5
TRIALS, LEADERS = 10, 4  # fewest trials of a search, and the recipes that it repeats with new seeds
LEAST_PASSES = 2 / 3  # of the recipe's epochs; below that, fewer rows: few epochs would favour weak augmentation
LEAST_STEPS, LEAST_OF_BATCH = 60, 0.25  # steps of a short training, for which its batches may shrink to a quarter
LEAST_OF_FINAL = {"augment": 1 / 20, "models": 1 / 20, "search": 1 / 10}  # of the final training's images
MOST_VAL = 2000  # validation rows of a short training
SLACK = 1.1  # trainings take longer than a few measured steps suggest
FOREVER = 1e7  # seconds, beyond which no time limit is looked for


@dataclass(frozen=True)
class PlanInputs:
    """What a plan is made from: sizes, and times measured with the recipe on this machine.

    Attributes:
        limit: seconds for everything.
        n_train, n_val: rows of the split.
        n_final: rows of the final training.
        epochs, batch_size: the recipe's own.
        train_seconds: to train on one image, the mean over the sizes of the schedule.
        predict_seconds: to classify one image.
        startup: seconds of a short training before its first step.
        closing: seconds to score the test set and write the report.
        audit_seconds: of an audit beyond basic statistics, by its depth, the deepest first.
        opens: whether there is a test set and it will be opened; if not, the final training keeps its validation rows.
    """

    limit: float
    n_train: int
    n_val: int
    n_final: int
    epochs: float
    batch_size: int
    train_seconds: float
    predict_seconds: float
    startup: float
    closing: float
    audit_seconds: dict[str, float]
    opens: bool

    @property
    def final_seconds(self) -> float:
        """Seconds of a final training with the recipe's own epochs."""
        validation = 0.0 if self.opens else self.n_val * self.predict_seconds
        return SLACK * self.epochs * (self.n_final * self.train_seconds + validation)


@dataclass(frozen=True)
class ShortTraining:
    """The size of a short training, the same for all candidates of a comparison."""

    rows: int
    epochs: float
    batch_size: int
    n_val: int
    seconds: float


@dataclass(frozen=True)
class PlannedPhase:
    """One phase: its seconds, and how it spends them."""

    name: str
    seconds: float
    depth: str | None = None  # of the audit beyond basic statistics
    short: ShortTraining | None = None
    n_candidates: int = 0
    repeats: int = 0
    epochs: float = 0.0  # of the final training


@dataclass(frozen=True)
class Plan:
    """The phases in their order, and those that are skipped, with the reason."""

    phases: tuple[PlannedPhase, ...]
    skipped: dict[str, str]

    def phase(self, name: str) -> PlannedPhase | None:
        """The phase of a name, or None if it is not in the plan."""
        return next((phase for phase in self.phases if phase.name == name), None)

    @property
    def epochs(self) -> float:
        """Of the final training."""
        return sum(phase.epochs for phase in self.phases)


def make_plan(inputs: PlanInputs, spent: float, done: Collection[str] = ()) -> Plan:
    """Plans the rest of the time after `spent` seconds, when the phases `done` have finished."""
    left = max(0.0, inputs.limit - spent - inputs.closing)
    reserved = min(left, MOST_EPOCHS * inputs.final_seconds, _reserved(inputs))
    free = left - reserved
    phases: list[PlannedPhase] = []
    skipped: dict[str, str] = {}
    if "look" not in done:
        most = LOOK * inputs.limit  # half of it even if no time is free
        budget = min(max(free, most / 2), most, left / 2)
        look = look_phase(inputs.audit_seconds, budget)
        phases.append(look)
        free = max(0.0, free - look.seconds)
        deeper = {
            f"audit for {depth}": _takes(s, budget) for depth, s in inputs.audit_seconds.items() if s > look.seconds
        }
        skipped |= dict(list(deeper.items())[-1:])
    kinds = tuple(kind for kind in SHARES if kind not in done)
    studies = _studies(inputs, free, kinds)
    phases += studies
    if inputs.n_val:
        skipped |= {kind: _why_skipped(inputs, kind) for kind in kinds[len(studies) :]}
    else:
        skipped["comparisons"] = "there are no validation rows"
    learned_before = {"augment", "models", "search", "check"} & set(done)
    if not studies and not learned_before and inputs.opens and inputs.n_val:
        seconds = min(CHECK * inputs.limit, MOST_CHECK, free + 0.5 * reserved)
        phases.append(PlannedPhase("check", seconds, short=_largest(inputs, seconds, CHECK_EPOCHS)))
    taken = sum(phase.seconds for phase in phases)
    final = min(left - taken, MOST_EPOCHS * inputs.final_seconds)
    phases.append(PlannedPhase("final", final, epochs=epochs_in(final, inputs)))
    phases.append(PlannedPhase("test", inputs.closing))
    return Plan(tuple(phases), skipped)


def look_phase(audit_seconds: Mapping[str, float], budget: float) -> PlannedPhase:
    """The deepest audit that fits into `budget` seconds; `audit_seconds` are those of each depth, the deepest first."""
    fitting = (PlannedPhase("look", seconds, depth) for depth, seconds in audit_seconds.items() if seconds <= budget)
    return next(fitting, PlannedPhase("look", 0.0))


def epochs_in(seconds: float, inputs: PlanInputs) -> float:
    """Epochs of the final training that fit: whole ones from 20 on, below that tenths; a few steps at least."""
    epochs = inputs.epochs * min(MOST_EPOCHS, seconds / inputs.final_seconds)
    epochs = math.floor(epochs) if epochs >= 20 else math.floor(epochs * 10) / 10
    least = 4 * min(1.0, inputs.batch_size / inputs.n_final)  # four steps, whatever the time
    return float(max(epochs, round(least, 3)))


def short_in(seconds: float, inputs: PlanInputs, kind: str) -> ShortTraining | None:
    """The longest short training that fits, at most the recipe on all training rows; None: it would say too little."""
    short = _largest(inputs, seconds)
    images = short.rows * short.epochs
    most_final = min(MOST_EPOCHS, LEAST_FINAL * inputs.limit / inputs.final_seconds)
    final = inputs.epochs * inputs.n_final * most_final
    steps = images / inputs.batch_size
    if short.rows < inputs.n_train and images < LEAST_OF_FINAL[kind] * final:
        return None
    cut = min(1.0, steps / LEAST_STEPS)
    if cut < 1.0 and (kind == "search" or cut < LEAST_OF_BATCH):  # a learning rate belongs to a batch size
        return None
    batch_size = max(1, round(inputs.batch_size * cut))
    return ShortTraining(short.rows, short.epochs, batch_size, short.n_val, short.seconds)


def _reserved(inputs: PlanInputs) -> float:
    """Seconds that the final training is sure to get."""
    return min(MOST_FINAL * inputs.limit, max(LEAST_FINAL * inputs.limit, inputs.final_seconds))


def _studies(inputs: PlanInputs, free: float, kinds: tuple[str, ...]) -> list[PlannedPhase]:
    """As many of the studies as fit, the first ones first; each gets its share of the time."""
    for n in range(len(kinds) if inputs.n_val else 0, 0, -1):
        chosen = kinds[:n]
        whole = sum(SHARES[kind] for kind in chosen)
        studies = [_study(inputs, kind, free * SHARES[kind] / whole) for kind in chosen]
        if all(studies):
            return [study for study in studies if study]
    return []


def _study(inputs: PlanInputs, kind: str, seconds: float) -> PlannedPhase | None:
    if kind == "search":
        short = short_in(seconds / (TRIALS + REPEATS * LEADERS), inputs, kind)
        return PlannedPhase(kind, seconds, short=short, n_candidates=LEADERS, repeats=REPEATS) if short else None
    for n, repeats in ((CANDIDATES[kind], MOST_REPEATS), (CANDIDATES[kind], REPEATS), (2, REPEATS)):
        short = short_in(seconds / (n * repeats), inputs, kind)
        if short and (repeats == REPEATS or short.rows == inputs.n_train):  # longer trainings before more repeats
            taken = min(seconds, n * repeats * short.seconds)
            return PlannedPhase(kind, taken, short=short, n_candidates=n, repeats=repeats)
    return None


def _largest(inputs: PlanInputs, seconds: float, least_epochs: float | None = None) -> ShortTraining:
    """The complete schedule that fits: fewer epochs, down to `least_epochs` or two thirds of them, then fewer rows."""
    n_val = min(inputs.n_val, MOST_VAL)
    full = inputs.epochs * inputs.n_train
    least = LEAST_PASSES if least_epochs is None else min(1.0, least_epochs / inputs.epochs)
    validation = (inputs.epochs * least + 1) * n_val * inputs.predict_seconds
    few = 4 * min(inputs.batch_size, inputs.n_train)
    images = max((seconds / SLACK - inputs.startup - validation) / inputs.train_seconds, few)
    part = min(1.0, images / full)
    passes = max(least, part)
    rows = min(inputs.n_train, max(1, round(inputs.n_train * part / passes)))
    epochs = inputs.epochs * passes
    epochs = float(round(epochs)) if epochs >= 3 else round(epochs, 2)
    validation = (math.ceil(epochs) + 1) * n_val * inputs.predict_seconds
    taken = SLACK * (inputs.startup + rows * epochs * inputs.train_seconds + validation)
    return ShortTraining(rows, epochs, inputs.batch_size, n_val, taken)


def _why_skipped(inputs: PlanInputs, kind: str) -> str:
    """How long the short trainings of a study would take at least."""
    if short_in(FOREVER, inputs, kind) is None:
        return "too few images for comparisons: too few training rows for short trainings that tell recipes apart"
    n = TRIALS + REPEATS * LEADERS if kind == "search" else 2 * REPEATS
    low, high = 0.0, FOREVER
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if short_in(middle, inputs, kind) else (middle, high)
    return f"its {counted(n, 'short training')} would take at least {format_duration(n * high)}"


def _takes(seconds: float, budget: float) -> str:
    """An audit is measured by a rule of thumb, which can be wrong by far on other machines."""
    return f"it would take about {format_duration(seconds)} or more, and {format_duration(budget)} are for it"
