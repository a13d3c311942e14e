"""The whole way, from a data set to a tested classifier and its page, within the time that is given.

`auto` is a generator: between the steps and epochs of its trainings it yields a `Stage` wherever something was decided
or done. The test rows are opened once, for the one classifier that was chosen before; where this test part has been
opened earlier, `auto` stops at validation unless it is told to open it again.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pocketlens.budget import plan_steps
from pocketlens.contamination import known_duplicates
from pocketlens.dataset import Dataset, SealedTest
from pocketlens.datasets import load
from pocketlens.errors import PocketlensError
from pocketlens.evaluate import open_test
from pocketlens.files import write_bytes
from pocketlens.fit import Epoch, Progress
from pocketlens.ledger import openings
from pocketlens.look import look_at, sample_sheet
from pocketlens.recipe import SMALL, Experiment, Recipe, read_recipe
from pocketlens.report import write_report
from pocketlens.run import Run
from pocketlens.split import Split, make_split
from pocketlens.train import Note, refit, train

CANDIDATES: dict[str, tuple[tuple[str, str, dict[str, Any]], ...]] = {  # name, recipe, what differs from it
    "small": (
        ("small", "small", {}),
        ("small with flips", "small", {"augment": "flip | crop(pad=1)"}),
        ("resnet20", "resnet20", {}),
    ),
    "large": (
        ("default", "default", {}),
        ("default with cutout", "default", {"augment": "flip | crop(pad=2) | cutout(size=8)"}),
        ("resnet18", "resnet18", {}),
    ),
}
SHARE = 0.8  # of the time goes into training; the rest is for measuring, scoring and the page
LEAST = 1 / 3  # of a recipe's epochs: with less, fewer recipes are tried
MOST = 3.0  # times a recipe's epochs, where there is time
MOST_LATE = 1.5  # times the time that is left: what would take longer is left out


@dataclass(frozen=True)
class Stage:
    """Something that was decided or done: its name, lines for a person, facts for a program."""

    name: str  # plan, look, time, train, result, failed, skip, choose, refit, test, report
    lines: tuple[str, ...]
    facts: dict[str, Any] = field(default_factory=dict)


Events = Generator[Stage | Note | Progress | Epoch, None, None]


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
    planned = _plan_trainings(task, deadline)
    yield planned.stage()
    chosen, pace = yield from _train_candidates(task, planned, deadline)
    final = chosen
    if planned.refits and pace * planned.refit_seconds > MOST_LATE * (deadline - time.monotonic()):
        yield Stage("refit", ("left out, as the time is nearly over: the chosen one is judged as it is",))
    elif planned.refits:
        final = refit(chosen, runs)
        line = f"the chosen recipe once more, on all {len(dataset):,} development rows"
        yield Stage("refit", (line,), {"run": final.id})
        yield from train(final, dataset, device=device)
    yield _judge(task, final, open_again)
    yield _write_page(task, final)


def _plan(text: str, minutes: float) -> Stage:
    lines = (
        f"{minutes:g} minute{'' if minutes == 1 else 's'} for {text}:",
        "1. look at the data and set a tenth of the development rows aside for validation",
        "2. measure how fast this machine trains, and turn the time into steps",
        "3. train a few recipes and choose one by its validation accuracy",
        "4. train the chosen one again on all development rows, where there is time",
        "5. open the sealed test rows once, and write a page",
    )
    return Stage("plan", lines, {"data": text, "minutes": minutes})


@dataclass(frozen=True)
class _Candidate:
    name: str
    experiment: Experiment
    seconds: float  # that its epochs would take on the training rows


@dataclass(frozen=True)
class _Trainings:
    """What the time is used for."""

    candidates: tuple[_Candidate, ...]
    left_out: tuple[str, ...]
    factor: float  # on the epochs of every recipe
    refits: bool
    refit_seconds: float  # of the slowest candidate

    def stage(self) -> Stage:
        """What is said about it."""
        lines = []
        for candidate in self.candidates:
            recipe = candidate.experiment.recipe
            what = f"recipe {recipe.id}, {recipe.epochs:g} epochs of {recipe.model}"
            lines.append(f"{candidate.name}: {what}, about {candidate.seconds:.0f} s")
        lines += [f"{name}: left out, there is no time for it" for name in self.left_out]
        if not self.refits:
            lines.append("there is time for one training, so the validation rows stay out of it to the end")
        names = [candidate.name for candidate in self.candidates]
        return Stage("time", tuple(lines), {"candidates": names, "epochs_factor": self.factor, "refits": self.refits})


def _plan_trainings(task: _Task, deadline: float) -> _Trainings:
    """As many candidates as can train for a third of their epochs or more, and the refit of the slowest of them."""
    wanted = CANDIDATES["small" if len(task.split.train) < SMALL else "large"]
    growth = len(task.dataset) / len(task.split.train)
    affordable: list[_Candidate] = []
    for name, recipe_name, changes in wanted:
        available = SHARE * (deadline - time.monotonic())
        if affordable and _needed(affordable, growth) * LEAST > available:
            break  # measuring another one would only cost time
        candidate = _measure(task, name, read_recipe(recipe_name).changed(**changes))
        if affordable and _needed([*affordable, candidate], growth) * LEAST > available:
            continue
        affordable.append(candidate)
    available = SHARE * (deadline - time.monotonic())
    refits = len(task.split.val) > 0 and _needed(affordable, growth) * LEAST <= available
    seconds = _needed(affordable, growth) if refits else affordable[0].seconds
    factor = min(MOST, available / seconds)
    names = [candidate.name for candidate in affordable]
    left_out = tuple(name for name, _, _ in wanted if name not in names)
    candidates = tuple(_stretched(task, candidate, factor) for candidate in affordable)
    refit_seconds = growth * max(candidate.seconds for candidate in candidates)
    return _Trainings(candidates, left_out, factor, refits, refit_seconds)


def _needed(candidates: list[_Candidate], growth: float) -> float:
    """Seconds for all candidates and the refit of the slowest, on `growth` times as many rows."""
    return sum(candidate.seconds for candidate in candidates) + growth * max(c.seconds for c in candidates)


def _measure(task: _Task, name: str, recipe: Recipe) -> _Candidate:
    experiment = Experiment(
        data=task.dataset.text,
        recipe=recipe,
        data_fingerprint=task.dataset.fingerprint,
        label=f"auto: {name}",
        made_by="auto",
        minutes=task.minutes,
    )
    budget = plan_steps(experiment, task.dataset, task.split, minutes=1e6, device=task.device)
    return _Candidate(name, experiment, budget.seconds)


def _stretched(task: _Task, candidate: _Candidate, factor: float) -> _Candidate:
    """The candidate with its epochs changed by the factor, to a whole number where that is 5 or more."""
    recipe = candidate.experiment.recipe
    epochs = recipe.epochs * factor
    epochs = float(int(epochs)) if epochs >= 5 else round(epochs, 2)
    least = 4 * recipe.batch_size / len(task.split.train)  # a few steps, whatever the time
    recipe = recipe.changed(epochs=max(epochs, least))
    seconds = candidate.seconds * recipe.epochs / candidate.experiment.recipe.epochs
    return _Candidate(candidate.name, replace(candidate.experiment, recipe=recipe), seconds)


def _train_candidates(
    task: _Task, planned: _Trainings, deadline: float
) -> Generator[Stage | Note | Progress | Epoch, None, tuple[Run, float]]:
    """Trains the candidates and chooses one; also gives how much longer the trainings took than was expected."""
    results: list[_Result] = []
    expected, began = 0.0, time.monotonic()
    for candidate in planned.candidates:
        pace = (time.monotonic() - began) / expected if expected else 1.0
        needed = pace * (candidate.seconds + (planned.refit_seconds if planned.refits else 0.0))
        if results and needed > MOST_LATE * (deadline - time.monotonic()):
            yield Stage("skip", (f"{candidate.name}: left out, this machine is slower now than it was",))
            continue
        run = Run.create(candidate.experiment, task.split, task.runs)
        yield Stage("train", (f"{candidate.name}: run {run.id}",), {"candidate": candidate.name, "run": run.id})
        try:
            yield from train(run, task.dataset, device=task.device)
        except PocketlensError as error:
            if run.status()[0] != "diverged":
                raise
            yield Stage("failed", (str(error),), {"candidate": candidate.name, "run": run.id})
        else:
            last = run.history()[-1]
            results.append(_Result(last["val_accuracy"] or 0.0, last["val_loss"] or 0.0, candidate.name, run))
            yield results[-1].stage()
        expected += candidate.seconds
    if not results:
        raise PocketlensError("every candidate diverged; train one with a smaller --lr: pocketlens train --help")
    best = max(results, key=lambda result: (result.accuracy, -result.loss))
    yield _say_choice(best, len(results), len(task.split.val))
    return best.run, max(1.0, (time.monotonic() - began) / expected)


@dataclass(frozen=True)
class _Result:
    accuracy: float
    loss: float
    name: str
    run: Run

    def stage(self) -> Stage:
        """What is said about it."""
        line = f"{self.name}: validation accuracy {100 * self.accuracy:.2f} %, loss {self.loss:.4f}"
        facts = {"candidate": self.name, "run": self.run.id, "val_accuracy": self.accuracy, "val_loss": self.loss}
        return Stage("result", (line,), facts)


def _say_choice(best: _Result, n_results: int, n_val: int) -> Stage:
    lines = [f"{best.name}, with {100 * best.accuracy:.2f} % of {n_val:,} validation images right"]
    if n_results > 1:
        lines.append(f"the best of {n_results} looks a little better on validation than it is")
    return Stage("choose", tuple(lines), {"chosen": best.name, "run": best.run.id})


def _judge(task: _Task, final: Run, open_again: bool) -> Stage:
    before = openings(task.sealed)
    if before and not open_again:
        times = "once" if len(before) == 1 else f"{len(before)} times"
        lines = (
            f"this test part has been opened {times} before (last: {before[-1].time}, run {before[-1].run})",
            "so it stays closed, and the validation score is what there is",
            f"to open it all the same: pocketlens test {final.id}, or auto with --test",
        )
        return Stage("test", lines, {"opened": False, "openings": len(before), "test": None})
    known = known_duplicates(task.dataset, task.sealed)
    scores = open_test(final, task.sealed, device=task.device, duplicates=known)
    facts = {"opened": True, "openings": len(before) + 1, "test": scores.to_dict()}
    return Stage("test", tuple(scores.lines()), facts)


def _write_page(task: _Task, final: Run) -> Stage:
    sheet = final.file("samples.png")
    write_bytes(sheet, sample_sheet(task.dataset, task.split))
    page = write_report(final, task.dataset, task.sealed)
    lines = (f"samples  {sheet}", f"report   {page}", f"next: pocketlens show {final.path}")
    return Stage(
        "report", lines, {"run": final.id, "path": str(final.path), "report": str(page), "samples": str(sheet)}
    )
