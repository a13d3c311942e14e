"""Who may ask a local server: requests that name this machine, come from its own pages, and know its token.

A token stands in the address, as its first folder: http://127.0.0.1:8000/TOKEN/. So the links between pages keep it, no
cookie is needed, and programs that do not know it read nothing, whoever runs them. Use it so:

    guard = Guard(host, new_token())
    app = FastAPI(...)
    protect(app, guard, policy="default-src 'none'; ...")
    address = guard.address(port)  # what a person opens; routes are written without the token
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import secrets
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from fastapi import FastAPI, Request, Response

DRAIN_SECONDS = 2.0
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True)
class Refusal:
    """Why a request is rejected, and the status of the response."""

    status: int
    why: str


@dataclass(frozen=True)
class Guard:
    """Which requests a server answers.

    Attributes:
        host: the address on which it listens, which decides the host names that it accepts.
        token: what the path must begin with; empty: nothing.
        body: bytes of a request that posts something, at most.
    """

    host: str
    token: str = ""
    body: int = 1_000_000

    def address(self, port: int) -> str:
        """The address that a person opens, without a slash at its end."""
        shown = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{shown}:{port}{self.root}"

    @property
    def root(self) -> str:
        """The part of the path before every route."""
        return f"/{self.token}" if self.token else ""

    def refusal(self, request: Request) -> Refusal | None:
        """Why a request must be rejected by its headers and its path, or None.

        So another site's page can neither reach the server through a host name of its own (DNS rebinding) nor post to
        it, and who does not know the token learns nothing.
        """
        name = request.headers.get("host", "")
        if not is_ours(_hostname(f"//{name}"), self.host):
            return Refusal(403, "the Host header must name this machine")
        origin = request.headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != name:
            return Refusal(403, "requests from other sites are refused")
        given = request.scope["path"].split("/")[1]
        if self.token and not secrets.compare_digest(given.encode("utf-8", "replace"), self.token.encode()):
            return Refusal(403, "the address must hold the token that the program printed")
        return self._refusal_of_body(request) if request.method == "POST" else None

    def _refusal_of_body(self, request: Request) -> Refusal | None:
        length = request.headers.get("content-length")
        if length is None:
            return Refusal(411, "the request must have a Content-Length header")
        if not (length.isascii() and length.isdigit()):
            return Refusal(400, "the Content-Length must be a whole number")
        if len(length) > 18 or int(length) > self.body:
            has = "" if len(length) > 18 else f", this one has {int(length) / 1e6:.3g} MB"
            return Refusal(413, f"a request may have at most {self.body / 1e6:g} MB{has}")
        return None


def new_token() -> str:
    """A token that nobody can guess: 22 letters, digits, - and _."""
    return secrets.token_urlsafe(16)


def protect(app: FastAPI, guard: Guard, policy: str) -> None:
    """Lets an application answer only what `guard` allows, and lets pages load only what `policy` allows.

    Args:
        app: the application; its routes do not name the token. What goes wrong is answered as {"error": why}.
        guard: who may ask.
        policy: the content security policy of answers that bring none of their own.
    """
    from starlette.exceptions import HTTPException

    @app.middleware("http")
    async def watch(request: Request, go_on: Callable[[Request], Awaitable[Response]]) -> Response:
        refusal = guard.refusal(request)
        if refusal is None:
            request.scope["root_path"] = guard.root  # routes and addresses are relative to it
            response = await go_on(request)
        else:
            await drain(request)
            response = complaint(refusal.status, refusal.why)
        response.headers.update(HEADERS)
        response.headers.setdefault("Content-Security-Policy", policy)
        return response

    @app.exception_handler(HTTPException)
    async def explain(_request: Request, error: HTTPException) -> Response:
        return complaint(error.status_code, str(error.detail), dict(error.headers or {}))


def complaint(status: int, why: str, headers: dict[str, str] | None = None) -> Response:
    """An error as JSON. The connection is closed, as the request's body may not have been read."""
    from fastapi.responses import JSONResponse

    return JSONResponse({"error": why}, status, {**(headers or {}), "Connection": "close"})


async def drain(request: Request) -> None:
    """Reads a rejected request's body for a moment: a client that is cut off while it sends never reads the answer."""
    from starlette.requests import ClientDisconnect

    if "expect" in request.headers:
        return  # the client waits for an answer before it sends the body
    with contextlib.suppress(TimeoutError, ClientDisconnect):
        async with asyncio.timeout(DRAIN_SECONDS):
            async for _ in request.stream():
                pass


def is_ours(name: str, host: str) -> bool:
    """Whether a name in a request is one under which a server on `host` may be reached."""
    if name in ("127.0.0.1", "localhost", "::1", host.lower()):
        return True
    if host not in ("0.0.0.0", "::"):  # noqa: S104 (a comparison)
        return False
    try:
        ipaddress.ip_address(name)  # no other site's name is a number
        return True
    except ValueError:
        return name == socket.gethostname().lower()


def _hostname(address: str) -> str:
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""
