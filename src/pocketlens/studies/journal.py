"""A study's journal: one JSON line when a trial is enqueued, started and ended; it only grows.

A last line without an end was left by a process that was killed while writing: it is ignored, and the next write cuts
it off. A line in the middle that is not JSON (a damaged disk, an editor) is ignored and counted, never overwritten.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pocketlens.errors import PocketlensError
from pocketlens.files import append_json


class Journal:
    """The lines of a journal file. Each is read once, even while other processes append more."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read_to = 0  # bytes
        self._lines: list[dict[str, Any]] = []
        self._n_bad = 0
        self._torn = False

    def lines(self) -> list[dict[str, Any]]:
        """Every readable line, in the order of writing."""
        if not self.path.exists():
            return self._lines
        with open(self.path, "rb") as file:
            file.seek(self._read_to)
            new = file.read()
        whole = new[: new.rfind(b"\n") + 1]
        self._read_to += len(whole)
        self._torn = len(whole) < len(new)
        for text in whole.split(b"\n")[:-1]:
            line = _parse(text)
            if line is None:
                self._n_bad += 1
            else:
                self._lines.append(line)
        return self._lines

    def n_unreadable(self) -> int:
        """How many lines cannot be read, a torn last line included."""
        self.lines()
        return self._n_bad + self._torn

    def write(self, line: dict[str, Any]) -> None:
        """Appends a line, which is on the disk when this returns. The caller holds the study's lock.

        Raises:
            PocketlensError: the file cannot be written.
        """
        try:
            append_json(self.path, line)
        except OSError as error:
            folder = self.path.parent
            raise PocketlensError(f"{folder} must be a folder that can be written: {error.strerror}.") from None


def _parse(text: bytes) -> dict[str, Any] | None:
    try:
        line = json.loads(text)
    except ValueError:
        return None
    is_known = isinstance(line, dict) and isinstance(line.get("trial"), int) and isinstance(line.get("event"), str)
    return line if is_known else None
