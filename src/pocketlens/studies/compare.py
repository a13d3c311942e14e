"""Comparing recipes: the same split and the same seeds for all of them, and a verdict for each pair.

A comparison tests all pairs, a sweep each candidate against the base. Both correct for the number of pairs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pocketlens.data.dataset import Dataset
from pocketlens.data.split import Split
from pocketlens.errors import PocketlensError
from pocketlens.files import RUNS
from pocketlens.recipe import Recipe
from pocketlens.scoring.predictions import Predictions, read_predictions
from pocketlens.scoring.significance import Floats, Verdict, compare, mcnemar, mean_interval
from pocketlens.studies.relabelled import Relabelling, Standard
from pocketlens.studies.spec import StudySpec
from pocketlens.studies.store import Record, Study, Trial
from pocketlens.text import counted
from pocketlens.training.run import Run


@dataclass(frozen=True, eq=False)
class Candidate:
    """One of the recipes that a study compares, with the scores of its repeats.

    Attributes:
        name: within the study.
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
    """McNemar's test of one pair at one seed, for information: verdicts do not depend on it."""

    first: str
    second: str
    seed: int
    only_first: int  # rows that only the first classifies correctly
    only_second: int
    p: float


@dataclass(frozen=True, eq=False)
class Comparison:
    """The scores and verdicts so far."""

    candidates: tuple[Candidate, ...]
    seeds: tuple[int, ...]
    verdicts: tuple[Verdict, ...]
    seed_tests: tuple[SeedTest, ...]
    like_the_best: tuple[str, ...]  # the candidate with the highest mean, then those without a verdict against it
    n_val: int
    by_given: Comparison | None = None  # the same by the given labels, where these scores are by corrected ones


def fixed_start(base: Recipe, dataset: Dataset, split: Split, runs: Path) -> Recipe:
    """The recipe with an absolute path as its warm start, if it has one: trials are in a folder of their own.

    Raises:
        PocketlensError: the run to start from has trained on validation rows of the study.
    """
    if base.start is None:
        return base
    source = Run.open(base.start, runs)
    if source.experiment.data_fingerprint == dataset.fingerprint:
        n_seen = len(np.intersect1d(source.split.train, split.val))
        if n_seen:
            raise PocketlensError(
                f"a study must not choose by rows that its warm start has trained on: run {source.id} has seen "
                f"{n_seen:,} of the {counted(len(split.val), 'validation row')}; give the --val-fraction "
                "and --split-seed of a "
                "run that kept rows for validation."
            )
    return base.changed(start=str(source.path.resolve()))


def start_comparison(spec: StudySpec, split: Split, runs: Path = RUNS, relabelling: Relabelling | None = None) -> Study:
    """A new study of the candidates in a spec, with all its trials; `relabelling` is that of its candidates.

    Raises:
        PocketlensError: two candidates have the same recipe, or there is only one.
    """
    seen: dict[str, str] = {}
    for candidate in spec.comparison.candidates:
        key = f"{candidate.recipe.to_dict()} {candidate.relabel}"
        if key in seen:
            raise PocketlensError(f"{candidate.name!r} and {seen[key]!r} are the same recipe; leave one of them out.")
        seen[key] = candidate.name
    if len(seen) < 2:
        raise PocketlensError("a comparison must have at least two different recipes.")
    study = Study.create(spec, split, runs, relabelling)
    study.enqueue(trials_of(study))
    return study


def trials_of(study: Study) -> list[Trial]:
    """All trials of a comparison, seed by seed, so that complete pairs exist early."""
    comparison = study.spec.comparison
    candidates = comparison.candidates
    return [
        Trial(
            repeat * len(candidates) + index,
            candidate.name,
            "repeats",
            comparison.seed + repeat,
            candidate.recipe,
            candidate.changes,
            relabel=candidate.relabel,
        )
        for repeat in range(comparison.repeats)
        for index, candidate in enumerate(candidates)
    ]


