"""The server: uvicorn with a time limit on idle connections, stopped by a function instead of signals."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from pocketlens.inference.serve.limits import Limits

HEADER_SECONDS = 10.0  # until a new connection's first request must have started


class Server(uvicorn.Server):
    """uvicorn's server, which ends when `stopped()` is true; signals are left to the caller."""

    def __init__(self, config: uvicorn.Config, stopped: Callable[[], object]) -> None:
        super().__init__(config)
        self.stopped = stopped

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Captures none."""
        yield

    async def on_tick(self, counter: int) -> bool:
        """Whether to end; uvicorn calls it ten times a second."""
        return await super().on_tick(counter) or bool(self.stopped())


class TimedProtocol(H11Protocol):
    """HTTP/1.1 that closes connections without a request, as idle ones would exhaust the server's descriptors."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Starts the timer."""
        super().connection_made(transport)
        self.timer = self.loop.call_later(HEADER_SECONDS, self._close_if_idle)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stops the timer."""
        self.timer.cancel()
        super().connection_lost(exc)

    def _close_if_idle(self) -> None:
        if self.cycle is None:
            self.transport.close()


def configure(app: Any, limits: Limits) -> uvicorn.Config:
    """uvicorn's settings for a small local server."""
    return uvicorn.Config(
        app,
        http=TimedProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=int(limits.seconds),
    )
