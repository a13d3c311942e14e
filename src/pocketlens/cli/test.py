"""`pocketlens test RUN` opens the sealed test rows for one finished run and writes that down first."""

from __future__ import annotations

import argparse
from typing import Any

from pocketlens.api.test import test
from pocketlens.cli.terminal.options import add_code, add_machine, add_place, add_runs, check_folders, machine_of
from pocketlens.cli.terminal.parser import add_command
from pocketlens.display.screen import Screen

_EXAMPLES = [
    "pocketlens test last",
    "pocketlens test my-label --views 6     also score the mean prediction over six views of each image",
]


def add(commands: Any) -> None:
    """Adds the command."""
    parser = add_command(commands, "test", _EXAMPLES, test_command)
    add_runs(parser, named=True)
    add_code(parser)
    add_place(parser)
    add_machine(parser)
    parser.add_argument(
        "--views",
        type=int,
        choices=(1, 2, 3, 6),
        default=1,
        help="test-time augmentation with N views of each image (2: mirrored, 3: shifted, 6: both), scored separately "
        "(default: %(default)s, none)",
    )


def test_command(args: argparse.Namespace) -> int:
    """Runs the command."""
    screen = Screen(args.json)
    check_folders(args)
    result = test(args.run, views=args.views, data=args.data, machine=machine_of(args), runs=args.runs)
    screen.show(result)
    return 0
