"""`pocketlens train DATASET` trains a recipe on the training rows and judges it on the validation rows alone."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from pocketlens.api.requests import TrainRequest
from pocketlens.api.runs import command
from pocketlens.api.train import training
from pocketlens.cli.terminal.opened import add_open, browser_of
from pocketlens.cli.terminal.options import (
    add_code,
    add_dataset,
    add_machine,
    add_recipe,
    add_rows,
    add_runs,
    add_save_every,
    add_split,
    add_track,
    count,
    data_of,
    machine_of,
    positive,
    recipe_of,
    seed,
)
from pocketlens.cli.terminal.parser import add_command
from pocketlens.cli.terminal.study_options import add_cluster
from pocketlens.display.progress import follow
from pocketlens.display.screen import Screen
from pocketlens.training.ranks import asked_ranks

_EXAMPLES = [
    "pocketlens train cifar100 --epochs 4.5 --repeat 3",
    "pocketlens train my_photos/ --recipe finetune --minutes 5",
    'pocketlens train my_photos/ --augment "flip | crop(pad=2) | cutout" --keep best --patience 18',
]


def add(commands: Any) -> None:
    """Adds the command."""
    parser = add_command(commands, "train", _EXAMPLES, train_command)
    add_dataset(parser)
    add_runs(parser)
    add_code(parser)
    add_machine(parser)
    parser.add_argument(
        "--seed",
        type=seed,
        default=0,
        metavar="N",
        help="random seed of initial weights, data order and augmentation (default: %(default)s)",
    )
    parser.add_argument(
        "--repeat",
        type=count,
        default=1,
        metavar="N",
        help="number of runs to train, with the seeds --seed, --seed + 1, ... (default: %(default)s)",
    )
    add_split(parser)
    add_rows(parser)
    parser.add_argument(
        "--minutes",
        type=positive,
        metavar="M",
        help="time limit for all runs together, in minutes; the number of training steps is reduced to fit it "
        "(default: no limit)",
    )
    parser.add_argument("--label", default="", metavar="TEXT", help="a name for the run, to use in place of its id")
    add_open(parser, follows=True)
    add_cluster(parser)
    add_track(parser)
    relabel = "train on corrected labels, without dropped images: the labels.csv of pocketlens review (or look, edited)"
    parser.section("data").add_argument("--relabel", type=Path, metavar="FILE", help=relabel)
    add_save_every(parser)
    add_recipe(parser)


def train_command(args: argparse.Namespace) -> int:
    """Runs the command."""
    ranks = asked_ranks(os.environ)
    screen = Screen(args.json, is_mute=not ranks.is_first)
    request = TrainRequest(
        data=data_of(args),
        recipe=recipe_of(args),
        machine=machine_of(args),
        seed=args.seed,
        repeat=args.repeat,
        minutes=args.minutes,
        label=args.label,
        save_every=args.save_every,
        track=args.track,
        cluster=args.cluster,
        runs=args.runs,
    )
    with browser_of(args, screen) as browser:
        browser.follow()
        followed = follow(training(request), screen, ranks)
        result = followed.result
        if result is None or not result.runs:
            return followed.exit_code
        following = command("resume", result.last.run) if followed.signal is not None else result.last.next
        screen.finish({**result.to_dict(), "next": following})
        if followed.signal is None:
            browser.stay()
    n_failed = len(result.runs) - len(result.complete)
    lacks_scores = any(each.run.lacks_scores for each in result.runs)
    return followed.exit_code or (3 if n_failed == len(result.runs) else 4 if n_failed or lacks_scores else 0)
