"""Robustness: accuracy on validation images under the 15 standard corruptions at 5 severities.

It is measured on validation rows, because the test rows are meant for one opening and not for 75. The corruptions are
those of `corruptions/`; their random draws depend only on the row, so models can be compared.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pocketlens.data.dataset import Dataset
from pocketlens.draws import stream
from pocketlens.errors import PocketlensError
from pocketlens.evaluation.corruptions import FAMILIES, SEVERITIES, corrupt
from pocketlens.events import Step, Work
from pocketlens.files import csv_text, write_json, write_text
from pocketlens.scoring.metrics import Estimate, Floats, Z, proportion

if TYPE_CHECKING:
    from pocketlens.training.run import Run

ROWS = 1000


@dataclass(frozen=True)
class CorruptionScore:
    """Accuracy under one corruption: at each severity from 1 to 5, and the mean over them."""

    family: str
    name: str
    by_severity: tuple[Estimate, ...]
    mean: Estimate


@dataclass(frozen=True)
class Robustness:
    """Accuracy on `n` validation rows, clean and corrupted; `mean` is that over all corruptions and severities."""

    n: int
    clean: Estimate
    mean: Estimate
    corruptions: tuple[CorruptionScore, ...]

    def to_dict(self) -> dict[str, Any]:
        """What robustness.json holds."""
        rows = [
            {
                "family": row.family,
                "name": row.name,
                "mean": row.mean.to_dict(),
                "by_severity": [estimate.to_dict() for estimate in row.by_severity],
            }
            for row in self.corruptions
        ]
        return {"part": "val", "n": self.n, "clean": self.clean.to_dict(), "mean": self.mean.to_dict(), "rows": rows}

    @staticmethod
    def from_dict(value: dict[str, Any], source: str = "robustness.json") -> Robustness:
        """The reverse of `to_dict`.

        Raises:
            PocketlensError: a key is missing or of the wrong type.
        """
        try:
            rows = tuple(
                CorruptionScore(
                    str(row["family"]),
                    str(row["name"]),
                    tuple(Estimate.from_dict(estimate) for estimate in row["by_severity"]),
                    Estimate.from_dict(row["mean"]),
                )
                for row in value["rows"]
            )
            clean, mean = Estimate.from_dict(value["clean"]), Estimate.from_dict(value["mean"])
            return Robustness(int(value["n"]), clean, mean, rows)
        except (KeyError, TypeError, ValueError) as error:
            raise PocketlensError(f"{source} must hold the robustness of a run ({error!r}).") from None

    def csv(self) -> str:
        """CSV text with one line per corruption and severity."""
        header = ["family", "corruption", "severity", "accuracy", "low", "high"]
        rows = [
            [row.family, row.name, severity, estimate.value, estimate.low, estimate.high]
            for row in self.corruptions
            for severity, estimate in zip(SEVERITIES, row.by_severity, strict=True)
        ]
        return csv_text(header, rows)


def measure_robustness(run: Run, dataset: Dataset, *, n_rows: int = ROWS, device: str = "cpu") -> Work[Robustness]:
    """Measures a run's robustness and writes robustness.json and robustness.csv into its folder.

    Args:
        run: the run.
        dataset: its data.
        n_rows: the number of validation rows, at most; all runs with the same split use the same ones.
        device: where to compute.

    Raises:
        PocketlensError: the run has no validation rows, or the data is not the run's.
    """
    from pocketlens.training.classifier import load_classifier, predict_logits

    rows = _choose(run, dataset, n_rows)
    classifier = load_classifier(run)
    images, labels = np.ascontiguousarray(dataset.images[rows]), dataset.labels[rows]

    def right(pictures: Any) -> Any:
        return predict_logits(classifier, pictures, device=device).argmax(axis=1) == labels

    total = len(SEVERITIES) * sum(map(len, FAMILIES.values()))
    done, clean = 0, right(images)
    scores, hits = [], []  # hits: (N,) float64 for each corruption, the share of severities that were right
    for family, corruptions in FAMILIES.items():
        for corruption in corruptions:
            name, columns = corruption.__name__, []
            for severity in SEVERITIES:
                columns.append(right(corrupt(images, corruption, severity)))
                done += 1
                yield Step("corruptions", done, total)
            hits.append(np.mean(columns, axis=0))
            by_severity = tuple(proportion(int(column.sum()), len(labels)) for column in columns)
            scores.append(CorruptionScore(family, name, by_severity, mean_estimate(hits[-1])))
    found = Robustness(
        len(labels), proportion(int(clean.sum()), len(labels)), mean_estimate(np.mean(hits, axis=0)), tuple(scores)
    )
    write_json(run.file("robustness.json"), found.to_dict())
    write_text(run.file("robustness.csv"), found.csv())
    return found


def mean_estimate(values: Floats) -> Estimate:
    """The mean of (N,) values, one per row, with its normal 95 % interval."""
    mean = float(values.mean())
    if len(values) < 2:
        return Estimate(mean)
    half = Z * float(values.std(ddof=1)) / math.sqrt(len(values))
    return Estimate(mean, max(0.0, mean - half), min(1.0, mean + half))


def _choose(run: Run, dataset: Dataset, n_rows: int) -> Any:
    if run.experiment.data_fingerprint not in ("", dataset.fingerprint):
        raise PocketlensError(
            f"the data set must be that of run {run.id} ({run.experiment.data}, {run.experiment.data_fingerprint}); "
            f"got {dataset.text}, {dataset.fingerprint}."
        )
    rows = run.split.val
    if not len(rows):
        raise PocketlensError(
            f"the run must have validation images, on which robustness is measured; run {run.id} has none: give "
            "another run, such as the one that this is a refit of."
        )
    if len(rows) <= n_rows:
        return rows
    order = np.random.default_rng(stream(0, "robustness rows") % 2**63).permutation(len(rows))
    return np.sort(rows[order[:n_rows]])
