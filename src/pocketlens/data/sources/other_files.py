"""Files in a folder of images: which are images, by name or content, and what to do about those that are not read."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from pocketlens.data.file_kinds import N_HEAD, SUFFIXES, kind_of, may_be_image, reads, remedy
from pocketlens.data.sources.folder_tree import Folder, folder_tree
from pocketlens.text import listed, printable

_MOST_KINDS = 6  # that a text lists


@dataclass(frozen=True)
class FileKind:
    """What a file in a folder is.

    Attributes:
        is_image: whether it is read as an image.
        ending: how its name ends, as it is spelled, or "".
        content: what its first bytes say, where its name does not say enough; or None.
    """

    is_image: bool
    ending: str = ""
    content: str | None = None

    def describe(self, n: int) -> str:
        """What `n` such files are, such as `end in .HEIC (to read them: pip install "pocketlens[formats]")`."""
        one = n == 1
        if self.ending:
            text = f"{'ends' if one else 'end'} in {printable(self.ending)}"
        elif self.content is not None:
            text = f"{'is' if one else 'are'} {self.content}"
        else:
            text = f"{'has' if one else 'have'} no suffix and {'is no image' if one else 'are no images'}"
        todo = remedy(self.ending.lower(), self.content)
        return f"{text} ({todo})" if todo else text


def file_kind(path: Path | str, suffixes: frozenset[str]) -> FileKind:
    """What a file is: an image where its name ends with one of `suffixes`, unread, else by its first bytes.

    Names that say that a file is something else, such as `.csv` or a raw photo's, are not opened.
    """
    ending = suffix_of(os.fspath(path))
    if ending.lower() in suffixes:
        return FileKind(True, ending)
    if not may_be_image(ending.lower()):
        return FileKind(False, ending)
    try:
        with open(path, "rb") as file:
            content = kind_of(file.read(N_HEAD))
    except OSError:
        return FileKind(False, ending)
    return FileKind(reads(content), ending, content)


def suffix_of(name: str) -> str:
    """How a file's name or path ends, as `Path(name).suffix`, in a tenth of its time: folders hold many files."""
    ending = os.path.splitext(name)[1]
    return "" if ending == "." else ending


def ignored_note(kinds: Counter[FileKind]) -> tuple[str, ...]:
    """A note for each kind of file that was ignored, such as `36 files end in .HEIC (…) and were ignored`."""
    return tuple(
        f"{n} {'file' if n == 1 else 'files'} {text} and {'was' if n == 1 else 'were'} ignored"
        for text, n in _counted(kinds)
    )


def other_files(folders: Path | Iterable[Path], suffixes: frozenset[str] = SUFFIXES) -> str:
    """The files at and below folders that are not read as images, `36 files end in .HEIC (…), 4 files end in .dcm (…)`.

    Those with a remedy come first. It is "" where there are none, or no such folder.
    """
    kinds: Counter[FileKind] = Counter()
    for folder in [folders] if isinstance(folders, Path) else folders:
        for place, inner, names in os.walk(folder):
            inner[:] = [name for name in inner if not name.startswith(".")]
            kinds.update(file_kind(os.path.join(place, name), suffixes) for name in names if not name.startswith("."))
    counted = _counted(Counter({kind: n for kind, n in kinds.items() if not kind.is_image}))
    return listed([f"{n} {'file' if n == 1 else 'files'} {text}" for text, n in counted], _MOST_KINDS)


class _KindCount(NamedTuple):
    """What some files are, such as `end in .HEIC (…)`, and how many they are."""

    text: str
    n: int


def _counted(kinds: Counter[FileKind]) -> list[_KindCount]:
    """What files are and how many, those with a remedy first, then the most frequent; `.HEIC` and `.heic` are one."""
    merged: dict[tuple[str, str], list[FileKind]] = {}
    for kind in kinds:
        what = "" if kind.ending else str(kind.content)
        key = (kind.ending.lower() or what, remedy(kind.ending.lower(), kind.content))
        merged.setdefault(key, []).append(kind)
    rows = [(bool(todo), sum(kinds[kind] for kind in same), same) for (_, todo), same in merged.items()]
    rows.sort(key=lambda row: (not row[0], -row[1], row[2][0].ending))
    return [_KindCount(max(same, key=lambda kind: kinds[kind]).describe(n), n) for _, n, same in rows]


def image_names(root: Path, names: Iterable[str], suffixes: frozenset[str]) -> frozenset[str]:
    """Those of the relative names below `root`, those of folders with `/` at their end, that are read as images."""
    return frozenset(
        name for name in names if not name.endswith("/") and file_kind(os.path.join(root, name), suffixes).is_image
    )


def picture_tree(root: Path, names: list[str]) -> Folder:
    """The tree of the relative names below `root`, in which files are images by their name or their content."""
    return folder_tree(names, SUFFIXES, image_names(root, names, SUFFIXES))
