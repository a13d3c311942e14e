"""What fits into the minutes: how long each phase may take, and which ones are left out. Arithmetic alone.

The final training comes first: it gets most of the time, up to three times its recipe's epochs. What it leaves goes to
the look and to short trainings in pairs. A short training is a complete schedule over as many rows and passes as fit;
one that says too little about the final one, being far shorter, is not made at all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from pocketlens.text import say_duration

LEAST_FINAL, MOST_FINAL = 0.62, 0.75  # of the time, for the final training: more only where nothing else needs it
MOST_EPOCHS = 3.0  # times a recipe's epochs, where there is time
LOOK, CHECK, MOST_CHECK = 0.1, 0.1, 45.0  # of the time, at most; seconds
CHECK_EPOCHS = 2.0  # of a training that only has to show that the recipe learns
SHARES = {"augment": 0.3, "models": 0.3, "search": 0.4}  # of what is there for short trainings
ARMS = {"augment": 3, "models": 3}
REPEATS, MOST_REPEATS = 3, 5
TRIALS, LEADERS = 10, 4  # least trials of a search, and the recipes that it trains again with new seeds
LEAST_PASSES = (
    2 / 3
)  # of the recipe's epochs: fewer rows rather than fewer passes, which would favour weak augmentation
LEAST_STEPS, LEAST_OF_BATCH = 60, 0.25  # steps of a short training, for which its batches may be cut to a quarter
LEAST_OF_FINAL = {"augment": 1 / 20, "models": 1 / 20, "search": 1 / 10}  # of the final training's images
MOST_VAL = 2000  # validation rows of a short training
SLACK = 1.1  # trainings take longer than a few measured steps say


@dataclass(frozen=True)
class Known:
    """What a plan is made from: sizes, and seconds measured with the recipe on this machine.

    Attributes:
        limit: seconds for everything.
        n_train, n_val: rows of the split.
        n_final: rows of the final training.
        epochs, batch_size: of the recipe as it is.
        image: seconds to train on one image, the mean over the sizes of the schedule.
        judge: seconds to classify one.
        start: seconds of a short training before its first step.
        end: seconds for opening the test rows and for the page.
        looks: seconds of a look with more than plain facts, by its depth, the deepest first.
        is_sealed: whether the test rows will be opened; if not, the final training keeps its validation rows.
    """

    limit: float
    n_train: int
    n_val: int
    n_final: int
    epochs: float
    batch_size: int
    image: float
    judge: float
    start: float
    end: float
    looks: tuple[tuple[str, float], ...]
    is_sealed: bool

    @property
    def once(self) -> float:
        """Seconds of a final training with the recipe's own epochs."""
        judging = 0.0 if self.is_sealed else self.n_val * self.judge
        return SLACK * self.epochs * (self.n_final * self.image + judging)


@dataclass(frozen=True)
class Short:
    """A short training, alike for all recipes of a comparison."""

    rows: int
    epochs: float
    batch_size: int
    n_val: int
    seconds: float


@dataclass(frozen=True)
class Part:
    """One phase: its seconds, and how it fills them."""

    name: str
    seconds: float
    depth: str = ""  # of the look
    short: Short | None = None
    n_arms: int = 0
    repeats: int = 0
    epochs: float = 0.0  # of the final training


@dataclass(frozen=True)
class Plan:
    """The phases in their order, and what is left out, with the reason."""

    parts: tuple[Part, ...]
    left_out: tuple[tuple[str, str], ...]

    def part(self, name: str) -> Part | None:
        """The phase of a name, or None where it is left out."""
        return next((part for part in self.parts if part.name == name), None)

    @property
    def epochs(self) -> float:
        """Of the final training."""
        return sum(part.epochs for part in self.parts)


def make_plan(known: Known, spent: float, done: tuple[str, ...] = ()) -> Plan:
    """What to do with the time that is left, where the phases `done` have ended."""
    left = max(0.0, known.limit - spent - known.end)
    reserved = min(left, MOST_EPOCHS * known.once, _reserved(known))
    free, parts, left_out = left - reserved, [], []
    if "look" not in done:
        most = LOOK * known.limit  # half of it even where nothing is free
        fitting = (Part("look", s, depth) for depth, s in known.looks if s <= min(max(free, most / 2), most, left / 2))
        look = next(fitting, Part("look", 0.0))
        parts.append(look)
        free = max(0.0, free - look.seconds)
        left_out += [(f"a look for {depth}", _takes(s)) for depth, s in known.looks if s > look.seconds][-1:]
    studies, why = _studies(known, free, tuple(kind for kind in SHARES if kind not in done))
    parts += studies
    left_out += why
    judged_by_then = {"augment", "models", "search", "check"} & set(done)
    if not studies and not judged_by_then and known.is_sealed and known.n_val:
        seconds = min(CHECK * known.limit, MOST_CHECK, free + 0.5 * reserved)
        parts.append(Part("check", seconds, short=_largest(known, seconds, CHECK_EPOCHS)))
    taken = sum(part.seconds for part in parts)
    final = min(left - taken, MOST_EPOCHS * known.once)
    parts.append(Part("final", final, epochs=epochs_in(final, known)))
    parts.append(Part("test", known.end))
    return Plan(tuple(parts), tuple(left_out))


