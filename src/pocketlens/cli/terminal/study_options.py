"""The options of commands that make studies, and what their words mean."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Generator
from typing import TYPE_CHECKING

from pocketlens.api.requests import ResourcesRequest
from pocketlens.api.study import StudyRequest
from pocketlens.cli.terminal.opened import add_open, browser_of
from pocketlens.cli.terminal.options import (
    add_code,
    add_dataset,
    add_machine,
    add_rows,
    add_runs,
    add_split,
    add_track,
    count,
    data_of,
    machine_of,
    positive,
    recipe_of,
    seed,
)
from pocketlens.cli.terminal.parser import Parser
from pocketlens.display.progress import follow
from pocketlens.display.screen import Screen
from pocketlens.events import Event

if TYPE_CHECKING:
    from pocketlens.api.study_results import ComparisonResult, SearchResult


def add_study(parser: Parser) -> None:
    """DATASET, the split, the seed, the label, and how trials are run."""
    add_dataset(parser)
    add_rows(parser)
    add_runs(parser)
    add_code(parser)
    about = "first random seed; further repeats take the next ones (default: %(default)s)"
    parser.add_argument("--seed", type=seed, default=0, metavar="N", help=about)
    add_split(parser)
    parser.add_argument("--label", default="", metavar="TEXT", help="a name for the study, to use in place of its id")
    add_running(parser)


def add_running(parser: Parser) -> None:
    """How trials are run."""
    add_machine(parser)
    add_cluster(parser)
    add_track(parser)
    about = (
        "number of trials to run in parallel, which share the CPU threads (default: 1; on a cluster, as many as fit)"
    )
    add_open(parser, follows=True)
    parser.section("trials").add_argument("--jobs", type=count, metavar="N", help=about)
    parser.section("trials").add_argument(
        "--trial-minutes",
        type=positive,
        metavar="M",
        help="kill a trial after M minutes (default: after 10 times the slowest finished trial, at least 10 minutes)",
    )
    parser.section("trials").add_argument(
        "--trial-memory",
        type=positive,
        metavar="GB",
        help="memory limit of a trial in GB, on top of what its process has at the start (default: no limit)",
    )


def add_cluster(parser: Parser) -> None:
    """`--cluster`."""
    parser.section("machine").add_argument(
        "--cluster",
        metavar="ADDRESS",
        help="run on a Ray cluster: HOST:PORT of its head node, or auto for the one that this machine is in; all nodes "
        "must share the folder --runs",
    )


def resources_of(args: argparse.Namespace) -> ResourcesRequest:
    """How the command's words say that trials are run."""
    return ResourcesRequest(args.jobs, args.trial_minutes, args.trial_memory, args.cluster, args.track)


def study_of(args: argparse.Namespace) -> StudyRequest:
    """What the command's words say about the study."""
    return StudyRequest(
        data=data_of(args),
        recipe=recipe_of(args),
        machine=machine_of(args),
        resources=resources_of(args),
        seed=args.seed,
        label=args.label,
        made_by=made_by(),
        runs=args.runs,
    )


def run_study(
    args: argparse.Namespace, screen: Screen, events: Generator[Event, None, ComparisonResult | SearchResult]
) -> int:
    """Runs a study to its end, shows it where `--open` was given, and gives the exit code."""
    with browser_of(args, screen) as browser:
        browser.follow()
        followed = follow(events, screen)
        result = followed.result
        if result is None:
            return followed.exit_code
        screen.finish(result.to_dict())
        if result.signal is None:
            browser.show(result.study.path / "report.html")
    return result.exit_code


def made_by(argv: list[str] | None = None) -> str:
    """The command as it was typed."""
    return "pocketlens " + shlex.join(sys.argv[1:] if argv is None else argv)
