"""look.json and the CSV files: the facts of a look at a data set, for programs and spreadsheets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pocketlens.audit.audit import Looked
from pocketlens.audit.label_issues import labels_csv
from pocketlens.audit.outliers import ranked
from pocketlens.files import csv_text, write_json, write_text
from pocketlens.report.audit.findings import findings

N_LISTED = 200  # rows of each ranking in look.json; outliers.csv has all


def write_tables(looked: Looked, folder: Path) -> None:
    """Writes counts.csv, and where they were looked for outliers.csv, duplicates.csv and labels.csv; look.json last."""
    write_text(folder / "counts.csv", _counts_csv(looked))
    if looked.outliers is not None:
        write_text(folder / "outliers.csv", _outliers_csv(looked))
    if looked.duplicates is not None:
        write_text(folder / "duplicates.csv", looked.duplicates.csv())
    if looked.labels is not None:
        write_text(folder / "labels.csv", labels_csv(looked.dataset, looked.labels))
    write_json(folder / "look.json", to_dict(looked))


def to_dict(looked: Looked) -> dict[str, Any]:
    """All facts, as look.json holds them."""
    dataset, facts = looked.dataset, looked.facts
    height, width, channels = dataset.shape
    return {
        "data": dataset.text,
        "fingerprint": dataset.fingerprint,
        "images": {"development": len(dataset), "test": facts.n_test},
        "split": {"train": len(looked.split.train), "val": len(looked.split.val)},
        "shape": {"height": height, "width": width, "channels": channels},
        "bytes": facts.n_bytes,
        "kinds": dict(facts.kinds),
        "file_bytes": facts.file_bytes,
        "mean": facts.mean,
        "std": facts.std,
        "counts": {name: dict(zip(("train", "val"), row, strict=True)) for name, row in _named_counts(looked)},
        "superclasses": _superclasses(looked),
        "notes": [*dataset.notes, *looked.split.notes],
        "findings": [vars(finding) for finding in findings(looked)],
        "left_out": looked.left_out,
        "short_models": looked.recipe,
        "classes": _ease(looked),
        "outliers": _outliers(looked),
        "duplicates": None if looked.duplicates is None else _without_pairs(looked.duplicates.to_dict()),
        "labels": _labels(looked),
        "parts": _parts(looked),
        "augment": _augment(looked),
    }


def _named_counts(looked: Looked) -> list[tuple[str, list[int]]]:
    return list(zip(looked.dataset.classes, looked.facts.counts.tolist(), strict=True))


def _superclasses(looked: Looked) -> dict[str, list[str]] | None:
    dataset = looked.dataset
    if dataset.superclasses is None or dataset.superclass_of is None:
        return None
    return {
        name: [dataset.classes[label] for label, above in enumerate(dataset.superclass_of) if above == group]
        for group, name in enumerate(dataset.superclasses)
    }


def _counts_csv(looked: Looked) -> str:
    above = {name: group for group, names in (_superclasses(looked) or {}).items() for name in names}
    rows = [(name, above.get(name, ""), *counts, sum(counts)) for name, counts in _named_counts(looked)]
    return csv_text(("class", "superclass", "train", "val", "development"), rows)


def _outliers_csv(looked: Looked) -> str:
    """Every development row: its scores and its places in the rankings, overall and within its class."""
    found, dataset = looked.outliers, looked.dataset
    assert found is not None
    judges = [("autoencoder", found.errors), ("neighbours", found.neighbours)]
    header, columns = ["row", "class", "file"], []
    for name, scores in judges:
        if scores is None:
            continue
        place, inside = np.empty(len(scores), np.int64), np.empty(len(scores), np.int64)
        place[ranked(scores)] = np.arange(1, len(scores) + 1)
        for label in np.unique(dataset.labels):
            rows = np.flatnonzero(dataset.labels == label)
            inside[rows[ranked(scores[rows])]] = np.arange(1, len(rows) + 1)
        header += [name, f"{name}_place", f"{name}_place_in_class"]
        columns += [[f"{score:.6g}" for score in scores.tolist()], place.tolist(), inside.tolist()]
    files = dataset.files or [""] * len(dataset)
    names = [dataset.classes[label] for label in dataset.labels]
    return csv_text(header, zip(range(len(dataset)), names, files, *columns, strict=True))


def _outliers(looked: Looked) -> dict[str, Any] | None:
    found = looked.outliers
    if found is None:
        return None
    lists = {"autoencoder": found.errors, "neighbours": found.neighbours}
    return {
        "space": found.space,
        "agreement": None if found.agreement is None else vars(found.agreement),
        **{
            name: [{"row": row, "score": float(scores[row])} for row in ranked(scores)[:N_LISTED].tolist()]
            for name, scores in lists.items()
            if scores is not None
        },
    }


def _ease(looked: Looked) -> list[dict[str, Any]] | None:
    if looked.ease is None:
        return None
    names = looked.dataset.classes
    return [
        {
            "class": names[ease.label],
            "head": ease.head.to_dict(),
            "neighbours": ease.neighbours.to_dict(),
            "taken_for": None if ease.taken_for is None else names[ease.taken_for],
            "taken": ease.taken,
        }
        for ease in looked.ease
    ]


def _labels(looked: Looked) -> dict[str, Any] | None:
    found = looked.labels
    if found is None:
        return None
    return {"n_doubtful": len(found), "n_rows": found.n_rows, "agreed": found.agreed, "rows": found.rows[:N_LISTED]}


def _parts(looked: Looked) -> dict[str, Any] | None:
    test = looked.parts
    if test is None:
        return None
    numbers = {"accuracy": test.accuracy.to_dict(), "auc": test.auc.to_dict()}
    return {"n_of_each": test.n, **numbers, "differs": test.differs, "clear": test.clear, "features": test.features}


def _augment(looked: Looked) -> dict[str, Any] | None:
    found = looked.augmented
    if found is None:
        return None
    told = None if found.agreements is None else [each.to_dict() for each in found.agreements]
    return {"sheets": [each.title for each in found.sheets], "judge": found.judge, "agreements": told}


def _without_pairs(value: dict[str, Any]) -> dict[str, Any]:
    """The counts; the pairs stand in duplicates.csv."""
    return {key: item for key, item in value.items() if key != "pairs"}
