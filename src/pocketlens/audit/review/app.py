"""The application of a review: its page, its pictures, and the decisions. Every address holds the token.

A window asks for what has changed since the version that it knows, and says with each decision which version of the
row it has seen. All requests are answered one after the other, so the server is the only one that writes.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from fastapi import FastAPI, HTTPException, Response
from fastapi.responses import HTMLResponse

from pocketlens.audit.review.decisions import Decision, Decisions, Overtaken
from pocketlens.audit.review.findings import Findings, Item
from pocketlens.audit.review.page import policy, render_page
from pocketlens.audit.review.pictures import as_png, picture_of
from pocketlens.data.dataset import Dataset
from pocketlens.data.duplicates import DEVELOPMENT, TEST
from pocketlens.errors import PocketlensError
from pocketlens.inference.serve.guard import Guard, protect

MOST_BYTES = 20_000  # of a decision


@dataclass(frozen=True, eq=False)
class Review:
    """What is reviewed, where decisions go, who may ask, and the command that follows."""

    dataset: Dataset
    findings: Findings
    decisions: Decisions
    guard: Guard
    command: str


@dataclass(frozen=True)
class Decided:
    """What a window sends: the row, the decision, the version of the row that it has seen, and what it knows."""

    row: int
    decision: str
    seen: int
    window: str
    since: int


@dataclass(frozen=True)
class Undone:
    """What a window sends to take its last decision back."""

    window: str
    since: int


def make_app(review: Review) -> FastAPI:
    """The application of one review."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    protect(app, review.guard, policy())
    desk = _Desk(review)
    page = render_page(review.dataset.text, str(review.decisions.path), review.command)

    @app.get("/")
    async def show_page() -> HTMLResponse:
        return HTMLResponse(page)

    @app.get("/api/items")
    async def show_items() -> dict[str, Any]:
        return desk.everything()

    @app.get("/api/changes")
    async def show_changes(since: int) -> dict[str, Any]:
        return desk.changes(since)

    @app.post("/api/decide")
    async def decide(asked: Decided) -> dict[str, Any]:
        return desk.act(lambda: desk.book.decide(asked.row, asked.decision, asked.seen, asked.window), asked.since)

    @app.post("/api/undo")
    async def undo(asked: Undone) -> dict[str, Any]:
        return desk.act(lambda: desk.book.undo(asked.window), asked.since)

    @app.get("/picture/{part}/{row}")
    def show_picture(part: str, row: int) -> Response:
        return Response(desk.picture(part, row), media_type="image/png")

    return app


class _Desk:
    """What the requests are answered from."""

    def __init__(self, review: Review) -> None:
        self.review, self.book = review, review.decisions
        self.session = secrets.token_hex(8)  # versions are those of one process
        beside = {each.row for item in review.findings.items for each in item.duplicates if each.part == DEVELOPMENT}
        near = {row for item in review.findings.items for row in item.nearest}
        self.shown = {item.row for item in review.findings.items} | beside | near

    def everything(self) -> dict[str, Any]:
        """All items with their decisions."""
        dataset = self.review.dataset
        items = self.review.findings.items
        return {
            "session": self.session,
            "version": self.book.version,
            "classes": dataset.classes,
            "skipped": self.review.findings.skipped,
            "labels": {row: int(dataset.labels[row]) for row in sorted(self.shown)},
            "items": [self._item(item) for item in items],
            "decisions": [asdict(each) for item in items if (each := self.book.of(item.row)).version or each.text],
            "side": max(dataset.shape[:2]),
        }

    def changes(self, since: int) -> dict[str, Any]:
        """The decisions that a window does not know yet."""
        changed = [asdict(each) for each in self.book.since(since)]
        return {"session": self.session, "version": self.book.version, "decisions": changed}

    def act(self, change: Callable[[], Decision | None], since: int) -> dict[str, Any]:
        """Makes a change; gives what is new, and where nothing was changed, why."""
        try:
            made = change()
        except Overtaken as error:
            return {**self.changes(since), "refused": str(error)}
        except PocketlensError as error:
            raise HTTPException(422, str(error)) from None
        except OSError as error:
            raise HTTPException(507, f"{self.book.path} cannot be written: {error.strerror or error}") from None
        return {**self.changes(since), "made": None if made is None else asdict(made)}

    def picture(self, part: str, row: int) -> bytes:
        """The PNG of an image that the review shows; no other one is given out."""
        if part == DEVELOPMENT and row in self.shown:
            return picture_of(self.review.dataset, row)
        if part == TEST and row in self.review.findings.tests:
            return as_png(np.asarray(self.review.findings.tests[row]))
        raise HTTPException(404, "there is no such picture in this review")

    def _item(self, item: Item) -> dict[str, Any]:
        dataset = self.review.dataset
        file = "" if dataset.files is None else dataset.files[item.row]
        return {**asdict(item), "file": file}
