"""Limits of requests to the server."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Limits of requests to the server.

    Attributes:
        body: bytes of a picture.
        seconds: until a picture has arrived.
        waiting: pictures in the queue.
        held: bytes of all pictures that are arriving or waiting.
        top: classes in an answer.
    """

    body: int = 10_000_000
    seconds: float = 10.0
    waiting: int = 16
    held: int = 200_000_000
    top: int = 5
