"""From a folder of images to its rows: by its class folders, or by a table, with the parts that either gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pocketlens.data.sources.columns import BY_NAMES
from pocketlens.data.sources.layout import Asked, Layout, Part
from pocketlens.data.sources.layout_search import class_base, recognise
from pocketlens.data.sources.other_files import picture_tree
from pocketlens.data.sources.part_tables import find_part_tables
from pocketlens.data.sources.tree import list_names
from pocketlens.datasets._by_table import BY_FOLDERS, list_elsewhere, list_labelled, one_name_each, table_of
from pocketlens.datasets._class_names import list_by_names, refuse_unsorted
from pocketlens.datasets._folder_request import FolderRequest
from pocketlens.datasets._listing import Listing, join, list_part, list_parts
from pocketlens.errors import PocketlensError
from pocketlens.text import printable

__all__ = ["FolderRequest", "list_rows"]


def list_rows(root: Path, request: FolderRequest) -> Listing:
    """The rows of a folder, with their labels and parts.

    Raises:
        PocketlensError: there is no such folder, it has two readings, or what was asked for is not in it.
    """
    if not root.is_dir():
        raise PocketlensError(f"{printable(str(root))} must be a folder that exists.")
    test, val = (_Named.find(root, each) for each in (request.test, request.val))
    asked = Asked(request.typed, test.inside, val.inside, request.depth, has_other_test=test.elsewhere is not None)
    tables = request.tables
    labels = None if request.labels in (None, BY_FOLDERS, BY_NAMES) else _below(root, request.labels)
    names = list_names(root, follow=request.follow, tally=request.tally) if labels is None else []
    tree = picture_tree(root, names)
    if request.labels is None:
        asked = replace(asked, labels=find_part_tables(root, tree, tables))
    by_folders = request.labels in (BY_FOLDERS, BY_NAMES) or request.depth is not None
    table = table_of(root, labels, tables, [] if by_folders else _without(names, asked))
    if table is not None and request.depth is not None:
        raise PocketlensError(
            "depth says which folders are the classes, but a table gives the labels; leave one of them out, as in "
            f"{asked.text(depth=None)} or {asked.text(labels=BY_FOLDERS)}."
        )
    if table is not None:
        listing = list_labelled(root, table, asked)
    elif request.labels == BY_NAMES:
        listing = list_by_names(root, names, asked)
    else:
        if not by_folders:
            refuse_unsorted(names, asked)
        layout = recognise(tree, asked)
        listing = list_parts(root, layout, asked, follow=request.follow, tally=request.tally)
    for kind, place in (("val", val.elsewhere), ("test", test.elsewhere)):
        if place is not None:
            by_table = table is not None
            other = list_elsewhere(root, place, tables) if by_table else _elsewhere(place, request, asked)
            listing = join(listing, other, kind=kind)
    return one_name_each(listing, asked, merge=request.merge_names)


def _without(names: Sequence[str], asked: Asked) -> list[str]:
    """The files but those of parts whose labels stand in tables of their own, and these tables."""
    tables = {each.table for each in asked.labels.values()}
    inside = tuple(f"{path}/" for path in asked.labels)
    return [name for name in names if name not in tables and not name.startswith(inside)]


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


def _below(root: Path, path: str | None) -> Path:
    """A path relative to the folder, or else as it is; in an archive an absolute one may be that of the archive."""
    assert path is not None
    if (root / path).exists() or Path(path).expanduser().exists():
        return root / path if (root / path).exists() else Path(path).expanduser()
    return root / Path(path).name if Path(path).is_absolute() else root / path


def _elsewhere(place: Path, request: FolderRequest, asked: Asked) -> Listing:
    """The rows of a part that lies elsewhere, in a folder of class folders."""
    if not place.is_dir():
        raise PocketlensError(
            f"{printable(str(place))} must be a folder of class folders; to name images in a CSV, give labels too."
        )
    base = class_base(picture_tree(place, list_names(place, follow=request.follow)))
    layout = Layout((), (), asked.depth or 1)
    return list_part(place, Part("test", base), layout, asked, follow=request.follow)
