"""A study's journal: one JSON line for each trial that was asked for, begun and ended; it only grows.

A line without its end is the work of a process that was killed while it wrote: it is left out, and cut off by the next
line. A line in the middle that holds no JSON (a damaged disk, an editor) is left out and counted, never overwritten.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pocketlens.errors import PocketlensError
from pocketlens.files import append_json


class Journal:
    """The lines of a journal file; each is read once, also when other processes write more of them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read_to = 0  # bytes
        self._lines: list[dict[str, Any]] = []
        self._n_bad = 0
        self._torn = False

    def lines(self) -> list[dict[str, Any]]:
        """Every line that can be read, in the order of writing."""
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
        """How many lines could not be read, a torn last one among them."""
        self.lines()
        return self._n_bad + self._torn

    def write(self, line: dict[str, Any]) -> None:
        """Adds a line, which is on the disk when this returns. The caller holds the study's lock.

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
