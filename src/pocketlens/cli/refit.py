"""`pocketlens refit RUN` trains a run's recipe again on training and validation rows together, to the chosen epoch."""

from __future__ import annotations

import argparse
from typing import Any

from pocketlens.api.resume import ResumeRequest, refitting
from pocketlens.cli.terminal.options import add_code, add_machine, add_place, add_runs, add_save_every, machine_of
from pocketlens.cli.terminal.parser import add_command
from pocketlens.display.progress import follow
from pocketlens.display.screen import Screen

_EXAMPLES = ["pocketlens refit last", "pocketlens refit my-label --runs elsewhere/"]


def add(commands: Any) -> None:
    """Adds the command."""
    parser = add_command(commands, "refit", _EXAMPLES, refit_command)
    add_runs(parser, named=True)
    add_code(parser)
    add_place(parser)
    add_machine(parser)
    add_save_every(parser)


def refit_command(args: argparse.Namespace) -> int:
    """Runs the command."""
    screen = Screen(args.json)
    request = ResumeRequest(args.run, machine_of(args), data=args.data, save_every=args.save_every, runs=args.runs)
    followed = follow(refitting(request), screen)
    if followed.result is not None:
        run = followed.result.last
        made_by = run.run.experiment.made_by.removeprefix("refit of ")
        screen.finish({**run.to_dict(), "refit_of": made_by, "next": run.next})
    return followed.exit_code
