"""The README's plot: accuracy on CIFAR-100 against the operations of training, ours beside public records.

    python benchmarks/compute_plot.py docs/compute.svg

Its numbers are those of docs/short.md and of the README, which name the commands that measured them; operations of
ours are computed here from the recipes, 6 x multiply-adds x images. Those of the others are their papers' multiply-adds
times the images of their schedules.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt

from pocketlens.recipe import Recipe, read_recipe
from pocketlens.training.frontier import mean_multiply_adds

SHAPE, N_CLASSES, N_DEVELOPMENT, N_TRAIN = (32, 32, 3), 100, 50_000, 45_000
WIDE = "lens(widths=(128, 384, 512), full=True)"


@dataclass(frozen=True)
class Point:
    """A training: PFLOP, accuracy in %, what it is, and how many points above it that is written."""

    petaflop: float
    accuracy: float
    name: str = ""
    above: float = 0.0


PUBLIC = (
    Point(0.33, 75.19, "speedrun record", -9.0),
    Point(33.0, 75.61, "ResNet-18, 200 epochs"),
    Point(33.0, 79.45, "ResNet-18 + CutMix"),
    Point(315.0, 81.5, "WRN-28-10, 200 epochs"),
)


def ours(recipe: Recipe, n_train: int, accuracy: float, name: str = "") -> Point:
    """A training of a recipe."""
    flop = 6 * mean_multiply_adds(recipe, SHAPE, N_CLASSES) * recipe.epochs * n_train
    return Point(flop / 1e15, accuracy, name)


NARROW = (  # width, epochs, batch size, validation accuracy: the best of docs/short.md at 2, 5 and more minutes
    (0.25, 6.1, 512, 60.78),
    (0.35, 3.8, 512, 60.86),
    (0.5, 5.8, 512, 67.34),
    (0.5, 10.0, 1024, 70.78),
    (0.5, 20.0, 1024, 72.36),
)
WHOLE = ((2.8, 64.20),)  # epochs of the default, validation accuracy


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    default = read_recipe("default")
    narrow = [
        ours(default.changed(model=f"lens(width={width:g})", epochs=epochs, batch_size=batch_size), N_TRAIN, accuracy)
        for width, epochs, batch_size, accuracy in NARROW
    ]
    whole = [ours(default.changed(epochs=epochs), N_TRAIN, accuracy) for epochs, accuracy in WHOLE]
    tested = [
        ours(default, N_DEVELOPMENT, 75.5, "default, 9 epochs, CPU"),
        ours(default.changed(model=WIDE, epochs=18.0), N_DEVELOPMENT, 77.9, "18 epochs, GPU"),
        ours(read_recipe("wide"), N_DEVELOPMENT, 81.7, "wide, 40 epochs, GPU"),
    ]
    figure, axes = plt.subplots(figsize=(8, 4.2), layout="constrained")
    for points, label, style in (
        (narrow, "pocketlens, narrower networks, validation", "o-"),
        (whole, "pocketlens, default, few epochs, validation", "s"),
        (tested, "pocketlens, test", "D"),
        (PUBLIC, "public records, test", "x"),
    ):
        axes.plot([each.petaflop for each in points], [each.accuracy for each in points], style, label=label)
        for each in points:
            place = (each.petaflop, each.accuracy)
            axes.annotate(each.name, place, (6, each.above), textcoords="offset points", va="center", size=8)
    axes.set(xscale="log", xlabel="PFLOP of training", ylabel="accuracy on CIFAR-100, %", xlim=(None, 2e4))
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right", fontsize=8)
    figure.savefig(args.out, metadata={"Date": None})


if __name__ == "__main__":
    main()
