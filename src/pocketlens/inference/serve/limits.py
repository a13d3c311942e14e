"""Limits of requests to the server."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Limits of requests to the server.

    Attributes:
        body: bytes of a picture.
        form: bytes of a form with several pictures.
        pictures: in a form.
        seconds: until a request has arrived.
        waiting: requests in the queue.
        held: bytes of all pictures that are arriving or waiting.
        top: classes in an answer.
    """

    body: int = 10_000_000
    form: int = 50_000_000
    pictures: int = 32
    seconds: float = 10.0
    waiting: int = 16
    held: int = 200_000_000
    top: int = 5
