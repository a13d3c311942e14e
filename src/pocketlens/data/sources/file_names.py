"""Finds the files that the rows of a table name: as written, or with another suffix, folder, case or zero-padding.

A name that fits several files equally well is never guessed at, and no name leads out of the folder.
"""

from __future__ import annotations

import os
import posixpath
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PureWindowsPath

from pocketlens.data.images import SUFFIXES
from pocketlens.data.sources.columns import part_of
from pocketlens.data.sources.tree import is_junk


@dataclass(frozen=True)
class Match:
    """The files below the folder that a name fits equally well; none, one or several.

    Attributes:
        files: relative to the folder, with `/`.
        exact: whether the name is the file's own, so that nothing was guessed.
        by_number: whether only numbers are equal, such as 1 and 001.bmp.
    """

    files: tuple[str, ...] = ()
    exact: bool = False
    by_number: bool = False


@dataclass(frozen=True)
class Files:
    """The files below a folder, found by the names in a table; the folder is walked once."""

    root: Path
    table: Path

    @cached_property
    def names(self) -> tuple[str, ...]:
        """All files but hidden ones, relative to the folder, sorted."""
        found = []
        for folder, inner, files in os.walk(self.root):
            inner[:] = [name for name in inner if not is_junk(name)]
            below = os.path.relpath(folder, self.root)
            prefix = "" if below == "." else below.replace(os.sep, "/") + "/"
            found += [prefix + name for name in files if not is_junk(name)]
        return tuple(sorted(found))

    @cached_property
    def _set(self) -> frozenset[str]:
        return frozenset(self.names)

    @cached_property
    def pictures(self) -> tuple[str, ...]:
        """Those whose names end like an image's."""
        return tuple(name for name in self.names if _is_image(name))

    @cached_property
    def _by_name(self) -> dict[str, list[str]]:
        return _grouped((_fold(name.rpartition("/")[2]), name) for name in self.names)

    @cached_property
    def _by_stem(self) -> dict[str, list[str]]:
        return _grouped((_fold(_stem(name)), name) for name in self.pictures)

    @cached_property
    def _roots(self) -> tuple[str, ...]:
        """The folder as it may stand before a name."""
        return tuple(f"{root.as_posix()}/" for root in dict.fromkeys((self.root.absolute(), self.root.resolve())))

    @cached_property
    def _from(self) -> str | None:
        """The folder of the table where that is another one; names may be relative to it."""
        place = os.path.abspath(self.table.parent)
        return None if place == os.path.abspath(self.root) else place

    @cached_property
    def _by_number(self) -> dict[str, list[str]]:
        """By the number that is the whole stem; and by that at its end, where all stems begin alike before it."""
        ends = [(re.fullmatch(r"(.*?)(\d{1,18})", _stem(name)), name) for name in self.pictures]
        numbered = [(found[1], str(int(found[2])), name) for found, name in ends if found is not None]
        plain = [(number, name) for prefix, number, name in numbered if not prefix]
        alike = len({_fold(prefix) for prefix, _, _ in numbered}) == 1
        return _grouped(plain or ([(number, name) for _, number, name in numbered] if alike else []))

    def match(self, name: str, hints: Sequence[str] = (), drop: str = "") -> Match:
        """The files that `name` fits best.

        Args:
            name: the cell of the table.
            hints: other cells of its row, such as the label; folders of that name or part decide among several files.
            drop: the folders at the beginning of the name that do not count, as `prefix_to_drop` gives them.
        """
        if name in self._set:
            return Match((name,), True)
        if "\0" in name:
            return Match()
        clean = tidy(name)
        placed = self._placed(clean)
        if placed is not None:
            return Match((placed,), True)
        shorter = clean.removeprefix(drop) if drop else clean
        shorter = posixpath.normpath(shorter.lstrip("/"))
        own = self.root.name + "/"
        for tail in dict.fromkeys((shorter, shorter.removeprefix(own))) if _is_inside(shorter) else ():
            found = self._fitting(tail)
            files = tuple(file for file in found.files if not drop or _parts_agree(drop, file))
            if files:
                return Match(_decided(files, tail, hints), found.exact, found.by_number)
        if _is_inside(name) and os.path.isfile(self.root / name):  # hidden, or behind a link
            return Match((posixpath.normpath(name),), True)
        return Match()

    def _placed(self, clean: str) -> str | None:
        """The file at a path relative to the folder or to the table, or at an absolute one, inside the folder."""
        if not clean.startswith("/"):
            inside = posixpath.normpath(clean)
            if inside in self._set:
                return inside
            if self._from is None:
                return None
            clean = posixpath.join(self._from, clean)
        place = posixpath.normpath(clean)
        inside = next((place.removeprefix(root) for root in self._roots if place.startswith(root)), "")
        return inside if inside in self._set else None

    def _fitting(self, tail: str) -> Match:
        """Files whose path ends in `tail`: as written, then without case, without suffix, then by number."""
        place, _, name = tail.rpartition("/")
        folder, key = _fold(place), _fold(name)
        stem = _stem(name)
        known = re.fullmatch(r"\.[A-Za-z]\w{1,4}", name[len(stem) :]) is not None
        for index, wanted in (
            (self._by_name, key),
            (self._by_stem, key),
            (self._by_stem, _fold(stem) if known else ""),
        ):
            files = [file for file in index.get(wanted, ()) if _ends_in(file, folder)]
            if files:
                return Match(tuple(_nearest(files, folder)))
        number = re.fullmatch(r"(\d{1,18})(?:\.0)?", stem if known else name)
        files = self._by_number.get(str(int(number[1])), []) if number else []
        return Match(tuple(_nearest([file for file in files if _ends_in(file, folder)], folder)), by_number=True)


