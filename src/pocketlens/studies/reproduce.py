"""Reproducing a run: is a second run byte-identical, within the variation over seeds, or different?

Equal means the same history, weights and validation predictions, byte for byte. Otherwise the difference of the two
validation scores is compared with the variation between runs of the same recipe, data and split with other seeds, where
there are at least three; else McNemar's test on the validation rows decides. It is stricter, because another seed also
changes single predictions.
"""

from __future__ import annotations

import filecmp
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special

from pocketlens.datasets import sized_as
from pocketlens.files import to_json
from pocketlens.scoring.predictions import Predictions, read_predictions
from pocketlens.scoring.significance import ALPHA, mcnemar
from pocketlens.text import counted
from pocketlens.training.run import Run, all_runs

FEWEST = 3  # runs with other seeds from which a standard deviation is estimated


@dataclass(frozen=True)
class Reproduced:
    """How a second run compares with the first.

    Attributes:
        word: "equal", "within seed noise", "different", or "not equal" where there are no validation scores to compare.
        epoch: the first epoch whose record differs, from 1; None where there is none.
        before, after: that record in the first and in the second run.
        how: the evidence for `word`, as a sentence.
        changed: the differences of machine and libraries, as `KEY BEFORE -> AFTER`.
    """

    word: str
    epoch: int | None
    before: dict[str, Any]
    after: dict[str, Any]
    how: str
    changed: tuple[str, ...]


def compare_runs(first: Run, second: Run) -> Reproduced:
    """Compares a finished run with its reproduction.

    Raises:
        PocketlensError: one of them has no checkpoint.
    """
    here, there = first.environment, second.environment
    changed = tuple(f"{key} {here[key]} -> {there.get(key)}" for key in here if there.get(key) != here[key])
    differing = _first_difference(first.history(), second.history())
    if differing.epoch is None and first.weights_hash() == second.weights_hash() and _same_predictions(first, second):
        return Reproduced("equal", None, {}, {}, "every byte of history, weights and validation predictions", changed)
    paths = [run.file("predictions-val.safetensors") for run in (first, second)]
    if not all(path.exists() for path in paths):
        word, how = "not equal", "there are no validation scores to compare"
    else:
        evidence = _evidence(first, *(read_predictions(path) for path in paths))
        word, how = "within seed noise" if evidence.is_within else "different", evidence.how
    return Reproduced(word, differing.epoch, differing.before, differing.after, how, changed)


@dataclass(frozen=True)
class _Evidence:
    """Whether the difference of two scores is within the variation over seeds, and from what that follows."""

    is_within: bool
    how: str


def _evidence(run: Run, before: Predictions, after: Predictions) -> _Evidence:
    right = [predictions.predicted == predictions.labels for predictions in (before, after)]
    difference = float(right[1].mean() - right[0].mean())
    scores = _scores_of_other_seeds(run)
    if len(scores) >= FEWEST:
        sd = max(float(np.std(scores, ddof=1)), 1 / len(right[0]) / math.sqrt(12))
        limit = float(special.stdtrit(len(scores) - 1, 1 - ALPHA / 2)) * sd * math.sqrt(2)
        how = (
            f"{100 * difference:+.2f} points, where two of {counted(len(scores), 'seed')} of this recipe "
            "differ by up to "
            f"{100 * limit:.2f} in 95 % of cases"
        )
        return _Evidence(abs(difference) <= limit, how)
    first, second, p = mcnemar(right[0], right[1])
    only = f"{first} and {second} rows are right in only one of them (McNemar p {p:.2g})"
    return _Evidence(p > ALPHA, f"{100 * difference:+.2f} points; {only}")


def _scores_of_other_seeds(run: Run) -> list[float]:
    """The last validation accuracy of this run and of each finished run that differs from it in the seed alone."""
    ours = run.experiment
    sized = sized_as(ours.data)
    kind = (ours.recipe, ours.data_fingerprint, sized, ours.val_fraction, ours.split_seed, ours.rows, ours.n_steps)
    scores: dict[int, float] = {}
    for other in all_runs(run.path.parent):
        try:
            is_complete, theirs, history = other.status()[0] == "complete", other.experiment, other.history()
        except Exception:  # noqa: S112 - a broken folder is no evidence
            continue
        same = (
            theirs.recipe,
            theirs.data_fingerprint,
            sized_as(theirs.data),
            theirs.val_fraction,
            theirs.split_seed,
            theirs.rows,
            theirs.n_steps,
        )
        if is_complete and same == kind and history and history[-1]["val_accuracy"] is not None:
            scores.setdefault(theirs.seed, float(history[-1]["val_accuracy"]))
    return list(scores.values())


@dataclass(frozen=True)
class _DifferingEpoch:
    """The first epoch whose records differ, from 1, and the record in each run; None where all are equal."""

    epoch: int | None
    before: dict[str, Any]
    after: dict[str, Any]


def _first_difference(first: list[dict[str, Any]], second: list[dict[str, Any]]) -> _DifferingEpoch:
    for index in range(max(len(first), len(second))):
        records = [history[index] if index < len(history) else {} for history in (first, second)]
        if to_json(records[0]) != to_json(records[1]):
            return _DifferingEpoch(index + 1, records[0], records[1])
    return _DifferingEpoch(None, {}, {})


def _same_predictions(first: Run, second: Run) -> bool:
    before, after = (run.file("predictions-val.safetensors") for run in (first, second))
    if not (before.exists() and after.exists()):
        return before.exists() == after.exists()
    return filecmp.cmp(before, after, shallow=False)
