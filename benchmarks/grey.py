"""How the recipe `grey` was chosen: settings drawn at random, trained at equal cost, judged on validation rows.

    python benchmarks/grey.py --round 1 --device cuda --jobs 11

Each training has as many epochs as its network and sizes leave of `--tflop` (6 x multiply-adds x images, for the 60,000
development rows of Fashion-MNIST); a sixth of the rows validates. Then the effect of every value on the accuracy, all
others held equal, is estimated by ridge regression: with 45 drawn settings as surely as by 22 trainings of each of two.
Round 2 draws around what round 1 preferred. No test row is read.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

import pocketlens as pl
from pocketlens.recipe import parse_sizes
from pocketlens.training.model_summary import layer_table, totals
from pocketlens.training.train import train

ERASING, CUTMIX = "random_erasing(p={}, scale=(0.02, 0.2))", "cutmix(p={}, until=0.85)"
ROUNDS: dict[int, dict[str, tuple[str, ...]]] = {  # the first value of each is the one that others are compared with
    1: {
        "model": (
            "lens(width=0.5)",
            "lens(width=0.75)",
            "lens",
            "lens(widths=(64,128,256), full=True)",
            "lens(widths=(64,192,384), full=True)",
            "lens(widths=(128,256,384))",
        ),
        "prepare": ("none", "resize(32)"),
        "sizes": ("100%", "75%:0.5 100%"),
        "loss": tuple(f"cross_entropy(smoothing={value})" for value in (0.0, 0.1, 0.2)),
        "flip": ("flip", ""),
        "move": ("crop(pad=1)", "crop(pad=2)"),
        "mix": ("", ERASING.format(0.5), CUTMIX.format(0.3)),
        "lr": ("0.18", "0.09", "0.3"),
        "optimizer": (
            "muon(momentum=0.6, rest_lr=1.38)",
            "muon(momentum=0.85, rest_lr=1.38)",
            "muon(momentum=0.6, rest_lr=0.5)",
        ),
        "behind": ("", "ema(decay=0.99)", "lookahead"),
        "batch_size": ("1024", "512"),
    },
    2: {
        "model": (
            "lens(width=0.5)",
            "lens(width=0.4)",
            "lens(width=0.6)",
            "lens(widths=(64,128,384))",
            "lens(widths=(64,192,512))",
        ),
        "sizes": ("100%", "75%:0.5 100%"),
        "loss": tuple(f"cross_entropy(smoothing={value})" for value in (0.2, 0.1, 0.3)),
        "flip": ("flip", ""),
        "move": ("crop(pad=1)", "", "affine(degrees=4, fraction=0.04, shear=0, low=0.95, high=1.05)"),
        "erase": ("", ERASING.format(0.25)),
        "mix": ("", CUTMIX.format(0.3), CUTMIX.format(0.6), CUTMIX.format(1.0)),
        "lr": ("0.12", "0.18", "0.24"),
        "optimizer": ("muon(momentum=0.75)", "muon(momentum=0.6)"),
    },
}


def recipe_of(chosen: dict[str, str], tflop: float, device: str) -> pl.Recipe:
    """The recipe of drawn values, with the epochs that cost `tflop`."""
    augment = " | ".join(chosen[name] for name in ("flip", "move", "erase", "mix") if chosen.get(name))
    recipe = pl.Recipe(
        model=chosen["model"],
        prepare=chosen.get("prepare", "none"),
        sizes=chosen["sizes"],
        loss=chosen["loss"],
        augment=augment or "none",
        optimizer=" | ".join(part for part in (chosen["optimizer"], chosen.get("behind", "")) if part),
        lr=float(chosen["lr"]) * (0.7 if chosen.get("batch_size") == "512" else 1.0),
        batch_size=int(chosen.get("batch_size", "1024")),
        precision="bf16" if device == "cuda" else "fp32",
    )
    return recipe.changed(epochs=round(max(0.05, tflop / cost(recipe)), 2))


def cost(recipe: pl.Recipe) -> float:
    """TFLOP of an epoch of 60,000 images, the mean over the sizes of the schedule."""
    whole, multiply_adds, begun = 32 if "32" in recipe.prepare else 28, 0.0, 0.0
    for size, until, relative in parse_sizes(recipe.sizes):
        side = round(whole * size / 100) if relative else int(size)
        multiply_adds += (until - begun) * totals(layer_table(recipe.model, (side, side, 1), 10))["multiply_adds"]
        begun = until
    return 6 * multiply_adds * 60_000 / 1e12


def trained(job: tuple[int, dict[str, str], float, str]) -> dict[str, Any]:
    """One training: its settings, epochs and validation accuracy."""
    seed, chosen, tflop, device = job
    torch.set_num_threads(1)
    dataset = pl.load("fashion_mnist")[0]
    split, recipe = pl.make_split(dataset, val_fraction=1 / 6, seed=0), recipe_of(chosen, tflop, device)
    experiment = pl.Experiment(dataset.text, recipe, seed, 1 / 6, data_fingerprint=dataset.fingerprint)
    with tempfile.TemporaryDirectory() as folder:
        run = pl.Run.create(experiment, split, Path(folder))
        for _ in train(run, dataset, device=device):
            pass
        accuracy = run.history()[-1]["val_accuracy"]
    return {"seed": seed, "chosen": chosen, "epochs": recipe.epochs, "val_accuracy": accuracy}


def effects(results: list[dict[str, Any]], factors: dict[str, tuple[str, ...]]) -> list[tuple[str, str, float, int]]:
    """Points of accuracy of each value against the first of its factor, and in how many trainings it was."""
    values = [(name, value) for name, others in factors.items() for value in others[1:]]
    design = np.array([[1.0] + [float(r["chosen"][name] == value) for name, value in values] for r in results])
    ridge = 0.5 * np.eye(design.shape[1])
    ridge[0, 0] = 0
    accuracy = 100 * np.array([result["val_accuracy"] for result in results])
    found = np.linalg.solve(design.T @ design + ridge, design.T @ accuracy)[1:]
    return [
        (*value, float(points), int(n)) for value, points, n in zip(values, found, design[:, 1:].sum(0), strict=True)
    ]


def main() -> None:
    """Trains and prints one line for each training, then the effects."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--round", type=int, choices=sorted(ROUNDS), default=1)
    parser.add_argument("--trials", type=int, default=45)
    parser.add_argument("--tflop", type=float, default=300.0, help="the cost of each training (%(default)s)")
    parser.add_argument("--jobs", type=int, default=1, help="trainings at a time (%(default)s)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    args = parser.parse_args()
    factors, drawn = ROUNDS[args.round], random.Random(args.round)
    jobs = [
        (seed, {name: drawn.choice(values) for name, values in factors.items()}, args.tflop, args.device)
        for seed in range(args.trials)
    ]
    pl.load("fashion_mnist")  # decoded once, before all look for it
    results = []
    with multiprocessing.get_context("spawn").Pool(args.jobs) as pool:
        for result in pool.imap_unordered(trained, jobs):
            results.append(result)
            print(json.dumps(result), flush=True)
    for name, value, points, n in effects(results, factors):
        print(f"{name:10} {value or 'none':58} {points:+.2f} points, {n} trainings")


if __name__ == "__main__":
    main()
