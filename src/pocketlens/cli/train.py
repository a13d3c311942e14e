"""`pocketlens train DATASET` trains a recipe on the training rows and judges it on the validation rows alone."""

from __future__ import annotations

import argparse
import dataclasses
import os
import shutil
import sys
from typing import TYPE_CHECKING, Any

from pocketlens.cli.relabel import add_relabel, check_relabel, correct_labels
from pocketlens.cli.terminal.options import (
    add_command,
    add_dataset,
    add_machine,
    add_recipe,
    add_rows,
    add_runs,
    add_track,
    check_dataset,
    check_folders,
    check_recipe,
    count,
    fraction,
    positive,
    recipe_changes,
    seed,
)
from pocketlens.cli.terminal.progress import Followed, best_lines, follow
from pocketlens.cli.terminal.resources import add_cluster, check_running, running, this_machine, tracker_of
from pocketlens.cli.terminal.screen import Screen
from pocketlens.cli.terminal.setup import (
    fewer,
    load_and_split,
    open_run,
    prepare_machine,
    recipe_for,
    runs_option,
    say_recipe,
    shared_run,
)
from pocketlens.cli.train_on_cluster import check_alone, train_on_cluster
from pocketlens.cli.warm_start import check_start, start_lines, with_model_of_start
from pocketlens.errors import PocketlensError
from pocketlens.files import read_json
from pocketlens.recipe import Experiment, Recipe, looks_back, read_recipe
from pocketlens.text import clock, printable
from pocketlens.training.ranks import Ranks, asked_ranks, joined

if TYPE_CHECKING:
    from pocketlens.data.dataset import Dataset
    from pocketlens.data.relabel import Corrections
    from pocketlens.data.split import Split
    from pocketlens.training.run import Run

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
    add_rows(parser)
    parser.add_argument(
        "--minutes", type=positive, metavar="M", help="time limit; becomes a number of steps at the start"
    )
    parser.add_argument("--label", default="", metavar="TEXT", help="a name for the run, instead of its id")
    add_cluster(parser)
    add_track(parser)
    add_relabel(parser)
    parser.add_argument("--save-every", type=count, metavar="N", help="a checkpoint every N steps, too")
    add_recipe(parser)


def train_command(args: argparse.Namespace) -> int:
    """Runs the command."""
    ranks = asked_ranks(os.environ)
    screen = Screen(args.json, is_mute=not ranks.is_first)
    check_dataset(args.dataset)
    check_folders(args)
    check_relabel(args)
    check_running(args)
    if args.cluster is not None:
        check_alone(args)
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
    device = prepare_machine(args if args.cluster is None else this_machine(args), checked)
    check_start(checked, args.runs)
    with joined(ranks, device) as device:
        return _load_and_train(args, given, changes, (device, ranks), screen)


def _load_and_train(
    args: argparse.Namespace,
    given: Recipe | None,
    changes: dict[str, Any],
    machine: tuple[str, Ranks],
    screen: Screen,
) -> int:
    """What `train` does once its words have been checked."""
    dataset, split = load_and_split(args, screen)
    split = fewer(split, dataset, args, screen)
    dataset, corrections = correct_labels(dataset, args, screen)
    base, source = (given, args.recipe) if given else recipe_for(dataset, split)
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
        rows=args.rows,
    )
    if corrections is not None:
        experiment = dataclasses.replace(experiment, relabel_hash=corrections.hash, n_relabelled=corrections.n)
    if args.cluster is not None:
        return _train_elsewhere(experiment, (split, corrections), args, screen)
    return _train_seeds(experiment, (dataset, split, corrections), args, machine, screen)


def train_and_show(
    run: Run, dataset: Dataset, args: argparse.Namespace, machine: tuple[str, Ranks], screen: Screen
) -> Followed:
    """Starts or continues a run, shows it, and says how it ended."""
    from pocketlens.events import Note
    from pocketlens.training.tracking import tracked
    from pocketlens.training.train import train

    device, ranks = machine
    by = f" in {ranks.n} processes" if ranks.n > 1 else ""
    screen.fact("run", f"{run.id} in {run.path.parent}, on {device}{by}")
    events = train(run, dataset, device=device, save_every=args.save_every, ranks=ranks)
    tracker = tracker_of(args) if ranks.is_first else None
    followed = follow(events if tracker is None else tracked(events, run, tracker, Note), screen, ranks)
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
        from pocketlens.scoring.scores import Scores

        for line in Scores.from_dict(read_json(path), str(path)).lines():
            screen.say(line)
    seconds = sum(float(line["seconds"]) for line in run.timing())
    screen.say(f"trained in {clock(seconds)}; the run lies in {run.path}")
    screen.say(f"next: pocketlens test {run.id}{runs_option(run)}")


