"""`pocketlens report RUN` writes a run's page: one HTML file that needs no network and no other file."""

from __future__ import annotations

import argparse
from typing import Any

from pocketlens.cli.options import add_command, add_data, add_runs, check_folders
from pocketlens.cli.screen import Screen
from pocketlens.cli.train import open_run, runs_option
from pocketlens.errors import PocketlensError

_EXAMPLES = ["pocketlens report last", "pocketlens report my-label --json"]


def add(commands: Any) -> None:
    """Adds the command."""
    parser = add_command(
        commands, "report", "write a run's page, one self-contained HTML file", _EXAMPLES, report_command
    )
    add_runs(parser, named=True)
    add_data(parser)


def report_command(args: argparse.Namespace) -> int:
    """Runs the command."""
    screen = Screen(args.json)
    check_folders(args)
    run = open_run(args.run, args.runs)
    from pocketlens.relabel import load_of
    from pocketlens.report import write_report

    try:
        dataset, _ = load_of(run, args.data)
    except PocketlensError as error:
        screen.say(f"the page will have no pictures of validation images: {error}")
        dataset = None
    path = write_report(run, dataset)
    screen.say(f"report   {path}")
    if not run.file("scores-test.json").exists():
        screen.say(f"next: pocketlens test {run.id}{runs_option(run)}")
    else:
        screen.say(f"next: open {path} in a browser")
    screen.finish({"id": run.id, "path": str(run.path), "report": str(path)})
    return 0
