"""The temperature that logits are divided by, as far as the validation rows can tell it from 1.

The temperature of Guo, Pleiss, Sun, Weinberger 2017, "On calibration of modern neural networks", arXiv 1706.04599, is
that with the lowest log-loss on validation rows. From few rows it is mostly chance: where all of them are right, the
log-loss falls for ever as the temperature falls. So it is shrunk towards 1 by how much the rows say:

- `gain` is how many nats the best temperature takes off the summed log-loss at 1, and `need` the gain that chance
  exceeds in one of a hundred draws where 1 is right (half the 99 % quantile of chi-squared, 3.3 nats; Wilks 1938, "The
  large-sample distribution of the likelihood ratio"). Above 200 rows it falls as 1 / n, as the weight of a prior does.
- Where the gain is at most `need`, the temperature is 1. Else it is the one between 1 and the best whose summed
  log-loss is above the best by need² / gain: the non-negative garrote (Breiman 1995, "Better subset regression using
  the nonnegative garrote") in nats. The more the rows say, the nearer it is to the best.
- Where there is no best one, because all rows are right or because they are told apart no better than by chance, it is
  the one whose summed log-loss is 3.3 nats above the limit: a share of errors of 3.3 / n, as in the rule of three.

Rows of one group (patient, slide, video) say less than as many rows of their own: `need` is multiplied by their design
effect (Kish 1965, "Survey sampling"). `benchmarks/temperature.py` simulates how often this is worse than 1;
docs/calibration.md has its table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketlens.errors import PocketlensError
from pocketlens.scoring.metrics import Counts, Floats, log_probabilities, own_log_probability
from pocketlens.scoring.row_blocks import by_rows, most_likely
from pocketlens.text import counted

LOWEST, HIGHEST = 1e-4, 1e4  # the search ends here; neither is ever an answer
NEED = 3.317  # nats: half the 99 % quantile of chi-squared with one degree of freedom
SAME_UNTIL = 200  # rows up to which the need is the same
LEAST_ROWS = 6  # rows, or groups where there are groups; fewer are too few whatever they show
SHARP = 1.5  # the ends of the temperature's 95 % interval are at most this factor apart where it is known to be 1
_ENDS_BEFORE, _AT_END = (0.05, 20.0), 1e-3  # of the search in files of before
_INTERVAL = 1.921  # nats: half the 95 % quantile of the same


@dataclass(frozen=True)
class TemperatureFit:
    """What validation rows say about the temperature.

    Attributes:
        value: what to divide logits by; 1 where the rows cannot tell it from 1.
        known: whether the rows say what it is: it differs from 1, or it is 1 and cannot be far from it.
        n: the rows.
        n_groups: the groups that they are of; None where every row is on its own.
        all_right: every row is right, so the rows give no lower limit.
    """

    value: float
    known: bool
    n: int
    n_groups: int | None = None
    all_right: bool = False


@dataclass(frozen=True)
class Temperature:
    """What to divide logits by, fitted on `n` validation rows of the run `run`.

    Attributes:
        known: whether the rows were enough; where they were not, `value` is 1.
        n_groups: the groups that they are of; None where every row is on its own.
        all_right: every row is right.
    """

    value: float
    n: int
    run: str
    known: bool = True
    n_groups: int | None = None
    all_right: bool = False

    @staticmethod
    def from_dict(value: dict[str, Any]) -> Temperature:
        """What an exported file holds; before rows could be too few, one at the end of its search was no answer."""
        given = Temperature(
            float(value["value"]),
            int(value["n"]),
            str(value["run"]),
            bool(value.get("known", True)),
            None if value.get("n_groups") is None else int(value["n_groups"]),
            bool(value.get("all_right", False)),
        )
        at_end = "known" not in value and any(abs(given.value / end - 1) < _AT_END for end in _ENDS_BEFORE)
        return replace(given, value=1.0, known=False) if at_end else given

    def said(self) -> str:
        """Whether probabilities with this temperature are calibrated, and how, to follow "probabilities are"."""
        rows = counted(self.n, "validation image")
        if self.n_groups is not None:
            rows += f" of {counted(self.n_groups, 'group')}"
        if not self.known:
            rows += ", all of them right," if self.all_right and self.n > 1 else ""
            return f"not calibrated: {rows} {'is' if self.n == 1 else 'are'} too few"
        if self.value == 1:
            return f"calibrated without a temperature: 1 fits {rows} of run {self.run}"
        return f"calibrated: temperature {self.value:.3f}, fitted on {rows} of run {self.run}"


def fit_temperature(logits: NDArray[Any], labels: Counts, groups: Counts | None = None) -> TemperatureFit:
    """What rows that were not trained on say about the temperature.

    Args:
        logits: (N, K).
        labels: (N,) int64.
        groups: (N,) int64, the group of each row.

    Raises:
        PocketlensError: there are no rows.
    """
    if len(labels) == 0:
        raise PocketlensError("a temperature needs at least one validation row, got none.")
    exact, rows = logits.astype(np.float64), np.arange(len(labels))
    right = most_likely(exact) == labels
    n_groups = None if groups is None else len(np.unique(groups))
    if (n_groups or len(labels)) < LEAST_ROWS or len(np.unique(labels)) < 2:
        return TemperatureFit(1.0, False, len(labels), n_groups, bool(right.all()))

    def loss(log_temperature: float) -> float:
        scale = np.exp(-log_temperature)
        own = by_rows(lambda some, own: own_log_probability(some * scale, own), exact, labels)
        return -float(own.sum())

    effect = 1.0 if groups is None else _design_effect(exact, labels, groups)
    above_chance = float((exact[rows, labels] - exact.mean(axis=1)).sum()) > 0
    found = shrunk(loss, len(labels), has_best=above_chance and not right.all(), effect=effect)
    return TemperatureFit(found.value, found.known, len(labels), n_groups, bool(right.all()))


def calibration_in_words(temperature: Temperature | None) -> str:
    """To follow "probabilities are"; without a temperature there were no rows to fit it on."""
    return "not calibrated, because there are no validation images" if temperature is None else temperature.said()


@dataclass(frozen=True)
class Shrunk:
    """A temperature that was drawn towards 1, and whether the rows say what it is."""

    value: float
    known: bool


def shrunk(loss: Callable[[float], float], n: int, *, has_best: bool, effect: float = 1.0) -> Shrunk:
    """The temperature by the summed log-loss of `n` rows as a function of its logarithm.

    Args:
        loss: nats over all rows; convex in 1 / temperature.
        has_best: whether some temperature is the best, because rows are told apart better than by chance and not all
            of them are right.
        effect: how many rows say as much as one row of its own, at least 1.
    """
    from scipy.optimize import brentq, minimize_scalar

    ends = np.log(LOWEST), np.log(HIGHEST)
    best = float(minimize_scalar(loss, bounds=ends, method="bounded", options={"xatol": 1e-5}).x)
    least, here = loss(best), loss(0.0)
    need = effect * NEED * (min(1.0, SAME_UNTIL * effect / n) if has_best else 1.0)
    gain = here - least
    if gain <= need:
        within = effect * _INTERVAL
        half = np.log(SHARP) / 2
        return Shrunk(1.0, has_best and all(loss(best + side) - least > within for side in (-half, half)))
    above = need**2 / gain if has_best else need
    place = brentq(lambda where: loss(where) - least - above, 0.0, best, xtol=1e-6)
    return Shrunk(float(np.exp(place)), True)


def _design_effect(logits: Floats, labels: Counts, groups: Counts) -> float:
    """By how much groups widen the variance of the slope of the log-loss by the temperature, at least 1."""
    logs = log_probabilities(logits)
    slopes = logits[np.arange(len(labels)), labels] - (np.exp(logs) * logits).sum(axis=1)  # by log T, at T = 1
    slopes -= slopes.mean()
    apart = float((slopes**2).sum())
    _, numbers = np.unique(groups, return_inverse=True)
    sums = np.bincount(numbers, weights=slopes)
    return max(1.0, float((sums**2).sum()) / apart * len(sums) / (len(sums) - 1)) if apart > 0 else float(len(labels))
