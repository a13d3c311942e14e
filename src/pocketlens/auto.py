"""The whole way, from a data set to a tested classifier and its page, within the time that is given.

`auto` is a generator: between the steps and epochs of its trainings it yields a `Stage` wherever something was decided
or done. The test rows are opened once, for the one classifier that was chosen before; where this test part has been
opened earlier, `auto` stops at validation unless it is told to open it again.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pocketlens.budget import plan_steps
from pocketlens.dataset import Dataset, SealedTest
from pocketlens.datasets import load
from pocketlens.evaluate import open_test
from pocketlens.files import read_json, write_bytes
from pocketlens.fit import Epoch, Progress
from pocketlens.ledger import openings
from pocketlens.look import look_at, sample_sheet
from pocketlens.recipe import Experiment, Recipe, read_recipe
from pocketlens.report import write_report
from pocketlens.run import Run
from pocketlens.scores import Scores
from pocketlens.split import Split, make_split
from pocketlens.train import refit, train

SMALL = 20_000  # training rows below which the recipes for small data are tried
CANDIDATES = {
    "small": ("small", "small-flip", "resnet20"),
    "large": ("default", "default-cutout", "resnet18"),
}
SHARE = 0.85  # of the time goes into training; the rest is for loading, scoring and the page
MOST_FOR_ALL = 0.5  # a recipe is tried in full only where a full training takes at most this part of the time


@dataclass(frozen=True)
class Stage:
    """Something that was decided or done: its name, lines for a person, facts for a program."""

    name: str  # plan, look, time, candidate, choose, refit, test, report
    lines: tuple[str, ...]
    facts: dict[str, Any] = field(default_factory=dict)


Events = Generator["Stage | Progress | Epoch", None, None]


@dataclass(frozen=True)
class _Task:
    """What stays the same through the whole way."""

    dataset: Dataset
    sealed: SealedTest
    split: Split
    runs: Path
    device: str
    minutes: float


def auto(
    text: str,
    *,
    minutes: float = 30.0,
    data: Path | None = None,
    runs: Path = Path("pocketlens-runs"),
    device: str = "cpu",
    open_again: bool = False,
) -> Events:
    """Goes the whole way; `open_again` opens a test part that has been opened before.

    Raises:
        PocketlensError: the data set cannot be read, or the runs cannot be written.
    """
    deadline = time.monotonic() + 60 * minutes
    yield _plan(text, minutes)
    dataset, sealed = load(text, data)
    task = _Task(dataset, sealed, make_split(dataset), runs, device, minutes)
    look = look_at(dataset, sealed, task.split)
    yield Stage("look", tuple(look.lines()), {"look": look.to_dict()})
    planned, refits = _plan_trainings(task, deadline)
    yield _say_trainings(planned, refits)
    chosen = yield from _train_candidates(task, planned)
    final = chosen
    if refits:
        final = refit(chosen, dataset, runs)
        yield Stage(
            "refit", (f"the chosen recipe once more, on all {len(dataset):,} development rows",), {"run": final.id}
        )
        yield from train(final, dataset, device=device)
    yield _judge(task, final, open_again)
    yield _write_page(task, final)


def _plan(text: str, minutes: float) -> Stage:
    lines = (
        f"{minutes:g} minutes for {text}:",
        "1. look at the data and set a tenth of the development rows aside for validation",
        "2. measure how fast this machine trains, and turn the time into steps",
        "3. train a few recipes and choose one by its validation accuracy",
        "4. train the chosen one again on all development rows, where there is time",
        "5. open the sealed test rows once, and write a page",
    )
    return Stage("plan", lines, {"data": text, "minutes": minutes})


def _judge(task: _Task, final: Run, open_again: bool) -> Stage:
    before = openings(task.sealed)
    if before and not open_again:
        times = "once" if len(before) == 1 else f"{len(before)} times"
        lines = (
            f"this test part has been opened {times} before (last: {before[-1].time}, run {before[-1].run}), so it stays "
            "closed and the validation score is what there is",
            f"to open it all the same: pocketlens test {final.id}, or auto with --test",
        )
        return Stage("test", lines, {"opened": False, "openings": len(before), "test": None})
    scores = open_test(final, task.sealed, device=task.device)
    facts = {"opened": True, "openings": len(before) + 1, "test": scores.to_dict()}
    return Stage("test", tuple(scores.lines()), facts)


def _write_page(task: _Task, final: Run) -> Stage:
    sheet = final.file("samples.png")
    write_bytes(sheet, sample_sheet(task.dataset, task.split))
    page = write_report(final, task.dataset)
    lines = (f"samples  {sheet}", f"report   {page}", f"next: pocketlens show {final.path}")
    return Stage(
        "report", lines, {"run": final.id, "path": str(final.path), "report": str(page), "samples": str(sheet)}
    )
