"""`pocketlens auto DATASET` goes from a data set to a tested classifier and its page, end to end."""

from __future__ import annotations

import argparse
from typing import Any

from pocketlens.cli.terminal.opened import add_open, browser_of
from pocketlens.cli.terminal.options import (
    add_dataset,
    add_machine,
    add_runs,
    check_dataset,
    check_folders,
    machine_of,
    positive,
    seed,
)
from pocketlens.cli.terminal.parser import add_command
from pocketlens.display.progress import follow
from pocketlens.display.screen import Screen

_EXAMPLES = [
    "pocketlens auto digits --minutes 1",
    "pocketlens auto \"cifar100(labels='coarse')\" --minutes 60",
    "pocketlens auto my_photos/ --minutes 60 --folds 5",
]


def add(commands: Any) -> None:
    """Adds the command."""
    parser = add_command(commands, "auto", _EXAMPLES, auto_command)
    add_dataset(parser)
    parser.add_argument(
        "--minutes",
        type=positive,
        default=30.0,
        metavar="M",
        help="time limit for everything, in minutes (default: %(default)g)",
    )
    parser.add_argument(
        "--test", action="store_true", help="score on the test set even if it has been opened before for this data"
    )
    parser.add_argument(
        "--body",
        default="auto",
        metavar="NAME",
        help="pretrained body (backbone) to try besides training from scratch, by its name in timm (see: pocketlens "
        "list bodies); auto is the one that is installed with pocketlens, none only trains from scratch (default: "
        "%(default)s)",
    )
    parser.add_argument(
        "--seed",
        type=seed,
        default=0,
        metavar="N",
        help="random seed of the split into training and validation images and of all trainings; the test images stay "
        "the same (default: %(default)s)",
    )
    parser.add_argument(
        "--folds",
        type=_folds,
        metavar="N|given",
        help="cross-validation, for small data: every image is a test image once, in N folds, or in the folds that "
        "the data gives; everything runs once per fold, and the final classifier is trained on all images (default: no "
        "folds, one test set)",
    )
    parser.add_argument(
        "--new", action="store_true", help="start over instead of resuming an unfinished session of the same data"
    )
    add_open(parser, follows=True)
    add_runs(parser)
    add_machine(parser)


def auto_command(args: argparse.Namespace) -> int:
    """Runs the command."""
    screen = Screen(args.json)
    check_dataset(args.dataset)
    check_folders(args)
    from pocketlens.pipeline.auto import AutoOptions, auto_events

    options = AutoOptions(
        dataset=args.dataset,
        minutes=args.minutes,
        test=args.test,
        new=args.new,
        body=args.body,
        data=args.data,
        machine=machine_of(args),
        runs=args.runs,
        seed=args.seed,
        folds=args.folds,
    )
    with browser_of(args, screen) as browser:
        browser.follow()
        followed = follow(auto_events(options), screen)
        ended = followed.result
        if ended is not None:
            screen.finish(ended.to_dict())
        if ended is not None and ended.result is not None:
            browser.show(ended.result.page)
    return followed.exit_code


def _folds(text: str) -> int | str:
    return int(text) if text.isdecimal() else text  # what else it may be, the data set `fold` says
