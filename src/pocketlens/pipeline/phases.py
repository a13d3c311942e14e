"""The whole way, from a data set to a tested classifier and its page, within the time that is given.

`auto` is a generator: between the steps of its trainings it yields a `Stage` wherever something was decided or done.
Every phase leaves its result in the way's folder (state.py) before the next begins; a way that was killed goes on
with what is missing when the same is asked again. The test rows are opened once, for the one classifier that was chosen
before; where this test part has been opened earlier, `auto` stops at validation unless it is told to open it again.
"""

from __future__ import annotations

import math
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pocketlens.audit.summary import sample_sheet, summarize
from pocketlens.data.dataset import Dataset, SealedTest
from pocketlens.data.duplicates import known_duplicates
from pocketlens.data.split import Split, make_split
from pocketlens.datasets import component, load
from pocketlens.errors import PocketlensError
from pocketlens.evaluation.open_test import open_test
from pocketlens.events import Epoch, Note, Progress, Stage, Step
from pocketlens.files import read_json, write_bytes
from pocketlens.pipeline.comparisons import Asked, ask, say_part, short_split
from pocketlens.pipeline.final import Final, train_check, train_final
from pocketlens.pipeline.look import expected_looks, look_deeper
from pocketlens.pipeline.page import write_way_page
from pocketlens.pipeline.plan import Known, Part, Plan, make_plan
from pocketlens.pipeline.session import Way, open_way
from pocketlens.recipe import Experiment, read_recipe, usual_name
from pocketlens.report import write_report
from pocketlens.scoring.ledger import openings
from pocketlens.scoring.scores import Scores
from pocketlens.studies.process import Limits
from pocketlens.text import say_duration
from pocketlens.training.budget import plan_steps
from pocketlens.training.run import Run

MEASURED_BATCH, MEASURED_VAL = 256, 500  # images of a measured step, and of a measured validation
FEW_EPOCHS = 1.5  # of a large set's recipe in the final training: with less, the recipe `small` learns more
TOO_LITTLE = 0.3  # of the time for the final training
Events = Generator[Stage | Note | Step | Progress | Epoch, None, None]


@dataclass(frozen=True, eq=False)
class _Task:
    """What stays the same through the whole way."""

    way: Way
    dataset: Dataset
    sealed: SealedTest
    split: Split
    runs: Path
    limits: Limits

    @property
    def opens(self) -> bool:
        """Whether the test rows will be opened; then the final training has all development rows."""
        return bool(self.way.value["opens"])

    @property
    def final(self) -> Final:
        """What its check and its final training need of it."""
        return Final(self.way, self.dataset, self.split, self.runs, self.limits.device)


def auto(
    text: str,
    *,
    minutes: float = 30.0,
    data: Path | None = None,
    runs: Path = Path("pocketlens-runs"),
    device: str = "cpu",
    open_again: bool = False,
) -> Events:
    """Goes the whole way, or on with the way that was begun for the same; `open_again` opens an opened test part.

    Raises:
        PocketlensError: the data set cannot be read, or the runs cannot be written.
    """
    began = time.monotonic()
    if not 0 < minutes < math.inf:
        raise PocketlensError(f"minutes must be above 0, got {minutes:g}.")
    many = "minute" if minutes == 1 else "minutes"
    yield Stage("auto", (f"{minutes:g} {many} for {text}; reading the data, then measuring this machine",))
    dataset, sealed = load(text, data)
    asked = {"text": str(component(text)), "minutes": minutes, "open_again": open_again}
    split = make_split(dataset)
    base = read_recipe(usual_name(len(split.train), dataset.shape[2]))
    limits = Limits(device, torch.get_num_threads(), data=None if data is None else data.resolve())
    with open_way({**asked, "fingerprint": dataset.fingerprint}, base, runs, began) as way:
        if "opens" not in way.value:
            way.note(opens=open_again or not openings(sealed), loading=round(way.spent, 2))
        task = _Task(way, dataset, sealed, split, runs, limits)
        for event in _go(task):
            way.beat()
            yield event