def tidy(name: str) -> str:
    """A name with `/` for back-slashes, without a drive and a leading `./`."""
    if "\\" in name:
        windows = PureWindowsPath(name)
        name = windows.as_posix().removeprefix(windows.drive.replace("\\", "/"))
    name = re.sub(r"\A(?:file://|[A-Za-z]:(?=/))", "", name)
    return re.sub(r"(?<!\A)/+", "/", re.sub(r"\A(?:\./+)+", "", name))


def prefix_to_drop(files: Files, names: Sequence[str]) -> str:
    """The folders with which all names begin and that the folder of images does not know, such as `/kaggle/input/`.

    The shortest beginning without which most names fit a file; "" where the names fit as they are, or never do.
    """
    sample = names[:: max(1, len(names) // 25)]

    def fits(step: str) -> bool:
        return 2 * sum(bool(files.match(name, drop=step).files) for name in sample) >= len(sample)

    if fits(""):
        return ""
    folders = [tidy(name).rpartition("/")[0] for name in names]
    if not all(folders):
        return ""
    common = os.path.commonpath(folders) if len({folder.startswith("/") for folder in folders}) == 1 else ""
    parts = common.split("/")
    steps = ("/".join(parts[:end]) + "/" for end in range(1, len(parts) + 1))
    return next((step for step in steps if step != "/" and fits(step)), "")


def _grouped(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for key, name in pairs:
        found.setdefault(key, []).append(name)
    return found


def _fold(name: str) -> str:
    return (name if name.isascii() else unicodedata.normalize("NFC", name)).casefold()


def _is_inside(name: str) -> bool:
    return not name.startswith("/") and posixpath.normpath(name).split("/")[0] != ".."


def _ends_in(file: str, folder: str) -> bool:
    return not folder or f"/{_fold(file.rpartition('/')[0])}".endswith(f"/{folder}")


def _nearest(files: list[str], folder: str) -> list[str]:
    """Those in exactly that folder, if there are any, and images before others."""
    at_place = [file for file in files if _fold(file.rpartition("/")[0]) == folder and folder] or files
    return [file for file in at_place if _is_image(file)] or at_place


def _stem(name: str) -> str:
    """The last part of a path without its suffix."""
    last = name.rpartition("/")[2]
    dot = last.rfind(".")
    return last[:dot] if dot > 0 else last


def _is_image(name: str) -> bool:
    return name[name.rfind(".") :].lower() in SUFFIXES


def _decided(files: tuple[str, ...], tail: str, hints: Sequence[str]) -> tuple[str, ...]:
    """Among several files the one in a folder that another cell of the row names, or of exactly this spelling."""
    if len(files) > 1:
        spelled = tuple(file for file in files if f"/{file}".endswith(f"/{tail}"))
        files = spelled or files
    for hint in hints if len(files) > 1 else ():
        wanted = {_fold(hint), part_of(hint)} - {None, ""}
        said = tuple(
            file
            for file in files
            if wanted & {name for folder in file.split("/")[:-1] for name in (_fold(folder), part_of(folder))}
        )
        files = said or files
    return files


def _parts_agree(drop: str, file: str) -> bool:
    """Whether a file may stand for a name without its first folders: never one of `test/` for one of `train/`."""
    said = {part for folder in drop.split("/") if (part := part_of(folder))}
    there = {part for folder in file.split("/")[:-1] if (part := part_of(folder))}
    return not said or not there or bool(said & there)
