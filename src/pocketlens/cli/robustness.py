"""`pocketlens robustness RUN` measures a run's accuracy under the 15 standard corruptions, on validation rows."""

from __future__ import annotations

import argparse
from typing import Any

from pocketlens.api.explain import RobustnessRequest, measuring_robustness
from pocketlens.cli.terminal.options import add_code, add_machine, add_place, add_runs, check_folders, count, machine_of
from pocketlens.cli.terminal.parser import add_command
from pocketlens.display.progress import follow
from pocketlens.display.screen import Screen

_EXAMPLES = ["pocketlens robustness last", "pocketlens robustness my-label --rows 5000 --json"]


def add(commands: Any) -> None:
    """Adds the command."""
    parser = add_command(commands, "robustness", _EXAMPLES, robustness_command)
    add_runs(parser, named=True)
    add_code(parser)
    parser.add_argument(
        "--rows", type=count, default=1000, metavar="N", help="use at most N validation images (default: %(default)s)"
    )
    add_place(parser)
    add_machine(parser)


def robustness_command(args: argparse.Namespace) -> int:
    """Runs the command."""
    screen = Screen(args.json)
    check_folders(args)
    request = RobustnessRequest(args.run, machine_of(args), args.rows, args.data, args.runs)
    followed = follow(measuring_robustness(request), screen)
    return screen.show(followed.result, followed.exit_code)
