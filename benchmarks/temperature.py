"""How often a temperature from few validation rows is worse than none, by simulation.

    python benchmarks/temperature.py                    a few minutes on one core
    python benchmarks/temperature.py --draws 200        faster, with more chance in it

Classifiers of 2, 10 and 100 classes that are right in 60 to 100 % of cases, with logits that are multiplied by 0.25 to
4, so that the inverse is the temperature that they need; and classifiers whose large logits are too large or too small,
which no temperature mends. For each of these settings validation rows are drawn with replacement from a population of
10,000, and the temperature is judged on the whole population, in nats. Three ways: the temperature with the lowest
log-loss on the rows, within 0.05 to 20 (what pocketlens did before); that of `pocketlens.scoring.temperature`; and 1.

Columns, for each number of rows: the share of draws in which the temperature is worse than 1, over all settings and in
the worst of them; the most that a setting loses by it in the mean over the draws, in nats; the mean distance to the
best temperature in per cent of its log-loss, over the settings of up to 90 % and of 97 %; and the share of draws with
another temperature than 1. Another table has rows in groups of ten that are alike.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pocketlens.scoring.temperature import LEAST_ROWS, fit_temperature, shrunk

N_POPULATION = 10_000
ROWS = (6, 10, 15, 30, 60, 100, 200, 500, 1000)
N_CLASSES = (2, 10, 100)
ACCURACIES = (0.6, 0.8, 0.9, 0.97, 1.0)
SCALES = (0.25, 0.5, 0.9, 1.0, 1.1, 2.0, 4.0)
BENDS = (0.7, 1.4)  # powers of the logits
GRID = np.sort(np.append(np.linspace(np.log(0.01), np.log(100.0), 320), 0.0))  # logarithms of temperatures
BEFORE = np.flatnonzero((np.log(0.05) <= GRID) & (np.log(20.0) >= GRID))
ONE = int(np.flatnonzero(GRID == 0)[0])
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Population:
    """Rows of a classifier.

    Attributes:
        accuracy: about that of all rows.
        losses: (N, G) float32, the log-loss of each row at every temperature of the grid.
        mean: (G,) over all rows.
        right: (N,) which rows are right.
        above_chance: (N,) the logit of the true class less the mean of all classes.
    """

    accuracy: float
    losses: NDArray[np.float32]
    mean: Floats
    right: NDArray[np.bool_]
    above_chance: Floats


@dataclass(frozen=True)
class Judged:
    """A way with one number of rows in one setting, over all draws."""

    accuracy: float
    worse: float
    lost: float
    above_best: float
    moved: float


def populations(generator: np.random.Generator) -> Iterator[Population]:
    """One for every setting."""
    for n_classes in N_CLASSES:
        for accuracy in ACCURACIES:
            logits, labels = _honest(n_classes, accuracy, generator)
            yield from (_population(logits * scale, labels, accuracy) for scale in SCALES)
            for bend in BENDS:
                bent = np.sign(logits) * np.abs(logits) ** bend
                yield _population(bent * np.abs(logits).mean() / np.abs(bent).mean(), labels, accuracy)


def _honest(n_classes: int, accuracy: float, generator: np.random.Generator) -> tuple[Floats, NDArray[np.int64]]:
    """Logits and labels that are drawn from their probabilities, at about this accuracy."""
    logits, noise = generator.normal(size=(N_POPULATION, n_classes)), generator.gumbel(size=(N_POPULATION, n_classes))
    if accuracy == 1:
        return 3 * logits, logits.argmax(axis=1)
    low, high = 0.01, 1000.0
    for _ in range(40):
        middle = np.sqrt(low * high)
        found = ((logits * middle + noise).argmax(axis=1) == logits.argmax(axis=1)).mean()
        low, high = (middle, high) if found < accuracy else (low, middle)
    return logits * middle, (logits * middle + noise).argmax(axis=1)


def _population(logits: Floats, labels: NDArray[np.int64], accuracy: float) -> Population:
    rows, losses = np.arange(len(labels)), np.empty((len(labels), len(GRID)), np.float32)
    exact = logits.astype(np.float32)
    exact -= exact.max(axis=1, keepdims=True)
    for place, logarithm in enumerate(GRID):
        cooled = exact * np.float32(np.exp(-logarithm))
        losses[:, place] = np.log(np.exp(cooled).sum(axis=1)) - cooled[rows, labels]
    right = logits.argmax(axis=1) == labels
    mean = losses.mean(axis=0, dtype=np.float64)
    return Population(accuracy, losses, mean, right, logits[rows, labels] - logits.mean(axis=1))


def before(_population: Population, _rows: NDArray[np.int64], curve: Floats) -> float:
    """The logarithm of the temperature with the lowest log-loss within 0.05 to 20."""
    return float(GRID[BEFORE[curve[BEFORE].argmin()]])


def now(population: Population, rows: NDArray[np.int64], curve: Floats) -> float:
    """The logarithm of the temperature of `pocketlens.scoring.temperature`."""
    has_best = not population.right[rows].all() and float(population.above_chance[rows].sum()) > 0
    found = shrunk(lambda place: float(np.interp(place, GRID, curve)), len(rows), has_best=has_best)
    return float(np.log(found.value))


Way = Callable[[Population, NDArray[np.int64], Floats], float]


def judge(population: Population, way: Way, n: int, draws: int, generator: np.random.Generator) -> Judged:
    """How a way does on `n` rows, over some draws."""
    places = np.empty(draws)
    for draw in range(draws):
        rows = generator.integers(0, N_POPULATION, n)
        places[draw] = way(population, rows, population.losses[rows].sum(axis=0, dtype=np.float64))
    worth = np.interp(places, GRID, population.mean)
    plain, best = population.mean[ONE], population.mean.min()
    return Judged(
        accuracy=population.accuracy,
        worse=float((worth > plain + 1e-9).mean()),
        lost=float(worth.mean() - plain),
        above_best=float((worth.mean() - best) / max(best, 1e-9)),
        moved=float((places != 0).mean()),
    )


def in_groups(draws: int, generator: np.random.Generator) -> None:
    """Prints how often the temperature is worse than 1 where rows come in groups of ten that are alike."""
    print("\n| rows, in groups of ten | worse than 1, groups known | groups not known |\n|---|---|---|")
    for n_groups in (6, 10, 20, 50, 100):
        worse = np.zeros(2)
        groups = np.repeat(np.arange(n_groups), 10)
        for _ in range(draws):
            own, noise = generator.normal(size=(n_groups, 5)) * 2, generator.gumbel(size=(n_groups, 5))
            labels = np.repeat((own + noise).argmax(axis=1), 10)
            logits = np.repeat(own, 10, axis=0) + generator.normal(size=(10 * n_groups, 5)) * 0.1
            found = [fit_temperature(logits, labels, known).value for known in (groups, None)]
            worse += np.array(found) != 1  # the temperature that these logits need is 1
        print(f"| {10 * n_groups} | {worse[0] / draws:.1%} | {worse[1] / draws:.1%} |", flush=True)


def main() -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=500, help="of validation rows in each setting (%(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    generator = np.random.default_rng(args.seed)
    found: dict[tuple[str, int], list[Judged]] = {(name, n): [] for name in ("before", "now") for n in ROWS}
    for population in populations(generator):
        for (name, n), judged in found.items():
            way = {"before": before, "now": now}[name]
            judged.append(judge(population, way, n, args.draws, generator))
    print(f"{len(judged)} settings, {args.draws} draws of each; fewer than {LEAST_ROWS} rows give no temperature")
    print(
        "| way | rows | worse than 1 | in the worst setting | most nats lost | above the best, to 90 % right |", end=""
    )
    print(" at 97 % | other than 1 |\n|---|---|---|---|---|---|---|---|")
    for (name, n), judged in found.items():
        print(f"| {name} | {n} | {_cells(judged)} |", flush=True)
    in_groups(args.draws, generator)


def _cells(judged: list[Judged]) -> str:
    """What the table says of a way with one number of rows."""
    usual = [each.above_best for each in judged if each.accuracy <= 0.9]
    high = [each.above_best for each in judged if each.accuracy == 0.97]
    return " | ".join(
        (
            f"{np.mean([each.worse for each in judged]):.1%}",
            f"{max(each.worse for each in judged):.1%}",
            f"{max(0.0, *(each.lost for each in judged)):.4f}",
            f"{100 * np.mean(usual):.1f} %, most {100 * max(usual):.1f} %",
            f"{100 * np.mean(high):.1f} %, most {100 * max(high):.1f} %",
            f"{np.mean([each.moved for each in judged]):.0%}",
        )
    )


if __name__ == "__main__":
    main()
