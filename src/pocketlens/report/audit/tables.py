"""look.json and the CSV files: the results of an audit for programs and spreadsheets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pocketlens.audit.audit import AuditReport
from pocketlens.audit.label_issues import labels_csv
from pocketlens.audit.outliers import Nearest, OutlierScores, ranked
from pocketlens.data.dataset import rows_by_class
from pocketlens.files import csv_text, write_json, write_text
from pocketlens.report.audit.findings import findings

N_LISTED = 200  # rows of each ranking in look.json; outliers.csv has all


@dataclass(frozen=True, eq=False)
class Ranking:
    """The outlier scores by one method: its name in files and on the page, the unit of its scores and their format."""

    name: str
    title: str
    unit: str
    form: str
    scores: OutlierScores


def rankings(report: AuditReport) -> tuple[Ranking, ...]:
    """Each method by which outliers were ranked."""
    found = report.outliers
    if found is None:
        return ()
    autoencoder = Ranking("autoencoder", "Autoencoder", "mean squared error", ".4f", found.errors)
    if found.distances is None:
        return (autoencoder,)
    unit = "distance relative to the median"
    return autoencoder, Ranking("neighbours", "Nearest neighbours", unit, ".2f", found.distances)


def write_tables(report: AuditReport, folder: Path) -> None:
    """Writes counts.csv, and outliers.csv, duplicates.csv, labels.csv and nearest.csv if there are any; look.json last.

    `pocketlens review` reads them.
    """
    write_text(folder / "counts.csv", _counts_csv(report))
    if report.outliers is not None:
        write_text(folder / "outliers.csv", _outliers_csv(report))
    if report.duplicates is not None:
        write_text(folder / "duplicates.csv", report.duplicates.csv())
    if report.labels is not None:
        write_text(folder / "labels.csv", labels_csv(report.dataset, report.labels))
    if report.nearest is not None:
        write_text(folder / "nearest.csv", _nearest_csv(report.nearest))
    write_json(folder / "look.json", to_dict(report))


def to_dict(report: AuditReport) -> dict[str, Any]:
    """All results, as look.json holds them."""
    dataset, facts = report.dataset, report.facts
    height, width, channels = dataset.shape
    files = facts.files
    return {
        "data": dataset.text,
        "fingerprint": dataset.fingerprint,
        "images": {"development": len(dataset), "test": facts.n_test},
        "split": {"train": len(report.split.train), "val": len(report.split.val)},
        "shape": {"height": height, "width": width, "channels": channels},
        "bytes": facts.n_bytes,
        "kinds": {} if files is None else {kind.name: kind.n for kind in files.kinds},
        "file_bytes": None if files is None else (files.smallest, files.median, files.largest),
        "mean": facts.mean,
        "std": facts.std,
        "counts": {
            name: {"train": train, "val": val}
            for name, (train, val) in zip(dataset.classes, facts.counts.tolist(), strict=True)
        },
        "superclasses": _superclasses(report),
        "notes": [*dataset.notes, *report.split.notes],
        "findings": [vars(finding) for finding in findings(report)],
        "skipped": report.skipped,
        "cross_validation": report.models,
        "sight": report.sight,
        "classes": _classes(report),
        "outliers": _outliers(report),
        "duplicates": _duplicates(report),
        "labels": _labels(report),
        "shift": _shift(report),
        "augment": _augment(report),
    }


def _superclasses(report: AuditReport) -> dict[str, list[str]] | None:
    dataset = report.dataset
    if dataset.superclasses is None or dataset.superclass_of is None:
        return None
    return {
        name: [dataset.classes[label] for label, above in enumerate(dataset.superclass_of) if above == group]
        for group, name in enumerate(dataset.superclasses)
    }


def _counts_csv(report: AuditReport) -> str:
    above = {name: group for group, names in (_superclasses(report) or {}).items() for name in names}
    counts = zip(report.dataset.classes, report.facts.counts.tolist(), strict=True)
    rows = [(name, above.get(name, ""), train, val, train + val) for name, (train, val) in counts]
    return csv_text(("class", "superclass", "train", "val", "development"), rows)


def _outliers_csv(report: AuditReport) -> str:
    """Every development row with its scores and its ranks, overall and within its class; rank 1 is most unusual."""
    dataset = report.dataset
    header, columns = ["row", "class", "file"], []
    for ranking in rankings(report):
        scores = ranking.scores
        rank, rank_in_class = np.empty(len(scores), np.int64), np.empty(len(scores), np.int64)
        rank[ranked(scores)] = np.arange(1, len(scores) + 1)
        for rows in rows_by_class(dataset.labels, len(dataset.classes)):
            rank_in_class[rows[ranked(scores[rows])]] = np.arange(1, len(rows) + 1)
        header += [ranking.name, f"{ranking.name}_rank", f"{ranking.name}_rank_in_class"]
        columns += [[f"{score:.6g}" for score in scores.tolist()], rank.tolist(), rank_in_class.tolist()]
    files = dataset.files or [""] * len(dataset)
    names = [dataset.classes[label] for label in dataset.labels]
    return csv_text(header, zip(range(len(dataset)), names, files, *columns, strict=True))


def _nearest_csv(nearest: Nearest) -> str:
    """A line for each row, with its nearest neighbours like `3 17 4`."""
    cells = (" ".join(map(str, rows.tolist())) for rows in nearest.neighbours)
    return csv_text(("row", "nearest"), zip(nearest.rows.tolist(), cells, strict=True))


def _outliers(report: AuditReport) -> dict[str, Any] | None:
    found = report.outliers
    if found is None:
        return None
    return {
        "feature_space": found.space,
        "rank_agreement": None if found.agreement is None else vars(found.agreement),
        **{
            ranking.name: [
                {"row": row, "score": float(ranking.scores[row])} for row in ranked(ranking.scores)[:N_LISTED].tolist()
            ]
            for ranking in rankings(report)
        },
    }


def _classes(report: AuditReport) -> list[dict[str, Any]] | None:
    if report.classes is None:
        return None
    names = report.dataset.classes
    return [
        {
            "class": names[each.label],
            "model_recall": each.model_recall.to_dict(),
            "neighbour_recall": each.neighbour_recall.to_dict(),
            "confused_with": None if each.confused_with is None else names[each.confused_with],
            "n_confused": each.n_confused,
        }
        for each in report.classes
    ]


def _duplicates(report: AuditReport) -> dict[str, Any] | None:
    """Everything but the pairs, which duplicates.csv lists."""
    return None if report.duplicates is None else report.duplicates.summary()


def _labels(report: AuditReport) -> dict[str, Any] | None:
    found = report.labels
    if found is None:
        return None
    return {"n_issues": len(found), "n_rows": found.n_rows, "accuracy": found.accuracy, "rows": found.rows[:N_LISTED]}


def _shift(report: AuditReport) -> dict[str, Any] | None:
    shift = report.shift
    if shift is None:
        return None
    return {
        "n_of_each": shift.n,
        "accuracy": shift.accuracy.to_dict(),
        "auc": shift.auc.to_dict(),
        "significant": shift.significant,
        "substantial": shift.substantial,
        "features": shift.features,
    }


def _augment(report: AuditReport) -> dict[str, Any] | None:
    effect = report.augmentation
    if effect is None:
        return None
    stability = None if effect.stability is None else [each.to_dict() for each in effect.stability]
    return {"sheets": [each.title for each in effect.sheets], "model": effect.model, "stability": stability}
