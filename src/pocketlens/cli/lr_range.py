"""`pocketlens lr-range DATASET` shows the training loss at rising learning rates and suggests one. Makes no run."""

from __future__ import annotations

import argparse
import csv
import io
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pocketlens.cli.terminal.options import (
    add_command,
    add_dataset,
    add_machine,
    add_recipe,
    add_runs,
    check_dataset,
    check_folders,
    check_recipe,
    count,
    fraction,
    positive,
    recipe_changes,
    seed,
)
from pocketlens.cli.terminal.screen import Screen
from pocketlens.cli.terminal.setup import load_and_split, prepare_machine, recipe_for, say_recipe
from pocketlens.cli.work import follow_work
from pocketlens.components import Component, option
from pocketlens.errors import PocketlensError
from pocketlens.files import write_bytes, write_json, write_text
from pocketlens.recipe import Experiment, Recipe, parse_optimizer, read_recipe

if TYPE_CHECKING:
    from pocketlens.training.lr_range import LrRange

_EXAMPLES = [
    "pocketlens lr-range digits",
    "pocketlens lr-range cifar100 --steps 60 --low 0.001 --high 3",
    'pocketlens lr-range my_images/ --model "resnet(depth=20)" --optimizer sgd --schedule onecycle',
]


def add(commands: Any) -> None:
    """Adds the command."""
    about = "find a learning rate: the training loss while the rate rises, until it diverges"
    parser = add_command(commands, "lr-range", about, _EXAMPLES, lr_range_command)
    add_dataset(parser)
    parser.add_argument("--low", type=positive, default=1e-4, metavar="LR", help="the first rate (%(default)s)")
    parser.add_argument("--high", type=positive, default=10.0, metavar="LR", help="the last rate (%(default)s)")
    parser.add_argument("--steps", type=count, default=100, metavar="N", help="steps from low to high (%(default)s)")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="where the files go (a folder of its own below the folder of runs)"
    )
    parser.add_argument("--seed", type=seed, default=0, metavar="N", help="seed of order, draws and weights (0)")
    parser.add_argument(
        "--val-fraction", type=fraction, default=0.1, metavar="F", help="rows that stay out of it (%(default)s)"
    )
    parser.add_argument("--split-seed", type=seed, default=0, metavar="N", help="which rows those are (%(default)s)")
    add_runs(parser)
    add_machine(parser)
    add_recipe(parser)


def lr_range_command(args: argparse.Namespace) -> int:
    """Runs the command."""
    screen = Screen(args.json)
    check_dataset(args.dataset)
    check_folders(args)
    if args.low >= args.high:
        raise PocketlensError(f"--high must be above --low, got {args.high:g} and {args.low:g}.")
    if args.steps < 10:
        raise PocketlensError(f"--steps must be 10 or more, got {args.steps}.")
    changes = recipe_changes(args)
    given = None if args.recipe is None else read_recipe(args.recipe)
    device = prepare_machine(args, check_recipe(given or Recipe(), changes, "the recipe"))
    dataset, split = load_and_split(args, screen)
    base, source = (given, args.recipe) if given else recipe_for(dataset, split)
    recipe = check_recipe(base, changes, "the recipe")
    say_recipe(recipe, source, dataset, screen)
    from pocketlens.training.lr_range import lr_range

    experiment = Experiment(dataset.text, recipe, args.seed, data_fingerprint=dataset.fingerprint)
    work = lr_range(experiment, dataset, split, limits=(args.low, args.high), n_steps=args.steps, device=device)
    result = follow_work(work, screen)
    folder = args.out or args.runs / f"lr-range-{dataset.fingerprint[:8]}-{recipe.id}-{args.seed}"
    files = _write(folder, result)
    following = _next_command(args, recipe, result)
    for line in _lines(recipe, result):
        screen.fact(*line)
    screen.say(f"files: {', '.join(path.name for path in files)} in {folder}")
    screen.say(f"next: {following}")
    screen.finish({**result.to_dict(), "files": [str(path) for path in files], "next": following})
    return 0


def _write(folder: Path, result: LrRange) -> list[Path]:
    from pocketlens.report.run.lr_range_plot import draw_lr_range

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PocketlensError(f"--out must be a folder that can be written, {folder}: {error.strerror}.") from None
    svg, png = draw_lr_range(result)
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["step", "lr", "loss", "running_mean"])
    writer.writerows(
        (n, *row) for n, row in enumerate(zip(result.lr, result.loss, result.smooth, strict=True), start=1)
    )
    files = [folder / f"lr-range.{kind}" for kind in ("json", "csv", "svg", "png")]
    write_json(files[0], result.to_dict())
    write_text(files[1], table.getvalue())
    write_bytes(files[2], svg)
    write_bytes(files[3], png)
    return files


def _lines(recipe: Recipe, result: LrRange) -> list[tuple[str, str]]:
    at = result.diverged
    end = "it did not diverge; try a larger --high" if at is None else f"it diverged at {at:.3g}"
    rates = f"rates {result.lr[0]:.3g} to {result.lr[-1]:.3g}"
    lines = [
        ("measured", f"{len(result.lr)} steps at {result.size} px, {rates}: {end}"),
        ("lowest", f"the running mean of the loss was lowest, {min(result.smooth):.4f}, at {result.lowest:.3g}"),
    ]
    if result.suggested is None:
        why = f"nothing: the loss fell by {result.fell:.1%} only, so where it was lowest is chance; take more --steps"
        return [*lines, ("suggest", why)]
    lines.append(("suggest", f"lr {result.suggested:g}, a third of that; the recipe has {recipe.lr:g}"))
    rest = _rest_lr(recipe, result.suggested)
    return lines if rest is None else [*lines, ("", f"rest_lr rose with it: {rest:g} goes with {result.suggested:g}")]


def _rest_lr(recipe: Recipe, lr: float) -> float | None:
    """The rate that stands beside `lr` in some optimizers, as far from the recipe's as `lr` is."""
    rest = option(parse_optimizer(recipe.optimizer)[0], "optimizers", "rest_lr")
    return None if rest is None else float(f"{rest * lr / recipe.lr:.2g}")


def _next_command(args: argparse.Namespace, recipe: Recipe, result: LrRange) -> str:
    """The training at the suggested rate, with all that was typed here; or another test where there is none."""
    changes, command = recipe_changes(args), ["pocketlens", "train", args.dataset]
    if result.suggested is None:
        command = ["pocketlens", "lr-range", args.dataset, "--steps", str(3 * args.steps)]
        command += ["--low", f"{args.low:g}", "--high", f"{args.high:g}"]
    else:
        base, others = parse_optimizer(recipe.optimizer)
        rest = _rest_lr(recipe, result.suggested)
        changes["lr"] = f"{result.suggested:g}"
        if rest is not None:
            named = Component(base.name, tuple({**dict(base.options), "rest_lr": rest}.items()))
            changes["optimizer"] = " | ".join(map(str, (named, *others)))
    command += ["--recipe", args.recipe] if args.recipe else []
    for key, value in changes.items():
        command += [f"--{key.replace('_', '-')}", "none" if value is None else str(value)]
    return shlex.join(command)
