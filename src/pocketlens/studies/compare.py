"""Comparing recipes: the same split and the same seeds for all of them, and a verdict for each pair.

A comparison judges all pairs; a sweep judges each recipe against the base. Both correct for all that they judge.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pocketlens.data.dataset import Dataset
from pocketlens.data.split import Split
from pocketlens.errors import PocketlensError
from pocketlens.files import RUNS
from pocketlens.recipe import Recipe, from_dict
from pocketlens.scoring.predictions import read_predictions
from pocketlens.scoring.significance import Floats, Verdict, judge, mcnemar, mean_interval
from pocketlens.studies.overrides import Variant
from pocketlens.studies.store import Record, Study, Trial
from pocketlens.training.run import Run


@dataclass(frozen=True, eq=False)
class Arm:
    """One recipe of a study with the scores of its repeats.

    Attributes:
        name: what a person calls it.
        scores: (R,) accuracy on the validation rows by seed, 0..1; NaN where a repeat has none.
        statuses: of each repeat.
        mean, sd, low, high: over the repeats that have a score, with the 95 % interval of the mean; None where there
            are too few.
    """

    name: str
    recipe: Recipe
    changes: tuple[tuple[str, Any], ...]
    scores: Floats
    statuses: tuple[str, ...]
    seconds: float
    mean: float | None
    sd: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class SeedTest:
    """McNemar's test of one pair at one seed; it decides nothing."""

    first: str
    second: str
    seed: int
    only_first: int  # rows that only the first has right
    only_second: int
    p: float


@dataclass(frozen=True, eq=False)
class Comparison:
    """What is known so far."""

    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]
    verdicts: tuple[Verdict, ...]
    seed_tests: tuple[SeedTest, ...]
    like_the_best: tuple[str, ...]  # what cannot be told from the arm with the highest mean, that one first
    n_val: int


def fixed_start(base: Recipe, dataset: Dataset, split: Split, runs: Path) -> Recipe:
    """The recipe whose warm start, if it has one, is an absolute path: trials lie in a folder of their own.

    Raises:
        PocketlensError: the run to start from has trained on rows by which the study would choose.
    """
    if base.start is None:
        return base
    source = Run.open(base.start, runs)
    if source.experiment.data_fingerprint == dataset.fingerprint:
        n_seen = len(np.intersect1d(source.split.train, split.val))
        if n_seen:
            raise PocketlensError(
                f"a study must not choose by rows that its warm start has trained on: run {source.id} has seen "
                f"{n_seen:,} of the {len(split.val):,} validation rows; give the --val-fraction and --split-seed of a "
                "run that kept rows for validation."
            )
    return base.changed(start=str(source.path.resolve()))


def question(dataset: Dataset, split: Split, base: Recipe, **more: Any) -> dict[str, Any]:
    """What study.json holds for every kind of study; `more` is what one kind adds.

    Raises:
        PocketlensError: there are no validation rows, from which alone scores come.
    """
    if not len(split.val):
        raise PocketlensError("a study needs validation rows to choose by; --val-fraction must be above 0.")
    n_all = round(len(dataset) - len(split.val))
    return {
        "data": dataset.text,
        "data_fingerprint": dataset.fingerprint,
        "val_fraction": split.val_fraction,
        "split_seed": split.seed,
        "rows": len(split.train) if len(split.train) < n_all else None,
        "n_train": len(split.train),
        "n_val": len(split.val),
        "n_classes": len(dataset.classes),
        "shape": list(dataset.shape),
        "base": base.to_dict(),
        **more,
    }


def start_comparison(asked: dict[str, Any], split: Split, variants: list[Variant], runs: Path = RUNS) -> Study:
    """A new study of these recipes; `asked` holds repeats, seed and judge ("all pairs" or "base").

    Raises:
        PocketlensError: two of them are the same recipe, or there is only one.
    """
    seen: dict[str, str] = {}
    for variant in variants:
        key = str(variant.recipe.to_dict())
        if key in seen:
            raise PocketlensError(f"{variant.name!r} and {seen[key]!r} are the same recipe; leave one out.")
        seen[key] = variant.name
    if len(variants) < 2:
        raise PocketlensError("a comparison needs at least two different recipes.")
    arms = [
        {"name": variant.name, "recipe": variant.recipe.to_dict(), "changes": dict(variant.changes)}
        for variant in variants
    ]
    study = Study.create({**asked, "arms": arms}, split, runs)
    study.ask(trials_of(study))
    return study


