"""Which width of the default network learns most in a short time: validation accuracy on CIFAR-100 at equal cost.

    python benchmarks/short_time.py --epochs 2.8 5 --out short/
    python benchmarks/short_time.py --epochs 2.8 --widths 0.35 0.5 0.7 --seeds 3 --out short/

For each number of epochs of the whole network, narrower ones get as many epochs as take the same processor time for
their forward and backward passes, measured at each image size in turns in the precision that is faster here. All
trainings are complete schedules of the default recipe, on 45,000 images, and are scored on the other 5,000; the test
set stays closed. Results are kept in `--out`, so a benchmark that was stopped goes on. The table is Markdown.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path

import pocketlens as pl
from pocketlens.datasets import load
from pocketlens.pipeline.candidates import mean_multiply_adds
from pocketlens.recipe import Recipe, parse_sizes, read_recipe
from pocketlens.training import precision

SHAPE, N_CLASSES, N_TRAIN = (32, 32, 3), 100, 45_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=float, nargs="+", default=[2.8, 5.0], help="of the whole network")
    parser.add_argument("--widths", type=float, nargs="+", default=[0.5, 0.7], help="of the narrower ones")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    dataset, _ = load("cifar100")
    recipes = [read_recipe("default")]
    recipes += [recipes[0].changed(model=f"lens(width={width:g})") for width in args.widths]
    costs = [seconds_per_image(recipe) for recipe in recipes]
    print("| network | times as fast | epochs | PFLOP | validation accuracy, % | minutes |\n|---|--:|--:|--:|--:|--:|")
    for epochs in args.epochs:
        for recipe, cost in zip(recipes, costs, strict=True):
            own = recipe.changed(epochs=round(epochs * costs[0] / cost, 1))
            found = [trained(own, seed, args.out) for seed in range(args.seeds)]
            accuracies = " ".join(f"{100 * accuracy:.2f}" for accuracy, _ in found)
            minutes = statistics.median(seconds for _, seconds in found) / 60
            petaflop = 6 * mean_multiply_adds(own, dataset) * own.epochs * N_TRAIN / 1e15
            ratio = costs[0] / cost
            print(f"| `{own.model}` | {ratio:.2f} | {own.epochs:g} | {petaflop:.3f} | {accuracies} | {minutes:.0f} |")


def seconds_per_image(recipe: Recipe) -> float:
    """Processor seconds of a training image, the mean over the schedule, in the faster precision."""
    precision.CLEAR = 99.0  # all rounds, at each size
    found = precision.choose_precision(recipe, SHAPE, N_CLASSES, N_TRAIN, "cpu")
    begun, whole = 0.0, 0.0
    for each, (_, until, _) in zip(found.measured, parse_sizes(recipe.sizes), strict=True):
        whole, begun = whole + (until - begun) * getattr(each, found.name), until
    return whole


def trained(recipe: Recipe, seed: int, out: Path) -> tuple[float, float]:
    """Validation accuracy, 0..1, and seconds of a training."""
    kept = out / f"{recipe.id}-{seed}.json"
    if not kept.exists():
        result = pl.train("cifar100", recipe=recipe, precision="auto", seed=seed, runs=out / "runs", verbose=False)
        score, seconds = result.run.top1("val"), sum(line["seconds"] for line in result.run.timing())
        kept.write_text(json.dumps([score.value, seconds]), encoding="utf-8")
    accuracy, seconds = json.loads(kept.read_text(encoding="utf-8"))
    return accuracy, seconds


if __name__ == "__main__":
    main()
