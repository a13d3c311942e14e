"""`pocketlens report RUN` writes a run's page, `pocketlens report RUN RUN ...` one that shows runs side by side."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pocketlens.cli.terminal.options import add_command, add_data, add_runs, check_folders
from pocketlens.cli.terminal.screen import Screen, table
from pocketlens.cli.terminal.setup import open_run, runs_option
from pocketlens.errors import PocketlensError

if TYPE_CHECKING:
    from pocketlens.training.run import Run

_EXAMPLES = [
    "pocketlens report last",
    "pocketlens report my-label --json",
    "pocketlens report first second third     side by side, with CSV, Markdown and LaTeX",
]


def add(commands: Any) -> None:
    """Adds the command."""
    about = "write a run's page, one self-contained HTML file; of several runs, a page that shows them side by side"
    parser = add_command(commands, "report", about, _EXAMPLES, report_command)
    parser.add_argument("run", metavar="RUN", nargs="+", help="a run's folder, its id, its label, or last")
    add_runs(parser)
    add_data(parser)
    parser.add_argument("--out", type=Path, metavar="DIR", help="where a comparison is written (the folder of runs)")


def report_command(args: argparse.Namespace) -> int:
    """Runs the command."""
    screen = Screen(args.json)
    check_folders(args)
    runs = [open_run(name, args.runs) for name in args.run]
    if len(runs) > 1:
        return _compare(runs, args, screen)
    if args.out is not None:
        raise PocketlensError("--out is for several runs; the page of one run lies in its folder.")
    run = runs[0]
    from pocketlens.report import write_report
    from pocketlens.training.run_data import load_of

    try:
        dataset, sealed = load_of(run, args.data)
    except PocketlensError as error:
        screen.say(f"the page will have no pictures of validation images: {error}")
        dataset, sealed = None, None
    path = write_report(run, dataset, sealed)
    screen.say(f"report   {path}")
    if not run.file("scores-test.json").exists():
        screen.say(f"next: pocketlens test {run.id}{runs_option(run)}")
    else:
        screen.say(f"next: open {path} in a browser")
    screen.finish({"id": run.id, "path": str(run.path), "report": str(path)})
    return 0


def _compare(runs: list[Run], args: argparse.Namespace, screen: Screen) -> int:
    from pocketlens.report.run.side_by_side import read_lines, write_comparison
    from pocketlens.report.run.side_by_side import table as cells_of

    paths = write_comparison(runs, args.out or args.runs)
    header, rows = cells_of(read_lines(runs))
    shown = [header.index(name) for name in ("run", "name", "highest val accuracy", "best epoch", "parameters")]
    shown += [header.index(name) for name in ("seconds", "Pareto: time", "test, result")]
    for line in table([tuple(row[i] for i in shown) for row in rows], tuple(header[i] for i in shown)):
        screen.say(line)
    for ending, path in paths.items():
        screen.fact({"html": "page", "csv": "CSV", "md": "Markdown", "tex": "LaTeX"}[ending], str(path))
    screen.say(f"next: open {paths['html']} in a browser")
    screen.finish({"runs": [run.id for run in runs], **{ending: str(path) for ending, path in paths.items()}})
    return 0
