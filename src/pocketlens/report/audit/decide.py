"""What the page of an audit needs so that a person can decide on its images there, without a server."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pocketlens.audit.audit import AuditReport


def decidable(report: AuditReport, rows: Iterable[int]) -> dict[str, Any]:
    """For the page's script: the classes, and of each row its hash, its class and the class that is suggested."""
    dataset, issues = report.dataset, report.labels
    suggested = {} if issues is None else dict(zip(issues.rows.tolist(), issues.suggested.tolist(), strict=True))
    known = {
        row: {"hash": dataset.hashes[row].tobytes().hex(), "given": int(dataset.labels[row]), "to": suggested.get(row)}
        for row in sorted(set(rows))
    }
    return {"fingerprint": dataset.fingerprint, "classes": dataset.classes, "rows": known}
