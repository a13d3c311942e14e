"""The HTML text of the page of a run; what keeps hostile names harmless stands in `shell.py`."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from pocketlens.report.figures import draw_curves
from pocketlens.report.pictures import LONGEST_NAME, draw_matrix
from pocketlens.report.run.charts import draw_coverage, draw_reliability
from pocketlens.report.run.csv_tables import score_downloads
from pocketlens.report.run.first_screen import first_screen
from pocketlens.report.run.gallery import make_gallery
from pocketlens.report.run.methods import write_methods, write_title
from pocketlens.report.run.mistakes import causes_of, worst_shown
from pocketlens.report.run.score_tables import class_table, score_rows
from pocketlens.report.shell import placed, render_page

if TYPE_CHECKING:
    from pocketlens.report.run.facts import Facts
    from pocketlens.report.run.feature_view import FeatureView

SCRIPTS = (
    "sort.js.j2",
    "print.js.j2",
    "gallery_pictures.js.j2",
    "gallery_filter.js.j2",
    "gallery.js.j2",
    "matrix.js.j2",
    "map.js.j2",
    "map_of_run.js.j2",
    "nearest.js.j2",
    "threshold.js.j2",
    "downloads.js.j2",
    "gallery_start.js.j2",
)
N_PAIRS = 25  # rows in the table of confused pairs


def render(facts: Facts, view: FeatureView | None = None, summary: bytes | None = None) -> str:
    """The HTML text of the page; `view` is what the features of the run add, `summary` the run as one PNG."""
    scores, reliability, screen = facts.scores, facts.reliability, first_screen(facts)
    kept = next((int(record["epoch"]) for record in reversed(facts.history) if record.get("best")), None)
    matrix, classes = (draw_matrix(scores), class_table(facts, scores)) if scores else (None, None)
    gallery = make_gallery(facts, () if matrix is None else matrix.order, view)
    charts = [draw_reliability(reliability), draw_coverage(reliability.answered)] if reliability else []
    return render_page(
        "page.html.j2",
        (*SCRIPTS, *(("find.js.j2",) if classes and classes.find else ())),
        {
            "facts": facts,
            "summary": None if summary is None else f"data:image/png;base64,{base64.b64encode(summary).decode()}",
            "heading": write_title(facts),
            "screen": screen,
            "latest": next((row for row in reversed(facts.history) if row.get("val_accuracy") is not None), None),
            "scores": scores,
            "part": screen.part if screen else "",
            "methods": write_methods(facts),
            "figures": placed(draw_curves(facts.history, kept if facts.recipe.keep == "best" else None), facts.run_id),
            "calibration_figures": placed(charts, facts.run_id),
            "offers": score_downloads(facts),
            "classes": classes,
            "standouts": scores.standouts() if scores else None,
            "matrix": matrix,
            "longest": LONGEST_NAME,
            "pairs": facts.pairs[:N_PAIRS],
            "n_clear": sum(pair.beyond_chance for pair in facts.pairs),
            "mistakes": worst_shown(facts),
            "causes": causes_of(facts),
            "gallery": gallery,
            "view": view,
            "numbers": score_rows(facts),
        },
    )
