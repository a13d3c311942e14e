"""The application: the page, `POST /api/predict`, `GET /health`, and the rejection of requests by their headers."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.exceptions import HTTPException as AnyHTTPException
from starlette.requests import ClientDisconnect

from pocketlens.data.images import BadImage, map_images
from pocketlens.inference.predict import Predictor, compute_logits, read_picture, top_classes
from pocketlens.inference.serve.limits import Limits
from pocketlens.inference.serve.page import policy, render_page
from pocketlens.text import counted

DRAIN_SECONDS = 2.0
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def make_app(predictor: Predictor, host: str, device: str, limits: Limits) -> FastAPI:
    """The application for one model."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    page = render_page(predictor, limits)
    queue = PredictionQueue(predictor, device, limits)

    @app.middleware("http")
    async def guard(request: Request, go_on: Callable[[Request], Awaitable[Response]]) -> Response:
        refusal = refuse(request, host, limits)
        if refusal is not None:
            await drain(request)
        response = await go_on(request) if refusal is None else complaint(refusal.status, refusal.why)
        response.headers.update({**HEADERS, "Content-Security-Policy": policy()})
        return response

    @app.exception_handler(AnyHTTPException)
    async def explain(_request: Request, error: AnyHTTPException) -> Response:
        return complaint(error.status_code, str(error.detail), dict(error.headers or {}))

    @app.get("/")
    async def show_page() -> HTMLResponse:
        return HTMLResponse(page)

    @app.get("/health")
    async def health() -> dict[str, Any]:
        return {"status": "ok", "model": predictor.name, "classes": len(predictor.classifier.classes)}

    @app.post("/api/predict")
    async def predict(request: Request) -> dict[str, Any]:
        return await queue.answer(request)

    return app


def complaint(status: int, why: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """An error as JSON. The connection is closed, as the request's body may not have been read."""
    return JSONResponse({"error": why}, status, {**(headers or {}), "Connection": "close"})


@dataclass(frozen=True)
class Refusal:
    """Why a request is rejected, and the status of the response."""

    status: int
    why: str


def refuse(request: Request, host: str, limits: Limits) -> Refusal | None:
    """The refusal if a request must be rejected by its headers, or None.

    So another site's page can neither reach the server through a host name of its own (DNS rebinding) nor post to it.
    """
    name = request.headers.get("host", "")
    if not _is_ours(_hostname(f"//{name}"), host):
        return Refusal(403, "the Host header must name this machine")
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != name:
        return Refusal(403, "requests from other sites are refused")
    if request.method != "POST":
        return None
    length = request.headers.get("content-length")
    if length is None:
        return Refusal(411, "the request must have a Content-Length header")
    if not (length.isascii() and length.isdigit()):
        return Refusal(400, "the Content-Length must be a whole number")
    if len(length) > 18 or int(length) > limits.body:
        return Refusal(413, f"the body may have at most {limits.body / 1e6:g} MB")
    return None


async def drain(request: Request) -> None:
    """Reads a rejected request's body for a moment: a client that is cut off while it sends never reads the answer."""
    if "expect" in request.headers:
        return  # the client waits for an answer before it sends the body
    with contextlib.suppress(TimeoutError, ClientDisconnect):
        async with asyncio.timeout(DRAIN_SECONDS):
            async for _ in request.stream():
                pass


class PredictionQueue:
    """Reads pictures concurrently and predicts them one after the other; rejects them where the queue is full."""

    def __init__(self, predictor: Predictor, device: str, limits: Limits) -> None:
        self.predictor, self.device, self.limits = predictor, device, limits
        self.worker = ThreadPoolExecutor(1, "predict")
        self.waiting = 0  # pictures
        self.held = 0  # bytes

    async def answer(self, request: Request) -> dict[str, Any]:
        """The answer to one picture."""
        if request.headers.get("content-type", "").startswith("multipart/"):
            raise HTTPException(415, "the body must be the picture itself, not a form: curl --data-binary @picture.png")
        parts: list[bytes] = []
        try:
            await self._read(request, parts)
            if self.waiting >= self.limits.waiting:
                raise self._busy()
            self.waiting += 1
            try:
                loop = asyncio.get_running_loop()
                return await loop.run_in_executor(self.worker, self.predict, b"".join(parts))
            finally:
                self.waiting -= 1
        except BadImage as reason:
            raise HTTPException(422, f"the picture cannot be read: {reason}") from None
        finally:
            self.held -= sum(map(len, parts))

    def predict(self, data: bytes) -> dict[str, Any]:
        """The classes of one picture."""
        (result,) = map_images(lambda source: read_picture(self.predictor, source), [data])
        if isinstance(result, BadImage):
            raise result
        logits = compute_logits(self.predictor, np.ascontiguousarray(result.pixels[None]), self.device)[0]
        if not np.isfinite(logits).all():
            raise BadImage("the model's logits for it are not finite")
        found = top_classes(self.predictor, logits, self.limits.top)
        pairs = zip(found.classes, found.probabilities, strict=True)
        unfamiliar = self.predictor.is_unfamiliar(logits)
        return {
            "model": self.predictor.name,
            "calibrated": self.predictor.is_calibrated,
            "calibration": self.predictor.calibration,
            "classes": [{"class": name, "probability": probability} for name, probability in pairs],
            "unfamiliar": unfamiliar,
            "notes": [*result.notes, *self.predictor.remarks(logits)],
        }

    async def _read(self, request: Request, parts: list[bytes]) -> None:
        try:
            async with asyncio.timeout(self.limits.seconds):
                async for part in request.stream():
                    if self.held + len(part) > self.limits.held:
                        raise self._busy()
                    parts.append(part)
                    self.held += len(part)
        except TimeoutError:
            raise HTTPException(
                408, f"the picture must arrive within {counted(self.limits.seconds, 'second')}"
            ) from None
        except ClientDisconnect:
            raise HTTPException(400, "the picture is incomplete") from None

    def _busy(self) -> HTTPException:
        return HTTPException(503, "too many requests at once; try again in a second", {"Retry-After": "1"})


def _hostname(address: str) -> str:
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""


def _is_ours(name: str, host: str) -> bool:
    if name in ("127.0.0.1", "localhost", "::1", host.lower()):
        return True
    if host not in ("0.0.0.0", "::"):  # noqa: S104 (a comparison)
        return False
    try:
        ipaddress.ip_address(name)  # no other site's name is a number
        return True
    except ValueError:
        return name == socket.gethostname().lower()
