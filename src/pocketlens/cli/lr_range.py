"""`pocketlens lr-range DATASET` shows the training loss at rising learning rates and suggests one. Makes no run."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from pocketlens.api.lr_range import LrRangeRequest, measuring
from pocketlens.cli.terminal.options import (
    add_code,
    add_dataset,
    add_machine,
    add_recipe,
    add_runs,
    add_split,
    count,
    data_of,
    machine_of,
    positive,
    recipe_of,
    seed,
)
from pocketlens.cli.terminal.parser import add_command
from pocketlens.display.progress import follow
from pocketlens.display.screen import Screen
from pocketlens.recipe import Recipe

_EXAMPLES = [
    "pocketlens lr-range digits",
    "pocketlens lr-range cifar100 --steps 60 --low 0.001 --high 3",
    'pocketlens lr-range my_photos/ --model "resnet(depth=20)" --optimizer sgd --schedule onecycle',
]


def add(commands: Any) -> None:
    """Adds the command."""
    parser = add_command(commands, "lr-range", _EXAMPLES, lr_range_command)
    add_dataset(parser)
    parser.add_argument(
        "--low",
        type=positive,
        default=1e-4,
        metavar="LR",
        help="lowest learning rate, of the first step (default: %(default)s)",
    )
    parser.add_argument(
        "--high",
        type=positive,
        default=10.0,
        metavar="LR",
        help="highest learning rate, of the last step (default: %(default)s)",
    )
    parser.add_argument(
        "--steps",
        type=count,
        default=100,
        metavar="N",
        help="number of training steps from --low to --high (default: %(default)s)",
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="folder for the plot and CSV (default: a new one in the folder --runs)"
    )
    about = "random seed of initial weights, data order and augmentation (default: %(default)s)"
    parser.add_argument("--seed", type=seed, default=0, metavar="N", help=about)
    add_split(parser)
    add_runs(parser)
    add_code(parser)
    add_machine(parser)
    usual, later = Recipe(), "used only by the training that is suggested at the end"
    add_recipe(
        parser,
        {
            "start": argparse.SUPPRESS,  # the test needs random weights
            "head": argparse.SUPPRESS,
            "precision": "fp32, or bf16 if the hardware supports it (fp32)",
            "lr": f"peak learning rate, which the test replaces; muon's rest_lr keeps its ratio to it ({usual.lr})",
            "schedule": "learning-rate schedule of the training that is suggested at the end; the test only takes the "
            f"image size at its peak ({usual.schedule})",
            "keep": f"weights to keep: last or best; {later} ({usual.keep})",
            "patience": f"early stopping after N epochs; {later} (none)",
        },
    )


def lr_range_command(args: argparse.Namespace) -> int:
    """Runs the command."""
    screen = Screen(args.json)
    request = LrRangeRequest(
        data=data_of(args),
        recipe=recipe_of(args),
        machine=machine_of(args),
        low=args.low,
        high=args.high,
        steps=args.steps,
        seed=args.seed,
        out=args.out,
        runs=args.runs,
    )
    followed = follow(measuring(request), screen)
    return screen.show(followed.result, followed.exit_code)
