"""Decisions: labels.csv as it grows, a line for each row, written at once and atomically, by one process.

Every change has a number, its version. Who changes a row says which version of it was seen, so that nobody overwrites
a decision that was not looked at. The column `order` says in which order decisions were made, so that the last one can
also be undone after the process was killed.
"""

from __future__ import annotations

import glob
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pocketlens.audit.review.findings import Item
from pocketlens.data.dataset import Dataset
from pocketlens.data.relabel import (
    ACCEPT,
    CLASS,
    COLUMNS,
    DECISIONS,
    lines_of,
    read_corrections,
    relabel,
)
from pocketlens.errors import PocketlensError
from pocketlens.files import csv_text, remove_file, write_bytes
from pocketlens.locks import Lock, owner_of, try_lock
from pocketlens.text import printable

ORDER = "order"  # 1, 2, …: the column that says when a decision was made; empty where it was made by hand
_SHOWN = (*COLUMNS, ORDER, "file")


class Overtaken(Exception):
    """The row was decided otherwise since it was seen, or the file was changed by another program; nothing changed."""


@dataclass(frozen=True)
class Decision:
    """The decision on a row: empty, or as labels.csv has it (keep, accept, drop, a class), and what change made it."""

    row: int
    text: str
    version: int


@dataclass(frozen=True)
class _Change:
    """A change that can be undone; `window` is empty where it was made before this process."""

    window: str
    decision: Decision
    before: str


