"""The server: uvicorn, which hangs up on connections that ask for nothing, and stops on request."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from pocketlens.inference.serve.limits import Limits

HEADER_SECONDS = 10.0  # how long a connection may take until its first request starts


class Server(uvicorn.Server):
    """uvicorn's server; signals are left to the caller, who says by `stopped` when to end."""

    def __init__(self, config: uvicorn.Config, stopped: Callable[[], object]) -> None:
        super().__init__(config)
        self.stopped = stopped

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Captures none."""
        yield

    async def on_tick(self, counter: int) -> bool:
        """Whether to end; asked ten times a second."""
        return await super().on_tick(counter) or bool(self.stopped())


class Impatient(H11Protocol):
    """HTTP/1.1 that closes a connection whose first request does not begin; idle ones would use up all places."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Starts the clock."""
        super().connection_made(transport)
        self.patience = self.loop.call_later(HEADER_SECONDS, self._hang_up)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stops it."""
        self.patience.cancel()
        super().connection_lost(exc)

    def _hang_up(self) -> None:
        if self.cycle is None:
            self.transport.close()


def configure(app: Any, limits: Limits) -> uvicorn.Config:
    """uvicorn's settings for a small local server."""
    return uvicorn.Config(
        app,
        http=Impatient,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=int(limits.seconds),
    )
