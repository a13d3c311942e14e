"""Which recipe learns most in so many minutes: validation accuracy of complete schedules at equal time.

    python benchmarks/frontier.py --minutes 2 5 10 --out frontier/
    python benchmarks/frontier.py --minutes 5 --candidates base "model=lens(width=0.5)" --out frontier/
    python benchmarks/frontier.py --data fashion_mnist --recipe grey --minutes 5 --out frontier-grey/

A candidate is a change of `--recipe`, as in `pocketlens compare`. Its steps are measured first, alone on all cores and
in the precision that is faster here, as `train --minutes` does; it then gets as many epochs as fit. Every candidate is
trained with one seed, the `--finalists` best ones with two more, several at a time on a core each. All are scored on
validation rows; the test set stays closed. `--out` keeps what is done, so a benchmark that was stopped continues.

PFLOP are 6 x multiply-adds x training images, nothing else counted. The tables are Markdown.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import pocketlens as pl
from pocketlens.data.split import make_split
from pocketlens.datasets import load
from pocketlens.recipe import Experiment, Recipe, read_recipe
from pocketlens.studies.overrides import read_variant
from pocketlens.training.budget import SHARE, plan_steps
from pocketlens.training.frontier import mean_multiply_adds
from pocketlens.training.precision import choose_precision

WIDTHS = (0.25, 0.35, 0.5, 0.7, 1.0)
SMALLER = "; batch_size=512; lr=0.13"
CANDIDATES = tuple(f"model=lens(width={width:g}){batches}" for width in WIDTHS for batches in ("", SMALLER))
SEEDS = 3  # of a finalist


@dataclass(frozen=True)
class Cost:
    """What an image costs: seconds on all cores, and multiply-adds, both the mean over the sizes of the schedule."""

    precision: str
    seconds: float
    multiply_adds: float
    n_train: int


@dataclass(frozen=True)
class Job:
    """A training: where its score is kept, and all that it needs."""

    data: str
    recipe: Recipe
    seed: int
    threads: int
    out: Path

    @property
    def kept(self) -> Path:
        """The file with its validation accuracy, 0..1."""
        return self.out / f"{self.recipe.id}-{self.seed}.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="cifar100")
    parser.add_argument("--recipe", default="default")
    parser.add_argument("--minutes", type=float, nargs="+", default=[2.0, 5.0, 10.0])
    parser.add_argument("--candidates", nargs="+", default=CANDIDATES)
    parser.add_argument("--finalists", type=int, default=2)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    base = read_recipe(args.recipe)
    recipes = {text: read_variant(text, base).recipe for text in args.candidates}
    costs = {text: cost_of(args.data, recipe, args.out) for text, recipe in recipes.items()}
    threads = max(1, (os.cpu_count() or 1) // args.jobs)
    with ProcessPoolExecutor(args.jobs, mp_context=get_context("spawn")) as pool:
        for minutes in args.minutes:
            fitted = {text: in_time(recipe, costs[text], minutes) for text, recipe in recipes.items()}
            jobs = {text: Job(args.data, recipe, 0, threads, args.out) for text, recipe in fitted.items()}
            first = dict(zip(jobs, pool.map(trained, jobs.values()), strict=True))
            best = sorted(first, key=first.__getitem__, reverse=True)[: args.finalists]
            again = [Job(args.data, fitted[text], seed, threads, args.out) for text in best for seed in range(1, SEEDS)]
            scores = iter(list(pool.map(trained, again)))
            seeds = {text: [first[text], *(next(scores) for _ in range(1, SEEDS))] for text in best}
            print(f"\n{minutes:g} minutes\n\n| change | epochs | PFLOP | GFLOP/s | validation accuracy, % |")
            print("|---|--:|--:|--:|---|")
            for text, recipe in fitted.items():
                print(line(text, recipe, costs[text], seeds.get(text, [first[text]])), flush=True)


def cost_of(data: str, recipe: Recipe, out: Path) -> Cost:
    """Measures throwaway steps at each size, in the faster precision; kept in `out`, so that all have one machine."""
    kept = out / f"cost-{recipe.changed(epochs=9.0).id}.json"
    if not kept.exists():
        dataset, _ = load(data)
        split, n_classes = make_split(dataset), len(dataset.classes)
        name = choose_precision(recipe, dataset.shape, n_classes, len(split.train), "cpu").name
        timed = recipe.changed(epochs=9.0, precision=name)
        budget = plan_steps(Experiment(data, timed), dataset, split, minutes=1e6)
        seconds = (budget.seconds - 9 * budget.seconds_per_validation) / (9 * len(split.train))
        cost = Cost(name, seconds, mean_multiply_adds(recipe, dataset.shape, n_classes), len(split.train))
        kept.write_text(json.dumps(vars(cost)), encoding="utf-8")
    return Cost(**json.loads(kept.read_text(encoding="utf-8")))


def in_time(recipe: Recipe, cost: Cost, minutes: float) -> Recipe:
    """The recipe with as many epochs as fit."""
    epochs = 60 * minutes * SHARE / (cost.seconds * cost.n_train)
    return recipe.changed(epochs=round(epochs, 2), precision=cost.precision)


def trained(job: Job) -> float:
    """Validation accuracy, 0..1."""
    if not job.kept.exists():
        result = pl.train(
            job.data, recipe=job.recipe, seed=job.seed, threads=job.threads, runs=job.out / "runs", verbose=False
        )
        job.kept.write_text(json.dumps(result.run.top1("val").value), encoding="utf-8")
    return float(json.loads(job.kept.read_text(encoding="utf-8")))


def line(text: str, recipe: Recipe, cost: Cost, accuracies: list[float]) -> str:
    """A row of the table; of several seeds the mean, and each behind it."""
    petaflop = 6 * cost.multiply_adds * recipe.epochs * cost.n_train / 1e15
    rate = 6 * cost.multiply_adds / cost.seconds / 1e9
    each = " ".join(f"{100 * accuracy:.2f}" for accuracy in accuracies)
    score = each if len(accuracies) == 1 else f"**{100 * statistics.mean(accuracies):.2f}** ({each})"
    return f"| `{text}` | {recipe.epochs:g} | {petaflop:.3f} | {rate:.0f} | {score} |"


if __name__ == "__main__":
    main()
