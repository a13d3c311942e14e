"""`pocketlens look DATASET` audits a data set: what is in it and what is wrong with it, on one page."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from pocketlens.api.look import LookRequest, looking
from pocketlens.cli.terminal.opened import add_open, browser_of
from pocketlens.cli.terminal.options import add_code, add_dataset, add_machine, add_runs, data_of, machine_of
from pocketlens.cli.terminal.options import seed as seed_number
from pocketlens.cli.terminal.parser import add_command
from pocketlens.display.progress import follow
from pocketlens.display.screen import Screen
from pocketlens.files import LOOKS

_EXAMPLES = [
    "pocketlens look digits",
    "pocketlens look my_photos/ --quick",
    "pocketlens look cifar100 --run last --skip labels,shift --out looks/cifar100",
]


def add(commands: Any) -> None:
    """Adds the command."""
    parser = add_command(commands, "look", _EXAMPLES, look_command)
    add_dataset(parser)
    parser.add_argument(
        "--quick", action="store_true", help="only basic statistics and exact duplicates; train no models"
    )
    parser.add_argument(
        "--skip",
        default="",
        metavar="CHECKS",
        help="checks to skip, separated by commas: duplicates,classes,outliers,labels,shift,augment (default: none)",
    )
    parser.add_argument(
        "--augment",
        metavar="TEXT",
        help="augmentation to show and to test for label stability, or all (default: show that of the default recipe, "
        "test all)",
    )
    parser.add_argument(
        "--run",
        metavar="RUN",
        help="find outliers and test augmentations with the model of this run (default: small models trained by "
        "cross-validation)",
    )
    parser.add_argument(
        "--body",
        default="auto",
        metavar="auto|none",
        help="auto finds label issues, hard classes and near duplicates of colour images with the pretrained body that "
        "is installed with pocketlens, none with small models that it trains (default: %(default)s)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help=f"folder for the page and its files (default: a new one in {LOOKS}, named after the data)",
    )
    parser.add_argument(
        "--seed",
        type=seed_number,
        default=0,
        metavar="N",
        help="random seed of the models and of all random draws (default: %(default)s)",
    )
    add_open(parser)
    add_runs(parser)
    add_code(parser)
    add_machine(parser)


def look_command(args: argparse.Namespace) -> int:
    """Runs the command."""
    screen = Screen(args.json)
    request = LookRequest(
        data=data_of(args),
        machine=machine_of(args),
        quick=args.quick,
        skip=args.skip,
        augment=args.augment,
        run=args.run,
        body=args.body,
        seed=args.seed,
        out=args.out,
        runs=args.runs,
    )
    with browser_of(args, screen) as browser:
        followed = follow(looking(request), screen)
        screen.show(followed.result)
        if followed.result is not None:
            browser.show(followed.result.page)
    return followed.exit_code
