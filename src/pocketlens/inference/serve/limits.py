"""Limits: what one request may cost."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Bytes of a picture, seconds for its coming, pictures that may wait, bytes of all that are coming or wait."""

    body: int = 10_000_000
    seconds: float = 10.0
    waiting: int = 16
    held: int = 200_000_000
    top: int = 5  # classes in an answer
