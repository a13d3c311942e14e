"""`pocketlens resume RUN` continues a run that was stopped or killed; the result is the same to the byte."""

from __future__ import annotations

import argparse
import os
from typing import Any

from pocketlens.api.resume import ResumeRequest, resuming
from pocketlens.cli.terminal.options import (
    add_code,
    add_machine,
    add_place,
    add_runs,
    add_save_every,
    add_track,
    machine_of,
    positive,
)
from pocketlens.cli.terminal.parser import add_command
from pocketlens.display.progress import follow
from pocketlens.display.screen import Screen
from pocketlens.training.ranks import asked_ranks

_EXAMPLES = ["pocketlens resume last", "pocketlens resume my-label --device cpu", "pocketlens resume last --epochs 12"]


def add(commands: Any) -> None:
    """Adds the command."""
    parser = add_command(commands, "resume", _EXAMPLES, resume_command)
    add_runs(parser, named=True)
    add_code(parser)
    add_place(parser)
    add_machine(parser)
    further = (
        "train a finished run further, to N epochs in total: a new run starts from its weights and trains the missing "
        "epochs with a complete schedule of the same kind"
    )
    parser.add_argument("--epochs", type=positive, metavar="N", help=further)
    add_track(parser)
    add_save_every(parser)


def resume_command(args: argparse.Namespace) -> int:
    """Runs the command."""
    ranks = asked_ranks(os.environ)
    screen = Screen(args.json, is_mute=not ranks.is_first)
    request = ResumeRequest(args.run, machine_of(args), args.epochs, args.data, args.save_every, args.track, args.runs)
    followed = follow(resuming(request), screen, ranks)
    if followed.result is not None:
        run = followed.result.last
        screen.finish({**run.to_dict(), "next": run.next})
        return followed.exit_code or (4 if run.run.lacks_scores else 0)
    return followed.exit_code
