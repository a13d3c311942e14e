"""`pocketlens serve RUN` serves a model on a local web page for dropped pictures, and as JSON."""

from __future__ import annotations

import argparse
from typing import Any

from pocketlens.api.serve import ServeRequest, serving
from pocketlens.cli.terminal.options import (
    add_code,
    add_machine,
    add_max_pixels,
    add_runs,
    check_folders,
    count,
    fraction,
    machine_of,
    seed,
)
from pocketlens.cli.terminal.parser import add_command
from pocketlens.display.screen import Screen

_EXAMPLES = [
    "pocketlens serve last",
    "pocketlens serve model.safetensors --port 0",
    "curl --data-binary @picture.png http://127.0.0.1:8000/api/predict",
]


def add(commands: Any) -> None:
    """Adds the command."""
    parser = add_command(commands, "serve", _EXAMPLES, serve_command)
    add_runs(parser, named=True)
    add_code(parser)
    host = "address to listen on (default: %(default)s, this machine only)"
    parser.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help=host)
    port = "port to listen on; 0 picks a free one (default: %(default)s)"
    parser.add_argument("--port", type=seed, default=8000, metavar="N", help=port)
    parser.add_argument(
        "--top", type=count, default=5, metavar="N", help="show the N most probable classes (default: %(default)s)"
    )
    parser.add_argument(
        "--threshold",
        type=fraction,
        default=0.5,
        metavar="P",
        help="probability below which an answer is called unsure (default: %(default)s)",
    )
    add_max_pixels(parser)
    heic = "also open HEIC images (with pillow-heif); off by default, because its decoder has had many vulnerabilities"
    parser.add_argument("--heic", action="store_true", help=heic)
    add_machine(parser)
    parser.epilog = (
        f"{parser.epilog}\n\nRUN may also be a .safetensors file written by export. With another --host, other "
        "machines can reach the page by the token\nin its address. Ctrl-C stops the server, with exit code 130."
    )


def serve_command(args: argparse.Namespace) -> int:
    """Runs the command."""
    screen = Screen(args.json)
    check_folders(args)
    request = ServeRequest(
        args.run, args.host, args.port, args.top, machine_of(args), args.runs, args.max_pixels, args.heic,
        threshold=args.threshold,
    )  # fmt: skip
    screen.fact("", f"loading PyTorch and the model of {args.run} …")
    with serving(request) as server:
        if not server.is_local:
            screen.say(f"--host {args.host}: other machines can use the page, if they know the token in its address")
        predictor, address = server.predictor, server.address
        screen.fact("model", f"{predictor.name}: {predictor.classifier.facts.model}, on {server.device}")
        if server.demo.accuracy:
            screen.fact("", f"right for {server.demo.accuracy}")
        screen.fact("", f"probabilities are {predictor.calibration}")
        if predictor.familiarity is not None:
            screen.fact("", predictor.familiarity.said())
        screen.fact("page", f"{address}/  (Ctrl-C stops the server)")
        screen.fact("", f"JSON: POST {address}/api/predict, described at {address}/docs")
        screen.finish(
            {
                "model": predictor.name,
                "address": address,
                "calibrated": predictor.is_calibrated,
                "calibration": predictor.calibration,
            }
        )
        number = server.run()
    screen.say("stopped")
    return 0 if number is None else 128 + number
