"""The tables of a run as CSV: classes, confusions, every scored row; and those that stand in the page, too."""

from __future__ import annotations

from dataclasses import dataclass

from pocketlens.report.downloads import Download, Table, offer
from pocketlens.report.run.facts import Facts
from pocketlens.scoring.confusion_cells import is_whole
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


@dataclass(frozen=True)
class ScoreDownloads:
    """What can be taken away of the charts of scores; None where a chart is absent or shows a part of the classes."""

    classes: Download | None
    confusion: Download | None
    superclasses: Download | None


def score_downloads(facts: Facts) -> ScoreDownloads:
    """The downloads of the charts of scores on the page of a run."""
    scores, severity = facts.scores, facts.severity
    if scores is None:
        return ScoreDownloads(None, None, None)
    all_shown = is_whole(len(scores.classes))
    table = None
    if severity is not None:
        header = ("superclass", "images", "superclass correct", "low", "high", "class correct", "wrong within")
        rows = tuple(
            (row.name, row.n, *row.coarse.to_dict().values(), row.right, row.inside, row.across, row.taken_for)
            for row in severity.rows
        )
        table = Table((*header, "wrong across", "most often confused with"), rows)
    return ScoreDownloads(
        classes=offer(facts.run_id, "Classes", classes_csv(scores)) if all_shown else None,
        confusion=offer(facts.run_id, "Confusion", confusion_csv(scores)) if all_shown else None,
        superclasses=None if table is None else offer(facts.run_id, "Superclasses", table),
    )
