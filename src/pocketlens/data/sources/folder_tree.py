"""The folders of a listing with the counts of their images, from names alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_TEXTS = frozenset(
    ".csv .tsv .txt .md .rst .json .jsonl .xml .html .htm .pdf .doc .docx .xls .xlsx .yaml .yml .py .ipynb .log .zip "
    ".gz .tar .npy .npz .parquet .pickle .pkl .mat .h5 .pt .cfg .ini".split()
)


@dataclass(frozen=True)
class Folder:
    """A folder of a listing.

    Attributes:
        path: relative to the root of the listing, with `/`; "" is the root.
        n_images: images directly in it.
        n_below: images in it and in all folders below.
        folders: the folders directly in it, by name.
        files: the names of the other files directly in it.
    """

    path: str
    n_images: int = 0
    n_below: int = 0
    folders: tuple[Folder, ...] = ()
    files: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self.path.rpartition("/")[2]

    @property
    def filled(self) -> tuple[Folder, ...]:
        """The folders directly in it that hold images, at whatever depth."""
        return tuple(folder for folder in self.folders if folder.n_below)

    @property
    def n_levels(self) -> int:
        """How many levels of folders with images lie below it."""
        deepest = max((path.count("/") for path in _paths(self)), default=-1)
        return deepest - (self.path.count("/") if self.path else -1) if deepest >= 0 else 0

    def walk(self, most: int) -> Iterator[Folder]:
        """The folders below it down to `most` levels, level by level."""
        level = self.folders
        for _ in range(most):
            yield from level
            level = tuple(inner for folder in level for inner in folder.folders)


def folder_tree(names: Iterable[str], suffixes: frozenset[str], images: frozenset[str] = frozenset()) -> Folder:
    """The tree of a listing: relative names with `/`, those of folders with `/` at their end.

    A file is an image where its name ends like one or is among `images`, which are known by their content; where there
    is none, each counts that does not end like a text.
    """
    names = list(names)
    endings = [name[name.rfind(".") :].lower() if name.rfind(".") > name.rfind("/") + 1 else "" for name in names]
    is_image = [ending in suffixes or name in images for name, ending in zip(names, endings, strict=True)]
    if not any(is_image):
        is_image = [ending not in _TEXTS and name[-1:] != "/" and "/" in name
                    for name, ending in zip(names, endings, strict=True)]  # fmt: skip
    n_images: dict[str, int] = {"": 0}
    files: dict[str, list[str]] = {}
    for name, counts in zip(names, is_image, strict=True):
        folder, _, file = name.rpartition("/")
        n_images[folder] = n_images.get(folder, 0) + counts
        if file and not counts:
            files.setdefault(folder, []).append(file)
    for path in list(n_images):  # folders that hold nothing but folders
        while path := path.rpartition("/")[0]:
            n_images.setdefault(path, 0)
    inside: dict[str, list[Folder]] = {}
    for path in sorted(n_images, key=lambda path: (-path.count("/"), path)):  # the deepest first
        if path:
            inside.setdefault(path.rpartition("/")[0], []).append(_folder(path, n_images[path], inside, files))
    return _folder("", n_images[""], inside, files)


def _folder(path: str, n_images: int, inside: dict[str, list[Folder]], files: dict[str, list[str]]) -> Folder:
    folders = tuple(inside.pop(path, ()))
    n_below = n_images + sum(folder.n_below for folder in folders)
    return Folder(path, n_images, n_below, folders, tuple(sorted(files.pop(path, ()))))


def _paths(folder: Folder) -> Iterator[str]:
    """The paths of the folders below it that directly hold images."""
    pending = list(folder.filled)
    while pending:
        found = pending.pop()
        if found.n_images:
            yield found.path
        pending += found.filled
