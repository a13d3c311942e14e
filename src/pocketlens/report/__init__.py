"""The report: facts (read from a run's folder) -> figures -> one self-contained HTML page."""

from pocketlens.report.page import write_report

__all__ = ["write_report"]
