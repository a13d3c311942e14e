"""The map of development images on the page of an audit, as data for the page's script."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pocketlens.audit.audit import AuditReport
from pocketlens.report.run.row_pictures import small_sheets
from pocketlens.report.run.sheets import COLUMNS
from pocketlens.text import printable

KINDS = ("plain", "issue", "outlier")


@dataclass(frozen=True, eq=False)
class ShownMap:
    """What the page's script needs, as plain values, and what the page says of it.

    Attributes:
        n, of: images on the map, and those that could be.
        space: whose features they are, in words.
    """

    data: dict[str, Any]
    n: int
    of: int
    space: str


def show_map(report: AuditReport) -> ShownMap | None:
    """The map of an audit; None where there were no features."""
    found, dataset, issues = report.map, report.dataset, report.labels
    if found is None:
        return None
    rows = found.map.places
    suggested = {} if issues is None else dict(zip(issues.rows.tolist(), issues.suggested.tolist(), strict=True))
    kind = np.where(np.isin(rows, found.marked), KINDS.index("outlier"), 0)
    kind[np.isin(rows, list(suggested))] = KINDS.index("issue")
    sheets = small_sheets(dataset, rows)
    files = dataset.files
    data = {
        "classes": list(dataset.classes),
        "kinds": list(KINDS),
        "row": rows.tolist(),
        "x": found.map.x.tolist(),
        "y": found.map.y.tolist(),
        "label": dataset.labels[rows].tolist(),
        "kind": kind.tolist(),
        "to": [suggested.get(row) for row in rows.tolist()],
        "files": None if files is None else [printable(files[row]) for row in rows],
        "pictures": len(rows),
        "columns": COLUMNS,
        "width": sheets.width,
        "height": sheets.height,
        "sheets": sheets.uris,
    }
    return ShownMap(data, len(rows), found.map.n, found.space)
