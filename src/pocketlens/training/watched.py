"""WatchedRun: a run that another process trains with this one. It reads what that one writes, and writes nothing.

Of the ranks of one training only the first writes; the others go through the same motions on one of these.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pocketlens.training.run import Run

if TYPE_CHECKING:
    from pocketlens.training.checkpoint import Checkpoint


class WatchedRun(Run):
    """A run whose files belong to the first rank."""

    @contextmanager
    def lock(self) -> Iterator[None]:
        """The first rank holds it."""
        yield

    def set_status(self, status: str, reason: str = "") -> None:
        """The first rank says it."""

    def save_checkpoint(self, checkpoint: Checkpoint) -> None:
        """The first rank does."""

    def settle(self, checkpoint: Checkpoint) -> None:
        """The first rank does."""

    def set_aside_broken(self) -> list[str]:
        """The first rank does, and says so."""
        return []

    def add_timing(self, record: dict[str, Any]) -> None:
        """The first rank measures."""
