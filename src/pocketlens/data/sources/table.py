"""Reads the CSV that names the label of each image, and its group where there is one."""

from __future__ import annotations

import csv
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pocketlens.errors import PocketlensError, closest
from pocketlens.text import listed, printable

_FILE = ("file", "filename", "file_name", "image", "path", "name", "id")
_LABEL = ("label", "class", "category", "target", "y")


@dataclass(frozen=True)
class LabelTable:
    """The rows of a labels CSV, in its order."""

    files: tuple[str, ...]  # relative to the folder of images, with /
    labels: tuple[str, ...]
    groups: tuple[str, ...] | None
    parts: tuple[str, ...] | None = None  # of each row: "train", "val" or "test", or the name of its fold


def read_table(path: Path, group: str | None) -> LabelTable:
    """Reads a CSV with a header, a column of file names (`file`), one of labels (`label`), and the column `group`.

    Raises:
        PocketlensError: a column is missing, a cell is empty, a file stands twice, or a name leads out of the folder.
    """
    rows = _rows(path)
    header = [name.strip() for name in rows[0]]
    file_column, label_column = _column(path, header, _FILE), _column(path, header, _LABEL)
    group_column = None
    if group is not None:
        if group not in header:
            raise PocketlensError(f"{path} has no column {group!r} for the groups.{closest(group, header)}")
        group_column = header.index(group)
    files, labels, groups = [], [], []
    for number, row in enumerate(rows[1:], start=2):
        wanted = [file_column, label_column, *([] if group_column is None else [group_column])]
        cells = [row[column].strip() if column < len(row) else "" for column in wanted]
        if not all(cells):
            raise PocketlensError(f"{path}, line {number}: file, label and group must not be empty.")
        files.append(_relative(path, number, cells[0]))
        labels.append(cells[1])
        groups.append(cells[-1])
    twice = sorted(name for name, count in Counter(files).items() if count > 1)
    if twice:
        raise PocketlensError(
            f"{path} must list each file once; listed twice: {listed([printable(name) for name in twice], 10)}."
        )
    return LabelTable(tuple(files), tuple(labels), None if group_column is None else tuple(groups))


def _rows(path: Path) -> list[list[str]]:
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            rows = [row for row in csv.reader(file, strict=True) if row]
    except OSError as error:
        raise PocketlensError(f"{path} must be a CSV file that can be read: {error.strerror}.") from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise PocketlensError(f"{path} must be a CSV file in UTF-8: {error}.") from None
    if len(rows) < 2:
        raise PocketlensError(f"{path} must have a header and at least one row, it has {len(rows)} lines.")
    return rows


def _column(path: Path, header: list[str], known: tuple[str, ...]) -> int:
    lower = [name.lower() for name in header]
    for name in known:
        if name in lower:
            return lower.index(name)
    raise PocketlensError(f"{path} must have a column named {known[0]!r}; it has {', '.join(map(printable, header))}.")


def _relative(path: Path, number: int, name: str) -> str:
    parts = PurePosixPath(name).parts
    if name.startswith("/") or "\\" in name or "\0" in name or ".." in parts:
        raise PocketlensError(
            f"{path}, line {number}: '{printable(name)}' must be a path relative to the folder of images."
        )
    return "/".join(parts)
