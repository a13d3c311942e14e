"""Verdicts: is one recipe better than another? Paired tests over repeats, Holm's correction, power, selection bias.

The model: recipe r trained with seed s scores m_r + b_s + e_rs. All recipes share the split and the seeds, so the
effect of a seed on all of them (b_s) cancels in the difference of a pair, and the differences over the seeds are a
sample of independent numbers around the true difference. Where seeds have no common effect, the standard deviation of
the differences is sqrt(2) times that of one recipe; planning assumes this worst case.

Sources: Student 1908 (paired t test); Fisher 1935 (sign flips); Holm 1979 (many comparisons); McNemar 1947; Bouthillier
et al. 2021, "Accounting for variance in machine learning benchmarks", arXiv:2103.03098.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from pocketlens.text import counted

Floats = NDArray[np.float64]
Word = Literal["better", "worse", "cannot tell"]

ALPHA = 0.05  # family-wise error rate: the part of studies of equal recipes that may give any verdict
POWER = 0.8  # the part of studies that should detect a true difference, where repeats are planned
FEWEST_FOR_FLIPS = 6  # repeats: with fewer the smallest p value, 2 / 2^5, is above 0.05
MOST_EXACT = 14  # repeats up to which all sign flips are enumerated; above, 2^14 random ones are drawn
MOST_REPEATS = 1000


@dataclass(frozen=True)
class Difference:
    """The paired difference of two recipes (second minus first) over n repeats; None where n is too small."""

    n: int
    mean: float | None
    sd: float | None  # of the differences, over the repeats
    low: float | None  # 95 % interval of the mean, by Student's t
    high: float | None
    p: float
    test: str  # "t test", "sign flips" or "none"


@dataclass(frozen=True)
class Verdict:
    """The result for a pair: `second` is better or worse than `first`, or the data cannot tell."""

    first: str
    second: str
    word: Word
    difference: Difference
    p_holm: float  # corrected over all pairs of the study; better or worse where it is at most ALPHA
    alpha: float  # the significance level of the smallest of all p values

    @property
    def more(self) -> int | None:
        """How many more repeats a verdict takes (with power 0.8) if difference and spread stay as observed.

        None where there is a verdict already, and where 1,000 are not enough.
        """
        gap = self.difference
        if self.word != "cannot tell" or gap.mean is None or gap.sd is None:
            return None
        needed = repeats_needed(gap.mean, gap.sd, self.alpha)
        return None if needed is None else max(1, needed - gap.n)

    @property
    def missing(self) -> str:
        """How many more repeats a verdict takes, in words; empty where there is one."""
        if self.word != "cannot tell" or self.difference.sd is None:
            return ""
        more = "1,000 repeats or more" if self.more is None else f"about {counted(self.more, 'more repeat')}"
        if self.more == 1:
            more = "about 1 more repeat"
        return f"if this difference is true, detecting it takes {more}"

    def line(self, names: Mapping[str, str] | None = None) -> str:
        """`B is better than A, +0.83 points [+0.41, +1.25], p 0.004 (t test, n 5)`; `names` are shorter names."""
        first, second = ((names or {}).get(name, name) for name in (self.first, self.second))
        gap = self.difference
        is_told = self.word in ("better", "worse")
        text = f"{second} is {self.word} than {first}" if is_told else f"{second} against {first}: cannot tell"
        if gap.mean is None:
            return f"{text}; no repeat is finished for both"
        text += f", {100 * gap.mean:+.2f} points"
        if gap.low is None or gap.high is None:
            return f"{text}; one repeat is not enough for a test"
        text += f" [{100 * gap.low:+.2f}, {100 * gap.high:+.2f}], p {self.p_holm:.2g} ({gap.test}, n {gap.n})"
        return f"{text}; {self.missing}" if self.missing else text


def compare(
    scores: dict[str, Floats],
    pairs: Sequence[tuple[str, str]] | None = None,
    *,
    resolution: float = 0.0,
    alpha: float = ALPHA,
) -> list[Verdict]:
    """A verdict for each pair of recipes, with a family-wise error rate of at most `alpha` over all pairs.

    Args:
        scores: (R,) scores of each recipe's repeats, in the same order of seeds; NaN where a repeat has failed.
        pairs: the recipes that are compared, (first, second); None compares all pairs.
        resolution: the step between two possible scores (1 / validation rows). Differences of few repeats can be equal
            by rounding alone; their standard deviation is never taken to be smaller than that of rounding.
    """
    names = list(scores)
    chosen = list(pairs) if pairs is not None else [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    found = [compare_pair(scores[a], scores[b], len(chosen), resolution, alpha) for a, b in chosen]
    corrected = holm([difference.p for difference in found])
    verdicts = []
    for (first, second), difference, p in zip(chosen, found, corrected, strict=True):
        word: Word = "cannot tell"
        if p <= alpha and difference.mean:
            word = "better" if difference.mean > 0 else "worse"
        verdicts.append(Verdict(first, second, word, difference, p, alpha / len(chosen)))
    return verdicts


def compare_pair(
    first: Floats, second: Floats, n_pairs: int = 1, resolution: float = 0.0, alpha: float = ALPHA
) -> Difference:
    """The paired difference second - first with its interval and its p value, over the repeats that both have.

    The p value is that of the sign-flip test from six repeats on, if its smallest p value, 2 / 2^n, is below
    alpha / n_pairs: with six pairs and seven repeats it could never give a verdict, however large the difference.
    Otherwise it is that of the t test.
    """
    differences = (second - first)[np.isfinite(first) & np.isfinite(second)]
    n = len(differences)
    if n < 2:
        return Difference(n, float(differences[0]) if n else None, None, None, None, 1.0, "none")
    mean = float(differences.mean())
    sd = max(float(differences.std(ddof=1)), resolution / math.sqrt(6))  # two rounded numbers, uniform errors
    half = float(special.stdtrit(n - 1, 0.975)) * sd / math.sqrt(n)
    flips = n >= FEWEST_FOR_FLIPS and 2.0 ** (1 - n) <= alpha / n_pairs
    p = flip_p(differences) if flips else t_p(mean, sd, n)
    return Difference(n, mean, sd, mean - half, mean + half, p, "sign flips" if flips else "t test")


def t_p(mean: float, sd: float, n: int) -> float:
    """The two-sided p value of Student's one-sample t test on n differences."""
    if sd == 0:
        return 1.0 if mean == 0 else 0.0
    return float(2 * special.stdtr(n - 1, -abs(mean) / sd * math.sqrt(n)))


