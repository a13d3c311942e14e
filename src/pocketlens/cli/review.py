"""`pocketlens review DATASET` opens a local page on which one decides on what `pocketlens look` has found."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from pocketlens.api.review import LABELS, ReviewRequest, reviewing
from pocketlens.cli.terminal.options import add_code, add_dataset, data_of, seed
from pocketlens.cli.terminal.parser import add_command
from pocketlens.display.screen import Screen
from pocketlens.files import LOOKS
from pocketlens.text import counted

_EXAMPLES = [
    "pocketlens review my_photos/ --open",
    "pocketlens review fashion_mnist --out fashion.csv",
    'pocketlens compare my_photos/ base "relabel=labels.csv"   asks whether the decisions help',
]


def add(commands: Any) -> None:
    """Adds the command."""
    parser = add_command(commands, "review", _EXAMPLES, review_command)
    add_dataset(parser)
    look = f"folder of the look to review (default: the newest one at these images in {LOOKS})"
    parser.add_argument("--look", type=Path, metavar="DIR", help=look)
    out = "file of decisions, for --relabel; an unfinished review continues with it (default: %(default)s)"
    parser.add_argument("--out", type=Path, default=LABELS, metavar="FILE", help=out)
    parser.add_argument("--open", action="store_true", help="open the page in the browser")
    port = "port to listen on; 0 picks a free one (default: %(default)s)"
    parser.add_argument("--port", type=seed, default=0, metavar="N", help=port)
    add_code(parser)
    parser.epilog = (
        f"{parser.epilog}\n\nKeys on the page: K keep the label, A accept the suggestion, O another class, D drop the "
        "image, S skip, U undo.\nEach decision is saved at once. Only this machine reaches the page, and only by the "
        "address that is printed."
    )


def review_command(args: argparse.Namespace) -> int:
    """Runs the command."""
    screen = Screen(args.json)
    request = ReviewRequest(data_of(args), args.look, args.out, args.port, args.open)
    with reviewing(request) as server:
        before, findings = server.result, server.review.findings
        screen.fact("look", f"{findings.folder}: {counted(before.n_items, 'image')} to decide on")
        for check, reason in findings.skipped.items():
            if check in ("labels", "duplicates", "outliers"):
                screen.fact("", f"{check} skipped: {reason}")
        done = f", {before.n_decided:,} decided already" if before.n_decided else ""
        screen.fact("labels", f"{request.out}{done}")
        screen.fact("page", f"{server.address}  (Ctrl-C stops the server)")
        screen.finish({"address": server.address, "look": str(findings.folder), **before.to_dict()})
        number = server.run()
        for line in server.result.lines():
            screen.say(line)
    return 0 if number is None else 128 + number
