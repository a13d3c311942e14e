"""Reads a table of texts: CSV with any separator and in any usual encoding, or JSON lines.

The separator is the one that divides the first lines most evenly. Where only spaces divide the cells there may be
several readings, since names of files hold spaces too; the reader of the table chooses among them.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from pocketlens.data.images import SUFFIXES
from pocketlens.data.sources.columns import FILE, LABEL, folded
from pocketlens.errors import PocketlensError
from pocketlens.text import printable

KINDS = (".csv", ".tsv", ".txt", ".tab", ".jsonl", ".ndjson")  # the names of files that may be tables
_HEAD = 200  # lines that decide the separator
_SEPARATORS = (",", ";", "\t", "|")
_BYTE_ORDER_MARKS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))


@dataclass(frozen=True)
class Grid:
    """The cells of a table, without spaces around them; every row has as many cells as the widest.

    Attributes:
        rows: the cells, with the header if there is one.
        lines: for each row its line in the file, from 1.
        has_header: whether the first row is a header; None where its content has to decide.
        notes: what was assumed about the file.
    """

    rows: tuple[tuple[str, ...], ...]
    lines: tuple[int, ...]
    has_header: bool | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reading:
    """One way to divide the lines of a table into cells."""

    path: Path
    text: str
    notes: tuple[str, ...]
    separator: str | None = None
    divide: Callable[[str], list[str]] | None = None  # where spaces divide; None beside no separator: it is JSON

    def grid(self) -> Grid:
        """The cells.

        Raises:
            PocketlensError: the rows do not fit together.
        """
        if self.separator is not None:
            return _grid(self.text, self.separator, self.path, self.notes)
        if self.divide is not None:
            rows = [_Row(number, self.divide(line)) for number, line in _lines(self.text)]
            return _grid_of(rows, self.path, self.notes)
        return _json_rows(self.text, self.path, self.notes)


@dataclass(frozen=True)
class _Decoded:
    """The text of a file, and a note where its encoding was guessed."""

    text: str
    notes: tuple[str, ...] = ()


class _Line(NamedTuple):
    """A line of a text that is not empty: its number in the file, from 1, and what it says."""

    number: int
    text: str


class _Row(NamedTuple):
    """A row of a table: the number of its first line in the file, from 1, and its cells."""

    line: int
    cells: list[str]


def readings(path: Path) -> list[Reading]:
    """The ways to read a table, the likeliest first; nearly always there is one.

    Raises:
        PocketlensError: the file cannot be read or is not text.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise PocketlensError(
            f"{printable(str(path))} must be a CSV file that can be read: {error.strerror}."
        ) from None
    decoded = _decode(data, path)
    text, notes = decoded.text, decoded.notes
    if path.suffix.lower() in (".jsonl", ".ndjson", ".json"):
        return [Reading(path, text, notes)]
    text = re.sub(r"\A\s*sep=(.)\r?\n", "", text)
    separators = [Reading(path, text, notes, separator) for separator in _separators(text)]
    return separators or [Reading(path, text, notes, divide=divide) for divide in _spaced(text)]


def _decode(data: bytes, path: Path) -> _Decoded:
    name = printable(str(path))
    if data[:4] == b"PK\x03\x04" or path.suffix.lower() in (".xlsx", ".xls", ".ods"):
        raise PocketlensError(f"{name} is a spreadsheet; save it as CSV (UTF-8) and give that file.")
    marked = next((encoding for mark, encoding in _BYTE_ORDER_MARKS if data.startswith(mark)), None)
    if marked is None and b"\0" in data[:1000]:
        marked = "utf-16-be" if data[:1] == b"\0" else "utf-16-le"
    for encoding in [marked] if marked is not None else ["utf-8", "cp1252"]:
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" in text:
            break
        note = f"{printable(path.name)} is not UTF-8 and was read as Windows-1252" if encoding == "cp1252" else ""
        return _Decoded(text, (note,) if note else ())
    raise PocketlensError(f"{name} must be a CSV file in UTF-8, UTF-16 or Windows-1252, it is none of these.")


def _lines(text: str) -> list[_Line]:
    return [_Line(number, line) for number, line in enumerate(re.split(r"\r\n|\r|\n", text), start=1) if line.strip()]


def _separators(text: str) -> list[str]:
    """The separators that divide the first lines into equally many cells, the best first."""
    head = "\n".join(line.text for line in _lines(text)[:_HEAD])
    found = []
    for order, separator in enumerate(_SEPARATORS):
        rows = [[cell.strip() for cell in row] for row in _parsed(head, separator, strict=False)]
        usual, count = Counter(map(len, rows)).most_common(1)[0] if rows else (1, 0)
        if usual < 2 or 2 * count < len(rows):
            continue
        n_files = sum(any(is_picture(cell) for cell in row) for row in rows)
        n_known = sum(folded(cell) in (*FILE, *LABEL) for cell in rows[0])
        found.append(((n_files, n_known, count, -order), separator))
    return [separator for _, separator in sorted(found, reverse=True)]


