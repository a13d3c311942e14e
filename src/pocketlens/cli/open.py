"""`pocketlens open [FOLDER]` shows all runs, studies, sessions and looks of a folder on a local page."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from pocketlens.cli.terminal.options import seed
from pocketlens.cli.terminal.parser import add_command
from pocketlens.display.browser import show_in_browser
from pocketlens.display.screen import Screen
from pocketlens.files import RUNS

_EXAMPLES = [
    "pocketlens open",
    "pocketlens open results/ --port 8080 --no-browser",
]


def add(commands: Any) -> None:
    """Adds the command."""
    parser = add_command(commands, "open", _EXAMPLES, open_command)
    folder = "folder that holds the runs (default: %(default)s)"
    parser.add_argument("folder", metavar="FOLDER", nargs="?", type=Path, default=RUNS, help=folder)
    port = "port to listen on; 0 picks a free one (default: %(default)s)"
    parser.add_argument("--port", type=seed, default=0, metavar="N", help=port)
    parser.add_argument(
        "--no-browser", dest="browser", action="store_false", help="only print the address; start no browser"
    )
    parser.epilog = (
        f"{parser.epilog}\n\nThe page is served on 127.0.0.1 to whoever knows the token in its address. It follows "
        "trainings while they run.\nCtrl-C stops the server, with exit code 130."
    )


def open_command(args: argparse.Namespace) -> int:
    """Runs the command."""
    from pocketlens.pipeline.opened import OpenRequest, opening

    screen = Screen(args.json)
    with opening(OpenRequest(args.folder, args.port, args.browser)) as opened:
        screen.fact("page", opened.address)
        screen.fact("", f"all that {opened.folder} holds; Ctrl-C stops the server")
        screen.finish({"folder": str(opened.folder), "address": opened.address})
        show_in_browser(opened.address, wanted=args.browser)
        number = opened.wait()
    screen.say("stopped")
    return 0 if number is None else 128 + number
