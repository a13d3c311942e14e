"""`pocketlens test RUN` opens the sealed test rows for one finished run and writes that down first."""

from __future__ import annotations

import argparse
from typing import Any

from pocketlens.cli.options import add_command, add_data, add_machine, add_runs, check_folders
from pocketlens.cli.screen import Screen
from pocketlens.cli.train import open_run, prepare_machine, runs_option
from pocketlens.errors import PocketlensError

_EXAMPLES = ["pocketlens test last", "pocketlens test my-label --json"]


def add(commands: Any) -> None:
    """Adds the command."""
    parser = add_command(commands, "test", "open the sealed test rows once, on the record", _EXAMPLES, test_command)
    add_runs(parser, named=True)
    add_data(parser)
    add_machine(parser)


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
    from pocketlens.contamination import known_duplicates
    from pocketlens.datasets import load
    from pocketlens.evaluate import open_test, openings
    from pocketlens.files import ledger_file

    dataset, sealed = load(run.experiment.data, args.data)
    scores = open_test(run, sealed, device=device, duplicates=known_duplicates(dataset, sealed))
    entry = openings(sealed)[-1]
    screen.fact("ledger", f"{entry.time}  run {entry.run}  recipe {entry.recipe}  weights {entry.weights}")
    screen.fact("", f"test images {entry.test}, written to {ledger_file()}")
    for line in scores.lines():
        screen.say(line)
    screen.say(f"next: pocketlens report {run.id}{runs_option(run)}")
    result = {"id": run.id, "path": str(run.path), "ledger": vars(entry), "test": scores.to_dict()}
    screen.finish({**result, "next": f"pocketlens report {run.id}"})
    return 0
