"""`pocketlens study STUDY` continues a study that was stopped or killed, and prints its results."""

from __future__ import annotations

import argparse
from typing import Any

from pocketlens.api.resources import Wanted
from pocketlens.api.show import list_studies
from pocketlens.api.study import continuing
from pocketlens.cli.terminal.options import add_code, add_place, add_runs, check_folders, machine_of
from pocketlens.cli.terminal.parser import add_command
from pocketlens.cli.terminal.study_options import add_running, resources_of, run_study
from pocketlens.display.screen import Screen

_EXAMPLES = ["pocketlens study last", "pocketlens study list", "pocketlens study my-label --jobs 2"]


def add(commands: Any) -> None:
    """Adds the command."""
    parser = add_command(commands, "study", _EXAMPLES, study_command)
    about = "a study's folder, its id, its label, or last; list, or nothing, lists all"
    parser.add_argument("study", metavar="STUDY", nargs="?", default="list", help=about)
    add_runs(parser)
    add_code(parser)
    add_place(parser)
    add_running(parser)


def study_command(args: argparse.Namespace) -> int:
    """Runs the command."""
    screen = Screen(args.json)
    check_folders(args)
    if args.study == "list":
        return screen.show(list_studies(runs=args.runs))
    wanted = Wanted(resources_of(args), machine_of(args), args.data, args.runs)
    return run_study(args, screen, continuing(args.study, wanted))
