"""Where the page of a session leads: to the report of its classifier, its picture, and the pages of its phases."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from pocketlens.pipeline.phase_result import PhaseResult
from pocketlens.report.run.summary_picture import SUMMARY
from pocketlens.training.run import Run

_PAGES = {
    "look": "what is in the data",
    "augment": "the comparison of augmentations",
    "models": "the comparison of networks",
    "search": "the search",
}


@dataclass(frozen=True)
class Link:
    """Another page, relative to this one."""

    text: str
    address: str


def read_links(folder: Path, run: Run, done: dict[str, PhaseResult]) -> tuple[Link, ...]:
    """The links of a session's page, which lies in `folder`, to what there is."""
    links = [Link("everything about this classifier", relative(run.file("report.html"), folder))]
    if run.file(SUMMARY).exists():
        links.append(Link("the same on one picture", relative(run.file(SUMMARY), folder)))
    for name, text in _PAGES.items():
        page = done[name].page if name in done else None
        links += [] if page is None else [Link(text, relative(page, folder))]
    return tuple(links)


def relative(path: Path, folder: Path) -> str:
    """The address of a file on a page in a folder."""
    return os.path.relpath(path.resolve(), folder.resolve())