def epochs_in(seconds: float, known: Known) -> float:
    """Passes over the final training's rows that fit: whole ones from 20 on, else tenths; a few steps at least."""
    epochs = known.epochs * min(MOST_EPOCHS, seconds / known.once)
    epochs = math.floor(epochs) if epochs >= 20 else math.floor(epochs * 10) / 10
    least = 4 * min(1.0, known.batch_size / known.n_final)  # steps, whatever the time
    return float(max(epochs, round(least, 3)))


def short_in(seconds: float, known: Known, kind: str) -> Short | None:
    """The longest short training that fits, at most the recipe on all training rows; None: it would say too little."""
    short = _largest(known, seconds)
    images = short.rows * short.epochs
    final = known.epochs * known.n_final * min(MOST_EPOCHS, LEAST_FINAL * known.limit / known.once)
    steps = images / known.batch_size
    if short.rows < known.n_train and images < LEAST_OF_FINAL[kind] * final:
        return None
    cut = min(1.0, steps / LEAST_STEPS)
    if cut < 1.0 and (kind == "search" or cut < LEAST_OF_BATCH):  # a learning rate belongs to a size of the batches
        return None
    return Short(short.rows, short.epochs, max(1, round(known.batch_size * cut)), short.n_val, short.seconds)


def _reserved(known: Known) -> float:
    """Seconds that the final training is sure to get."""
    return min(MOST_FINAL * known.limit, max(LEAST_FINAL * known.limit, known.once))


def _studies(known: Known, free: float, kinds: tuple[str, ...]) -> tuple[list[Part], list[tuple[str, str]]]:
    """Short trainings for as many questions as fit, the first ones first; each gets its share of the time."""
    if not known.n_val:
        return [], [("comparisons", "there are no validation rows")]
    for n in range(len(kinds), 0, -1):
        chosen = kinds[:n]
        whole = sum(SHARES[kind] for kind in chosen)
        parts = [_study(known, kind, free * SHARES[kind] / whole) for kind in chosen]
        if all(parts):
            return [part for part in parts if part], [(kind, _needs(known, kind)) for kind in kinds[n:]]
    return [], [(kind, _needs(known, kind)) for kind in kinds]


def _study(known: Known, kind: str, seconds: float) -> Part | None:
    if kind == "search":
        short = short_in(seconds / (TRIALS + REPEATS * LEADERS), known, kind)
        return Part(kind, seconds, short=short, n_arms=LEADERS, repeats=REPEATS) if short else None
    for n_arms, repeats in ((ARMS[kind], MOST_REPEATS), (ARMS[kind], REPEATS), (2, REPEATS)):
        short = short_in(seconds / (n_arms * repeats), known, kind)
        if short and (repeats == REPEATS or short.rows == known.n_train):  # longer trainings before more repeats
            return Part(kind, min(seconds, n_arms * repeats * short.seconds), "", short, n_arms, repeats)
    return None


def _largest(known: Known, seconds: float, least_epochs: float | None = None) -> Short:
    """A complete schedule that takes so long: fewer passes down to `least_epochs`, or two thirds, then fewer rows."""
    n_val = min(known.n_val, MOST_VAL)
    full = known.epochs * known.n_train
    least = LEAST_PASSES if least_epochs is None else min(1.0, least_epochs / known.epochs)
    judging = (known.epochs * least + 1) * n_val * known.judge
    images = max((seconds / SLACK - known.start - judging) / known.image, 4 * min(known.batch_size, known.n_train))
    part = min(1.0, images / full)
    passes = max(least, part)
    rows = min(known.n_train, max(1, round(known.n_train * part / passes)))
    epochs = known.epochs * passes
    epochs = float(round(epochs)) if epochs >= 3 else round(epochs, 2)
    taken = SLACK * (known.start + rows * epochs * known.image + (math.ceil(epochs) + 1) * n_val * known.judge)
    return Short(rows, epochs, known.batch_size, n_val, taken)


def _needs(known: Known, kind: str) -> str:
    """Why a question is left out: how long its short trainings would take."""
    n = TRIALS + REPEATS * LEADERS if kind == "search" else 2 * REPEATS
    low, high = 0.0, 1e7
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if short_in(middle, known, kind) else (middle, high)
    return f"its {n} short trainings would take {say_duration(n * high)} and more"


def _takes(seconds: float) -> str:
    return f"it would take {say_duration(seconds)}"
