"""What is known of one training while it runs, from the files of its run alone."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from pocketlens.files import read_json
from pocketlens.recipe import Recipe, parse_sizes
from pocketlens.report.opened.curves import Chart, charts
from pocketlens.report.opened.entries import RunEntry, planned_epochs, read_run
from pocketlens.report.pictures import encode_image
from pocketlens.scoring.predictions import (
    LATEST,
    N_LATEST,
    PICTURES,
    Mistakes,
    Pictures,
    read_latest,
    read_pictures,
    read_predictions,
    worst_mistakes,
)
from pocketlens.text import format_duration
from pocketlens.training.run import Run

_OF_MISTAKES = ("predictions-val.safetensors", "scores-val.json", PICTURES, LATEST)  # the files that hold them
_EPOCHS = 3  # that tell how long the next ones take
_SMALL = 64  # px; smaller pictures are shown with hard edges


@dataclass(frozen=True)
class Wrong:
    """One mistake on a validation image: its picture as a data URI, or empty where the run keeps none of it."""

    row: int
    true: str
    predicted: str
    probability: float
    picture: str


@dataclass(frozen=True)
class ShownMistakes:
    """The surest mistakes on validation images, those with a picture first, of `n` in all.

    `epoch` is that after which they were made; None where they are those of the result.
    """

    shown: tuple[Wrong, ...]
    n: int
    n_images: int
    has_hard_edges: bool
    epoch: int | None = None


@dataclass(frozen=True)
class Live:
    """Everything that the page of one training shows.

    Attributes:
        share: how much of the training is done, 0..1; None where nothing tells.
        left: how long it still takes, or why that is not known, in words; empty once it has ended.
        mistakes: of its result, before its end those of its last epoch; None where the run's files do not have them.
        why_none: why they are not there, in words.
        facts: (name, value), in words.
    """

    entry: RunEntry
    share: float | None
    left: str
    charts: tuple[Chart, ...]
    mistakes: ShownMistakes | None
    why_none: str
    facts: tuple[tuple[str, str], ...]

    @property
    def is_running(self) -> bool:
        """Whether it is being trained now."""
        return self.entry.status == "running"


def read_live(run: Run, folder: Path, now: float | None = None) -> Live:
    """What is known of a run below `folder`; `now` is the time in seconds since 1970.

    Raises:
        PocketlensError: a file of the run cannot be read.
    """
    now = time.time() if now is None else now
    entry, history, timing = read_run(run, folder), run.history(), run.timing()
    is_running = entry.status == "running"
    done = _Done.of(run, history, timing, now) if entry.n_epochs else None
    taken = sum(line.get("seconds") or 0.0 for line in timing)
    facts = [
        ("data", entry.data),
        ("network", entry.model),
        ("recipe", f"{entry.recipe}, seed {entry.seed}"),
        ("epochs", f"{entry.epochs}" + (f" of {entry.n_epochs:.3g}" if entry.n_epochs else "")),
        ("time", format_duration(taken + (now - _since(run, now) if is_running else 0.0))),
    ]
    if timing and timing[-1].get("images_per_second"):
        facts.append(("speed", f"{timing[-1]['images_per_second']:,.0f} images/s"))
    return Live(
        entry=entry,
        share=None if done is None else done.share if is_running else 1.0 if entry.status == "complete" else done.share,
        left="" if not is_running else "" if done is None else done.left,
        charts=charts(history, entry.n_epochs),
        mistakes=_mistakes(run.path, tuple(_changed(run.file(name)) for name in _OF_MISTAKES)),
        why_none=_why_none(run, is_running),
        facts=tuple(facts),
    )


@dataclass(frozen=True)
class _Done:
    """How far a training is, judged by the time that its last epochs took and the sizes of their images."""

    share: float
    left: str

    @staticmethod
    def of(run: Run, history: Sequence[dict[str, Any]], timing: Sequence[dict[str, Any]], now: float) -> _Done:
        began = _since(run, now)
        if not history or not timing:
            return _Done(0.0, f"the first epoch has been running for {format_duration(now - began)}")
        n_epochs = planned_epochs(run, list(history))
        recipe, n = run.experiment.recipe, len(history)
        whole = work(recipe, 0.0, 1.0)
        done = work(recipe, 0.0, n / n_epochs)
        recent = timing[-_EPOCHS:]
        seconds = sum(line.get("seconds") or 0.0 for line in recent)
        spent = work(recipe, (n - len(recent)) / n_epochs, n / n_epochs)
        per_work = seconds / spent if spent > 0 else 0.0
        remaining = max(0.0, (whole - done) * per_work)
        since = min(now - began, remaining)
        share = (done + since / per_work) / whole if per_work else done / whole
        most = "at most " if recipe.patience is not None else "about "
        return _Done(min(share, 1.0), f"{most}{format_duration(remaining - since)} left")


def work(recipe: Recipe, start: float, end: float) -> float:
    """The work of a part of a training, from `start` to `end` in 0..1, where one at full size takes 1.

    A step costs as much as its images have pixels.
    """
    stages = parse_sizes(recipe.sizes)
    full = stages[-1].size if not stages[-1].relative else 100.0
    total, before = 0.0, 0.0
    for stage in stages:
        side = stage.size / (100.0 if stage.relative else full)
        total += side**2 * max(0.0, min(end, stage.until) - max(start, before))
        before = stage.until
    return total + max(0.0, end - max(start, 1.0))


def _since(run: Run, now: float) -> float:
    """When the epoch that is running now began: the last one was written, or the training started."""
    for name in ("timing.jsonl", "environment.json", "status.json"):
        if run.file(name).exists():
            return min(now, run.file(name).stat().st_mtime)
    return now


def _changed(path: Path) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0


def _why_none(run: Run, is_running: bool) -> str:
    if not len(run.split.val):
        return "There are no validation images."
    return "They are written when an epoch has ended." if is_running else "The run's files do not have them."


@lru_cache(maxsize=32)
def _mistakes(path: Path, stamps: tuple[int, ...]) -> ShownMistakes | None:
    """The mistakes of a run's result on its validation images, or of its last epoch; None where its files have neither.

    `stamps` are when the files were changed, so that they are read again when they have been.
    """
    run = Run(path)
    has_predictions, has_scores, has_pictures, has_latest = (bool(stamp) for stamp in stamps)
    latest = read_latest(run.file(LATEST)) if has_latest else None
    kept = [read_pictures(run.file(PICTURES))] if has_pictures else []
    if latest is not None and latest.shown.images is not None:
        kept.append(Pictures(latest.shown.rows, latest.shown.images))
    hard = all(max(pictures.images.shape[1:3]) <= _SMALL for pictures in kept)
    if has_predictions and has_scores:
        classes = [str(row["class"]) for row in read_json(run.file("scores-val.json"))["per_class"]]
        predictions = read_predictions(run.file("predictions-val.safetensors"))
        wrong = worst_mistakes(predictions, len(predictions.rows))
        true, said = ([classes[place] for place in places] for places in (wrong.labels, wrong.predicted))
        return ShownMistakes(_shown(wrong, true, said, kept), len(wrong.rows), len(predictions.rows), hard)
    if latest is None:
        return None
    shown = _shown(latest.shown, latest.true, latest.predicted, kept)
    return ShownMistakes(shown, latest.n, latest.n_images, hard, latest.epoch)


def _shown(
    wrong: Mistakes, true: Sequence[str], predicted: Sequence[str], kept: Sequence[Pictures]
) -> tuple[Wrong, ...]:
    """A few mistakes, the surest ones first, but before all those of which there is a picture."""
    known = set(wrong.rows.tolist())
    images = {
        row: image
        for pictures in kept
        for row, image in zip(pictures.rows.tolist(), pictures.images, strict=True)
        if row in known
    }
    rows = zip(wrong.rows.tolist(), true, predicted, wrong.probability.tolist(), strict=True)
    found = sorted(rows, key=lambda each: each[0] not in images)[:N_LATEST]  # stable
    return tuple(
        Wrong(row, label, said, probability, encode_image(images[row]) if row in images else "")
        for row, label, said, probability in found
    )