def _train_seeds(
    experiment: Experiment,
    parts: tuple[Dataset, Split, Corrections | None],
    args: argparse.Namespace,
    machine: tuple[str, Ranks],
    screen: Screen,
) -> int:
    from pocketlens.training.warm_start import with_source

    dataset, split, corrections = parts
    ranks = machine[1]
    text = None if corrections is None else corrections.text
    experiment = with_source(experiment, args.runs)
    if args.minutes is not None:
        experiment = _within(experiment, (dataset, split), args.minutes / args.repeat, machine, screen)
    results: list[dict[str, Any]] = []
    n_failed = 0
    for number in range(args.seed, args.seed + args.repeat):
        run = shared_run(dataclasses.replace(experiment, seed=number), split, args.runs, text, ranks)
        try:
            followed = train_and_show(run, dataset, args, machine, screen)
        except PocketlensError as error:
            status = run.status()[0]
            if status == "new" and ranks.is_first:
                shutil.rmtree(run.path)  # nothing was trained, so nothing is left behind
            if status not in ("diverged", "failed") or ranks.n > 1:
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
    over_seeds = _say_repeats(results, screen) if args.repeat > 1 else None
    screen.finish({"runs": results, "over_seeds": over_seeds, "next": f"pocketlens test {results[-1]['id']}"})
    return 0 if not n_failed else 3 if n_failed == args.repeat else 4


def _train_elsewhere(
    experiment: Experiment, parts: tuple[Split, Corrections | None], args: argparse.Namespace, screen: Screen
) -> int:
    from pocketlens.training.run import Run
    from pocketlens.training.warm_start import with_source

    text = None if parts[1] is None else parts[1].text
    experiment = with_source(experiment, args.runs)
    with running(args, screen) as means:
        runs = [
            Run.create(dataclasses.replace(experiment, seed=number), parts[0], args.runs, corrections=text)
            for number in range(args.seed, args.seed + args.repeat)
        ]
        signal = train_on_cluster(runs, means, screen)
    results = [result_of(run, Followed(None, len(run.history()), signal)) for run in runs]
    complete = [result for result in results if result["status"] == "complete"]
    over_seeds = _say_repeats(complete, screen) if len(complete) > 1 else None
    if complete:
        screen.say(f"next: pocketlens test {complete[-1]['id']}{runs_option(runs[-1])}")
    screen.finish({"runs": results, "over_seeds": over_seeds})
    if signal is not None:
        return 128 + signal
    return 0 if len(complete) == len(runs) else 4 if complete else 3


def _within(
    experiment: Experiment, parts: tuple[Dataset, Split], minutes: float, machine: tuple[str, Ranks], screen: Screen
) -> Experiment:
    from pocketlens.training.budget import plan_steps

    budget = plan_steps(experiment, *parts, minutes=minutes, device=machine[0], ranks=machine[1])
    screen.fact("time", f"{minutes:g} minutes: {budget}")
    return dataclasses.replace(experiment, n_steps=budget.n_steps, minutes=minutes)


def _say_repeats(results: list[dict[str, Any]], screen: Screen) -> dict[str, Any] | None:
    """Says mean, deviation and interval over the seeds, and gives them for `--json`."""
    import numpy as np

    from pocketlens.scoring.significance import mean_interval

    values = [result["val"]["top1"]["value"] for result in results if result["val"]]
    if not values:
        screen.say("there are no validation rows, so there is nothing to compare")
        return None
    mean, sd, low, high = mean_interval(np.array(values))
    spread = "" if sd is None else f" ± {100 * sd:.2f}"
    interval = "" if low is None or high is None else f", 95 % interval {100 * low:.2f} to {100 * min(high, 1.0):.2f}"
    shown = ", ".join(f"{100 * value:.2f}" for value in values)
    screen.say(f"validation accuracy over {len(values)} seeds: {100 * mean:.2f}{spread} %{interval} ({shown})")
    return {"n": len(values), "mean": mean, "sd": sd, "low": low, "high": high}


def _main_numbers(scores: dict[str, Any]) -> dict[str, Any]:
    return {name: scores[name] for name in ("n", "top1", "top5", "nll", "coarse")}
