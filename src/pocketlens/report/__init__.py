"""Reports: facts that are read from a folder, figures, and one self-contained HTML page."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pocketlens.report.run.page import write_report

__all__ = ["write_report"]


def __getattr__(name: str) -> Any:
    """The page of a run needs torch, which the index of all runs does without."""
    if name != "write_report":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from pocketlens.report.run.page import write_report

    return write_report
