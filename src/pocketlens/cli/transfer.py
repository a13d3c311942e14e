"""`pocketlens transfer SOURCE DATASET` compares training from a run's weights, in several ways, with scratch."""

from __future__ import annotations

import argparse
from typing import Any

from pocketlens.api.transfer import STRATEGIES, TransferRequest, transferring
from pocketlens.cli.terminal.opened import browser_of
from pocketlens.cli.terminal.options import add_recipe, count
from pocketlens.cli.terminal.parser import add_command
from pocketlens.cli.terminal.study_options import add_study, study_of
from pocketlens.display.progress import follow
from pocketlens.display.screen import Screen

_EXAMPLES = [
    "pocketlens transfer last \"cifar100(labels='coarse')\" --epochs 2 --repeat 3",
    'pocketlens transfer my-label "stl10(classes=\'airplane, bird, car, deer, ship\')" --prepare "resize(32)"',
    "pocketlens transfer my-label my_photos/ --strategies frozen,full,scratch --equal multiply-adds",
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
        help="another run to start from, with the same model (can be repeated)",
    )
    parser.add_argument(
        "--also-to",
        action="append",
        default=[],
        metavar="DATASET",
        help="another data set to train on (can be repeated)",
    )
    everything = ",".join(STRATEGIES)
    about = (
        "strategies to compare, separated by commas: the body frozen, its first groups of layers frozen, all layers "
        f"trained, or no warm start (default: {everything})"
    )
    parser.add_argument("--strategies", default=everything, metavar="LIST", help=about)
    parser.add_argument("--ways", dest="strategies", default=argparse.SUPPRESS, help=argparse.SUPPRESS)  # former name
    parser.add_argument(
        "--groups",
        type=count,
        metavar="N",
        help="partial: number of groups of layers to freeze, from the input (default: half)",
    )
    parser.add_argument(
        "--equal",
        choices=("steps", "multiply-adds"),
        default="steps",
        help="what all strategies spend equally: training steps, or multiply-adds (default: %(default)s)",
    )
    parser.add_argument(
        "--repeat",
        type=count,
        default=3,
        metavar="N",
        help="number of runs of each strategy, one per seed (default: %(default)s)",
    )
    add_recipe(
        parser,
        {
            "model": "network, which must be that of SOURCE (default: that of SOURCE)",
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
    with browser_of(args, screen) as browser:
        browser.follow()
        followed = follow(transferring(request), screen)
        result = followed.result
        if result is None:
            return followed.exit_code
        screen.show(result)
        if result.signal is None:
            browser.show(result.folders[-1] / "report.html")
    return result.exit_code
