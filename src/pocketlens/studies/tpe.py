"""Tree-structured Parzen estimators by Optuna, and a copy of the trials in Optuna's own storage for its dashboard.

The journal is what counts. For each suggestion an Optuna study is made in memory from it, running trials among them
(constant liar), with a sampler seeded by the trial's number: the suggestion depends on nothing else, so that a search
that was killed goes on as if it had not been. Source: Bergstra et al. 2011; Watanabe 2023, arXiv:2304.11127.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from pocketlens.errors import PocketlensError
from pocketlens.studies.samplers import Values
from pocketlens.studies.space import Domain
from pocketlens.studies.store import Record, Study

N_RANDOM = 8  # trials before the estimators are used


def suggest(space: Sequence[Domain], records: Sequence[Record], seed: int, number: int) -> Values:
    """Values for trial `number`, given those that were tried and their scores.

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
            with contextlib.suppress(ValueError):  # values outside of the space, such as those of another base
                study.add_trial(_as_optuna(optuna, space, record))
        trial = study.ask(_distributions(optuna, space))
    return {domain.address: _from_optuna(domain, trial.params[domain.address]) for domain in space}


def mirror(study: Study, space: Sequence[Domain]) -> Path | None:
    """Adds the ended trials that optuna.db in the study's folder lacks; None where that is not possible.

    `optuna-dashboard sqlite:///…/optuna.db` shows them. It is a copy alone: where Optuna is not installed, the disk is
    full or the file is damaged, the search goes on without it.
    """
    try:
        optuna = load_optuna()
    except PocketlensError:
        return None
    path = study.path / "optuna.db"
    try:
        with study.lock():  # two processes would add the same trial twice
            _copy_ended(optuna, study, space, path)
    except Exception:  # whatever SQLite, SQLAlchemy and Optuna raise
        return None
    return path


def _copy_ended(optuna: Any, study: Study, space: Sequence[Domain], path: Path) -> None:
    storage = optuna.storages.RDBStorage(f"sqlite:///{path.resolve()}")
    try:
        copy = optuna.create_study(storage=storage, study_name=study.id, direction="maximize", load_if_exists=True)
        there = {trial.user_attrs.get("trial") for trial in copy.get_trials(deepcopy=False)}
        for record in study.records():
            if record.is_ended and record.trial.phase == "search" and record.trial.number not in there:
                with contextlib.suppress(ValueError):  # values outside of the space, such as those of another base
                    copy.add_trial(_as_optuna(optuna, space, record))
    finally:
        storage.remove_session()
        storage.engine.dispose()


def load_optuna() -> ModuleType:
    """Optuna, silenced.

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
        user_attrs={"trial": record.trial.number, "status": record.status, "seconds": record.seconds},
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
    """Optuna stores plain values alone: a choice that is not one goes by its text."""
    if domain.kind == "choice":
        return value if value is None or isinstance(value, (str, int, float, bool)) else repr(value)
    return int(value) if domain.kind in ("int", "logint") else float(value)


def _from_optuna(domain: Domain, value: Any) -> Any:
    if domain.kind == "choice":
        return next(choice for choice in domain.choices if _to_optuna(domain, choice) == value)
    return int(value) if domain.kind in ("int", "logint") else float(f"{value:.6g}")
