"""The sessions of `auto` in a folder of runs, as lines of its index."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from pocketlens.errors import PocketlensError
from pocketlens.files import read_json
from pocketlens.locks import is_locked
from pocketlens.pipeline.session import FOLDER
from pocketlens.pipeline.state import AutoState
from pocketlens.report.opened.entries import Link, SessionEntry, page_links
from pocketlens.report.titles import short_name
from pocketlens.scoring.metrics import Estimate


def read_sessions(folder: Path) -> list[SessionEntry]:
    """The sessions of `auto` in a folder of runs; those that cannot be read are left out."""
    found = []
    for path in sorted((folder / FOLDER).glob("*/auto.json")):
        try:
            entry = _read_session(path, folder, path.stat().st_mtime_ns, is_locked(path.parent / "lock"))
        except (PocketlensError, OSError, KeyError, TypeError, ValueError):
            continue
        found.append(entry)
    return found


@lru_cache(maxsize=1024)
def _read_session(path: Path, folder: Path, stamp: int, is_worked_on: bool) -> SessionEntry:
    state = AutoState.from_dict(read_json(path), str(path))
    score = _score(state)
    phases = {name: result.page for name, result in state.done.items() if result.page is not None}
    pages = page_links(path.parent, folder, {"report.html": "page"})
    names = {"look": "look", "augment": "augmentations", "models": "networks", "search": "search"}
    pages += tuple(
        Link(text, f"files/{place}")
        for name, text in names.items()
        if name in phases and (place := _place(phases[name], folder)) is not None
    )
    run = next((result.run for result in reversed(state.done.values()) if result.run is not None), None)
    if run is not None and (folder / run / "experiment.json").is_file():
        pages += (Link("run", f"live/{run}"),)
    return SessionEntry(
        id=path.parent.name,
        title=short_name(state.request.text),
        data=state.request.text,
        status=state.finished or ("running" if is_worked_on else "unfinished"),
        phase=next(reversed(state.done), ""),
        spent=state.spent,
        limit=60.0 * state.request.minutes,
        accuracy=None if score is None else score.accuracy,
        part="" if score is None else score.part,
        changed=stamp / 1e9,
        pages=pages,
    )


@dataclass(frozen=True)
class _Score:
    """The accuracy of a session's result, and on what."""

    accuracy: Estimate
    part: str


def _score(state: AutoState) -> _Score | None:
    folded = state.done["folds"].folded if "folds" in state.done else None
    if folded is not None:
        return _Score(folded.accuracy, "all folds")
    test = state.done["test"].test_scores if "test" in state.done else None
    return None if test is None else _Score(test.top1, "test")


def _place(page: Path | None, folder: Path) -> str | None:
    """The place of a page below the folder of runs; None where it lies elsewhere."""
    if page is None or not page.is_file() or not page.resolve().is_relative_to(folder.resolve()):
        return None
    return page.resolve().relative_to(folder.resolve()).as_posix()
