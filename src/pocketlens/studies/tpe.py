"""Tree-structured Parzen estimators, by Optuna.

For each suggestion an Optuna study is built in memory from the journal, running trials included (constant liar), with a
sampler seeded by the trial's number. The suggestion depends on nothing else, so a search that was killed continues as
if it had not been. Source: Bergstra et al. 2011; Watanabe 2023, arXiv:2304.11127.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from pocketlens.errors import PocketlensError
from pocketlens.studies.samplers import Values
from pocketlens.studies.space import Domain
from pocketlens.studies.store import Record

N_RANDOM = 8  # random trials before the first suggestion of the estimators


def suggest(space: Sequence[Domain], records: Sequence[Record], seed: int, number: int) -> Values:
    """Values for trial `number`, given the trials so far and their scores.

    Raises:
        PocketlensError: Optuna is not installed.
    """
    import warnings

    optuna = load_optuna()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # multivariate and constant_liar are called experimental
        sampler = optuna.samplers.TPESampler(
            seed=seed * 100_003 + number, multivariate=True, constant_liar=True, n_startup_trials=N_RANDOM
        )
        study = optuna.create_study(direction="maximize", sampler=sampler)
        for record in records:
            with contextlib.suppress(ValueError):  # values outside the space, such as the base's own
                study.add_trial(_as_optuna(optuna, space, record))
        trial = study.ask(_distributions(optuna, space))
    return {domain.address: _from_optuna(domain, trial.params[domain.address]) for domain in space}


def load_optuna() -> ModuleType:
    """Optuna, with its log output turned off.

    Raises:
        PocketlensError: it is not installed.
    """
    try:
        import optuna
    except ImportError:
        raise PocketlensError('--method tpe needs Optuna: pip install "pocketlens[search]"') from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    module: ModuleType = optuna
    return module


def _as_optuna(optuna: Any, space: Sequence[Domain], record: Record) -> Any:
    states = optuna.trial.TrialState
    state = states.RUNNING
    if record.is_ended:
        state = states.COMPLETE if record.score is not None else states.FAIL
    changes = dict(record.trial.changes)
    known = [domain for domain in space if domain.address in changes]
    return optuna.trial.create_trial(
        state=state,
        value=record.score if state == states.COMPLETE else None,
        params={domain.address: _to_optuna(domain, changes[domain.address]) for domain in known},
        distributions=_distributions(optuna, known),
    )


def _distributions(optuna: Any, space: Sequence[Domain]) -> dict[str, Any]:
    kinds = optuna.distributions
    found = {}
    for domain in space:
        if domain.kind == "choice":
            found[domain.address] = kinds.CategoricalDistribution([_to_optuna(domain, c) for c in domain.choices])
        elif domain.kind in ("int", "logint"):
            found[domain.address] = kinds.IntDistribution(int(domain.low), int(domain.high), log=domain.is_log)
        else:
            found[domain.address] = kinds.FloatDistribution(domain.low, domain.high, log=domain.is_log)
    return found


def _to_optuna(domain: Domain, value: Any) -> Any:
    """Optuna takes plain values only: a choice of another type is replaced by its text."""
    if domain.kind == "choice":
        return value if value is None or isinstance(value, (str, int, float, bool)) else repr(value)
    return int(value) if domain.kind in ("int", "logint") else float(value)


def _from_optuna(domain: Domain, value: Any) -> Any:
    if domain.kind == "choice":
        return next(choice for choice in domain.choices if _to_optuna(domain, choice) == value)
    return int(value) if domain.kind in ("int", "logint") else float(f"{value:.6g}")
