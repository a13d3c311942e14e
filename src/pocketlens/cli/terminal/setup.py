"""What commands do before they compute: find the run, load torch, load and split the data, say what will be trained."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from pocketlens.cli.terminal.screen import Screen
from pocketlens.errors import PocketlensError
from pocketlens.recipe import SMALL, Recipe, n_views, parse_optimizer, usual_recipe

if TYPE_CHECKING:
    from pocketlens.data.dataset import Dataset
    from pocketlens.data.split import Split
    from pocketlens.recipe import Experiment
    from pocketlens.training.ranks import Ranks
    from pocketlens.training.run import Run


def recipe_for(dataset: Dataset, split: Split) -> tuple[Recipe, str]:
    """The recipe where none is given, and where it comes from."""
    name, recipe = usual_recipe(len(split.train), dataset.shape[2])
    grey = " of grey images" if name == "grey" else ""
    few = f"{'fewer than' if name == 'small' else 'at least'} {SMALL:,} rows"
    return recipe, f"{name}, as there are {few}{grey}"


def open_run(name: str, runs: Path) -> Run:
    """The run, before anything slow is done."""
    from pocketlens.training.run import Run

    return Run.open(name, runs)


def prepare_machine(args: argparse.Namespace, recipe: Recipe | None = None) -> str:
    """Loads torch, sets its threads, tries the options of the recipe's components, and gives the device by its name."""
    # A waiting OpenMP thread spins for milliseconds by default, which on a shared machine made steps 20 times slower.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    import torch

    from pocketlens.training.dry_run import try_options

    if args.threads is not None:
        torch.set_num_threads(args.threads)
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    device: str = args.device
    if device == "auto":
        device = next(name for name in ("cuda", "mps", "cpu") if there[name])
    if not there[device]:
        usable = ", ".join(name for name, is_there in there.items() if is_there)
        raise PocketlensError(f"--device must be one that this machine has ({usable}), got {device}.")
    if recipe is not None:
        try_options(recipe)
    return device


def load_and_split(args: argparse.Namespace, screen: Screen) -> tuple[Dataset, Split]:
    """Loads the data, splits it, and says what it is."""
    from pocketlens.data.split import make_split
    from pocketlens.datasets import load

    dataset, sealed = load(args.dataset, args.data)
    split = make_split(dataset, val_fraction=args.val_fraction, seed=args.split_seed)
    height, width, channels = dataset.shape
    screen.fact(
        "data",
        f"{dataset.text}: {len(dataset):,} images of {height} x {width} x {channels}, {len(dataset.classes)} classes; "
        f"{len(sealed):,} test images stay sealed",
    )
    for note in (*dataset.notes, *split.notes):
        screen.fact("", note)
    screen.fact("split", f"{len(split.train):,} train, {len(split.val):,} validation")
    return dataset, split


def fewer(split: Split, dataset: Dataset, args: argparse.Namespace, screen: Screen) -> Split:
    """The split with `--rows` of its training rows."""
    from pocketlens.data.split import fewer_rows

    kept = fewer_rows(split, dataset, args.rows)
    if kept is not split:
        screen.fact("rows", f"{len(kept.train):,} of the {len(split.train):,} training rows")
    return kept


def say_recipe(recipe: Recipe, source: str, dataset: Dataset, screen: Screen) -> None:
    """Says what will be trained, once each of its components has worked on blank images."""
    from pocketlens.training.dry_run import try_recipe

    n = try_recipe(recipe, dataset.shape, len(dataset.classes))
    screen.fact("recipe", f"{recipe.id} ({source}): {recipe.model} with {n:,} parameters")
    screen.fact(
        "", f"{recipe.epochs:g} epochs in batches of {recipe.batch_size:,}, {recipe.optimizer}, lr {recipe.lr:g}"
    )
    screen.fact("", f"augment {recipe.augment}, sizes {recipe.sizes}")
    for line in _extra_lines(recipe):
        screen.fact("", line)


def _extra_lines(recipe: Recipe) -> list[str]:
    """What makes steps dearer or rows uneven, in words."""
    lines = []
    passes = n_views(recipe.loss) * (1 + ("sam" in [part.name for part in parse_optimizer(recipe.optimizer)[1]]))
    if passes > 1:
        lines.append(f"{recipe.loss} with {recipe.optimizer}: a step costs {passes} times a plain one")
    if recipe.class_weight == "balanced":
        lines.append("class weights balanced: rare classes count more in the loss")
    if recipe.sampling == "balanced":
        lines.append("sampling balanced: an epoch draws as many images of every class, rare ones again and again")
    return lines


def shared_run(experiment: Experiment, split: Split, runs: Path, corrections: str | None, ranks: Ranks) -> Run:
    """A new run, which the first rank makes and the others watch."""
    from pocketlens.training.run import Run, WatchedRun

    if ranks.is_first:
        run = Run.create(experiment, split, runs, corrections=corrections)
        ranks.from_first(run.path.resolve())
        return run
    return WatchedRun(ranks.from_first(runs))


def runs_option(run: Run) -> str:
    folder = run.path.parent
    return "" if folder == Path("pocketlens-runs") else f" --runs {folder}"
