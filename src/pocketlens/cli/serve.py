"""`pocketlens serve RUN` opens a small local page on which one drops a picture, and the same as JSON."""

from __future__ import annotations

import argparse
from typing import Any

from pocketlens.api.serve import ServeRequest, serving
from pocketlens.cli.terminal.options import (
    add_code,
    add_command,
    add_machine,
    add_runs,
    check_folders,
    count,
    machine_of,
    seed,
)
from pocketlens.display.screen import Screen

_EXAMPLES = [
    "pocketlens serve last",
    "pocketlens serve model.safetensors --port 0",
    "curl --data-binary @picture.png http://127.0.0.1:8000/api/predict",
]


def add(commands: Any) -> None:
    """Adds the command."""
    parser = add_command(
        commands, "serve", "show a page on which one drops a picture, and answer in JSON", _EXAMPLES, serve_command
    )
    add_runs(parser, named=True)
    add_code(parser)
    parser.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help="where to listen (%(default)s)")
    parser.add_argument("--port", type=seed, default=8000, metavar="N", help="0 takes any free one (%(default)s)")
    parser.add_argument("--top", type=count, default=5, metavar="N", help="classes for each picture (%(default)s)")
    add_machine(parser)
    parser.epilog = (
        f"{parser.epilog}\n\nRUN may also be a .safetensors file that export wrote. With another --host than 127.0.0.1 "
        "other machines can reach\nthe page, without a password. Ctrl-C ends it, with exit code 130."
    )


def serve_command(args: argparse.Namespace) -> int:
    """Runs the command."""
    screen = Screen(args.json)
    check_folders(args)
    request = ServeRequest(args.run, args.host, args.port, args.top, machine_of(args), args.runs)
    with serving(request) as server:
        if not server.is_local:
            screen.say(f"warning: with --host {args.host} whoever reaches this machine can use the page; no password")
        predictor, address = server.predictor, server.address
        screen.fact("model", f"{predictor.name}: {predictor.classifier.facts.model}, on {server.device}")
        screen.fact("", f"probabilities are {predictor.calibration}")
        screen.fact("page", f"{address}/  (JSON: POST {address}/api/predict; Ctrl-C ends it)")
        screen.finish({"model": predictor.name, "address": address, "calibrated": predictor.temperature is not None})
        number = server.run()
    screen.say("stopped")
    return 0 if number is None else 128 + number
