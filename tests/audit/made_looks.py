"""What a look has kept, made by hand for tests of the review: a folder with the files that `pocketlens look` writes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pocketlens.data.dataset import Dataset
from pocketlens.data.relabel import COLUMNS
from pocketlens.files import csv_text, write_json, write_text


@dataclass(frozen=True)
class Issue:
    """A label issue: the row and the class that is suggested."""

    row: int
    suggested: str


def make_look(folder: Path, dataset: Dataset, issues: list[Issue], pairs: str = "", ranks: str = "") -> Path:
    """A look with these label issues, lines of duplicates.csv and lines of outliers.csv; each row is near the next."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [
        (
            issue.row,
            dataset.hashes[issue.row].tobytes().hex(),
            dataset.classes[dataset.labels[issue.row]],
            issue.suggested,
            "",
            "0.031000",
            "0.912000",
        )
        for issue in issues
    ]
    write_text(folder / "labels.csv", csv_text((*COLUMNS, "given_probability", "suggested_probability"), lines))
    write_text(folder / "duplicates.csv", f"part_a,row_a,part_b,row_b,distance,judgement,how\n{pairs}")
    write_text(folder / "outliers.csv", f"row,class,autoencoder_rank,neighbours_rank\n{ranks}")
    near = [(row, f"{(row + 1) % len(dataset)} {(row + 2) % len(dataset)}") for row in range(len(dataset))]
    write_text(folder / "nearest.csv", csv_text(("row", "nearest"), near))
    write_json(folder / "look.json", {"fingerprint": dataset.fingerprint, "skipped": {}})
    return folder
