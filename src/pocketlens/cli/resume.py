"""`pocketlens resume RUN` goes on with a run that was stopped or killed, to the same bytes as if it never had been."""

from __future__ import annotations

import argparse
import os
from typing import Any

from pocketlens.cli.terminal.options import (
    add_command,
    add_data,
    add_machine,
    add_runs,
    add_track,
    check_folders,
    count,
    positive,
)
from pocketlens.cli.terminal.progress import Followed
from pocketlens.cli.terminal.resources import check_track, track_run, tracker_of
from pocketlens.cli.terminal.screen import Screen
from pocketlens.cli.terminal.setup import open_run, prepare_machine
from pocketlens.cli.train import result_of, say_result, train_and_show
from pocketlens.errors import PocketlensError
from pocketlens.training.ranks import asked_ranks, joined

_EXAMPLES = ["pocketlens resume last", "pocketlens resume my-label --device cpu", "pocketlens resume last --epochs 12"]


def add(commands: Any) -> None:
    """Adds the command."""
    parser = add_command(commands, "resume", "go on with a run that was stopped or killed", _EXAMPLES, resume_command)
    add_runs(parser, named=True)
    add_data(parser)
    add_machine(parser)
    further = (
        "train a finished run further, to N epochs in all: a new run begins with its weights, and has a complete "
        "schedule of the same kind over the epochs that are missing"
    )
    parser.add_argument("--epochs", type=positive, metavar="N", help=further)
    add_track(parser)
    parser.add_argument("--save-every", type=count, metavar="N", help="a checkpoint every N steps, too")


def resume_command(args: argparse.Namespace) -> int:
    """Runs the command."""
    ranks = asked_ranks(os.environ)
    screen = Screen(args.json, is_mute=not ranks.is_first)
    check_folders(args)
    check_track(args)
    run = open_run(args.run, args.runs)
    status, reason = run.status()
    screen.fact("was", f"{status}{f' ({reason})' if reason else ''}")
    if status == "complete" and args.epochs is None:
        track_run(tracker_of(args), run, screen)
        say_result(run, screen)
        followed = Followed(None, max((record["step"] for record in run.history()), default=0), None)
        screen.finish({**result_of(run, followed), "next": f"pocketlens test {run.id}"})
        return 0
    if args.epochs is not None and ranks.n > 1:
        raise PocketlensError("resume --epochs makes a new run: begin that without torchrun, then resume it with it.")
    device = prepare_machine(args, run.experiment.recipe)
    from pocketlens.training.run import WatchedRun
    from pocketlens.training.run_data import load_of

    if args.epochs is not None:
        from pocketlens.training.train import extend

        run = extend(run, args.epochs, args.runs)
        screen.fact("further", f"{run.experiment.recipe.epochs:g} epochs under a schedule of their own")
    dataset, _ = load_of(run, args.data)
    with joined(ranks, device) as device:
        watched = run if ranks.is_first else WatchedRun(run.path)
        followed = train_and_show(watched, dataset, args, (device, ranks), screen)
    if not followed.exit_code:
        say_result(run, screen)
    screen.finish({**result_of(run, followed), "next": f"pocketlens test {run.id}"})
    return followed.exit_code
