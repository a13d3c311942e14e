"""The split of a short training, and how short trainings are described in the plan."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pocketlens.data.dataset import Dataset
from pocketlens.data.split import Split, fewer_rows
from pocketlens.pipeline.plan import REPEATS, PlannedPhase
from pocketlens.text import counted, format_duration


def short_split(split: Split, dataset: Dataset, rows: int, n_val: int) -> Split:
    """The split with `rows` of its training rows and `n_val` evenly spaced validation rows."""
    fewer = fewer_rows(split, dataset, max(rows, len(np.unique(dataset.labels[split.train]))))
    chosen = np.unique(np.linspace(0, len(split.val) - 1, n_val).round().astype(np.int64)) if n_val else slice(0)
    return replace(fewer, val=fewer.val[chosen])


def describe_short(phase: PlannedPhase, n_train: int) -> str:
    """Number, size and time of a phase's short trainings, in words."""
    short = phase.short
    if short is None:
        return ""
    rows = f"all {n_train:,} training rows" if short.rows >= n_train else f"{short.rows:,} training rows"
    each = f"{counted(short.epochs, 'epoch')} on {rows}, about {format_duration(short.seconds)} each"
    if phase.name == "search":
        return f"random trials, narrowed to the best ranges; the best repeated with {REPEATS} new seeds; {each}"
    return f"{phase.n_candidates} recipes with {phase.repeats} seeds each; {each}"
