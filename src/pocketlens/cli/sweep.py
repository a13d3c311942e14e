"""`pocketlens sweep DATASET --try 'lr=0.1,0.2; optimizer=sgd,adam'` compares values around a base with it."""

from __future__ import annotations

import argparse
from typing import Any

from pocketlens.api.compare import SweepRequest
from pocketlens.cli.compare import add_plan, plan_or_run
from pocketlens.cli.terminal.options import add_recipe, count
from pocketlens.cli.terminal.parser import add_command
from pocketlens.cli.terminal.study_options import add_study, study_of

_EXAMPLES = [
    "pocketlens sweep digits --try 'lr=0.03,0.12; batch_size=64,256' --repeat 3",
    "pocketlens sweep fashion_mnist --grid --try 'model.activation=relu,elu,tanh; optimizer=sgd,adam' --model cnn",
    "pocketlens sweep my_photos/ --try 'augment=none, flip, flip | crop(pad=2); recipe=small,resnet20'",
]


def add(commands: Any) -> None:
    """Adds the command."""
    parser = add_command(commands, "sweep", _EXAMPLES, sweep_command)
    add_study(parser)
    parser.add_argument(
        "--try",
        dest="lists",
        required=True,
        metavar="TEXT",
        help="values to try of recipe fields and component options, separated by commas: 'lr=0.1,0.2; "
        "optimizer.momentum=0.8,0.9; model=lens, cnn(dense=64)'",
    )
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument(
        "--pointwise", action="store_true", help="change one value at a time in the base recipe (the default)"
    )
    shape.add_argument("--grid", action="store_true", help="train all combinations of the values")
    parser.add_argument(
        "--repeat",
        type=count,
        default=3,
        metavar="N",
        help="number of runs of each variant, one per seed (default: %(default)s)",
    )
    add_plan(parser)
    add_recipe(parser)


def sweep_command(args: argparse.Namespace) -> int:
    """Runs the command."""
    request = SweepRequest(study_of(args), values=args.lists, grid=args.grid, repeat=args.repeat)
    return plan_or_run(args, request)
