"""`pocketlens compare DATASET RECIPE RECIPE …` trains recipes in pairs and says which is better, or "cannot tell"."""

from __future__ import annotations

import argparse
from typing import Any

from pocketlens.api.compare import CompareRequest, SweepRequest, comparing, plan_comparison
from pocketlens.cli.terminal.options import add_recipe, count, positive
from pocketlens.cli.terminal.parser import Parser, add_command
from pocketlens.cli.terminal.study_options import add_study, run_study, study_of
from pocketlens.display.screen import Screen

_EXAMPLES = [
    "pocketlens compare cifar100 base \"augment='flip | crop(pad=2) | cutout'\" --epochs 3 --rows 10000",
    "pocketlens compare my_photos/ finetune --recipe probe --repeat 3",
    "pocketlens compare my_photos/ base relabel=labels.csv",
]


def add(commands: Any) -> None:
    """Adds the command."""
    parser = add_command(commands, "compare", _EXAMPLES, compare_command)
    add_study(parser)
    parser.add_argument(
        "recipes",
        metavar="RECIPE",
        nargs="+",
        help="a recipe's name or file, base (--recipe with the options below), or changes to the base such as "
        "'lr=0.1; optimizer.momentum=0.9'; relabel=labels.csv trains on corrected labels, by which all are scored; "
        "a single RECIPE is compared with the base",
    )
    parser.add_argument(
        "--repeat",
        type=count,
        default=5,
        metavar="N",
        help="number of runs of each recipe, one per seed (default: %(default)s)",
    )
    add_plan(parser)
    add_recipe(parser)


def compare_command(args: argparse.Namespace) -> int:
    """Runs the command."""
    request = CompareRequest(study_of(args), recipes=tuple(args.recipes), repeat=args.repeat)
    return plan_or_run(args, request)


def add_plan(parser: Parser) -> None:
    """`--plan` and `--spread`."""
    about = (
        "train nothing; print the smallest difference in accuracy that a comparison would detect, by number of repeats"
    )
    parser.add_argument("--plan", action="store_true", help=about)
    parser.add_argument(
        "--spread",
        type=positive,
        metavar="POINTS",
        help="needed with --plan: standard deviation of a recipe's accuracy over seeds, in percentage points",
    )


def plan_or_run(args: argparse.Namespace, request: CompareRequest | SweepRequest) -> int:
    """Plans a comparison or a sweep, or runs it."""
    screen = Screen(args.json)
    if args.plan:
        return screen.show(plan_comparison(request, args.spread))
    return run_study(args, screen, comparing(request))
