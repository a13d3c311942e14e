"""`pocketlens test RUN` opens the sealed test rows for one finished run and writes that down first.

`pocketlens test RUN --on DATA` scores it on other labelled data, and leaves them sealed.
"""

from __future__ import annotations

import argparse
from typing import Any

from pocketlens.api.test import TestRequest, testing
from pocketlens.cli.terminal.options import add_code, add_machine, add_place, add_runs, check_folders, machine_of
from pocketlens.cli.terminal.parser import add_command
from pocketlens.display.progress import follow
from pocketlens.display.screen import Screen

_EXAMPLES = [
    "pocketlens test last",
    "pocketlens test my-label --views 6     also score the mean prediction over six views of each image",
    "pocketlens test last --on new_photos/     score it on another folder with the same classes",
]


def add(commands: Any) -> None:
    """Adds the command."""
    parser = add_command(commands, "test", _EXAMPLES, test_command)
    add_runs(parser, named=True)
    add_code(parser)
    parser.add_argument(
        "--on",
        metavar="DATASET",
        help="score the run on all images of another labelled data set with the same classes (a path or a name) "
        "instead; the test set of the run stays sealed",
    )
    add_place(parser)
    add_machine(parser)
    parser.add_argument(
        "--views",
        type=int,
        choices=(1, 2, 3, 6),
        default=1,
        help="test-time augmentation: also score the mean prediction over N views of each image: 2 mirrored, 3 "
        "shifted, 6 both (default: %(default)s, no augmentation)",
    )


def test_command(args: argparse.Namespace) -> int:
    """Runs the command."""
    screen = Screen(args.json)
    check_folders(args)
    request = TestRequest(args.run, args.on, args.views, args.data, machine_of(args), args.runs)
    followed = follow(testing(request), screen)
    return screen.show(followed.result, followed.exit_code)
