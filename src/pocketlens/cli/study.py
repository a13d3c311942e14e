"""`pocketlens study STUDY` goes on with a study that was stopped or killed, and says what is known."""

from __future__ import annotations

import argparse
from typing import Any

from pocketlens.cli.compare import run_comparison
from pocketlens.cli.search import run_search_study
from pocketlens.cli.terminal.options import add_command, add_data, add_runs, check_folders
from pocketlens.cli.terminal.resources import add_running, check_running, running
from pocketlens.display.screen import Screen, table
from pocketlens.errors import PocketlensError

_EXAMPLES = ["pocketlens study last", "pocketlens study list", "pocketlens study my-label --jobs 2"]


def add(commands: Any) -> None:
    """Adds the command."""
    about = "go on with a study that was stopped or killed, or list the studies"
    parser = add_command(commands, "study", about, _EXAMPLES, study_command)
    parser.add_argument("study", metavar="STUDY", help="a study's folder, its id, its label, last, or list")
    add_runs(parser)
    add_data(parser)
    add_running(parser)


def study_command(args: argparse.Namespace) -> int:
    """Runs the command."""
    from pocketlens.studies.store import Study

    screen = Screen(args.json)
    check_folders(args)
    check_running(args)
    if args.study == "list":
        return _list_studies(args, screen)
    study = Study.open(args.study, args.runs)
    kind, records = study.asked["kind"], study.records()
    args.dataset = study.asked["data"]
    n_ended = sum(record.is_ended for record in records)
    screen.fact("study", f"{study.id}: {kind}, {n_ended} of {len(records)} trials have ended")
    if study.journal.n_unreadable():
        screen.fact("", f"{study.journal.n_unreadable()} lines of the journal cannot be read and are left out")
    run = run_search_study if kind == "search" else run_comparison
    with running(args, screen) as means:
        return run(study, args, means, screen)


def _list_studies(args: argparse.Namespace, screen: Screen) -> int:
    from pocketlens.studies.store import all_studies

    rows, items, broken = [], [], []
    for study in all_studies(args.runs):
        try:
            records = study.records()
            ended = sum(record.is_ended for record in records)
            running = sum(record.status == "running" for record in records)
            item = {
                "id": study.id,
                "kind": study.asked["kind"],
                "data": study.asked["data"],
                "trials": len(records),
                "ended": ended,
                "running": running,
                "label": study.label,
            }
        except (PocketlensError, OSError, KeyError, TypeError, ValueError) as error:
            broken.append(f"{study.path} cannot be read: {error}")
            continue
        items.append(item)
        rows.append((study.id, item["kind"], item["data"], f"{ended}/{len(records)}", str(running), study.label))
    for line in [*table(rows, ("study", "kind", "data", "ended", "running", "label")), *broken]:
        screen.say(line)
    if not rows and not broken:
        screen.say(f"there are no studies in {args.runs}; make one: pocketlens compare digits small resnet20")
    screen.finish({"studies": items})
    return 0
