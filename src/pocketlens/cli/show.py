"""`pocketlens show MODEL` prints a model's layers; `pocketlens show RUN` prints a run's facts."""

from __future__ import annotations

import argparse
import re
from typing import Any

from pocketlens.api.show import show
from pocketlens.cli.terminal.options import add_code, add_runs, check_folders, count
from pocketlens.cli.terminal.parser import add_command
from pocketlens.display.screen import Screen

_EXAMPLES = [
    "pocketlens show lens",
    'pocketlens show "resnet(depth=18)" --size 28 --channels 1 --classes 10',
    "pocketlens show last",
]


def add(commands: Any) -> None:
    """Adds the command."""
    parser = add_command(commands, "show", _EXAMPLES, show_command)
    what = 'a model such as lens or "resnet(depth=18)", or a run\'s folder, its id, its label, or last'
    parser.add_argument("what", metavar="MODEL|RUN", help=what)
    size = "MODEL: side of the square images in px, or HEIGHTxWIDTH (default: 32)"
    parser.add_argument("--size", type=_size, default=(32, 32), metavar="PX", help=size)
    channels = "MODEL: channels of the images, 3 or, for greyscale, 1 (default: %(default)s)"
    parser.add_argument("--channels", type=count, default=3, metavar="N", help=channels)
    classes = "MODEL: number of classes (default: %(default)s)"
    parser.add_argument("--classes", type=count, default=100, metavar="N", help=classes)
    add_runs(parser)
    add_code(parser)


def show_command(args: argparse.Namespace) -> int:
    """Runs the command."""
    check_folders(args)
    found = show(args.what, size=args.size, channels=args.channels, classes=args.classes, runs=args.runs)
    return Screen(args.json).show(found)


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,4})(?:x(\d{1,4}))?", text)
    if match is None or not all(int(side or 1) for side in match.groups()):
        raise argparse.ArgumentTypeError(f"must be a side in px, like 32, or HEIGHTxWIDTH, like 28x32, got {text!r}")
    return int(match[1]), int(match[2] or match[1])
