"""Scans a folder of images: which files count, which are junk, and which links are followed."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pocketlens.data.sources.other_files import FileKind, file_kind, ignored_note, suffix_of
from pocketlens.data.sources.other_files import other_files as other_files
from pocketlens.errors import PocketlensError
from pocketlens.events import Tally
from pocketlens.text import counted, listed, printable

_JUNK = frozenset(
    {"__macosx", "thumbs.db", "desktop.ini", "ehthumbs.db", "$recycle.bin", "pocketlens-runs", "pocketlens-looks"}
)
_COUNTED = 256  # files after which the count is told
_ONE = {
    "hidden or system files were ignored": "hidden or system file was ignored",
    "entries that are neither files nor folders were ignored": "entry that is neither file nor folder was ignored",
    "links that lead to nothing were ignored": "link that leads to nothing was ignored",
    "links to files or folders that are included anyway were ignored": (
        "link to a file or folder that is included anyway was ignored"
    ),
}


@dataclass(frozen=True)
class Tree:
    """The images below a folder, in the order of their relative names.

    Attributes:
        paths: the files.
        names: for each file its name relative to the root, as the file system has it, with `/`.
        folders: the names of the folders directly below the root, without junk.
        notes: what was ignored, counted.
    """

    paths: tuple[Path, ...]
    names: tuple[str, ...]
    folders: tuple[str, ...]
    notes: tuple[str, ...]


def scan(
    root: Path,
    *,
    suffixes: frozenset[str],
    follow: bool = False,
    by_content: bool = True,
    without: Sequence[str] = (),
    tally: Tally | None = None,
) -> Tree:
    """Finds the images below `root`, but for the folders `without` directly in it; each file counts once.

    A file is an image where its name ends with one of `suffixes`, or, with `by_content`, where its name does not say
    that it is something else and its first bytes are those of an image.

    A link to something inside `root` is left out, because what it leads to is found where it lies. A link that leads
    out of `root` or to nothing is refused, unless `follow` is set.

    Raises:
        PocketlensError: `root` is not a folder, a folder cannot be read, or links are refused.
    """
    if not root.is_dir():
        raise PocketlensError(f"{printable(str(root))} must be a folder that exists.")
    walk = _Walk(root.resolve(), suffixes, follow, by_content)
    walk.tally, walk.without = tally or Tally(), frozenset(without)
    walk.enter(root, "")
    if walk.refused:
        raise PocketlensError(
            f"{printable(str(root))} must not hold links that lead out of it or to nothing: "
            f"{listed(sorted(walk.refused))}; remove them, or set follow=True."
        )
    found = sorted(walk.files.items())
    return Tree(
        tuple(path for _, path in found),
        tuple(name for name, _ in found),
        tuple(sorted(walk.folders)),
        (
            *(counted(count, _ONE[what], what) for what, count in sorted(walk.ignored.items())),
            *ignored_note(walk.others),
        ),
    )


def is_junk(name: str) -> bool:
    """Whether a file or folder is of the operating system's making, of ours, or hidden."""
    return name.startswith(".") or name.lower() in _JUNK


