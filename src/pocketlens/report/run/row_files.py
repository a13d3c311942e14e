"""The names of the files of the rows that were scored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pocketlens.data.dataset import Dataset
from pocketlens.files import read_json
from pocketlens.scoring.predictions import Predictions
from pocketlens.text import printable

if TYPE_CHECKING:
    from pocketlens.training.run import Run


def files_of(run: Run, predictions: Predictions, dataset: Dataset | None) -> tuple[str, ...] | None:
    """The file of each scored row, made printable; None where the data has none, or is not there."""
    if predictions.part == "val":
        if dataset is None or dataset.files is None:
            return None
        return tuple(printable(dataset.files[row]) for row in predictions.rows)
    path = run.file("files-test.json")
    names = read_json(path) if path.exists() else None
    if not isinstance(names, list) or len(names) <= int(predictions.rows.max()):
        return None
    return tuple(printable(str(names[row])) for row in predictions.rows)
