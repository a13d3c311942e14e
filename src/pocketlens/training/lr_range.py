"""Learning-rate range test: the loss while the rate rises, until it diverges. Smith 2017, arXiv:1506.01186.

One short throwaway training on training rows alone. Validation and test rows are not read, and no run is made.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

from pocketlens.data.dataset import Dataset
from pocketlens.data.split import Split
from pocketlens.errors import PocketlensError
from pocketlens.events import Progress, Step, Work
from pocketlens.recipe import Experiment
from pocketlens.training.fit import Diverged, fit
from pocketlens.training.state import State

SMOOTHING = 0.9  # of the running mean of the loss
WORSE = 2.0  # diverged: the mean has risen above its lowest by so many times what it had fallen by ..
LEAST_RISE = 0.5  # .. and by no less than this share of the lowest
SAFETY = 3.0  # the suggested rate lies so far below the one with the lowest loss
LEAST_FALL = 0.05  # of the loss: where it falls less, nothing was learned, and its lowest point is chance


@dataclass(frozen=True)
class LrRange:
    """What was measured, step by step, and what follows from it."""

    lr: tuple[float, ...]  # of each step that was taken
    loss: tuple[float, ...]  # of each batch
    smooth: tuple[float, ...]  # running mean of the loss
    lowest: float  # the rate at which the running mean was lowest
    diverged: float | None  # the rate at which training diverged; None where it did not, up to the highest
    fell: float  # by which share of its highest value before that point the running mean had fallen there
    suggested: float | None  # lowest / 3; None where the loss hardly fell, so that nothing follows
    size: int  # px, at which the steps were taken
    seed: int
    recipe_id: str

    def to_dict(self) -> dict[str, Any]:
        """All facts, as JSON holds them."""
        return asdict(self)


def lr_range(
    experiment: Experiment,
    dataset: Dataset,
    split: Split,
    *,
    limits: tuple[float, float] = (1e-4, 10.0),
    n_steps: int = 100,
    device: str = "cpu",
) -> Work[LrRange]:
    """Trains for at most `n_steps` steps at rates that rise from limits[0] to limits[1] by equal factors.

    Everything else is as the recipe says, at the one image size that the recipe trains at when its own rate is highest.
    Rates that stand beside `lr` (muon's `rest_lr`) rise in proportion to it. The result depends on nothing but the
    arguments: the same seed gives the same numbers.

    Raises:
        PocketlensError: the limits or the number of steps make no sense, or training diverged within the first steps.
    """
    _check(experiment, limits, n_steps)
    low, high = limits
    state = _state(experiment, dataset, split, n_steps, device)
    rates = [low * (high / low) ** (step / (n_steps - 1)) for step in range(n_steps)]
    peak = state.experiment.recipe.lr
    state.schedule = lambda step, _n_steps, _steps_per_epoch: rates[step] / peak
    losses: list[float] = []
    smooth: list[float] = []
    diverged = None
    try:
        for event in fit(state):
            if not isinstance(event, Progress):
                continue
            if not math.isfinite(event.loss):  # on CUDA `fit` finds it one step later
                diverged = rates[event.step - 1]
                break
            losses.append(event.loss)
            smooth.append(_running_mean(losses))
            yield Step("steps at rising rates", event.step, n_steps)
            if _has_diverged(smooth):
                diverged = rates[len(losses) - 1]
                break
    except Diverged:
        diverged = rates[min(len(losses), n_steps - 1)]
    if diverged is not None:
        yield Step("steps at rising rates", n_steps, n_steps)
    if len(losses) < 3:
        raise PocketlensError(f"training diverged at the lowest rates; give a --low below {low:g}.")
    place = smooth.index(min(smooth))
    lowest, fell = rates[place], 1 - smooth[place] / max(smooth[: place + 1])
    return LrRange(
        lr=tuple(rates[: len(losses)]),
        loss=tuple(losses),
        smooth=tuple(smooth),
        lowest=lowest,
        diverged=diverged,
        fell=fell,
        suggested=float(f"{lowest / SAFETY:.2g}") if fell >= LEAST_FALL else None,
        size=min(state.plan.size(0)),
        seed=experiment.seed,
        recipe_id=experiment.recipe.id,
    )


def _check(experiment: Experiment, limits: tuple[float, float], n_steps: int) -> None:
    low, high = limits
    if not 0 < low < high <= 1e30:
        raise PocketlensError(f"the rates must rise from a number above 0 to a larger one, got {low:g} to {high:g}.")
    if n_steps < 10:
        raise PocketlensError(f"a range test needs at least 10 steps, got {n_steps}.")
    if experiment.recipe.start is not None:
        raise PocketlensError("a range test needs random weights; leave --start out.")


def _state(experiment: Experiment, dataset: Dataset, split: Split, n_steps: int, device: str) -> State:
    """A state that takes `n_steps` steps at one image size, without validation rows."""
    real = State(replace(experiment, n_steps=None), dataset, split, device)
    highest = 0 if real.looks_back else max(range(real.plan.n_steps), key=real.lr_factor)
    size = real.plan.size(highest)
    plain = replace(experiment.recipe, schedule="constant", keep="last", patience=None)
    short = replace(experiment, recipe=plain, n_steps=n_steps, stop_step=None, factors=None)
    state = State(short, dataset, Split(split.train, split.val[:0], split.seed, 0.0), device)
    state.plan = replace(state.plan, stages=((size, n_steps),))
    return state


def _running_mean(losses: list[float]) -> float:
    """Exponential mean without a bias to the first loss (as Adam corrects its moments)."""
    total, weight = 0.0, 0.0
    for loss in losses:
        total, weight = SMOOTHING * total + (1 - SMOOTHING) * loss, SMOOTHING * weight + (1 - SMOOTHING)
    return total / weight


def _has_diverged(smooth: list[float]) -> bool:
    lowest = min(smooth)
    fallen = max(smooth[: smooth.index(lowest) + 1]) - lowest
    rise = smooth[-1] - lowest
    return not math.isfinite(smooth[-1]) or rise > max(WORSE * fallen, LEAST_RISE * lowest)
