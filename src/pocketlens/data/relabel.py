"""Corrected labels: a CSV that is applied to the development rows; the original data stays unchanged.

The file is the labels.csv of `pocketlens look` or of `pocketlens review`, of which the columns `row`, `hash`, `given`,
`suggested` and `decision` are read. A decision is empty or `keep` (keep the label), `accept` (take the suggested
class), `drop` (the row is neither trained on nor validated), or the name of a class; a class that is itself named like
a decision is written `class:keep`. The run stores the corrections that were applied, so that resume, refit and reports
use the same labels. The split remains that of the original labels, without the dropped rows; rows keep their numbers.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pocketlens.data.dataset import Dataset
from pocketlens.errors import PocketlensError, closest
from pocketlens.files import csv_text, from_cell
from pocketlens.text import counted, printable

if TYPE_CHECKING:
    from pocketlens.data.split import Split

COLUMNS = ("row", "hash", "given", "suggested", "decision")
KEEP, ACCEPT, DROP = DECISIONS = ("keep", "accept", "drop")
CLASS = "class:"  # before a class whose name is that of a decision


@dataclass(frozen=True)
class Corrections:
    """New labels of some rows, and rows that are dropped.

    Attributes:
        text: a CSV of the applied corrections, which reads back as the same corrections.
        hash: a hash of that text, 16 hexadecimal digits.
        n: how many labels were changed.
        dropped: the rows that leave the split, ascending.
    """

    text: str
    hash: str
    n: int
    dropped: tuple[int, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether nothing is changed."""
        return not self.n and not self.dropped

    def said(self) -> str:
        """What was changed, such as `3 labels corrected, 1 image dropped`."""
        parts = [f"{counted(self.n, 'label')} corrected"] if self.n or not self.dropped else []
        return ", ".join([*parts, *([f"{counted(len(self.dropped), 'image')} dropped"] if self.dropped else [])])

    def without_dropped(self, split: Split) -> Split:
        """The split without the dropped rows.

        Raises:
            PocketlensError: there is no training row left.
        """
        if not self.dropped:
            return split
        train, val = (np.setdiff1d(rows, self.dropped) for rows in (split.train, split.val))
        if not len(train):
            raise PocketlensError("the corrections drop every training image; keep some of them.")
        return replace(split, train=train, val=val)


class Relabelled(NamedTuple):
    """The data set with the new labels, and what was changed."""

    dataset: Dataset
    corrections: Corrections


class Line(NamedTuple):
    """A line of the CSV: its number in the file, from 1, and its cells by column."""

    number: int
    cells: dict[str, str]


class RowLine(NamedTuple):
    """A line, and the row that it is about."""

    row: int
    line: Line


def read_corrections(path: Path) -> str:
    """The text of a corrections file.

    Raises:
        PocketlensError: it cannot be read as UTF-8 text.
    """
    try:
        return path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise PocketlensError(f"{printable(str(path))} must be a CSV file that can be read: {why}.") from None


def holds_decisions(text: str) -> bool:
    """Whether a labels.csv holds the decisions of a person; a text that is no such CSV counts as one that does."""
    try:
        return any(line.cells["decision"] for line in read_lines(text, "labels.csv"))
    except PocketlensError:
        return True


def count_dropped(text: str) -> int:
    """How many rows the corrections of a run drop."""
    return sum(line.cells["decision"] == DROP for line in read_lines(text, "relabel.csv"))


def relabel(dataset: Dataset, text: str, source: str = "relabel.csv") -> Relabelled:
    """Applies corrections. Errors name `source`.

    Raises:
        PocketlensError: the text is not such a CSV, or it belongs to other data.
    """
    number = {name: label for label, name in enumerate(dataset.classes)}
    decided: dict[int, int | None] = {}  # the new label of each row, None where it is dropped
    for row, line in lines_of(dataset, text, source):
        where = _place(source, line)
        if line.cells["decision"] == DROP:
            new = None
        else:
            new = _new_label(line.cells, number, where)
            if new is None or new == dataset.labels[row]:
                continue
        if decided.get(row, new) != new:
            raise PocketlensError(f"{where}: row {row} has two different decisions: delete one of the lines.")
        decided[row] = new
    return _applied(dataset, decided)


