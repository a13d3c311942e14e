"""`pocketlens explain RUN` writes a page that shows what the network sees in some images."""

from __future__ import annotations

import argparse
from typing import Any

from pocketlens.cli.terminal.options import add_command, add_data, add_runs, check_folders, count, seed
from pocketlens.cli.terminal.screen import Screen
from pocketlens.cli.terminal.setup import open_run, runs_option
from pocketlens.cli.work import follow_work
from pocketlens.errors import PocketlensError

_EXAMPLES = [
    "pocketlens explain last                 the eight worst mistakes on validation rows",
    "pocketlens explain my-label --rows 3,14,15",
    "pocketlens explain last --worst 16 --json",
]


def add(commands: Any) -> None:
    """Adds the command."""
    about = "show what a run's network sees: feature maps, filters, class activation maps, deep features"
    parser = add_command(commands, "explain", about, _EXAMPLES, explain_command)
    add_runs(parser, named=True)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--rows", type=_rows, metavar="N,N", help="development images by row number")
    which.add_argument(
        "--worst", type=count, default=8, metavar="N", help="the worst mistakes on validation rows (%(default)s)"
    )
    add_data(parser)


def explain_command(args: argparse.Namespace) -> int:
    """Runs the command."""
    screen = Screen(args.json)
    check_folders(args)
    run = open_run(args.run, args.runs)
    from pocketlens.report.run.explanations import write_explanations
    from pocketlens.training.run_data import load_of

    dataset, _ = load_of(run, args.data)
    if run.experiment.data_fingerprint not in ("", dataset.fingerprint):
        raise PocketlensError(
            f"the data set must be that of run {run.id}, {run.experiment.data_fingerprint}; got {dataset.fingerprint}."
        )
    path = follow_work(write_explanations(run, dataset, args.rows, args.worst), screen)
    screen.fact("page", str(path))
    screen.say(f"next: open {path} in a browser, or pocketlens report {run.id}{runs_option(run)}")
    screen.finish({"id": run.id, "path": str(run.path), "explain": str(path)})
    return 0


def _rows(text: str) -> list[int]:
    return [seed(part.strip()) for part in text.split(",")]