def _go(task: _Task) -> Events:
    way = task.way
    if way.done or way.value["begun"]:
        done = ", ".join(way.done) or "nothing"
        spent = f"{say_duration(way.spent)} of {say_duration(way.limit)} were spent"
        yield Stage("again", (f"goes on with {way.id}: {done} done before, {spent}",), {"way": way.id})
    look = summarize(task.dataset, task.sealed, task.split)
    yield Stage("data", tuple(look.lines()), {"look": look.to_dict()})
    known = yield from _measured(task)
    plan = make_plan(known, way.spent, way.done)
    if "plan" not in way.done and plan.epochs < FEW_EPOCHS and way.base != read_recipe("small"):
        small = read_recipe("small").changed(augment=way.base.augment)
        yield Note(f"there is time for {plan.epochs:g} epochs of {way.base.model}; {small.model} gets more out of it")
        way.note(base=small.to_dict())
        known = yield from _measured(task)
        plan = make_plan(known, way.spent, way.done)
    said = _say_plan(task, known, plan)
    yield said if "plan" in way.done else way.end(said)
    for kind in ("look", "augment", "models", "search", "check"):
        if kind in way.done:
            yield way.stage(kind)
            continue
        part = make_plan(known, way.spent, way.done).part(kind)
        if part is None and kind in way.value["begun"]:
            part = Part(kind, 0.0)  # what was begun is brought to its end
        if part is not None:
            yield from _phase(task, part)
            known = yield from _measured(task)
    run = yield from train_final(task.final, known)
    yield _judge(task, run)
    yield _write_pages(task, run)


def _phase(task: _Task, part: Part) -> Events:
    way = task.way
    if part.name == "look":
        yield (yield from look_deeper(way, (task.dataset, task.sealed), part, task.limits.device))
    elif part.name == "check":
        yield (yield from train_check(task.final, part))
    else:
        yield (yield from ask(way, Asked(task.dataset, task.split, part, task.limits)))


def _measured(task: _Task) -> Generator[Step, None, Known]:
    """What is known of the recipe's speed here; measured anew where the model has changed."""
    way, base, n_val = task.way, task.way.base, len(task.split.val)
    recipe = base.changed(epochs=1.0, lr=1.0).to_dict()  # on these two no speed depends
    seen = way.value.get("measured", {})
    if seen.get("recipe") != recipe:
        yield Step("measuring this machine", 0, 1)
        seen = {"recipe": recipe, **_measure(task)}
        way.note(measured=seen)
        yield Step("measuring this machine", 1, 1)
    n_test, excess = len(task.sealed), float(way.value.get("excess", 0.0))
    return Known(
        limit=way.limit,
        n_train=len(task.split.train),
        n_val=n_val,
        n_final=len(task.dataset) if task.opens else len(task.split.train),
        epochs=base.epochs,
        batch_size=base.batch_size,
        image=seen["image"],
        judge=seen["judge"],
        start=1.5 + 0.5 * way.value["loading"] + (5.0 if task.limits.device == "cuda" else 0.0) + excess,
        end=min(3.0 + 1.5 * n_test * seen["judge"] + 5e-5 * n_test, 0.3 * way.limit),
        looks=expected_looks(task.dataset, n_test),
        is_sealed=task.opens,
    )


