"""`pocketlens robustness RUN` measures a run under the 15 standard corruptions, on validation rows."""

from __future__ import annotations

import argparse
from typing import Any

from pocketlens.cli.terminal.options import add_command, add_data, add_machine, add_runs, check_folders, count
from pocketlens.cli.terminal.screen import Screen, table
from pocketlens.cli.terminal.setup import open_run, prepare_machine, runs_option
from pocketlens.cli.work import follow_work

_EXAMPLES = ["pocketlens robustness last", "pocketlens robustness my-label --rows 5000 --json"]


def add(commands: Any) -> None:
    """Adds the command."""
    about = "measure a run under 15 corruptions (noise, blur, weather, digital), on validation rows"
    parser = add_command(commands, "robustness", about, _EXAMPLES, robustness_command)
    add_runs(parser, named=True)
    parser.add_argument(
        "--rows", type=count, default=1000, metavar="N", help="how many validation rows at most (%(default)s)"
    )
    add_data(parser)
    add_machine(parser)


def robustness_command(args: argparse.Namespace) -> int:
    """Runs the command."""
    screen = Screen(args.json)
    check_folders(args)
    run = open_run(args.run, args.runs)
    device = prepare_machine(args, run.experiment.recipe)
    from pocketlens.evaluation.robustness import measure_robustness
    from pocketlens.scoring.scores import show, show_interval
    from pocketlens.training.run_data import load_of

    dataset, _ = load_of(run, args.data)
    found = follow_work(measure_robustness(run, dataset, n_rows=args.rows, device=device), screen)
    rows = [
        (row.family, row.name, *(show(estimate, "share") for estimate in row.by_severity), show(row.mean, "share"))
        for row in found.corruptions
    ]
    header = ("", "corruption", *(f"severity {severity}" for severity in range(1, 6)), "mean")
    for line in table(rows, header):
        screen.say(line)
    for name, estimate in (("clean", found.clean), ("mean", found.mean)):
        said = f"{show(estimate, 'share')} {show_interval(estimate, 'share')}"
        screen.fact(name, f"{said}  of {found.n:,} validation images{', all corruptions' * (name == 'mean')}")
    screen.fact("stored", f"{run.file('robustness.json')} and robustness.csv")
    screen.say(f"next: pocketlens report {run.id}{runs_option(run)}")
    screen.finish({"id": run.id, "path": str(run.path), "robustness": found.to_dict()})
    return 0