def _parsed(text: str, separator: str, strict: bool = True) -> list[list[str]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=strict)
    try:
        return list(reader)
    except csv.Error:
        return []


def _grid(text: str, separator: str, path: Path, notes: tuple[str, ...]) -> Grid:
    try:
        return _grid_of(_numbered(text, separator), path, notes)
    except _NotCsv as error:
        first = error
    try:  # spaces behind a quoted cell are not CSV, and yet usual
        return _grid_of(_numbered(re.sub(rf'"[ \t]+(?={re.escape(separator)})', '"', text), separator), path, notes)
    except _NotCsv:
        raise PocketlensError(f"{printable(str(path))}, line {first.line}: this is not CSV: {first}.") from None


class _NotCsv(Exception):
    """A line that cannot be divided."""

    def __init__(self, reason: str, line: int) -> None:
        super().__init__(reason)
        self.line = line


def _numbered(text: str, separator: str) -> list[_Row]:
    rows, line = [], 1
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True)
    try:
        for row in reader:
            rows.append(_Row(line, [cell.strip() for cell in row]))
            line = reader.line_num + 1
    except csv.Error as error:
        raise _NotCsv(str(error), line) from None
    return rows


def _grid_of(rows: list[_Row], path: Path, notes: tuple[str, ...]) -> Grid:
    """Rows of one length: empty cells are added at the end, or taken away there."""
    rows = [row for row in rows if any(row.cells)]
    while len(rows) > 1 and len(rows[0].cells) < 2 and rows[0].cells[0].startswith("#"):
        rows = rows[1:]  # a remark above the table
    width = len(rows[0].cells) if rows else 0
    fitted = []
    for line, cells in rows:
        while len(cells) > width and not cells[-1]:
            cells = cells[:-1]
        if len(cells) > width:
            raise PocketlensError(
                f"{printable(str(path))}, line {line}: there are {len(cells)} cells, the first line has {width}; put "
                "cells that hold the separator in quotes."
            )
        fitted.append((*cells, *[""] * (width - len(cells))))
    return Grid(tuple(fitted), tuple(row.line for row in rows), None, notes)


def is_picture(cell: str) -> bool:
    """Whether a cell ends like the name of an image."""
    return Path(cell).suffix.lower() in SUFFIXES


def _spaced(text: str) -> list[Callable[[str], list[str]]]:
    """How lines may be divided by spaces so that all have equally many cells; one cell each where nothing fits."""
    endings = "|".join(re.escape(suffix) for suffix in sorted(SUFFIXES, key=len, reverse=True))
    named = re.compile(rf"(.+?(?:{endings}))\s+(\S.*)", re.IGNORECASE)

    def after_the_file(line: str) -> list[str]:
        found = named.fullmatch(line.strip())
        return [found[1], found[2].strip()] if found else line.strip().rsplit(None, 1)

    ways: tuple[Callable[[str], list[str]], ...] = (
        str.split,
        lambda line: re.split(r"\s{2,}", line.strip()),
        after_the_file,
        lambda line: line.strip().rsplit(None, 1),
    )
    head = [line.text for line in _lines(text)]
    even = [
        cells for cells in ways if len({len(cells(line)) for line in head}) == 1 and head and len(cells(head[0])) > 1
    ]
    return even or [lambda line: [line.strip()]]


def _json_rows(text: str, path: Path, notes: tuple[str, ...]) -> Grid:
    """JSON lines, or a JSON list, of objects whose values are texts and numbers."""
    records, lines = [], []
    try:
        if path.suffix.lower() == ".json":
            records = json.loads(text)
            lines = list(range(1, len(records) + 1))
        else:
            for number, line in _lines(text):
                records.append(json.loads(line))
                lines.append(number)
    except (ValueError, TypeError, RecursionError) as error:
        raise PocketlensError(f"{printable(str(path))} must hold JSON: {printable(str(error))}.") from None
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise PocketlensError(
            f"{printable(str(path))} must hold one JSON object for each image, with its file and label."
        )
    header = list(dict.fromkeys(key for record in records for key in record))
    rows = [tuple(_json_cell(record.get(key)) for key in header) for record in records]
    return Grid((tuple(header), *rows), (1, *lines), True, notes)


def _json_cell(value: object) -> str:
    return "" if value is None else value.strip() if isinstance(value, str) else json.dumps(value)
