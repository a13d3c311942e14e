"""What a search tries next: values from its space, as a pure function of the seed, the trial's number and the results.

`random` samples each trial independently. `grid` goes through equally spaced values. `coarse-to-fine` samples at
random, narrows every range to those of the best trials, a little widened, and samples again. `tpe` is in tpe.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np

from pocketlens.studies.space import Domain
from pocketlens.studies.store import Record

MOST_ATTEMPTS = 50  # to sample values that have not been tried yet
Values = dict[str, Any]


def sample(space: Sequence[Domain], seed: int, number: int, tried: Sequence[Values] = ()) -> Values:
    """Random values for trial `number`; values that have been tried are avoided while there are others."""
    generator = np.random.default_rng([seed, number, 20_240_607])
    values: Values = {}
    for _ in range(MOST_ATTEMPTS):
        values = {
            domain.address: domain.from_unit(float(unit))
            for domain, unit in zip(space, generator.random(len(space)), strict=True)
        }
        if values not in tried:
            break
    return values


def round_of(number: int, n_trials: int, n_rounds: int) -> int:
    """The round of coarse-to-fine to which a trial belongs, from 0; rounds are of equal size."""
    return min(number * n_rounds // max(1, n_trials), n_rounds - 1)


def narrow_space(space: Sequence[Domain], records: Sequence[Record], n_best: int) -> tuple[Domain, ...]:
    """The space narrowed to the values of the `n_best` records with the highest scores."""
    best = best_records(records)[:n_best]
    if len(best) < 2:
        return tuple(space)
    known = [dict(record.trial.changes) for record in best]
    narrowed = []
    for domain in space:
        values = [changes[domain.address] for changes in known if domain.contains(changes.get(domain.address))]
        narrowed.append(domain.narrowed_to(values) if len(values) > 1 else domain)
    return tuple(narrowed)


def best_records(records: Sequence[Record]) -> list[Record]:
    """The records with a score, the highest first; among equal scores the lower loss, then the earlier trial."""
    rated = [record for record in records if record.score is not None]
    return sorted(rated, key=lambda r: (-(r.score or 0.0), r.loss if r.loss is not None else math.inf, r.trial.number))


def grid_values(space: Sequence[Domain], n_trials: int) -> list[Values]:
    """All combinations of equally spaced values, at most `n_trials`: every choice, and numbers as finely as fits."""
    n_choices = math.prod(len(domain.choices) for domain in space if domain.kind == "choice")
    numeric = [domain for domain in space if domain.kind != "choice"]
    each = 1
    while numeric and n_choices * (each + 1) ** len(numeric) <= n_trials:
        each += 1
    axes = []
    for domain in space:
        if domain.kind == "choice":
            axes.append(list(domain.choices))
        else:
            units = [0.5] if each == 1 else [index / (each - 1) for index in range(each)]
            axes.append(list(dict.fromkeys(domain.from_unit(unit) for unit in units)))
    addresses = [domain.address for domain in space]
    return [dict(zip(addresses, values, strict=True)) for values in product(*axes)][:n_trials]
