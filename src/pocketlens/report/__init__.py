"""Reports: facts that are read from a folder, figures, and one self-contained HTML page."""

from pocketlens.report.run.page import write_report

__all__ = ["write_report"]
