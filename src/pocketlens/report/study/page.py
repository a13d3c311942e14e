"""The page of a study: one HTML file that needs no network and no other file, written into the study's folder.

It shares the style of a run's page. Texts from outside (names of recipes, values, reasons) are escaped by the template.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pocketlens.files import write_text
from pocketlens.report.shell import render_page
from pocketlens.report.study.figures import history, importance, parallel, score_scale
from pocketlens.report.study.sentences import say_luck, say_plainly, write_study_methods
from pocketlens.scoring.significance import Verdict
from pocketlens.studies.compare import Comparison, read_comparison
from pocketlens.studies.overrides import show_value
from pocketlens.studies.search import Found, read_search
from pocketlens.studies.space import Domain, read_space
from pocketlens.studies.store import Record, Study

BARS = 300.0  # px, width of the bars beside the table of recipes
CHART, TALL = 640.0, 240.0


@dataclass(frozen=True)
class ArmRow:
    """A recipe in the table: its letter, its numbers, and its bar."""

    letter: str
    arm: Any
    verdict: Verdict | None  # against the base
    is_best: bool  # the highest mean, with a verdict against the base
    dots: tuple[float, ...]
    bar: tuple[float, float] | None  # from the base's mean to this one's
    whisker: tuple[float, float] | None  # mean ± deviation


def write_study_page(study: Study) -> Path:
    """Writes report.html into the study's folder and gives its path."""
    path = study.path / "report.html"
    write_text(path, render_study(study))
    return path


def render_study(study: Study) -> str:
    """The HTML text of the page."""
    records = study.records()
    found, space = _search(study)
    comparison = found.final if found is not None else read_comparison(study)
    rows = [] if comparison is None else _rows(comparison)
    return render_page(
        "study.html.j2",
        ("sort.js.j2",),
        {
            "study": study,
            "asked": study.asked,
            "records": records,
            "causes": _causes(records),
            "found": found,
            "comparison": comparison,
            "rows": rows,
            "scale": None if comparison is None else score_scale(comparison, 0.0, BARS),
            "names": {row.arm.name: row.letter for row in rows},
            "headlines": say_plainly(comparison, found),
            "luck": "" if found is None else say_luck(found),
            "methods": write_study_methods(study, comparison, found),
            "addresses": [domain.address for domain in space],
            "history": history(records, CHART, TALL) if space else None,
            "parallel": parallel(space, records, CHART, TALL) if space else ([], []),
            "importance": importance(space, records) if space else [],
            "chart": (CHART, TALL, BARS),
            "show_value": show_value,
        },
    )


def _search(study: Study) -> tuple[Found | None, Sequence[Domain]]:
    if study.asked["kind"] != "search":
        return None, ()
    return read_search(study), read_space(study.asked["space"], study.base)


def _rows(comparison: Comparison) -> list[ArmRow]:
    scale = score_scale(comparison, 0.0, BARS)
    base = comparison.arms[0]
    best = max((arm for arm in comparison.arms if arm.mean is not None), key=lambda a: a.mean or 0.0, default=None)
    against = {verdict.second: verdict for verdict in comparison.verdicts if verdict.first == base.name}
    rows = []
    for index, arm in enumerate(comparison.arms):
        verdict = against.get(arm.name)
        bar = whisker = None
        dots: tuple[float, ...] = ()
        if scale is not None and arm.mean is not None:
            dots = tuple(scale(100 * float(score)) for score in arm.scores if score == score)
            bar = (scale(100 * (base.mean or 0.0)), scale(100 * arm.mean))
            if arm.sd is not None:
                whisker = (scale(100 * (arm.mean - arm.sd)), scale(100 * (arm.mean + arm.sd)))
        holds = arm is best and verdict is not None and verdict.word == "better"
        letter = chr(65 + index % 26) + ("" if index < 26 else str(index // 26))
        rows.append(ArmRow(letter, arm, verdict, holds, dots, bar, whisker))
    return rows


def _causes(records: Sequence[Record]) -> list[tuple[str, int]]:
    statuses = [record.status for record in records]
    return [(status, statuses.count(status)) for status in sorted(set(statuses))]