def trials_of(study: Study) -> list[Trial]:
    """All trials of a comparison, seed by seed, so that those of a seed stand side by side early."""
    arms, seed = study.asked["arms"], study.asked["seed"]
    return [
        Trial(
            repeat * len(arms) + index,
            arm["name"],
            "repeats",
            seed + repeat,
            from_dict(arm["recipe"], "study.json"),
            tuple(arm["changes"].items()),
        )
        for repeat in range(study.asked["repeats"])
        for index, arm in enumerate(arms)
    ]


def read_comparison(study: Study) -> Comparison:
    """What the trials that have ended say."""
    trials = trials_of(study)
    records = {record.trial.number: record for record in study.records()}
    found = [records.get(trial.number, Record(trial)) for trial in trials]
    names = [arm["name"] for arm in study.asked["arms"]]
    pairs = [(names[0], name) for name in names[1:]] if study.asked["judge"] == "base" else None
    return judged(study, names, found, pairs)


def judged(study: Study, names: list[str], records: list[Record], pairs: list[tuple[str, str]] | None) -> Comparison:
    """The comparison of arms by their records; `pairs` None judges all of them."""
    seeds = tuple(sorted({record.trial.seed for record in records}))
    arms = tuple(_arm(name, [record for record in records if record.trial.arm == name], seeds) for name in names)
    scores = {arm.name: arm.scores for arm in arms}
    n_val = int(study.asked["n_val"])
    verdicts = judge(scores, pairs, resolution=1 / n_val)
    tests = [
        test
        for verdict in verdicts
        for seed in seeds
        if (test := _seed_test(study, records, (verdict.first, verdict.second), seed)) is not None
    ]
    return Comparison(arms, seeds, tuple(verdicts), tuple(tests), _like_the_best(arms, verdicts, n_val), n_val)


def _arm(name: str, records: list[Record], seeds: tuple[int, ...]) -> Arm:
    by_seed = {record.trial.seed: record for record in records}
    scores = np.array([math.nan if by_seed[seed].score is None else by_seed[seed].score for seed in seeds], np.float64)
    known = scores[np.isfinite(scores)]
    mean, sd, low, high = mean_interval(known) if len(known) else (None, None, None, None)
    first = records[0].trial
    seconds = sum(record.seconds for record in records)
    statuses = tuple(by_seed[seed].status for seed in seeds)
    return Arm(name, first.recipe, first.changes, scores, statuses, seconds, mean, sd, low, high)


def _like_the_best(arms: tuple[Arm, ...], given: list[Verdict], n_val: int) -> tuple[str, ...]:
    """The arm with the highest mean, and those that neither the study's verdicts nor all pairs can tell from it."""
    rated = [arm for arm in arms if arm.mean is not None]
    if not rated:
        return ()
    best = max(rated, key=lambda arm: arm.mean or 0.0)
    verdicts = judge({arm.name: arm.scores for arm in rated}, resolution=1 / n_val) if len(rated) > 1 else []
    told = {
        name
        for verdict in [*given, *verdicts]
        if best.name in (verdict.first, verdict.second) and verdict.word != "cannot tell"
        for name in (verdict.first, verdict.second)
    }
    return (best.name, *(arm.name for arm in rated if arm.name not in told and arm is not best))


def _seed_test(study: Study, records: list[Record], pair: tuple[str, str], seed: int) -> SeedTest | None:
    right = []
    for name in pair:
        record = next(r for r in records if r.trial.arm == name and r.trial.seed == seed)
        path = study.run(record.trial).file("predictions-val.safetensors")
        if record.status != "complete" or not path.exists():
            return None
        predictions = read_predictions(path)
        right.append(predictions.predicted == predictions.labels)
    only_first, only_second, p = mcnemar(right[0], right[1])
    return SeedTest(pair[0], pair[1], seed, only_first, only_second, p)
