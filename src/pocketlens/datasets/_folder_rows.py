"""From a folder of images to its rows: by its class folders, or by a CSV, with the parts that either gives."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pocketlens.components import Component
from pocketlens.data.images import SUFFIXES
from pocketlens.data.sources.folder_tree import folder_tree
from pocketlens.data.sources.layout import Asked, Layout, Part
from pocketlens.data.sources.layout_search import class_base, recognise
from pocketlens.data.sources.table import read_table
from pocketlens.data.sources.tree import list_names
from pocketlens.datasets._listing import Listing, join, list_part, list_parts, list_table
from pocketlens.datasets._table_parts import with_parts
from pocketlens.errors import PocketlensError
from pocketlens.text import printable


@dataclass(frozen=True)
class FolderRequest:
    """The options that decide the rows, and the data set as it was typed."""

    typed: Component
    labels: str | None
    group: str | None
    test: str | None
    val: str | None
    depth: int | None
    follow: bool


def list_rows(root: Path, request: FolderRequest) -> Listing:
    """The rows of a folder, with their labels and parts.

    Raises:
        PocketlensError: there is no such folder, it has two readings, or what was asked for is not in it.
    """
    if not root.is_dir():
        raise PocketlensError(f"{printable(str(root))} must be a folder that exists.")
    test, val = (_Named.find(root, each) for each in (request.test, request.val))
    asked = Asked(request.typed, test.inside, val.inside, request.depth, has_other_test=test.elsewhere is not None)
    if request.labels is not None:
        listing = _list_by_table(root, request, asked)
    else:
        layout = recognise(folder_tree(list_names(root, follow=request.follow), SUFFIXES), asked)
        listing = list_parts(root, layout, asked, follow=request.follow)
    for kind, place in (("val", val.elsewhere), ("test", test.elsewhere)):
        if place is not None:
            listing = join(listing, _list_elsewhere(root, place, request, asked), kind=kind)
    return listing


@dataclass(frozen=True)
class _Named:
    """A part that was named: in the folder, by its relative path or name, or elsewhere; neither where it was not."""

    inside: str | None = None
    elsewhere: Path | None = None

    @staticmethod
    def find(root: Path, typed: str | None) -> _Named:
        """Where a part lies. In an archive, which is unpacked elsewhere, an absolute path stands for its last name."""
        if typed is None:
            return _Named()
        place = Path(typed).expanduser()
        inside = root / place
        if inside.is_file():
            return _Named(elsewhere=inside)
        if inside.is_dir() and root.resolve() in inside.resolve().parents:
            return _Named(inside=inside.resolve().relative_to(root.resolve()).as_posix())
        if place.exists() and typed != "validation":
            return _Named(elsewhere=place)
        return _Named(inside=place.name if place.is_absolute() else typed)


def _list_by_table(root: Path, request: FolderRequest, asked: Asked) -> Listing:
    table = read_table(_below(root, request.labels), request.group)
    listing = list_table(root, table)
    if table.parts is not None:
        return with_parts(listing, table.parts, asked)
    for name, value in (("test", asked.test), ("val", asked.val)):
        if value is not None:
            raise PocketlensError(
                f"{name} must be another CSV where a CSV gives the labels, got {printable(value)!r}, which is no file; "
                "the labels CSV has no column of parts, such as split."
            )
    return listing


def _below(root: Path, path: str | None) -> Path:
    """A path relative to the folder, or else as it is; in an archive an absolute one may be that of the archive."""
    assert path is not None
    if (root / path).exists() or Path(path).expanduser().exists():
        return root / path if (root / path).exists() else Path(path).expanduser()
    return root / Path(path).name if Path(path).is_absolute() else root / path


def _list_elsewhere(root: Path, place: Path, request: FolderRequest, asked: Asked) -> Listing:
    """The rows of a part that lies elsewhere: another CSV of the same folder, or a folder of class folders."""
    if request.labels is not None:
        return list_table(root, read_table(place, request.group))
    if not place.is_dir():
        raise PocketlensError(
            f"{printable(str(place))} must be a folder of class folders; to name images in a CSV, give labels too."
        )
    base = class_base(folder_tree(list_names(place, follow=request.follow), SUFFIXES))
    layout = Layout((), (), asked.depth or 1)
    return list_part(place, Part("test", base), layout, asked, follow=request.follow)