class Decisions:
    """The decisions on the rows of a data set, and their file, which this object alone writes until it is closed."""

    def __init__(self, path: Path, dataset: Dataset, items: Iterable[Item]) -> None:
        """Locks the file, and reads what it holds already.

        Raises:
            PocketlensError: another process has it, it belongs to other data, or its folder cannot be written.
        """
        self.path, self._file, self._dataset = path, path.resolve(), dataset
        self._suggested = {item.row: item.suggested for item in items}
        self.version = 0
        self._header = list(_SHOWN)
        self._lines: dict[int, dict[str, str]] = {}  # the cells of each row by column
        self._decisions: dict[int, Decision] = {}
        self._changes: list[_Change] = []  # those that can be undone, the oldest first
        self._bytes: bytes | None = None  # of the file as this object knows it
        self._lock = _locked(path, self._file)
        try:
            for part in self._file.parent.glob(f".{glob.escape(self._file.name)}.*.part"):
                remove_file(part)  # of a killed process: this one alone writes now
            self._read()
        except BaseException:
            self._lock.close()
            raise

    def close(self) -> None:
        """Lets others have the file."""
        self._lock.close()

    def of(self, row: int) -> Decision:
        """The decision on a row, which is empty where there is none."""
        return self._decisions.get(row, Decision(row, "", 0))

    def since(self, version: int) -> list[Decision]:
        """The decisions that were made after a version, the oldest first."""
        return sorted((each for each in self._decisions.values() if each.version > version), key=_version)

    def decide(self, row: int, text: str, seen: int, window: str = "") -> Decision:
        """Decides on a row, and writes the file.

        Args:
            row: one of the items' rows.
            text: keep, accept or drop; `class:` and a class; or empty, to decide later.
            seen: the version of the row's decision that the person has seen.
            window: who decides, which may undo it.

        Raises:
            PocketlensError: the row or the decision is none.
            Overtaken: see there.
            OSError: the file cannot be written; the decision is not made.
        """
        if row not in self._suggested:
            raise PocketlensError(f"the row must be one that is reviewed, got {row}.")
        before, text = self.of(row), self._spelled(row, text)
        if before.version != seen:
            raise Overtaken(f"row {row} was decided in another window: {before.text or 'not decided'}")
        self._change(row, text)
        self._changes.append(_Change(window, self.of(row), before.text))
        return self.of(row)

    def undo(self, window: str = "") -> Decision | None:
        """Takes back the last decision of a window, or one that was made before this process; None where none is left.

        Raises:
            Overtaken: the row was decided otherwise since, in another window.
            OSError: the file cannot be written; nothing is undone.
        """
        own = [at for at, change in enumerate(self._changes) if change.window in ("", window)]
        if not own:
            return None
        change = self._changes[own[-1]]
        if self.of(change.decision.row) != change.decision:
            del self._changes[own[-1]]
            raise Overtaken(f"row {change.decision.row} has been decided differently since; that decision stands")
        self._change(change.decision.row, change.before)
        del self._changes[own[-1]]
        now = self.of(change.decision.row)
        self._changes = [_renewed(each, change.before, now) for each in self._changes]
        return now

    def _spelled(self, row: int, text: str) -> str:
        """The decision as labels.csv has it.

        Raises:
            PocketlensError: it is none.
        """
        if text == ACCEPT and self._suggested[row] is None:
            raise PocketlensError(f"there is no suggestion to accept for row {row}.")
        if text in ("", *DECISIONS):
            return text
        name = text.removeprefix(CLASS)
        if not text.startswith(CLASS) or name not in self._dataset.classes:
            raise PocketlensError(f"the decision must be keep, accept, drop or a class, got {printable(text)!r}.")
        return text if name in DECISIONS or name.startswith(CLASS) else name

    def _change(self, row: int, text: str) -> None:
        lines = self._lines | {row: self._line(row, text, self.version + 1)}
        data = csv_text(self._header, [[cells.get(name, "") for name in self._header] for cells in lines.values()])
        if self._bytes != _bytes(self._file):
            raise Overtaken(f"{self.path} was changed by another program; stop this review and start it again")
        write_bytes(self._file, data.encode())
        self.version, self._lines, self._bytes = self.version + 1, lines, data.encode()
        self._decisions[row] = Decision(row, text, self.version)

    def _line(self, row: int, text: str, order: int) -> dict[str, str]:
        dataset, suggested = self._dataset, self._suggested[row]
        new = {
            "row": str(row),
            "hash": dataset.hashes[row].tobytes().hex(),
            "given": dataset.classes[dataset.labels[row]],
            "suggested": "" if suggested is None else dataset.classes[suggested],
            "decision": text,
            ORDER: str(order) if text else "",
            "file": "" if dataset.files is None else dataset.files[row],
        }
        return self._lines.get(row, {}) | new

    def _read(self) -> None:
        """Reads the file; a decision to accept another suggestion than today's becomes that class."""
        self._bytes = _bytes(self._file)
        if self._bytes is None:
            return
        text, source = read_corrections(self.path), str(self.path)
        relabel(self._dataset, text, source)  # refuses what `train` would refuse
        for row, line in lines_of(self._dataset, text, source):
            self._header = list(dict.fromkeys((*_SHOWN, *line.cells)))
            self._lines[row] = self._lines.get(row, {}) | line.cells
        orders = {row: int(cells[ORDER]) for row, cells in self._lines.items() if _is_order(cells.get(ORDER, ""))}
        self.version = max(orders.values(), default=0)
        for row, cells in sorted(self._lines.items(), key=lambda item: orders.get(item[0], 0)):
            if cells["decision"]:
                self._decisions[row] = Decision(row, self._renamed(row, cells), orders.get(row, 0))
            if cells["decision"] and row in orders and row in self._suggested:
                self._changes.append(_Change("", self._decisions[row], ""))

    def _renamed(self, row: int, cells: dict[str, str]) -> str:
        suggested = self._suggested.get(row)
        if cells["decision"] != ACCEPT or (
            suggested is not None and cells["suggested"] == self._dataset.classes[suggested]
        ):
            return cells["decision"]
        name = cells["suggested"]
        return CLASS + name if name in DECISIONS or name.startswith(CLASS) else name


def _renewed(change: _Change, text: str, now: Decision) -> _Change:
    """An earlier change of a row that an undo has brought back: it is the row's decision again, by a newer version."""
    same = change.decision.row == now.row and change.decision.text == text
    return _Change(change.window, now, change.before) if same else change


def _locked(path: Path, file: Path) -> Lock:
    """The lock on a file, which the path may be a link to."""
    if file.is_dir():
        raise PocketlensError(f"--out must be a file, but {printable(str(path))!r} is a folder.")
    lock = file.with_name(f".{file.name}.lock")
    try:
        held = try_lock(lock)
    except OSError as error:
        folder = printable(str(path.parent))
        raise PocketlensError(
            f"--out must be in a folder that can be written, {folder!r} is not: {error.strerror}."
        ) from None
    if held is None:
        process = owner_of(lock) or "unknown"
        raise PocketlensError(
            f"{printable(str(path))} is in use by another review, process {process}; stop that one, or give another "
            "--out."
        )
    return held


def _bytes(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _version(decision: Decision) -> int:
    return decision.version


def _is_order(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 10
