"""`pocketlens refit RUN` trains a run's recipe anew on training and validation rows together, to the chosen epoch."""

from __future__ import annotations

import argparse
from typing import Any

from pocketlens.cli.terminal.options import add_command, add_data, add_machine, add_runs, check_folders, count
from pocketlens.cli.terminal.screen import Screen
from pocketlens.cli.terminal.setup import open_run, prepare_machine
from pocketlens.cli.train import result_of, say_result, train_and_show
from pocketlens.training.ranks import ALONE

_EXAMPLES = ["pocketlens refit last", "pocketlens refit my-label --runs elsewhere/"]


def add(commands: Any) -> None:
    """Adds the command."""
    about = "train a run's recipe on train and validation rows together"
    parser = add_command(commands, "refit", about, _EXAMPLES, refit_command)
    add_runs(parser, named=True)
    add_data(parser)
    add_machine(parser)
    parser.add_argument("--save-every", type=count, metavar="N", help="a checkpoint every N steps, too")


def refit_command(args: argparse.Namespace) -> int:
    """Runs the command."""
    screen = Screen(args.json)
    check_folders(args)
    run = open_run(args.run, args.runs)
    device = prepare_machine(args, run.experiment.recipe)
    from pocketlens.training.run_data import load_of
    from pocketlens.training.train import refit

    dataset, _ = load_of(run, args.data)
    new = refit(run, args.runs)
    screen.fact(
        "refit", f"of {run.id}, on all {len(new.split.train):,} development rows; nothing is left to validate on"
    )
    followed = train_and_show(new, dataset, args, (device, ALONE), screen)
    if not followed.exit_code:
        say_result(new, screen)
    screen.finish({**result_of(new, followed), "refit_of": run.id, "next": f"pocketlens test {new.id}"})
    return followed.exit_code
