"""Which trials a search runs next: a pure function of its spec and the records so far."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pocketlens.studies.overrides import Variant, apply
from pocketlens.studies.samplers import Values, best_records, grid_values, narrow_space, round_of, sample
from pocketlens.studies.space import Domain, read_space, start_values
from pocketlens.studies.store import Record, Study, Trial
from pocketlens.studies.tpe import suggest

if TYPE_CHECKING:
    from pocketlens.recipe import Recipe
    from pocketlens.studies.spec import SearchSpec

N_FINAL = 3  # of the best that are trained again
N_BEST = 5  # of the trials to whose values coarse-to-fine narrows its ranges


def next_trials(study: Study, n_free: int = 1) -> list[Trial]:
    """The trials to enqueue now, so that `n_free` are waiting; none while a phase has to end first, or at the end."""
    records = study.records()
    phases = ["search", *(f"rung {number}" for number in range(2, len(study.spec.search.rungs) + 1))]
    first = records_of(records, "search")
    n_expected = max(1, _n_expected(study.spec.search, records))
    if len(first) < n_expected and len(first) == len(records):  # no later phase has started
        n_waiting = sum(not record.is_ended for record in records)
        return _search_trials(study, records, min(n_free - n_waiting, n_expected - len(first)), n_expected)
    for number, phase in enumerate(phases[1:], 2):
        before = records_of(records, phases[number - 2])
        if not all(record.is_ended for record in before):
            return []
        if not records_of(records, phase):
            return _promoted(study.spec.search, before, number, len(records))
    leaders = records_of(records, phases[-1])
    if not all(record.is_ended for record in leaders) or records_of(records, "final"):
        return []
    return _final(study, best_records(leaders)[:N_FINAL], len(records))


def _search_trials(study: Study, records: list[Record], n: int, n_expected: int) -> list[Trial]:
    search, base = study.spec.search, study.spec.base
    space = read_space(search.space, base)
    there = {record.trial.number for record in records}
    free = [number for number in range(search.trials) if number not in there]
    trials: list[Trial] = []
    for number in free[: max(0, n)]:
        enqueued = [Record(trial) for trial in trials]
        before, n_cuts = [*records_of(records, "search"), *enqueued], 0
        if search.method == "coarse-to-fine":
            n_cuts = _n_cuts(search, before, number, n_expected)
            if not all(record.is_ended for record in before if record.trial.n_cuts < n_cuts):
                break  # the previous round has to end first
        if number == 0:  # the base as it is
            trials.append(_search_trial(search, base, start_values(space, base) or {}, number, n_cuts))
            continue
        values = _suggest(search, space, before, number, n_cuts)
        trials.append(_search_trial(search, apply(base, values), values, number, n_cuts))
    return trials


def _n_cuts(search: SearchSpec, records: list[Record], number: int, n_expected: int) -> int:
    """How often the space is narrowed before a trial is sampled; under a time limit not before enough have ended."""
    before = max((record.trial.n_cuts for record in records), default=0)
    n_ended = sum(record.is_ended for record in records)
    if search.minutes is not None and n_ended < 2 * N_BEST and n_expected < search.trials:
        return before
    return max(before, round_of(number, n_expected, search.rounds))


def _search_trial(search: SearchSpec, recipe: Recipe, values: Values, number: int, n_cuts: int) -> Trial:
    first = search.rungs[0]
    if first != 1.0:
        recipe = recipe.changed(epochs=recipe.epochs * first)
    name = "base" if number == 0 else f"trial {number + 1}"
    return Trial(number, name, "search", search.seed, recipe, tuple(values.items()), n_cuts)


def _suggest(search: SearchSpec, space: tuple[Domain, ...], records: list[Record], number: int, n_cuts: int) -> Values:
    """The values of a trial, by the search's method."""
    if search.method == "grid":
        return grid_values(space, search.trials - 1)[number - 1]
    if search.method == "tpe":
        return suggest(space, records, search.seed, number)
    tried = [dict(record.trial.changes) for record in records]
    for finished in range(n_cuts):
        space = narrow_space(space, [record for record in records if record.trial.n_cuts <= finished], N_BEST)
    return sample(space, search.seed, number, tried)


def _promoted(search: SearchSpec, before: list[Record], number: int, n_enqueued: int) -> list[Trial]:
    """The trials of a rung, from those of the rung before."""
    n_kept = max(N_FINAL, math.ceil(len(before) * search.keep_fraction))
    factor = search.rungs[number - 1] / search.rungs[number - 2]
    return [
        Trial(
            n_enqueued + index,
            record.trial.candidate,
            f"rung {number}",
            search.seed,
            record.trial.recipe.changed(epochs=round(record.trial.recipe.epochs * factor, 6)),
            record.trial.changes,
        )
        for index, record in enumerate(best_records(before)[:n_kept])
    ]


def _final(study: Study, best: list[Record], n_enqueued: int) -> list[Trial]:
    """The base and the best, seed by seed, with seeds that no trial of the search had."""
    search = study.spec.search
    if not best or search.repeats == 0:
        return []
    candidates = [Variant("base", study.spec.base)]
    candidates += [
        Variant(r.trial.candidate, r.trial.recipe, r.trial.changes) for r in best if r.trial.candidate != "base"
    ]
    return [
        Trial(
            n_enqueued + repeat * len(candidates) + index,
            candidate.name,
            "final",
            search.seed + 1 + repeat,
            candidate.recipe,
            candidate.changes,
        )
        for repeat in range(search.repeats)
        for index, candidate in enumerate(candidates)
    ]


def _n_expected(search: SearchSpec, records: list[Record]) -> int:
    """How many trials the search is expected to have: as many as the spec says, or as fit into the minutes.

    The rungs and the final repeats must fit in after them. The first trial also waits for torch to be imported, so its
    time says little about the others'.
    """
    n_now = len(records_of(records, "search"))
    taken = [record.seconds for record in records if record.is_ended]
    if search.minutes is None or not taken:
        return search.trials
    one = sum(taken[1:] or taken) / len(taken[1:] or taken)  # of the first rung
    busy = sum(taken) + one * sum(not record.is_ended for record in records)
    n = n_now
    while n < search.trials:
        later, kept = 0.0, float(n + 1)
        for rung in search.rungs[1:]:
            kept = max(N_FINAL, math.ceil(kept * search.keep_fraction))
            later += kept * one * rung / search.rungs[0]
        later += search.repeats * (N_FINAL + 1) * one / search.rungs[0]
        if (busy + (n + 1 - n_now) * one + later) / search.jobs > 60 * search.minutes:
            break
        n += 1
    return n


def records_of(records: Sequence[Record], phase: str) -> list[Record]:
    """The records of a phase."""
    return [record for record in records if record.trial.phase == phase]
