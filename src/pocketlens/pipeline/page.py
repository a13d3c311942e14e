"""The page of a way: what each phase has said, in order, with links to the pages of its parts beside it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pocketlens.events import Stage
from pocketlens.files import write_text
from pocketlens.report.shell import render_page

_TITLES = {
    "plan": "The plan",
    "look": "A look at the data",
    "augment": "Augmentations",
    "models": "Models at equal cost",
    "search": "The search",
    "check": "Does it learn?",
    "final": "The final training",
    "test": "The judgement",
}


@dataclass(frozen=True)
class Section:
    """One phase on the page."""

    title: str
    lines: tuple[str, ...]
    link: str  # relative to the page; empty where the phase has no page


def write_way_page(folder: Path, heading: str, stages: Sequence[Stage], report: Path) -> Path:
    """Writes report.html into the way's folder and gives its path."""
    path = folder / "report.html"
    sections = [_section(stage, folder) for stage in stages if stage.name in _TITLES]
    values = {"heading": heading, "sections": sections, "report": _relative(report, folder), "way": folder.name}
    write_text(path, render_page("auto.html.j2", (), values))
    return path


def _section(stage: Stage, folder: Path) -> Section:
    page = stage.facts.get("page")
    lines = tuple(line for line in stage.lines if not line.startswith("page: "))
    return Section(_TITLES[stage.name], lines, _relative(Path(page), folder) if page else "")


def _relative(path: Path, folder: Path) -> str:
    return os.path.relpath(path.resolve(), folder.resolve())