class _Walk:
    """The state of one scan."""

    def __init__(self, root: Path, suffixes: frozenset[str], follow: bool, by_content: bool) -> None:
        self.root, self.suffixes, self.follow, self.by_content = root, suffixes, follow, by_content
        self.files: dict[str, Path] = {}
        self.folders: list[str] = []
        self.refused: list[str] = []
        self.ignored: Counter[str] = Counter()
        self.others: Counter[FileKind] = Counter()  # files that are not read as images
        self.seen: set[tuple[int, int]] = set()
        self.tally = Tally()
        self.without: frozenset[str] = frozenset()  # folders in the root that are not entered

    def enter(self, folder: Path, prefix: str) -> None:
        pending = [(folder, prefix)]
        while pending:
            folder, prefix = pending.pop()
            try:
                entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
            except OSError as error:
                raise PocketlensError(f"{printable(str(folder))} must be readable: {error.strerror}.") from None
            for number, entry in enumerate(entries):
                if number % _COUNTED == 0:
                    self.tally.count("finding images", len(self.files))
                if self._is_taken(entry, prefix):
                    pending.append((Path(entry.path), f"{prefix}{entry.name}/"))

    def _is_taken(self, entry: os.DirEntry[str], prefix: str) -> bool:
        """Notes what an entry is; says whether it is a folder to enter."""
        name = f"{prefix}{entry.name}"
        if name in self.without:
            return False
        if is_junk(entry.name):
            self.ignored["hidden or system files were ignored"] += 1
            return False
        if entry.is_symlink() and not self._is_followed(Path(entry.path), name):
            return False
        if entry.is_dir():
            if not self._is_first(entry):
                return False
            if not prefix:
                self.folders.append(entry.name)
            return True
        if not entry.is_file():
            self.ignored["entries that are neither files nor folders were ignored"] += 1
        elif not (kind := self._kind(entry)).is_image:
            self.others[kind] += 1
        elif self._is_first(entry):
            self.files[name] = Path(entry.path)
        return False

    def _kind(self, entry: os.DirEntry[str]) -> FileKind:
        suffix = suffix_of(entry.name)
        if self.by_content or suffix.lower() in self.suffixes:
            return file_kind(entry.path, self.suffixes)
        return FileKind(False, suffix)

    def _is_followed(self, link: Path, name: str) -> bool:
        try:
            target = link.resolve(strict=True)
        except (OSError, RuntimeError):
            if self.follow:
                self.ignored["links that lead to nothing were ignored"] += 1
            else:
                self.refused.append(printable(name))
            return False
        if target == self.root or self.root in target.parents:
            self.ignored["links to files or folders that are included anyway were ignored"] += 1
            return False
        if not self.follow:
            self.refused.append(printable(name))
        return self.follow

    def _is_first(self, entry: os.DirEntry[str]) -> bool:
        """Whether this file or folder has not been met before, by a link; hard links are files of their own."""
        stat = os.stat(entry.path)  # on Windows entry.stat() knows no numbers of files
        identity = (stat.st_dev, stat.st_ino)
        if stat.st_nlink > 1 and entry.is_file(follow_symlinks=False):
            return True
        if identity in self.seen:
            self.ignored["links to files or folders that are included anyway were ignored"] += 1
            return False
        self.seen.add(identity)
        return True


def list_names(root: Path, *, follow: bool = False, tally: Tally | None = None) -> list[str]:
    """The names of all files and folders below `root`, relative to it; those of folders end with `/`.

    Hidden files, those of the operating system, and links to what lies below `root` anyway are left out. A link that
    leads elsewhere is named; what lies behind it only where `follow` is set.

    Raises:
        PocketlensError: `root` is not a folder, or a folder cannot be read.
    """
    if not root.is_dir():
        raise PocketlensError(f"{printable(str(root))} must be a folder that exists.")
    inside, seen = root.resolve(), {os.path.realpath(root)}
    names: list[str] = []
    pending = [(str(root), "")]
    while pending:
        folder, prefix = pending.pop()
        if tally is not None:
            tally.count("listing the folder", len(names))
        try:
            entries = list(os.scandir(folder))
        except OSError as error:
            raise PocketlensError(f"{printable(folder)} must be readable: {error.strerror}.") from None
        for entry in entries:
            if is_junk(entry.name):
                continue
            if not _is_folder(entry):
                names.append(f"{prefix}{entry.name}")
                continue
            if entry.is_symlink():
                target = os.path.realpath(entry.path)
                if inside in Path(target).parents or target in seen:
                    continue
                seen.add(target)
            names.append(f"{prefix}{entry.name}/")
            if follow or not entry.is_symlink():
                pending.append((entry.path, f"{prefix}{entry.name}/"))
    return sorted(names)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False
