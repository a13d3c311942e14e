"""The tables of a run as CSV: its classes, its confusions, and every scored row."""

from __future__ import annotations

from pocketlens.report.run.facts import Facts
from pocketlens.scoring.confusions import classes_csv, confusion_csv, pairs_csv
from pocketlens.scoring.error_causes import predictions_csv
from pocketlens.scoring.scores import Scores


def csv_tables(facts: Facts, scores: Scores) -> dict[str, str]:
    """CSV texts by file name."""
    tables = {
        "classes.csv": classes_csv(scores),
        "confusion.csv": confusion_csv(scores),
        "pairs.csv": pairs_csv(scores),
    }
    if facts.reliability is not None:
        reliability = facts.reliability
        tables["predictions.csv"] = predictions_csv(
            reliability.predictions, reliability.rows, scores.classes, reliability.files
        )
    return tables
