"""The report: facts (read from a run's folder) -> figures -> one self-contained HTML page."""

from pocketlens.report.run.page import write_report

__all__ = ["write_report"]
