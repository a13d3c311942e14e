"""The numbers of the charts of a study's page, to be taken away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pocketlens.report.downloads import Download, Table, offer
from pocketlens.report.study.figures import Importance
from pocketlens.studies.compare import Comparison
from pocketlens.studies.overrides import show_value
from pocketlens.studies.space import Domain
from pocketlens.studies.store import Record, Study


@dataclass(frozen=True)
class StudyDownloads:
    """What can be taken away of each chart; None where there is no such chart."""

    recipes: Download | None
    history: Download | None
    values: Download | None
    importance: Download | None


def study_downloads(
    study: Study,
    comparison: Comparison | None,
    space: Sequence[Domain],
    records: Sequence[Record],
    shares: Sequence[Importance],
) -> StudyDownloads:
    """The downloads of a study's page; `space` is empty unless it is a search, `shares` are the importances."""
    rated = [record for record in records if record.score is not None and record.trial.phase == "search"]
    return StudyDownloads(
        recipes=None if comparison is None else offer(study.id, "Recipes", _recipes(comparison)),
        history=offer(study.id, "Scores by trial", _history(rated)) if space else None,
        values=offer(study.id, "Values and scores", _values(space, rated)) if space else None,
        importance=offer(study.id, "Importance", Table(("parameter", "importance"), tuple(shares))) if shares else None,
    )


def _recipes(comparison: Comparison) -> Table:
    """A row for each recipe: its mean with standard deviation and interval, and the accuracy of each seed."""
    rows = tuple(
        (each.name, each.mean, each.sd, each.low, each.high, each.seconds, *each.scores)
        for each in comparison.candidates
    )
    numbers = ("mean accuracy", "standard deviation", "low", "high", "seconds")
    return Table(("recipe", *numbers, *(f"seed {seed}" for seed in comparison.seeds)), rows)


def _history(rated: Sequence[Record]) -> Table:
    rows, best = [], 0.0
    for record in rated:
        best = max(best, record.score or 0.0)
        rows.append((record.trial.number + 1, record.trial.candidate, record.score, best))
    return Table(("trial", "recipe", "accuracy", "best so far"), tuple(rows))


def _values(space: Sequence[Domain], rated: Sequence[Record]) -> Table:
    addresses = tuple(domain.address for domain in space)
    rows = []
    for record in rated:
        values = dict(record.trial.changes)
        shown = (values.get(address) for address in addresses)
        cells = (value if value is None or isinstance(value, (int, float)) else show_value(value) for value in shown)
        rows.append((record.trial.number + 1, *cells, record.score))
    return Table(("trial", *addresses, "accuracy"), tuple(rows))
