"""The application of `pocketlens open`: the index, the page of each training, and the pages that lie in the folder.

Files are given out from the folder of runs and that of looks alone, and only pages and tables: no link leads out of
them, and no page from a folder may load or send anything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import quote

from fastapi import FastAPI, HTTPException, Response
from fastapi.responses import FileResponse, HTMLResponse

from pocketlens.errors import PocketlensError
from pocketlens.inference.serve.guard import Guard, protect
from pocketlens.report.opened.entries import Index, SessionEntry, looks_folder, read_index
from pocketlens.report.opened.live import read_live
from pocketlens.report.opened.pages import render_index, render_live, render_trials
from pocketlens.training.run import Run

KINDS = {
    ".html": "text/html; charset=utf-8",
    ".csv": "text/csv; charset=utf-8",
    ".json": "application/json",
    ".md": "text/plain; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".tex": "text/plain; charset=utf-8",
}
_OWN = (
    "default-src 'none'; img-src data: 'self'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)  # each page narrows it to its own script by its hash
_OF_FILES = _OWN.replace("connect-src 'self'; ", "").replace("img-src data: 'self'", "img-src data: blob:")


def make_index_app(folder: Path, guard: Guard, read_sessions: Callable[[Path], Sequence[SessionEntry]]) -> FastAPI:
    """The application for a folder of runs.

    Args:
        folder: of runs; it need not exist yet.
        guard: who may ask.
        read_sessions: gives the sessions of `auto` in the folder.
    """
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    protect(app, guard, _OWN)

    def index() -> Index:
        return read_index(folder, read_sessions(folder))

    @app.get("/")
    def show_index() -> Response:
        return HTMLResponse(render_index(index()))

    @app.get("/live/{place:path}")
    def show_live(place: str) -> Response:
        path = inside(folder, place)
        if path is None or not (path / "experiment.json").is_file():
            raise HTTPException(404, "there is no such run")
        try:
            return HTMLResponse(render_live(read_live(Run(path), folder), _home(f"live/{place}")))
        except (PocketlensError, OSError, KeyError, TypeError, ValueError) as error:
            raise HTTPException(422, f"the run cannot be read: {error}") from None

    @app.get("/trials/{name}")
    def show_trials(name: str) -> Response:
        for study in index().studies:
            if study.id == name:
                return HTMLResponse(render_trials(study, _home(f"trials/{name}")))
        raise HTTPException(404, "there is no such study")

    @app.get("/files/{place:path}")
    def give_file(place: str) -> Response:
        return _file(folder, place)

    @app.get("/looks/{place:path}")
    def give_look(place: str) -> Response:
        return _file(looks_folder(folder), place)

    return app


def address_of(page: Path, folder: Path) -> str:
    """The address of a page relative to the index, where it lies in the folder of runs or in that of looks; else ""."""
    for root, name in ((folder, "files"), (looks_folder(folder), "looks")):
        if page.resolve().is_relative_to(root.resolve()):
            return quote(f"{name}/{page.resolve().relative_to(root.resolve()).as_posix()}")
    return ""


def inside(root: Path, place: str) -> Path | None:
    """The path of a place below a folder; None where it leads out of it or is hidden."""
    try:
        path = (root / place).resolve()
        if not path.is_relative_to(root.resolve()) or any(part.startswith(".") for part in Path(place).parts):
            return None
    except (OSError, ValueError, RuntimeError):
        return None
    return root / place


def _file(root: Path, place: str) -> Response:
    path = inside(root, place)
    if path is None or path.suffix not in KINDS or not path.is_file():
        raise HTTPException(404, "there is no such page")
    return FileResponse(path, media_type=KINDS[path.suffix], headers={"Content-Security-Policy": _OF_FILES})


def _home(address: str) -> str:
    """The way back from an address to the index."""
    return "../" * address.count("/")
