"""`pocketlens reproduce RUN` trains a run again, and says equal to the byte, within seed noise, or different."""

from __future__ import annotations

import argparse
from typing import Any

from pocketlens.api.resume import ResumeRequest, reproducing
from pocketlens.cli.terminal.options import add_code, add_machine, add_place, add_runs, machine_of
from pocketlens.cli.terminal.parser import add_command
from pocketlens.display.progress import follow
from pocketlens.display.screen import Screen

_EXAMPLES = ["pocketlens reproduce last", "pocketlens reproduce my-label --threads 1"]


def add(commands: Any) -> None:
    """Adds the command."""
    parser = add_command(commands, "reproduce", _EXAMPLES, reproduce_command)
    add_runs(parser, named=True)
    add_code(parser)
    add_place(parser)
    add_machine(parser)


def reproduce_command(args: argparse.Namespace) -> int:
    """Runs the command."""
    screen = Screen(args.json)
    followed = follow(reproducing(ResumeRequest(args.run, machine_of(args), data=args.data, runs=args.runs)), screen)
    result = followed.result
    if result is None:
        return followed.exit_code
    for line in result.lines():
        screen.say(line)
    screen.finish(result.to_dict())
    return followed.exit_code or (0 if result.found and result.found.word in ("equal", "within seed noise") else 4)
