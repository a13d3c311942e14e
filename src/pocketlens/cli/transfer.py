"""`pocketlens transfer SOURCE DATASET` compares training from a run's weights, in several ways, with scratch."""

from __future__ import annotations

import argparse
from typing import Any

from pocketlens.api.transfer import STRATEGIES, TransferRequest, transferring
from pocketlens.cli.terminal.options import add_recipe, count
from pocketlens.cli.terminal.parser import add_command
from pocketlens.cli.terminal.study_options import add_study, study_of
from pocketlens.display.progress import follow
from pocketlens.display.screen import Screen

_EXAMPLES = [
    "pocketlens transfer last \"cifar100(labels='coarse')\" --epochs 2 --repeat 3",
    'pocketlens transfer RUN "stl10(classes=\'airplane, bird, car, deer, ship\')" --prepare "resize(32) | sharpen(2)"',
    "pocketlens transfer RUN fashion_mnist --strategies frozen,scratch --equal multiply-adds --also-from OTHER_RUN",
]


def add(commands: Any) -> None:
    """Adds the command."""
    parser = add_command(commands, "transfer", _EXAMPLES, transfer_command)
    parser.add_argument("source", metavar="SOURCE", help="the run to start from: its folder, id or label, or last")
    add_study(parser)
    parser.add_argument(
        "--also-from",
        action="append",
        default=[],
        metavar="RUN",
        help="another source run, with the same model (can be repeated)",
    )
    parser.add_argument(
        "--also-to", action="append", default=[], metavar="DATASET", help="another target data set (can be repeated)"
    )
    everything = ",".join(STRATEGIES)
    about = f"strategies to compare, separated by commas (default: {everything})"
    parser.add_argument("--strategies", default=everything, metavar="LIST", help=about)
    parser.add_argument("--ways", dest="strategies", default=argparse.SUPPRESS, help=argparse.SUPPRESS)  # former name
    parser.add_argument(
        "--groups", type=count, metavar="N", help="freeze the first N groups of layers in partial (default: half)"
    )
    parser.add_argument(
        "--equal",
        choices=("steps", "multiply-adds"),
        default="steps",
        help="cost that is the same for all strategies (default: %(default)s)",
    )
    parser.add_argument(
        "--repeat", type=count, default=3, metavar="N", help="seeds of each strategy (default: %(default)s)"
    )
    add_recipe(
        parser,
        {
            "model": "the network; SOURCE must have the same (default: that of SOURCE)",
            "start": argparse.SUPPRESS,  # set by the strategies
            "freeze": argparse.SUPPRESS,
            "head": "new, or append (a new linear layer on the outputs of the source) (new)",
        },
    )


def transfer_command(args: argparse.Namespace) -> int:
    """Runs the command."""
    screen = Screen(args.json)
    head = vars(args).pop("recipe_head", "new")  # of the strategies, not of the recipe
    request = TransferRequest(
        study_of(args),
        source=args.source,
        also_from=tuple(args.also_from),
        also_to=tuple(args.also_to),
        strategies=tuple(name.strip() for name in args.strategies.split(",")),
        groups=args.groups,
        equal=args.equal,
        head=head,
        repeat=args.repeat,
    )
    followed = follow(transferring(request), screen)
    if followed.result is None:
        return followed.exit_code
    return screen.show(followed.result, followed.result.exit_code)
