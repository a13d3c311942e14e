"""`pocketlens serve RUN` opens a small local page on which one drops a picture, and the same as JSON."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from pocketlens.cli.terminal.options import add_command, add_machine, add_runs, check_folders, count, seed
from pocketlens.cli.terminal.setup import prepare_machine
from pocketlens.display.screen import Screen
from pocketlens.display.signals import stop_on_signals
from pocketlens.errors import PocketlensError

_EXAMPLES = [
    "pocketlens serve last",
    "pocketlens serve model.safetensors --port 0",
    "curl --data-binary @picture.png http://127.0.0.1:8000/api/predict",
]
_OPEN_FILES = 8192  # connections are open files


def add(commands: Any) -> None:
    """Adds the command."""
    parser = add_command(
        commands, "serve", "show a page on which one drops a picture, and answer in JSON", _EXAMPLES, serve_command
    )
    add_runs(parser, named=True)
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
    if args.port > 65535:
        raise PocketlensError(f"--port must be 0 to 65535, got {args.port}.")
    from pocketlens.inference.predict import find_model, open_predictor
    from pocketlens.inference.serve import Limits, check_packages, is_loopback, listen, make_server

    model = find_model(args.run, args.runs)
    check_packages()
    with listen(args.host, args.port) as listener, stop_on_signals() as signal_that_came:
        device = prepare_machine(args)
        predictor = open_predictor(model, args.runs)
        if not is_loopback(args.host):
            screen.say(f"warning: with --host {args.host} whoever reaches this machine can use the page; no password")
        _allow_files()
        shown = f"[{args.host}]" if ":" in args.host else args.host
        address = f"http://{shown}:{listener.getsockname()[1]}"
        screen.fact("model", f"{predictor.name}: {predictor.classifier.facts.model}, on {device}")
        screen.fact("", f"probabilities are {predictor.calibration}")
        screen.fact("page", f"{address}/  (JSON: POST {address}/api/predict; Ctrl-C ends it)")
        screen.finish({"model": predictor.name, "address": address, "calibrated": predictor.temperature is not None})
        server = make_server(predictor, args.host, device=device, limits=Limits(top=args.top), stopped=signal_that_came)
        server.run(sockets=[listener])
        number = signal_that_came()
    screen.say("stopped")
    return 0 if number is None else 128 + number


def _allow_files() -> None:
    """Raises the limit of open files, where there is one, so that idle connections leave room for others."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(_OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
