"""Corrected labels: a CSV that is applied to the development rows; the original data stays unchanged.

The file is the labels.csv of `pocketlens look`, of which the columns `row`, `hash`, `given`, `suggested` and `decision`
are read. A decision is empty or `keep` (keep the label), `accept` (take the suggested class), or the name of a class;
a class that is itself named keep or accept is written `class:keep`. The run stores the corrections that were applied,
so that resume, refit and reports use the same labels. The split remains that of the original labels.
"""

from __future__ import annotations

import csv
import hashlib
import io
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from pocketlens.data.dataset import Dataset
from pocketlens.errors import PocketlensError, closest
from pocketlens.files import csv_text, from_cell
from pocketlens.text import counted, printable

COLUMNS = ("row", "hash", "given", "suggested", "decision")


@dataclass(frozen=True)
class Corrections:
    """New labels of some rows.

    Attributes:
        text: a CSV of the applied corrections, which reads back as the same corrections.
        hash: a hash of that text, 16 hexadecimal digits.
        n: how many labels were changed.
    """

    text: str
    hash: str
    n: int


class Relabelled(NamedTuple):
    """The data set with the new labels, and what was changed."""

    dataset: Dataset
    corrections: Corrections


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


def relabel(dataset: Dataset, text: str, source: str = "relabel.csv") -> Relabelled:
    """Applies corrections. Errors name `source`.

    Raises:
        PocketlensError: the text is not such a CSV, or it belongs to other data.
    """
    number = {name: label for label, name in enumerate(dataset.classes)}
    row_of: dict[str, list[int]] = {}
    for row, image_hash in enumerate(dataset.hashes):
        row_of.setdefault(image_hash.tobytes().hex(), []).append(row)
    labels = dataset.labels.copy()
    applied: dict[int, int] = {}
    for line, cells in _lines(text, source):
        where = f"{printable(source)}, line {line}"
        row = _find_row(cells, row_of, where)
        given = dataset.classes[dataset.labels[row]]
        if cells["given"] != given:
            raise PocketlensError(
                f"{where}: the file gives row {row} the label {printable(cells['given'])!r}, the data says {given!r}; "
                "use the data set that the file was made for."
            )
        new = _decided(cells, number, where)
        if new is None or new == dataset.labels[row]:
            continue
        if applied.get(row, new) != new:
            raise PocketlensError(f"{where}: row {row} is given two different labels: delete one of the lines.")
        applied[row], labels[row] = new, new
    rows = sorted(applied)
    names = [(row, dataset.hashes[row].tobytes().hex(), dataset.classes[dataset.labels[row]]) for row in rows]
    kept = csv_text(COLUMNS, [(*cells, dataset.classes[labels[cells[0]]], "accept") for cells in names])
    corrections = Corrections(kept, hashlib.blake2b(kept.encode(), digest_size=8).hexdigest(), len(rows))
    note = f"{counted(len(rows), 'label was', 'labels were')} corrected ({corrections.hash})"
    strata = dataset.labels if dataset.strata is None else dataset.strata
    changed = replace(dataset, labels=labels, strata=strata, notes=(*dataset.notes, note) if rows else dataset.notes)
    return Relabelled(changed, corrections)


class _Line(NamedTuple):
    """A line of the CSV: its number in the file, from 1, and its cells by column."""

    number: int
    cells: dict[str, str]


def _lines(text: str, source: str) -> list[_Line]:
    """The lines that are not empty, without the header."""
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
    place = {name: header.index(name) for name in COLUMNS}
    return [
        _Line(number, {name: from_cell(row[at].strip()) if at < len(row) else "" for name, at in place.items()})
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


def _decided(cells: dict[str, str], number: dict[str, int], where: str) -> int | None:
    """The new label, or None to keep the old one."""
    decision = cells["decision"]
    if decision in ("", "keep"):
        return None
    name = cells["suggested"] if decision == "accept" else decision.removeprefix("class:")
    if name not in number and decision in number:
        name = decision
    if name not in number:
        hint = closest(name, [*number, "accept", "keep"])
        raise PocketlensError(f"{where}: the decision must be accept, keep or a class, got {printable(name)!r}.{hint}")
    return number[name]
