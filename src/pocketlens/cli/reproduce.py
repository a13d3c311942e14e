"""`pocketlens reproduce RUN` trains a run once more, and says equal to the byte, within seed noise, or different."""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

from pocketlens.cli.terminal.options import add_command, add_data, add_machine, add_runs, check_folders
from pocketlens.cli.terminal.screen import Screen
from pocketlens.cli.terminal.setup import open_run, prepare_machine, runs_option
from pocketlens.cli.train import result_of, train_and_show
from pocketlens.errors import PocketlensError
from pocketlens.training.ranks import ALONE

_EXAMPLES = ["pocketlens reproduce last", "pocketlens reproduce my-label --threads 1"]


def add(commands: Any) -> None:
    """Adds the command."""
    about = "train a run once more and say whether the result is the same"
    parser = add_command(commands, "reproduce", about, _EXAMPLES, reproduce_command)
    add_runs(parser, named=True)
    add_data(parser)
    add_machine(parser)


def reproduce_command(args: argparse.Namespace) -> int:
    """Runs the command; exit code 0 where the run is equal or within noise, 4 where it is different."""
    screen = Screen(args.json)
    check_folders(args)
    run = open_run(args.run, args.runs)
    if run.status()[0] != "complete":
        raise PocketlensError(f"run {run.id} must be complete to be reproduced, it is {run.status()[0]}.")
    args.save_every = None
    device = prepare_machine(args, run.experiment.recipe)
    from pocketlens.studies.reproduce import compare_runs
    from pocketlens.training.run import Run
    from pocketlens.training.run_data import load_of
    from pocketlens.training.warm_start import with_source

    dataset, _ = load_of(run, args.data)
    experiment = dataclasses.replace(run.experiment, made_by=f"reproduce of {run.id}")
    second = Run.create(with_source(experiment, args.runs), run.split, args.runs, corrections=run.corrections())
    followed = train_and_show(second, dataset, args, (device, ALONE), screen)
    if followed.exit_code:
        screen.finish({**result_of(second, followed), "next": f"pocketlens resume {second.id}"})
        return followed.exit_code
    found = compare_runs(run, second)
    screen.say(f"run {run.id} is reproduced: {found.word}" if found.word == "equal" else f"{found.word}: {found.how}")
    if found.epoch is not None:
        screen.say(f"the first epoch that differs is {found.epoch}: {_say(found.before)}, then {_say(found.after)}")
    for text in found.changed:
        screen.say(f"not the same: {text}")
    screen.say(f"next: pocketlens show {second.id}{runs_option(second)}")
    screen.finish({"id": second.id, "reproduces": run.id, **dataclasses.asdict(found)})
    return 0 if found.word in ("equal", "within seed noise") else 4


def _say(record: dict[str, Any]) -> str:
    if not record:
        return "no such epoch"
    kinds = (("train loss", "train_loss", ".6f"), ("val accuracy", "val_accuracy", ".4%"))
    return ", ".join(f"{name} {record[key]:{form}}" for name, key, form in kinds if record.get(key) is not None)
