"""`pocketlens test RUN` opens the sealed test rows for one finished run and writes that down first."""

from __future__ import annotations

import argparse
from typing import Any

from pocketlens.cli.terminal.options import add_command, add_data, add_machine, add_runs, check_folders
from pocketlens.cli.terminal.screen import Screen
from pocketlens.cli.terminal.setup import open_run, prepare_machine, runs_option
from pocketlens.errors import PocketlensError

_EXAMPLES = [
    "pocketlens test last",
    "pocketlens test my-label --views 6     beside the plain score, that of six views of each image",
]


def add(commands: Any) -> None:
    """Adds the command."""
    parser = add_command(commands, "test", "open the sealed test rows once, on the record", _EXAMPLES, test_command)
    add_runs(parser, named=True)
    add_data(parser)
    add_machine(parser)
    parser.add_argument(
        "--views",
        type=int,
        choices=(1, 2, 3, 6),
        default=1,
        help="views of each image: mirrored, shifted (%(default)s)",
    )


def test_command(args: argparse.Namespace) -> int:
    """Runs the command."""
    screen = Screen(args.json)
    check_folders(args)
    run = open_run(args.run, args.runs)
    status, reason = run.status()
    if status != "complete":
        raise PocketlensError(
            f"only a complete run can be tested, {run.id} is {status}{f' ({reason})' if reason else ''}; "
            f"go on with: pocketlens resume {run.id}{runs_option(run)}"
        )
    device = prepare_machine(args, run.experiment.recipe)
    from pocketlens.data.duplicates import known_duplicates
    from pocketlens.datasets import load
    from pocketlens.evaluation.open_test import open_test, openings
    from pocketlens.files import ledger_file, read_json
    from pocketlens.scoring.metrics import Estimate
    from pocketlens.scoring.scores import show, show_interval

    dataset, sealed = load(run.experiment.data, args.data)
    known = known_duplicates(dataset, sealed)
    scores = open_test(run, sealed, device=device, views=args.views, duplicates=known)
    entry = openings(sealed)[-1]
    screen.fact("ledger", f"{entry.time}  run {entry.run}  recipe {entry.recipe}  weights {entry.weights}")
    screen.fact("", f"test images {entry.test}, written to {ledger_file()}")
    for line in scores.lines():
        screen.say(line)
    views = read_json(run.file("scores-test-views.json")) if args.views != 1 else None
    if views is not None:
        top1 = Estimate.from_dict(views["top1"])
        screen.say(f"  apart from these: {show(top1, 'share')} {show_interval(top1, 'share')} with {args.views} views")
    screen.say(f"next: pocketlens report {run.id}{runs_option(run)}")
    result = {"id": run.id, "path": str(run.path), "ledger": vars(entry), "test": scores.to_dict(), "views": views}
    screen.finish({**result, "next": f"pocketlens report {run.id}"})
    return 0