def _measure(task: _Task) -> dict[str, Any]:
    """Seconds to train on and to judge an image, and of a step at each size; with smaller batches, where steps last."""
    base, n_train = task.way.base, len(task.split.train)
    n_val, device = min(len(task.split.val), MEASURED_VAL), task.limits.device
    smaller = max(1, base.batch_size // MEASURED_BATCH) if device == "cpu" else 1
    recipe = base.changed(batch_size=math.ceil(base.batch_size / smaller))
    experiment = Experiment(task.dataset.text, recipe, data_fingerprint=task.dataset.fingerprint)
    split = short_split(task.split, task.dataset, n_train, n_val)
    budget = plan_steps(experiment, task.dataset, split, minutes=1e6, device=device)
    training = budget.seconds - math.ceil(base.epochs) * budget.seconds_per_validation
    image = training / (base.epochs * n_train)
    return {
        "image": image,
        "judge": budget.seconds_per_validation / n_val if n_val else image / 3,
        "steps": {size: smaller * seconds for size, seconds in budget.seconds_per_step.items()},
    }


def _say_plan(task: _Task, known: Known, plan: Plan) -> Stage:
    base, lines = task.way.base, []
    for part in plan.parts:
        lines.append(f"{part.name:<8} {say_duration(part.seconds):>10}  {_say_part(task, part)}")
    lines += [f"left out: {name}, {why}" for name, why in plan.left_out]
    if not task.opens:
        lines.append("this test part has been opened before: it stays closed, and validation rows are kept to the end")
    final = plan.part("final")
    if final is None or (final.seconds < TOO_LITTLE * known.limit and final.epochs < base.epochs):
        lines.append("that is too little time: most of it goes into what is not training; give a minute or more")
    speed = f"{1 / known.image:,.0f} images a second in training, {1 / known.judge:,.0f} in judging"
    lines.append(f"measured: {speed}, with {base.model}")
    phases = {part.name: round(part.seconds, 1) for part in plan.parts}
    facts = {"way": task.way.id, "seconds": phases, "left_out": dict(plan.left_out), "image": known.image}
    return Stage("plan", tuple(lines), facts)


def _say_part(task: _Task, part: Part) -> str:
    n, base = len(task.dataset), task.way.base
    if part.name == "look":
        return f"plain facts{f', {part.depth}' if part.depth else ''}"
    if part.name == "check":
        return f"{base.model} once, short, on training rows: does it learn?"
    if part.name == "final":
        rows = f"all {n:,} development rows" if task.opens else f"{len(task.split.train):,} training rows"
        return f"about {part.epochs:g} epochs on {rows}"
    if part.name == "test":
        return "opens the sealed test rows once, and writes the page" if task.opens else "validation score and page"
    return say_part(part, len(task.split.train))


def _judge(task: _Task, run: Run) -> Stage:
    """Opens the test rows, unless that was done before; a way that was killed here reads what was written."""
    before = [opening for opening in openings(task.sealed) if opening.run != run.id]
    if before and not (task.way.value["asked"]["open_again"]):
        times = "once" if len(before) == 1 else f"{len(before)} times"
        closed = (
            f"this test part has been opened {times} before (last: {before[-1].time}, run {before[-1].run})",
            "so it stays closed, and the validation score is what there is" + _say_validation(run),
            f"to open it all the same: pocketlens test {run.id}, or auto with --test",
        )
        return task.way.end(Stage("test", closed, {"opened": False, "openings": len(before), "test": None}))
    path = run.file("scores-test.json")
    if path.exists():
        scores = Scores.from_dict(read_json(path), str(path))
    else:
        known = known_duplicates(task.dataset, task.sealed)
        scores = open_test(run, task.sealed, device=task.limits.device, duplicates=known, resumed=True)
    lines = (*scores.lines(), *_say_coarse(scores))
    facts = {"opened": True, "openings": len(openings(task.sealed)), "test": scores.to_dict()}
    return task.way.end(Stage("test", lines, facts))


def _say_validation(run: Run) -> str:
    history = run.history()
    if not history or history[-1]["val_accuracy"] is None:
        return ""
    return f": {100 * history[-1]['val_accuracy']:.2f} %"


def _say_coarse(scores: Scores) -> tuple[str, ...]:
    """What is known about superclasses, which needs no training: the probabilities of their classes are added up."""
    above = scores.superclasses
    if above is None or scores.coarse is None or scores.coarse.value is None or len(above) == len(scores.classes):
        return ()
    return (
        f"{len(above)} superclasses: {100 * scores.coarse.value:.2f} % by the summed probabilities of their classes, "
        "from this same opening (a head of its own would need another one)",
    )


def _write_pages(task: _Task, run: Run) -> Stage:
    way = task.way
    sheet = run.file("samples.png")
    write_bytes(sheet, sample_sheet(task.dataset, task.split))
    report = write_report(run, task.dataset, task.sealed)
    page = write_way_page(way.path, f"auto: {task.dataset.text}", [way.stage(phase) for phase in way.done], report)
    taken = f"{say_duration(way.spent)} of {say_duration(way.limit)} taken"
    lines = (
        f"samples  {sheet}",
        f"report   {report}",
        f"the way  {page}",
        f"{taken}; next: pocketlens show {run.path}",
    )
    facts: dict[str, Any] = {"run": run.id, "path": str(run.path), "report": str(report), "samples": str(sheet)}
    stage = way.end(Stage("report", lines, {**facts, "way": str(page), "seconds": round(way.spent, 1)}))
    way.note(finished="complete")
    return stage