def lines_of(dataset: Dataset, text: str, source: str) -> Iterator[RowLine]:
    """The lines of the CSV with the rows that they are about.

    Raises:
        PocketlensError: the text is not such a CSV, or it belongs to other data.
    """
    row_of: dict[str, list[int]] = {}
    for row, image_hash in enumerate(dataset.hashes):
        row_of.setdefault(image_hash.tobytes().hex(), []).append(row)
    for line in read_lines(text, source):
        where, cells = _place(source, line), line.cells
        row = _find_row(cells, row_of, where)
        given = dataset.classes[dataset.labels[row]]
        if cells["given"] != given:
            raise PocketlensError(
                f"{where}: the file gives row {row} the label {printable(cells['given'])!r}, the data says {given!r}; "
                "use the data set that the file was made for."
            )
        yield RowLine(row, line)


def _place(source: str, line: Line) -> str:
    return f"{printable(source)}, line {line.number}"


def _applied(dataset: Dataset, decided: dict[int, int | None]) -> Relabelled:
    labels = dataset.labels.copy()
    cells: list[tuple[object, ...]] = []
    for row, new in sorted(decided.items()):
        names = (row, dataset.hashes[row].tobytes().hex(), dataset.classes[dataset.labels[row]])
        if new is None:
            cells.append((*names, "", DROP))
        else:
            labels[row] = new
            cells.append((*names, dataset.classes[new], ACCEPT))
    kept = csv_text(COLUMNS, cells)
    dropped = tuple(row for row, new in sorted(decided.items()) if new is None)
    digest = hashlib.blake2b(kept.encode(), digest_size=8).hexdigest()
    corrections = Corrections(kept, digest, len(decided) - len(dropped), dropped)
    strata = dataset.labels if dataset.strata is None else dataset.strata
    notes = (f"by hand: {corrections.said()} ({digest})",) if decided else ()
    return Relabelled(replace(dataset, labels=labels, strata=strata, notes=(*dataset.notes, *notes)), corrections)


def read_lines(text: str, source: str) -> list[Line]:
    """The lines that are not empty, without the header, with the cells of all columns.

    Raises:
        PocketlensError: the text is not such a CSV.
    """
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except csv.Error as error:
        raise PocketlensError(f"{printable(source)} must be a CSV file: {error}.") from None
    header = [cell.strip() for cell in rows[0]] if rows else []
    missing = [name for name in COLUMNS if name not in header]
    if missing:
        raise PocketlensError(
            f"{printable(source)} must have the columns {', '.join(COLUMNS)}, like the labels.csv of pocketlens look; "
            f"missing: {', '.join(missing)}."
        )
    place = {name: header.index(name) for name in header}
    return [
        Line(number, {name: from_cell(row[at].strip()) if at < len(row) else "" for name, at in place.items()})
        for number, row in enumerate(rows[1:], start=2)
        if any(cell.strip() for cell in row)
    ]


def _find_row(cells: dict[str, str], row_of: dict[str, list[int]], where: str) -> int:
    """The row of a line: by its hash, and by its number if several rows have the same image."""
    rows = row_of.get(cells["hash"].lower(), [])
    number = int(cells["row"]) if cells["row"].isascii() and cells["row"].isdigit() else None
    if number in rows:
        return number
    if len(rows) == 1:
        return rows[0]
    what = counted(len(rows), "image") if rows else "no image"
    raise PocketlensError(
        f"{where}: row {printable(cells['row'])!r} with hash {printable(cells['hash'])!r} must match one image of the "
        f"data set, it matches {what}; use the data set that the file was made for."
    )


def _new_label(cells: dict[str, str], number: dict[str, int], where: str) -> int | None:
    """The new label, or None to keep the old one."""
    decision = cells["decision"]
    if decision in ("", KEEP):
        return None
    name = cells["suggested"] if decision == ACCEPT else decision.removeprefix(CLASS)
    if name not in number and decision in number:
        name = decision
    if name not in number:
        hint = closest(name, [*number, *DECISIONS])
        raise PocketlensError(
            f"{where}: the decision must be accept, keep, drop or a class, got {printable(name)!r}.{hint}"
        )
    return number[name]
