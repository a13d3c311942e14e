"""What a person sees: lines without control characters, and one JSON object where it was asked for."""

from __future__ import annotations

import io
import json
import re
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TextIO

from pocketlens.files import to_json
from pocketlens.text import printable

WIDTH = 80  # columns of a terminal, unless it has more
NARROWEST = 9  # columns of a text that is cut


class Shown(Protocol):
    """A result of a call: lines for a person, and values for `--json`."""

    def lines(self) -> list[str]: ...

    def to_dict(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Screen:
    """Where a command writes. With `--json`, lines go to standard error and the result to standard output."""

    as_json: bool = False
    is_mute: bool = False  # of all ranks but the first

    @property
    def stream(self) -> TextIO:
        """Where lines go."""
        if self.is_mute:
            return io.StringIO()
        return sys.stderr if self.as_json else sys.stdout

    def say(self, line: str = "") -> None:
        """Prints one line; control characters in it are shown, not sent."""
        print(printable(line), file=self.stream, flush=True)

    def fact(self, name: str, text: str) -> None:
        """Prints one line with its name in a column of its own."""
        self.say(f"{name:<9}{text}")

    def warn(self, text: str) -> None:
        """Prints one line to standard error, whatever the screen shows."""
        print(f"pocketlens: {printable(text)}", file=sys.stderr, flush=True)

    def show(self, result: Shown | None, code: int = 0) -> int:
        """Prints the lines of a result, or its JSON object, where there is one; gives back the exit code."""
        if result is not None:
            for line in result.lines():
                self.say(line)
            self.finish(result.to_dict())
        return code

    def finish(self, result: dict[str, Any]) -> None:
        """Prints the result as one JSON object, where `--json` was given."""
        if self.as_json and not self.is_mute:
            print(json.dumps(json.loads(to_json(result))), flush=True)


def table(rows: Sequence[tuple[str, ...]], header: tuple[str, ...] = (), indent: int = 0) -> list[str]:
    """Lines with aligned columns, which fit 80 columns or the terminal; what looks like numbers stands to the right.

    Where they are too wide, texts are cut, the widest first; never numbers, nor the first column, which names what a
    line is about. `indent` is how many columns the caller puts before each line.
    """
    everything = [header, *rows] if header else rows
    if not everything:
        return []
    cleaned = [tuple(printable(cell) for cell in row) for row in everything]
    widths = [max(len(row[column]) for row in cleaned) for column in range(len(cleaned[0]))]
    right = [all(_is_number(row[column]) for row in cleaned[bool(header) :]) for column in range(len(widths))]
    widths = _fitted(widths, right, max(WIDTH, shutil.get_terminal_size((WIDTH, 24)).columns) - indent)
    lines = []
    for row in cleaned:
        cells = (_pad(_cut(cell, width), width, r) for cell, width, r in zip(row, widths, right, strict=True))
        lines.append("  ".join(cells).rstrip())
    return lines


def _fitted(widths: Sequence[int], right: Sequence[bool], most: int) -> list[int]:
    """The widths of the columns such that a line has at most so many characters, as far as texts can be cut."""
    fitted = list(widths)
    texts = [column for column in range(1, len(widths)) if not right[column]]
    excess = sum(fitted) + 2 * (len(fitted) - 1) - most
    while excess > 0 and any(fitted[column] > NARROWEST for column in texts):
        fitted[max(texts, key=lambda column: fitted[column])] -= 1
        excess -= 1
    return fitted


def _cut(cell: str, width: int) -> str:
    return cell if len(cell) <= width else cell[: width - 1] + "…"


def safe_streams() -> None:
    """Lets characters that the terminal cannot show appear as escapes instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _is_number(cell: str) -> bool:
    return re.fullmatch(r"(-?\d[\d,]*(\.\d+)?(e-?\d+)?( ?[%M])?|n/a|-|)", cell) is not None


def _pad(cell: str, width: int, right: bool) -> str:
    return cell.rjust(width) if right else cell.ljust(width)
