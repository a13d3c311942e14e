"""`--start` in commands that train: which run it is and whether its weights fit, before any data is read."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pocketlens.recipe import Recipe, n_views, parse_optimizer

if TYPE_CHECKING:
    from pocketlens.run import Run


def open_run(name: str, runs: Path) -> Run:
    """The run, before anything slow is done."""
    from pocketlens.run import Run

    return Run.open(name, runs)


def with_model_of_start(changes: dict[str, Any], args: argparse.Namespace) -> dict[str, Any]:
    """The changes of the recipe; where neither a recipe nor a model is given, the model is that of `--start`."""
    start = changes.get("start")
    if start is None or args.recipe is not None or "model" in changes:
        return changes
    return {"model": open_run(start, args.runs).experiment.recipe.model, **changes}


def check_start(recipe: Recipe, runs: Path, channels: int | None = None) -> None:
    """Refuses a start of which nothing fits; the channels of the images are told once data has been read."""
    if recipe.start is None:
        return
    from pocketlens.start import check_source

    source = open_run(recipe.start, runs)
    check_source(source.checkpoint(), source.id, recipe, channels)


def extra_lines(recipe: Recipe) -> list[str]:
    """What of a recipe makes steps dearer, rows uneven or layers stand still, in words."""
    lines = []
    passes = n_views(recipe.loss) * (1 + ("sam" in [part.name for part in parse_optimizer(recipe.optimizer)[1]]))
    if passes > 1:
        lines.append(f"{recipe.loss} with {recipe.optimizer}: a step costs {passes} times a plain one")
    if recipe.class_weight == "balanced":
        lines.append("class weights balanced: rare classes count more in the loss")
    if recipe.sampling == "balanced":
        lines.append("sampling balanced: an epoch draws as many images of every class, rare ones again and again")
    if recipe.start is not None:
        scale = f", body at {recipe.body_lr_scale:g} times lr" if recipe.body_lr_scale != 1 else ""
        lines.append(f"start {recipe.start}, head {recipe.head}, freeze {recipe.freeze}{scale}")
    elif recipe.freeze != "none" and "weights=" not in recipe.model and "pretrained=" not in recipe.model:
        lines.append(f"freeze {recipe.freeze} without --start: the frozen layers keep their random weights")
    return lines