def flip_p(differences: Floats) -> float:
    """The two-sided p value of the sign-flip permutation test: the part of all flips whose sum is as far from 0."""
    sums = np.abs(_flips(len(differences)) @ differences)
    return float(np.mean(sums >= abs(differences.sum()) * (1 - 1e-9) - 1e-15))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's corrected p values, in the given order."""
    m, highest = len(p_values), 0.0
    corrected = [0.0] * m
    for place, index in enumerate(sorted(range(m), key=lambda i: p_values[i])):
        highest = max(highest, min(1.0, (m - place) * p_values[index]))
        corrected[index] = highest
    return corrected


class McNemar(NamedTuple):
    """How many rows only the first of two models has right, how many only the second, and the two-sided p value."""

    only_first: int
    only_second: int
    p: float


def mcnemar(first_right: NDArray[np.bool_], second_right: NDArray[np.bool_]) -> McNemar:
    """McNemar's exact test of two trained models.

    The test is about these two models on these rows, not about their recipes: another seed gives another model.
    """
    only_first = int((first_right & ~second_right).sum())
    only_second = int((second_right & ~first_right).sum())
    n = only_first + only_second
    p = min(1.0, 2 * float(special.bdtr(min(only_first, only_second), n, 0.5))) if n else 1.0
    return McNemar(only_first, only_second, p)


