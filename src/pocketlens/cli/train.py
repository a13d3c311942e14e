"""`pocketlens train DATASET` trains a recipe on the training rows and judges it on the validation rows alone."""

from __future__ import annotations

import argparse
import dataclasses
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pocketlens.cli.follow import Followed, best_lines, duration, follow
from pocketlens.cli.options import (
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
from pocketlens.cli.relabel import add_relabel, check_relabel, correct_labels
from pocketlens.cli.screen import Screen
from pocketlens.cli.warm_start import check_start, start_lines, with_model_of_start
from pocketlens.errors import PocketlensError
from pocketlens.files import read_json
from pocketlens.recipe import SMALL, Experiment, Recipe, looks_back, n_views, parse_optimizer, read_recipe
from pocketlens.sources.names import printable

if TYPE_CHECKING:
    from pocketlens.dataset import Dataset
    from pocketlens.relabel import Corrections
    from pocketlens.run import Run
    from pocketlens.split import Split

_EXAMPLES = [
    "pocketlens train cifar100 --epochs 4.5 --repeat 3",
    "pocketlens train \"cifar100(labels='coarse')\" --start last --head new --freeze body",
    'pocketlens train my_images/ --augment "flip | crop(pad=2) | cutout" --keep best --patience 18',
]


def add(commands: Any) -> None:
    """Adds the command."""
    parser = add_command(commands, "train", "train a recipe and judge it on validation rows", _EXAMPLES, train_command)
    add_dataset(parser)
    add_runs(parser)
    add_machine(parser)
    parser.add_argument(
        "--seed", type=seed, default=0, metavar="N", help="seed of order, draws and weights (%(default)s)"
    )
    parser.add_argument("--repeat", type=count, default=1, metavar="N", help="train with N seeds from --seed on (1)")
    parser.add_argument(
        "--val-fraction", type=fraction, default=0.1, metavar="F", help="rows for validation (%(default)s)"
    )
    parser.add_argument("--split-seed", type=seed, default=0, metavar="N", help="which rows those are (%(default)s)")
    parser.add_argument(
        "--minutes", type=positive, metavar="M", help="time limit; becomes a number of steps at the start"
    )
    parser.add_argument("--label", default="", metavar="TEXT", help="a name for the run, instead of its id")
    add_relabel(parser)
    parser.add_argument("--save-every", type=count, metavar="N", help="a checkpoint every N steps, too")
    add_recipe(parser)


def train_command(args: argparse.Namespace) -> int:
    """Runs the command."""
    screen = Screen(args.json)
    check_dataset(args.dataset)
    check_folders(args)
    check_relabel(args)
    changes = with_model_of_start(recipe_changes(args), args)
    given = None if args.recipe is None else read_recipe(args.recipe)
    checked = check_recipe(given or Recipe(), changes, "the recipe")
    chooses = checked.keep == "best" or checked.patience is not None or looks_back(checked.schedule)
    if args.val_fraction == 0 and chooses:
        raise PocketlensError(
            "keep=best, patience and schedule=plateau need validation rows; --val-fraction must be above 0 with them."
        )
    if checked.start is not None:
        open_run(checked.start, args.runs)
    device = prepare_machine(args, checked)
    check_start(checked, args.runs)
    dataset, split = load_and_split(args, screen)
    dataset, corrections = correct_labels(dataset, args, screen)
    base, source = (given, args.recipe) if given else recipe_for(len(split.train))
    recipe = check_recipe(base, changes, "the recipe")
    check_start(recipe, args.runs, dataset.shape[2])
    say_recipe(recipe, source, dataset, screen)
    for line in start_lines(recipe):
        screen.fact("", line)
    experiment = Experiment(
        data=dataset.text,
        recipe=recipe,
        val_fraction=args.val_fraction,
        split_seed=args.split_seed,
        data_fingerprint=dataset.fingerprint,
        label=args.label,
        made_by="train",
    )
    if corrections is not None:
        experiment = dataclasses.replace(experiment, relabel_hash=corrections.hash, n_relabelled=corrections.n)
    return _train_seeds(experiment, (dataset, split, corrections), args, device, screen)


def recipe_for(n_rows: int) -> tuple[Recipe, str]:
    """The recipe where none is given, and where it comes from."""
    name = "default" if n_rows >= SMALL else "small"
    return read_recipe(name), f"{name}, as there are {'at least' if name == 'default' else 'fewer than'} {SMALL:,} rows"


def open_run(name: str, runs: Path) -> Run:
    """The run, before anything slow is done."""
    from pocketlens.run import Run

    return Run.open(name, runs)


def prepare_machine(args: argparse.Namespace, recipe: Recipe | None = None) -> str:
    """Loads torch, sets its threads, tries the options of the recipe's components, and gives the device by its name."""
    # A waiting OpenMP thread spins for milliseconds by default, which on a shared machine made steps 20 times slower.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    import torch

    from pocketlens.trial import try_options

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
    from pocketlens.datasets import load
    from pocketlens.split import make_split

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


def say_recipe(recipe: Recipe, source: str, dataset: Dataset, screen: Screen) -> None:
    """Says what will be trained, once each of its components has worked on blank images."""
    from pocketlens.trial import try_recipe

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


def train_and_show(run: Run, dataset: Dataset, args: argparse.Namespace, device: str, screen: Screen) -> Followed:
    """Starts or continues a run, shows it, and says how it ended."""
    from pocketlens.train import train

    screen.fact("run", f"{run.id} in {run.path.parent}, on {device}")
    followed = follow(train(run, dataset, device=device, save_every=args.save_every), screen)
    for line in best_lines(run.history()):
        screen.say(line)
    if followed.signal is not None:
        screen.say(f"stopped after step {followed.step:,}; go on with: pocketlens resume {run.id}{runs_option(run)}")
    return followed


def result_of(run: Run, followed: Followed) -> dict[str, Any]:
    """What `--json` gives for a run."""
    status, reason = run.status()
    scores = run.file("scores-val.json")
    return {
        "id": run.id,
        "path": str(run.path),
        "status": status,
        "reason": reason,
        "seed": run.experiment.seed,
        "recipe": run.experiment.recipe.id,
        "step": followed.step,
        "val": _main_numbers(read_json(scores)) if scores.exists() else None,
    }


def say_result(run: Run, screen: Screen) -> None:
    """Says the validation scores, where the run lies, and what to type next."""
    path = run.file("scores-val.json")
    if path.exists():
        from pocketlens.scores import Scores

        for line in Scores.from_dict(read_json(path), str(path)).lines():
            screen.say(line)
    seconds = sum(float(line["seconds"]) for line in run.timing())
    screen.say(f"trained in {duration(seconds)}; the run lies in {run.path}")
    screen.say(f"next: pocketlens test {run.id}{runs_option(run)}")


def _train_seeds(
    experiment: Experiment,
    parts: tuple[Dataset, Split, Corrections | None],
    args: argparse.Namespace,
    device: str,
    screen: Screen,
) -> int:
    from pocketlens.run import Run, with_source

    dataset, split, corrections = parts
    text = None if corrections is None else corrections.text
    experiment = with_source(experiment, args.runs)
    if args.minutes is not None:
        experiment = _within(experiment, (dataset, split), args.minutes / args.repeat, device, screen)
    results: list[dict[str, Any]] = []
    n_failed = 0
    for number in range(args.seed, args.seed + args.repeat):
        run = Run.create(dataclasses.replace(experiment, seed=number), split, args.runs, corrections=text)
        try:
            followed = train_and_show(run, dataset, args, device, screen)
        except PocketlensError as error:
            status = run.status()[0]
            if status == "new":
                shutil.rmtree(run.path)  # nothing was trained, so nothing is left behind
            if status not in ("diverged", "failed"):
                raise
            print(f"pocketlens: {printable(str(error))}", file=sys.stderr)
            n_failed += 1
            results.append(result_of(run, Followed(None, len(run.history()), None)))
            continue
        results.append(result_of(run, followed))
        if followed.exit_code:
            screen.finish({"runs": results, "next": f"pocketlens resume {run.id}"})
            return followed.exit_code
        say_result(run, screen)
    if args.repeat > 1:
        _say_repeats(results, screen)
    screen.finish({"runs": results, "next": f"pocketlens test {results[-1]['id']}"})
    return 0 if not n_failed else 3 if n_failed == args.repeat else 4


def _within(
    experiment: Experiment, parts: tuple[Dataset, Split], minutes: float, device: str, screen: Screen
) -> Experiment:
    from pocketlens.budget import plan_steps

    budget = plan_steps(experiment, *parts, minutes=minutes, device=device)
    screen.fact("time", f"{minutes:g} minutes: {budget}")
    return dataclasses.replace(experiment, n_steps=budget.n_steps, minutes=minutes)


def _say_repeats(results: list[dict[str, Any]], screen: Screen) -> None:
    import statistics

    values = [result["val"]["top1"]["value"] for result in results if result["val"]]
    if not values:
        screen.say("there are no validation rows, so there is nothing to compare")
        return
    spread = f" ± {100 * statistics.stdev(values):.2f}" if len(values) > 1 else ""
    shown = ", ".join(f"{100 * value:.2f}" for value in values)
    screen.say(
        f"validation accuracy over {len(values)} seeds: {100 * statistics.fmean(values):.2f}{spread} % ({shown})"
    )


def _main_numbers(scores: dict[str, Any]) -> dict[str, Any]:
    return {name: scores[name] for name in ("n", "top1", "top5", "nll", "coarse")}


def runs_option(run: Run) -> str:
    folder = run.path.parent
    return "" if folder == Path("pocketlens-runs") else f" --runs {folder}"
