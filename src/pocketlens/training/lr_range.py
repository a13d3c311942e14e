"""Learning-rate range test: the loss while the learning rate rises, until it diverges. Smith 2017, arXiv:1506.01186.

It is one short throwaway training on the training rows. Validation and test rows are not read, and no run is made.
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
from pocketlens.training.state import Stage, State

SMOOTHING = 0.9  # of the running mean of the loss
MAX_RISE = 2.0  # diverged: the mean has risen above its minimum by this many times what it had fallen by ..
MIN_RISE = 0.5  # .. and by at least this share of the minimum
SAFETY = 3.0  # the suggested rate is the one with the lowest loss divided by this
MIN_FALL = 0.05  # of the loss: where it falls less, nothing was learned, and its minimum is chance


@dataclass(frozen=True)
class LrRange:
    """The measurements, step by step, and the suggested learning rate.

    Attributes:
        lr, loss: of each step.
        smooth: the running mean of the loss after each step.
        lowest: the learning rate at which the running mean was lowest.
        diverged: the learning rate at which training diverged; None where it did not.
        fell: how far the running mean had fallen at its minimum, as a share of its maximum before.
        suggested: `lowest / 3`; None where the loss hardly fell, so that nothing can be suggested.
        size: px of the images.
    """

    lr: tuple[float, ...]
    loss: tuple[float, ...]
    smooth: tuple[float, ...]
    lowest: float
    diverged: float | None
    fell: float
    suggested: float | None
    size: int
    seed: int
    recipe_id: str

    def to_dict(self) -> dict[str, Any]:
        """All fields, as JSON holds them."""
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
    """Trains for at most `n_steps` steps at rates that rise geometrically from limits[0] to limits[1].

    Everything else follows the recipe, at the image size that it trains at when its own rate is highest. Rates beside
    `lr` (muon's `rest_lr`) rise in proportion to it. The result is a pure function of the arguments.

    Raises:
        PocketlensError: the limits or the number of steps are out of range, or training diverged in the first steps.
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
        raise PocketlensError(f"training diverged at the lowest rates already; start below {low:g} (--low).")
    place = smooth.index(min(smooth))
    lowest, fell = rates[place], 1 - smooth[place] / max(smooth[: place + 1])
    return LrRange(
        lr=tuple(rates[: len(losses)]),
        loss=tuple(losses),
        smooth=tuple(smooth),
        lowest=lowest,
        diverged=diverged,
        fell=fell,
        suggested=float(f"{lowest / SAFETY:.2g}") if fell >= MIN_FALL else None,
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
        raise PocketlensError("a range test starts from new weights; leave --start out.")


def _state(experiment: Experiment, dataset: Dataset, split: Split, n_steps: int, device: str) -> State:
    """A state for `n_steps` steps at one image size, without validation rows."""
    real = State(replace(experiment, n_steps=None), dataset, split, device)
    highest = 0 if real.looks_back else max(range(real.plan.n_steps), key=real.lr_factor)
    size = real.plan.size(highest)
    plain = replace(experiment.recipe, schedule="constant", keep="last", patience=None)
    short = replace(experiment, recipe=plain, n_steps=n_steps, stop_step=None, factors=None)
    state = State(short, dataset, Split(split.train, split.val[:0], split.seed, 0.0), device)
    state.plan = replace(state.plan, stages=(Stage(size, n_steps),))
    return state


def _running_mean(losses: list[float]) -> float:
    """Exponential mean, corrected for its initial bias as Adam's moments are."""
    total, weight = 0.0, 0.0
    for loss in losses:
        total, weight = SMOOTHING * total + (1 - SMOOTHING) * loss, SMOOTHING * weight + (1 - SMOOTHING)
    return total / weight


def _has_diverged(smooth: list[float]) -> bool:
    lowest = min(smooth)
    fallen = max(smooth[: smooth.index(lowest) + 1]) - lowest
    rise = smooth[-1] - lowest
    return not math.isfinite(smooth[-1]) or rise > max(MAX_RISE * fallen, MIN_RISE * lowest)
