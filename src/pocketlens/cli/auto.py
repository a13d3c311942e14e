"""`pocketlens auto DATASET` goes the whole way, from a data set to a tested classifier and its page."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Generator
from typing import Any

from pocketlens.cli.terminal.options import (
    add_command,
    add_dataset,
    add_machine,
    add_runs,
    check_dataset,
    check_folders,
    positive,
)
from pocketlens.cli.terminal.progress import follow
from pocketlens.cli.terminal.screen import Screen
from pocketlens.cli.terminal.setup import prepare_machine
from pocketlens.events import Stage

_EXAMPLES = [
    "pocketlens auto digits --minutes 1",
    "pocketlens auto \"cifar100(labels='coarse')\" --minutes 60 --test",
    "pocketlens auto path/to/images --minutes 30 --new",
]


def add(commands: Any) -> None:
    """Adds the command."""
    about = "the whole way: look, compare, search, train on all rows, test once, report; killed, it goes on"
    parser = add_command(commands, "auto", about, _EXAMPLES, auto_command)
    add_dataset(parser)
    parser.add_argument("--minutes", type=positive, default=30.0, metavar="M", help="the time for everything (30)")
    parser.add_argument(
        "--test", action="store_true", help="open the test rows even if they have been opened for this data before"
    )
    parser.add_argument(
        "--new", action="store_true", help="begin anew, where the same was begun before and has not come to its end"
    )
    add_runs(parser)
    add_machine(parser)


def auto_command(args: argparse.Namespace) -> int:
    """Runs the command."""
    screen = Screen(args.json)
    check_dataset(args.dataset)
    check_folders(args)
    device = prepare_machine(args)
    from pocketlens.datasets import component
    from pocketlens.pipeline import run_auto
    from pocketlens.pipeline.session import close_sessions

    closed = close_sessions(str(component(args.dataset)), args.runs) if args.new else []
    for session in closed:
        screen.fact("new", f"session {session} is closed; its files are kept")
    stages: list[Stage] = []
    events = run_auto(
        args.dataset, minutes=args.minutes, data=args.data, runs=args.runs, device=device, open_again=args.test
    )
    followed = follow(_keeping(events, stages), screen)
    facts: dict[str, Any] = {"stages": [{"stage": stage.name, **stage.facts} for stage in stages]}
    if followed.signal is not None:
        screen.say("stopped; the same command goes on with what is missing (--new begins anew)")
        screen.finish({**facts, "stopped": True})
        return followed.exit_code
    screen.finish({**facts, **stages[-1].facts})
    return 0


def _keeping(events: Generator[Any, None, Any], stages: list[Stage]) -> Generator[Any, None, None]:
    with contextlib.closing(events):
        for event in events:
            if isinstance(event, Stage):
                stages.append(event)
            yield event