def read_comparison(study: Study) -> Comparison:
    """The comparison as far as its trials have ended; where labels were corrected, by these and by the given ones."""
    comparison = study.spec.comparison
    trials = trials_of(study)
    records = {record.trial.number: record for record in study.records()}
    found = [records.get(trial.number, Record(trial)) for trial in trials]
    names = [candidate.name for candidate in comparison.candidates]
    pairs = [(names[0], name) for name in names[1:]] if comparison.pairs == "base" else None
    relabelling = study.relabelling
    if relabelling is None:
        return compare_candidates(study, names, found, pairs)
    by_given = compare_candidates(study, names, found, pairs, relabelling.by_given)
    return replace(compare_candidates(study, names, found, pairs, relabelling.by_corrected), by_given=by_given)


def compare_candidates(
    study: Study,
    names: list[str],
    records: list[Record],
    pairs: list[tuple[str, str]] | None,
    standard: Standard | None = None,
) -> Comparison:
    """The comparison of the candidates with these names, by their records.

    Args:
        study: of the records.
        names: of the candidates.
        records: of their trials.
        pairs: which are compared; None: all.
        standard: the labels by which they are scored anew; None: those by which each was scored when it was trained.
    """
    records = records if standard is None else [_scored(study, record, standard) for record in records]
    seeds = tuple(sorted({record.trial.seed for record in records}))
    candidates = tuple(
        _candidate(name, [record for record in records if record.trial.candidate == name], seeds) for name in names
    )
    scores = {candidate.name: candidate.scores for candidate in candidates}
    n_val = study.spec.n_val if standard is None else len(standard.rows)
    verdicts = compare(scores, pairs, resolution=1 / n_val)
    tests = [
        test
        for verdict in verdicts
        for seed in seeds
        if (test := _seed_test(study, records, (verdict.first, verdict.second), seed, standard)) is not None
    ]
    like_the_best = _like_the_best(candidates, verdicts, n_val)
    return Comparison(candidates, seeds, tuple(verdicts), tuple(tests), like_the_best, n_val)


def _candidate(name: str, records: list[Record], seeds: tuple[int, ...]) -> Candidate:
    by_seed = {record.trial.seed: record for record in records}
    scores = np.array([math.nan if by_seed[seed].score is None else by_seed[seed].score for seed in seeds], np.float64)
    known = scores[np.isfinite(scores)]
    mean, sd, low, high = mean_interval(known) if len(known) else (None, None, None, None)
    first = records[0].trial
    seconds = sum(record.seconds for record in records)
    statuses = tuple(by_seed[seed].status for seed in seeds)
    return Candidate(name, first.recipe, first.changes, scores, statuses, seconds, mean, sd, low, high)


def _like_the_best(candidates: tuple[Candidate, ...], given: list[Verdict], n_val: int) -> tuple[str, ...]:
    """The candidate with the highest mean, and those that differ from it neither in the study's pairs nor in all."""
    rated = [candidate for candidate in candidates if candidate.mean is not None]
    if not rated:
        return ()
    best = max(rated, key=lambda candidate: candidate.mean or 0.0)
    all_pairs = {candidate.name: candidate.scores for candidate in rated}
    verdicts = compare(all_pairs, resolution=1 / n_val) if len(rated) > 1 else []
    different = {
        name
        for verdict in [*given, *verdicts]
        if best.name in (verdict.first, verdict.second) and verdict.word != "cannot tell"
        for name in (verdict.first, verdict.second)
    }
    return (best.name, *(each.name for each in rated if each.name not in different and each is not best))


def _seed_test(
    study: Study, records: list[Record], pair: tuple[str, str], seed: int, standard: Standard | None
) -> SeedTest | None:
    right = []
    for name in pair:
        record = next(r for r in records if r.trial.candidate == name and r.trial.seed == seed)
        predictions = _predictions(study, record)
        if predictions is None:
            return None
        right.append(predictions.predicted == predictions.labels if standard is None else standard.right(predictions))
    only_first, only_second, p = mcnemar(right[0], right[1])
    return SeedTest(pair[0], pair[1], seed, only_first, only_second, p)


def _scored(study: Study, record: Record, standard: Standard) -> Record:
    """The record with its accuracy by other labels; without one where its predictions are gone."""
    predictions = _predictions(study, record)
    return replace(record, score=None if predictions is None else float(standard.right(predictions).mean()))


def _predictions(study: Study, record: Record) -> Predictions | None:
    path = study.run(record.trial).file("predictions-val.safetensors")
    return read_predictions(path) if record.status == "complete" and path.exists() else None
