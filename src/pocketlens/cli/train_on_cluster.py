"""`pocketlens train … --repeat N --cluster ADDRESS`: each seed's run is a task on the cluster."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from typing import TYPE_CHECKING

from pocketlens.cli.terminal.progress import best_lines
from pocketlens.cli.terminal.resources import track_run
from pocketlens.cli.terminal.screen import Screen
from pocketlens.cli.terminal.setup import runs_option
from pocketlens.cli.terminal.signals import stop_on_signals
from pocketlens.errors import PocketlensError
from pocketlens.events import TrialEnded
from pocketlens.text import clock, printable
from pocketlens.training.ranks import asked_ranks

if TYPE_CHECKING:
    from pocketlens.studies.executors import Resources
    from pocketlens.training.run import Run


def check_alone(args: argparse.Namespace) -> None:
    """Refuses what means this machine, or another way to use several.

    Raises:
        PocketlensError: one is given.
    """
    if asked_ranks(os.environ).n > 1:
        raise PocketlensError("--cluster and torchrun are two ways to use several machines; leave one of them out.")
    for name in ("minutes", "save_every"):
        if getattr(args, name) is not None:
            option = f"--{name.replace('_', '-')}"
            raise PocketlensError(f"{option} is measured and done on this machine; leave it out with --cluster.")


def train_on_cluster(runs: list[Run], means: Resources, screen: Screen) -> int | None:
    """Trains runs of one recipe and says what becomes of each; gives the signal that stopped them, or None."""
    from pocketlens.studies.pool import train_runs

    for run in runs:
        screen.fact("run", f"{run.id}, seed {run.experiment.seed}, in {run.path.parent}")
    events = train_runs(runs, means.limits, jobs=means.jobs, executor=means.executor)
    with stop_on_signals() as signal_that_came, contextlib.closing(events):
        for event in events:
            if isinstance(event, TrialEnded):
                run = runs[event.trial.number]
                _say_end(event, run, screen)
                track_run(means.tracker, run, screen)
            if signal_that_came() is not None:
                break
        signal = signal_that_came()
    if signal is not None:
        for run in runs:
            if run.status()[0] != "complete":
                screen.say(f"stopped; go on with: pocketlens resume {run.id}{runs_option(run)}")
    return signal


def _say_end(event: TrialEnded, run: Run, screen: Screen) -> None:
    if event.status != "complete":
        print(f"pocketlens: {printable(f'{event.trial.what}: {event.status}, {event.reason}')}", file=sys.stderr)
        return
    accuracy = "" if event.score is None else f"validation accuracy {event.score:.2%}, "
    screen.say(f"{event.trial.what}: {accuracy}in {clock(event.seconds)}")
    for line in best_lines(run.history()):
        screen.say(f"  {line}")
