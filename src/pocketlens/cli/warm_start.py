"""`--start` in commands that train: which model that means and whether the weights fit, before any data is read."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from pocketlens.recipe import Recipe


def with_model_of_start(changes: dict[str, Any], args: argparse.Namespace) -> dict[str, Any]:
    """The changes of the recipe; where neither a recipe nor a model is given, the model is that of `--start`."""
    from pocketlens.training.run import Run

    start = changes.get("start")
    if start is None or args.recipe is not None or "model" in changes:
        return changes
    return {"model": Run.open(start, args.runs).experiment.recipe.model, **changes}


def check_start(recipe: Recipe, runs: Path, channels: int | None = None) -> None:
    """Refuses a start of which nothing fits; the channels of the images are told once data has been read."""
    if recipe.start is None:
        return
    from pocketlens.training.run import Run
    from pocketlens.training.warm_start import check_source

    source = Run.open(recipe.start, runs)
    check_source(source.checkpoint(), source.id, recipe, channels)


def start_lines(recipe: Recipe) -> list[str]:
    """Where a training starts and what stands still in it, in words."""
    if recipe.start is not None:
        scale = f", body at {recipe.body_lr_scale:g} times lr" if recipe.body_lr_scale != 1 else ""
        return [f"start {recipe.start}, head {recipe.head}, freeze {recipe.freeze}{scale}"]
    if recipe.freeze != "none" and "weights=" not in recipe.model and "pretrained=" not in recipe.model:
        return [f"freeze {recipe.freeze} without --start: the frozen layers keep their random weights"]
    return []