def power(effect: float, n: int, alpha: float = ALPHA) -> float:
    """The power of n paired repeats where the true difference is `effect` standard deviations of the differences."""
    if n < 2:
        return 0.0
    critical, shift = float(special.stdtrit(n - 1, 1 - alpha / 2)), abs(effect) * math.sqrt(n)
    if shift - critical > 30:  # the noncentral t underflows there
        return 1.0
    below, far = special.nctdtr(n - 1, shift, critical), special.nctdtr(n - 1, shift, -critical)
    return float(1 - below + (far if math.isfinite(far) else 0.0))


def repeats_needed(mean: float, sd: float, alpha: float = ALPHA, wanted: float = POWER) -> int | None:
    """The fewest paired repeats that detect a true difference of `mean` with power `wanted`; None: over 1,000."""
    if sd == 0:
        return 2 if mean else None
    if power(mean / sd, MOST_REPEATS, alpha) < wanted:
        return None
    low, high = 1, MOST_REPEATS
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power(mean / sd, middle, alpha) >= wanted else (middle, high)
    return high


def detectable_difference(spread: float, n: int, n_pairs: int = 1, wanted: float = POWER) -> float:
    """The smallest true difference that n repeats detect with power `wanted`.

    Args:
        spread: the standard deviation of one recipe's scores over seeds; that of differences is sqrt(2) times as large.
        n_pairs: how many pairs are compared; the smallest p value is tested at ALPHA / n_pairs.
    """
    if n < 2:
        return math.inf
    low, high = 0.0, 1.0
    while power(high, n, ALPHA / n_pairs) < wanted:
        high *= 2
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (low, middle) if power(middle, n, ALPHA / n_pairs) >= wanted else (middle, high)
    return high * spread * math.sqrt(2)


class MeanInterval(NamedTuple):
    """A mean, the standard deviation of the values, and the 95 % interval of the mean; None where n is 1."""

    mean: float
    sd: float | None
    low: float | None
    high: float | None


def mean_interval(values: Floats) -> MeanInterval:
    """The 95 % interval of a mean by Student's t."""
    n, mean = len(values), float(values.mean())
    if n < 2:
        return MeanInterval(mean, None, None, None)
    sd = float(values.std(ddof=1))
    half = float(special.stdtrit(n - 1, 0.975)) * sd / math.sqrt(n)
    return MeanInterval(mean, sd, mean - half, mean + half)


@lru_cache(maxsize=16)
def _flips(n: int) -> Floats:
    """(F, n) of +1 and -1: all sign flips where they are few; the identity is always among them."""
    if n <= MOST_EXACT:
        bits = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
    else:
        bits = np.random.default_rng(0).integers(0, 2, (2**MOST_EXACT, n))
        bits[0] = 1
    return np.asarray(2.0 * bits - 1)


_GRID, _ROUNDS, _REPLAYS = 200, 200, 2000


def expected_selection_bias(scores: Floats, noise: float) -> float:
    """By how much the highest of `scores` is expected to exceed its true value, because it is the highest.

    Args:
        scores: (K,) the score of each trial, higher is better.
        noise: the standard deviation of one score over seeds.
    """
    if len(scores) < 2 or noise <= 0:
        return 0.0
    values = shrink(scores, noise)
    replays = values + np.random.default_rng(0).normal(0, noise, (_REPLAYS, len(scores)))  # (R, K)
    winners = replays.argmax(axis=1)
    return float((replays.max(axis=1) - values[winners]).mean())


def shrink(scores: Floats, noise: float) -> Floats:
    """(K,) the expected true value behind each score, given all of them: high and low ones move inwards.

    Empirical Bayes with a non-parametric prior on a grid, fitted by expectation maximisation.
    """
    grid = np.linspace(scores.min(), scores.max(), _GRID)  # (G,) possible true values
    near = np.exp(-0.5 * ((scores[:, None] - grid) / noise) ** 2) + 1e-300  # (K, G) likelihoods
    share = np.full(_GRID, 1 / _GRID)
    for _ in range(_ROUNDS):
        belongs = near * share
        belongs /= belongs.sum(axis=1, keepdims=True)
        share = belongs.mean(axis=0)
    return np.asarray(belongs @ grid)
