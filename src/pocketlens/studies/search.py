"""Search: many recipes from a space, the best of them trained again with new seeds, and how much of the best is luck.

The phases, each of which begins when the one before it has ended:

    search    trials from the space, each with the same seed; the first is the base recipe itself
    rung 2 …  where there are rungs: the better part of the rung before, each anew with a longer complete schedule
    final     the best three and the base, each with new seeds: these scores are free of the luck of the search

The winner is the best of the last phase before `final`. It is fixed before the new seeds are seen, so that the paired
interval of its difference from the base is an honest one.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pocketlens.data.split import Split
from pocketlens.errors import PocketlensError
from pocketlens.files import RUNS, csv_text, write_text
from pocketlens.recipe import Recipe, from_dict
from pocketlens.scoring.significance import expected_luck
from pocketlens.studies.compare import Comparison, judged
from pocketlens.studies.executors import HERE, Place
from pocketlens.studies.overrides import apply
from pocketlens.studies.pool import Ended, Event, run_study
from pocketlens.studies.process import Limits
from pocketlens.studies.samplers import Values, best_records, draw, grid_values, narrowed, round_of
from pocketlens.studies.space import Domain, read_space, start_values
from pocketlens.studies.store import Record, Study, Trial
from pocketlens.studies.tpe import mirror, suggest

N_FINAL = 3  # of the best that are trained again
N_BEST = 5  # of the trials to whose values coarse-to-fine cuts its ranges


@dataclass(frozen=True, eq=False)
class Found:
    """What a search has found so far.

    Attributes:
        leaders: the trials of the last phase before `final` by their scores, the best first.
        winner: the first of them, or None.
        final: winner, runners-up and base over the new seeds; None before that.
        noise: deviation of one score over seeds, pooled over the final repeats of the best; None before them. The
            base counts only where it is one of them: a poor base may vary far more than what is near the top.
        luck: by how much the winner's score in the search is expected to exceed its true value; None without noise.
    """

    leaders: tuple[Record, ...]
    winner: Record | None
    final: Comparison | None
    noise: float | None
    luck: float | None


def check_search(asked: dict[str, Any], base: Recipe) -> tuple[Domain, ...]:
    """The space of a search; raises PocketlensError where it, the rungs or the pruning are not what they must be."""
    rungs = asked["rungs"]
    if not rungs or sorted(set(rungs)) != rungs or rungs[-1] != 1.0 or rungs[0] <= 0:
        raise PocketlensError(f"rungs must be rising fractions of the epochs that end with 1, got {rungs}.")
    if not 0 < asked["keep"] < 1:
        raise PocketlensError(f"the part that a rung keeps must be between 0 and 1, got {asked['keep']:g}.")
    return read_space(asked["space"], base)


def start_search(asked: dict[str, Any], split: Split, runs: Path = RUNS) -> Study:
    """A new study; a grid that is smaller than the number of trials has fewer of them.

    Raises:
        PocketlensError: the space, the rungs or the pruning are not what they must be.
    """
    space = check_search(asked, from_dict(asked["base"], "the recipe"))
    if asked["method"] == "grid":
        asked = {**asked, "trials": 1 + len(grid_values(space, max(1, asked["trials"] - 1)))}
    return Study.create(asked, split, runs)


def run_search(study: Study, limits: Limits, jobs: int = 1, place: Place = HERE) -> Generator[Event, None, None]:
    """Runs a search to its end, from wherever it stands; trials.csv and optuna.db follow it."""
    space = read_space(study.asked["space"], study.base)
    _ask_next(study, jobs)
    while not all(record.is_ended for record in study.records()):
        with closing(run_study(study, limits, jobs=jobs, place=place)) as events:
            for event in events:
                if isinstance(event, Ended):
                    write_trials(study, space)
                    mirror(study, space)
                    _ask_next(study, jobs)
                yield event
        _ask_next(study, jobs)


def next_trials(study: Study, n_free: int = 1) -> list[Trial]:
    """The trials to ask for now, so that `n_free` are waiting; none while a phase has to end first, or all is done."""
    records, asked = study.records(), study.asked
    phases = ["search", *(f"rung {number}" for number in range(2, len(asked["rungs"]) + 1))]
    first = _of(records, "search")
    n_expected = max(1, _n_expected(study, records))
    if len(first) < n_expected and len(first) == len(records):  # no later phase has begun
        n_waiting = sum(not record.is_ended for record in records)
        return _search_trials(study, records, min(n_free - n_waiting, n_expected - len(first)), n_expected)
    for number, phase in enumerate(phases[1:], 2):
        before = _of(records, phases[number - 2])
        if not all(record.is_ended for record in before):
            return []
        if not _of(records, phase):
            return _rung(study, before, number, len(records))
    leaders = _of(records, phases[-1])
    if not all(record.is_ended for record in leaders) or _of(records, "final"):
        return []
    return _final(study, best_records(leaders)[:N_FINAL], len(records))


def read_search(study: Study) -> Found:
    """What is known so far."""
    records = study.records()
    phases = [f"rung {number}" for number in range(len(study.asked["rungs"]), 1, -1)]
    last = next((phase for phase in phases if any(r.score is not None for r in _of(records, phase))), "search")
    leaders = tuple(best_records(_of(records, last)))
    winner = leaders[0] if leaders else None
    final = _read_final(study, records)
    if final is None or winner is None:
        return Found(leaders, winner, final, None, None)
    best = {record.trial.arm for record in leaders[:N_FINAL]}
    near = [arm for arm in final.arms if arm.name in best]
    spreads = [(arm.sd, int(np.isfinite(arm.scores).sum())) for arm in near if arm.sd is not None]
    free = sum(n - 1 for _, n in spreads)
    noise = math.sqrt(sum((sd or 0.0) ** 2 * (n - 1) for sd, n in spreads) / free) if free else None
    scores = np.array([record.score for record in leaders], np.float64)
    return Found(leaders, winner, final, noise, None if noise is None else expected_luck(scores, noise))


def write_trials(study: Study, space: Sequence[Domain]) -> None:
    """Writes trials.csv: one row for each trial."""
    addresses = [domain.address for domain in space]
    names = ("trial", "phase", "recipe", "seed", "status", "val_accuracy", "val_loss", "seconds")
    rows = []
    for record in study.records():
        trial, changes = record.trial, dict(record.trial.changes)
        row = [trial.number + 1, trial.phase, trial.arm, trial.seed, record.status, record.score, record.loss]
        rows.append([*row, record.seconds, *(changes.get(address) for address in addresses), record.reason])
    write_text(study.path / "trials.csv", csv_text([*names, *addresses, "reason"], rows))


def _ask_next(study: Study, jobs: int) -> None:
    with study.lock():
        study.ask(next_trials(study, jobs))


def _of(records: Sequence[Record], phase: str) -> list[Record]:
    return [record for record in records if record.trial.phase == phase]


def _search_trials(study: Study, records: list[Record], n: int, n_expected: int) -> list[Trial]:
    space = read_space(study.asked["space"], study.base)
    there = {record.trial.number for record in records}
    free = [number for number in range(study.asked["trials"]) if number not in there]
    trials: list[Trial] = []
    for number in free[: max(0, n)]:
        asked_for = [Record(trial) for trial in trials]
        before, n_cuts = [*_of(records, "search"), *asked_for], 0
        if study.asked["method"] == "coarse-to-fine":
            n_cuts = _n_cuts(study, before, number, n_expected)
            if not all(record.is_ended for record in before if record.trial.n_cuts < n_cuts):
                break  # the round before has to end first
        trials.append(_trial(study, _propose(study, space, before, number, n_cuts), number, n_cuts))
    return trials


def _n_cuts(study: Study, records: list[Record], number: int, n_expected: int) -> int:
    """How often the space is cut before a trial is drawn; under a time limit not before there is something to go by."""
    before = max((record.trial.n_cuts for record in records), default=0)
    n_ended = sum(record.is_ended for record in records)
    if study.asked["minutes"] is not None and n_ended < 2 * N_BEST and n_expected < study.asked["trials"]:
        return before
    return max(before, round_of(number, n_expected, study.asked["rounds"]))


def _trial(study: Study, values: Values, number: int, n_cuts: int) -> Trial:
    recipe = apply(study.base, values) if number else study.base  # the first is the base as it was given
    first = study.asked["rungs"][0]
    if first != 1.0:
        recipe = recipe.changed(epochs=recipe.epochs * first)
    arm = "base" if number == 0 else f"trial {number + 1}"
    return Trial(number, arm, "search", study.asked["seed"], recipe, tuple(values.items()), n_cuts)


def _propose(study: Study, space: tuple[Domain, ...], records: list[Record], number: int, n_cuts: int) -> Values:
    method, seed = study.asked["method"], study.asked["seed"]
    if number == 0:
        return start_values(space, study.base) or {}
    tried = [dict(record.trial.changes) for record in records]
    if method == "grid":
        return grid_values(space, study.asked["trials"] - 1)[number - 1]
    if method == "tpe":
        return suggest(space, records, seed, number)
    for finished in range(n_cuts):
        space = narrowed(space, [record for record in records if record.trial.n_cuts <= finished], N_BEST)
    return draw(space, seed, number, tried)


def _rung(study: Study, before: list[Record], number: int, n_asked: int) -> list[Trial]:
    asked = study.asked
    n_kept = max(N_FINAL, math.ceil(len(before) * asked["keep"]))
    factor = asked["rungs"][number - 1] / asked["rungs"][number - 2]
    return [
        Trial(
            n_asked + index,
            record.trial.arm,
            f"rung {number}",
            asked["seed"],
            record.trial.recipe.changed(epochs=round(record.trial.recipe.epochs * factor, 6)),
            record.trial.changes,
        )
        for index, record in enumerate(best_records(before)[:n_kept])
    ]


def _final(study: Study, best: list[Record], n_asked: int) -> list[Trial]:
    """The base and the best, seed by seed, with seeds that no trial of the search had."""
    arms: list[tuple[str, Recipe, tuple[tuple[str, Any], ...]]] = [("base", study.base, ())]
    arms += [(r.trial.arm, r.trial.recipe, r.trial.changes) for r in best if r.trial.arm != "base"]
    if not best or study.asked["repeats"] == 0:
        return []
    return [
        Trial(n_asked + repeat * len(arms) + index, name, "final", study.asked["seed"] + 1 + repeat, recipe, changes)
        for repeat in range(study.asked["repeats"])
        for index, (name, recipe, changes) in enumerate(arms)
    ]


def _read_final(study: Study, records: list[Record]) -> Comparison | None:
    final = _of(records, "final")
    if not any(record.score is not None for record in final):
        return None
    names = list(dict.fromkeys(record.trial.arm for record in final))
    if len(names) < 2:
        return None
    return judged(study, names, final, [(names[0], names[1])])  # the winner alone: it was fixed before


def _n_expected(study: Study, records: list[Record]) -> int:
    """How many trials the search is expected to have: all that were asked for, or what fits into the minutes.

    The rungs and the final repeats must fit in behind them. The first trial also waited for torch to be imported, so
    that its time says little about the others'.
    """
    asked, n_now = study.asked, len(_of(records, "search"))
    taken = [record.seconds for record in records if record.is_ended]
    if asked["minutes"] is None or not taken:
        return int(asked["trials"])
    one = sum(taken[1:] or taken) / len(taken[1:] or taken)  # of the first rung
    busy = sum(taken) + one * sum(not record.is_ended for record in records)
    n = n_now
    while n < asked["trials"]:
        later, kept = 0.0, float(n + 1)
        for rung in asked["rungs"][1:]:
            kept = max(N_FINAL, math.ceil(kept * asked["keep"]))
            later += kept * one * rung / asked["rungs"][0]
        later += asked["repeats"] * (N_FINAL + 1) * one / asked["rungs"][0]
        if (busy + (n + 1 - n_now) * one + later) / asked["jobs"] > 60 * asked["minutes"]:
            break
        n += 1
    return n
