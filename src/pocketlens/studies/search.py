"""Search: many recipes from a space, the best of them trained again with new seeds, and the selection bias of the best.

The phases, each of which starts when the one before it has ended:

    search    trials from the space, all with the same seed; the first is the base recipe itself
    rung 2 …  successive halving, where there are rungs: the better part of the previous rung is promoted, and each
              promoted recipe is trained again with a longer complete schedule (Jamieson & Talwalkar 2016,
              arXiv:1502.07943)
    final     the best three and the base, each with new seeds: these scores have no selection bias from the search

The winner is the best of the last phase before `final`. It is fixed before the new seeds are seen, so the paired
interval of its difference from the base is valid.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pocketlens.errors import PocketlensError
from pocketlens.events import TrialEnded, TrialEvent
from pocketlens.files import RUNS, csv_text, write_text
from pocketlens.scoring.significance import expected_selection_bias
from pocketlens.studies.compare import Comparison, compare_candidates
from pocketlens.studies.executors import LOCAL, Executor
from pocketlens.studies.pool import run_study
from pocketlens.studies.samplers import best_records, grid_values
from pocketlens.studies.search_trials import N_FINAL, next_trials, records_of
from pocketlens.studies.space import Domain, read_space
from pocketlens.studies.store import Record, Study

if TYPE_CHECKING:
    from pocketlens.data.split import Split
    from pocketlens.recipe import Recipe
    from pocketlens.studies.process import Limits
    from pocketlens.studies.spec import SearchSpec, StudySpec


@dataclass(frozen=True, eq=False)
class SearchResult:
    """The result of a search so far.

    Attributes:
        leaders: the trials of the last phase before `final` by their scores, the best first.
        winner: the first of them, or None.
        final: winner, runners-up and base over the new seeds; None before that.
        noise: standard deviation of one score over seeds, pooled over the final repeats of the best; None before them.
            The base counts only where it is one of the best: a poor base may vary far more than what is near the top.
        selection_bias: by how much the winner's score in the search is expected to exceed its true value, because it
            is the highest of many; None without noise.
    """

    leaders: tuple[Record, ...]
    winner: Record | None
    final: Comparison | None
    noise: float | None
    selection_bias: float | None


def check_search(search: SearchSpec, base: Recipe) -> tuple[Domain, ...]:
    """The space of a search.

    Raises:
        PocketlensError: the space, the rungs or the fraction that is kept are invalid.
    """
    rungs = search.rungs
    if not rungs or tuple(sorted(set(rungs))) != rungs or rungs[-1] != 1.0 or rungs[0] <= 0:
        shown = ", ".join(f"{rung:g}" for rung in rungs)
        raise PocketlensError(f"--rungs must be rising fractions of the epochs that end with 1, got {shown or 'none'}.")
    if not 0 < search.keep_fraction < 1:
        raise PocketlensError(f"the fraction that a rung keeps must be between 0 and 1, got {search.keep_fraction:g}.")
    return read_space(search.space, base)


def start_search(spec: StudySpec, split: Split, runs: Path = RUNS) -> Study:
    """A new study; where a grid has fewer values than there are trials, the number of trials is reduced.

    Raises:
        PocketlensError: the space, the rungs or the fraction that is kept are invalid.
    """
    search = spec.search
    space = check_search(search, spec.base)
    if search.method == "grid":
        n_trials = 1 + len(grid_values(space, max(1, search.trials - 1)))
        spec = replace(spec, design=replace(search, trials=n_trials))
    return Study.create(spec, split, runs)


def run_search(
    study: Study, limits: Limits, jobs: int = 1, executor: Executor = LOCAL
) -> Generator[TrialEvent, None, None]:
    """Runs a search to its end, from wherever it stands, and keeps trials.csv up to date."""
    space = read_space(study.spec.search.space, study.spec.base)
    _enqueue_next(study, jobs)
    while not all(record.is_ended for record in study.records()):
        with closing(run_study(study, limits, jobs=jobs, executor=executor)) as events:
            for event in events:
                if isinstance(event, TrialEnded):
                    write_trials(study, space)
                    _enqueue_next(study, jobs)
                yield event
        _enqueue_next(study, jobs)


def read_search(study: Study) -> SearchResult:
    """The result so far."""
    records = study.records()
    phases = [f"rung {number}" for number in range(len(study.spec.search.rungs), 1, -1)]
    last = next((phase for phase in phases if any(r.score is not None for r in records_of(records, phase))), "search")
    leaders = tuple(best_records(records_of(records, last)))
    winner = leaders[0] if leaders else None
    final = _read_final(study, records)
    if final is None or winner is None:
        return SearchResult(leaders, winner, final, None, None)
    best = {record.trial.candidate for record in leaders[:N_FINAL]}
    near = [candidate for candidate in final.candidates if candidate.name in best]
    spreads = [(each.sd, int(np.isfinite(each.scores).sum())) for each in near if each.sd is not None]
    free = sum(n - 1 for _, n in spreads)
    noise = math.sqrt(sum((sd or 0.0) ** 2 * (n - 1) for sd, n in spreads) / free) if free else None
    scores = np.array([record.score for record in leaders], np.float64)
    bias = None if noise is None else expected_selection_bias(scores, noise)
    return SearchResult(leaders, winner, final, noise, bias)


def write_trials(study: Study, space: Sequence[Domain]) -> None:
    """Writes trials.csv: one row for each trial."""
    addresses = [domain.address for domain in space]
    names = ("trial", "phase", "recipe", "seed", "status", "val_accuracy", "val_loss", "seconds")
    rows = []
    for record in study.records():
        trial, changes = record.trial, dict(record.trial.changes)
        row = [trial.number + 1, trial.phase, trial.candidate, trial.seed, record.status, record.score, record.loss]
        rows.append([*row, record.seconds, *(changes.get(address) for address in addresses), record.reason])
    write_text(study.path / "trials.csv", csv_text([*names, *addresses, "reason"], rows))


def _enqueue_next(study: Study, jobs: int) -> None:
    with study.lock():
        study.enqueue(next_trials(study, jobs))


def _read_final(study: Study, records: list[Record]) -> Comparison | None:
    final = records_of(records, "final")
    if not any(record.score is not None for record in final):
        return None
    names = list(dict.fromkeys(record.trial.candidate for record in final))
    if len(names) < 2:
        return None
    return compare_candidates(study, names, final, [(names[0], names[1])])  # the winner alone: it was fixed before
