"""The page of a study: one self-contained HTML file in the study's folder.

It shares the style of a run's page. Texts from outside (names of recipes, values, reasons) are escaped by the template.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pocketlens.files import write_text
from pocketlens.report.shell import render_page
from pocketlens.report.study.downloads import study_downloads
from pocketlens.report.study.figures import Parallel, history, importance, parallel, score_scale
from pocketlens.report.study.sentences import selection_bias_sentence, summary_sentences, write_study_methods
from pocketlens.scoring.significance import Verdict
from pocketlens.studies.compare import Candidate, Comparison, read_comparison
from pocketlens.studies.overrides import show_value
from pocketlens.studies.search import SearchResult, read_search
from pocketlens.studies.space import Domain, read_space
from pocketlens.studies.store import Record, Study

BARS = 300.0  # px, width of the bars beside the table of recipes
CHART, TALL = 640.0, 240.0


@dataclass(frozen=True)
class CandidateRow:
    """A candidate in the table: its letter, its numbers, and the x coordinates of its bar."""

    letter: str
    candidate: Candidate
    verdict: Verdict | None  # against the base
    is_best: bool  # the highest mean, and better than the base by verdict
    dots: tuple[float, ...]
    bar: tuple[float, float] | None  # from the base's mean to this one's
    whisker: tuple[float, float] | None  # mean ± standard deviation


def write_study_page(study: Study) -> Path:
    """Writes report.html into the study's folder and returns its path."""
    path = study.path / "report.html"
    write_text(path, render_study(study))
    return path


def render_study(study: Study) -> str:
    """The HTML text of the page."""
    records = study.records()
    result, space = _result(study), _space(study)
    comparison = result.final if result is not None else read_comparison(study)
    rows = [] if comparison is None else _rows(comparison)
    shares = importance(space, records) if space else []
    return render_page(
        "study.html.j2",
        ("sort.js.j2", "downloads.js.j2"),
        {
            "study": study,
            "spec": study.spec,
            "records": records,
            "causes": _causes(records),
            "result": result,
            "comparison": comparison,
            "rows": rows,
            "scale": None if comparison is None else score_scale(comparison, 0.0, BARS),
            "names": {row.candidate.name: row.letter for row in rows},
            "headlines": summary_sentences(comparison, result, space),
            "selection_bias": "" if result is None else selection_bias_sentence(result),
            "methods": write_study_methods(study, comparison, result),
            "addresses": [domain.address for domain in space],
            "history": history(records, CHART, TALL) if space else None,
            "parallel": parallel(space, records, CHART, TALL) if space else Parallel([], []),
            "importance": shares,
            "offers": study_downloads(study, comparison, space, records, shares),
            "chart": (CHART, TALL, BARS),
            "show_value": show_value,
        },
    )


def _result(study: Study) -> SearchResult | None:
    return read_search(study) if study.spec.kind == "search" else None


def _space(study: Study) -> Sequence[Domain]:
    return read_space(study.spec.search.space, study.spec.base) if study.spec.kind == "search" else ()


def _rows(comparison: Comparison) -> list[CandidateRow]:
    scale = score_scale(comparison, 0.0, BARS)
    base = comparison.candidates[0]
    rated = [candidate for candidate in comparison.candidates if candidate.mean is not None]
    best = max(rated, key=lambda candidate: candidate.mean or 0.0, default=None)
    against = {verdict.second: verdict for verdict in comparison.verdicts if verdict.first == base.name}
    rows = []
    for index, each in enumerate(comparison.candidates):
        verdict = against.get(each.name)
        bar = whisker = None
        dots: tuple[float, ...] = ()
        if scale is not None and each.mean is not None:
            dots = tuple(scale(100 * float(score)) for score in each.scores if score == score)
            bar = (scale(100 * (base.mean or 0.0)), scale(100 * each.mean))
            if each.sd is not None:
                whisker = (scale(100 * (each.mean - each.sd)), scale(100 * (each.mean + each.sd)))
        is_best = each is best and verdict is not None and verdict.word == "better"
        letter = chr(65 + index % 26) + ("" if index < 26 else str(index // 26))
        rows.append(CandidateRow(letter, each, verdict, is_best, dots, bar, whisker))
    return rows


def _causes(records: Sequence[Record]) -> list[tuple[str, int]]:
    statuses = [record.status for record in records]
    return [(status, statuses.count(status)) for status in sorted(set(statuses))]
