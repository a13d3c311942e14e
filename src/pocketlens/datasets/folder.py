"""A folder of images, or an archive of one: a folder for each class, or a CSV that names each image's label.

Below it there may be parts: `train/`, `val/` and `test/` in any case and under their usual names, or numbered folds;
also below wrapping folders. The parts are used as they are given: test rows are sealed, validation rows validate. Rows
are in the order of their file names, part by part; with a CSV, in the order of its lines.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pocketlens.components import Component
from pocketlens.data.images import SUFFIXES
from pocketlens.data.sources import archive
from pocketlens.data.sources.cache import Entry, Key, find
from pocketlens.data.sources.columns import Columns
from pocketlens.data.sources.folder_tree import folder_tree
from pocketlens.data.sources.folders import Folders
from pocketlens.data.sources.layout import Asked, Layout, Part
from pocketlens.data.sources.layout_search import class_base, recognise
from pocketlens.data.sources.table_source import TableRequest
from pocketlens.data.sources.tree import is_junk, list_names
from pocketlens.data.split import Parts
from pocketlens.datasets._by_table import BY_FOLDERS, list_elsewhere, list_labelled, one_name_each, table_of
from pocketlens.datasets._encoded import Encoded, Rules, parts, store
from pocketlens.datasets._listing import Listing, join, list_part, list_parts
from pocketlens.datasets._official import unpacked
from pocketlens.errors import PocketlensError
from pocketlens.text import printable


def folder(
    folders: Folders,
    *,
    path: str | None = None,
    labels: str | None = None,
    group: str | None = None,
    size: int | None = None,
    test: str | None = None,
    val: str | None = None,
    depth: int | None = None,
    bad: str = "error",
    follow: bool = False,
    file_column: str | int | None = None,
    label_column: str | int | None = None,
    split_column: str | int | None = None,
    merge_names: bool = False,
) -> Parts:
    """A folder of images.

    Args:
        folders: not needed, the path says all.
        path: the folder, or an archive (tar, zip) of it.
        labels: a table (CSV, JSON lines) with a column of file names and one of labels; None: the class folders give
            the labels, or, where there are none, the one table beside the images; "folders": the class folders do.
        group: a column of that table whose equal values (slide, patient) never stand in different parts.
        size: brings images of different sizes to this many pixels: the central square, resized.
        test: the test part: a folder of class folders in `path`, such as 'fold5', or elsewhere; or another table.
        val: the validation part, in the same way; "validation" is the one in `path`, which otherwise becomes the test
            part where there is no other one.
        depth: which level of folders below a part are the classes; None: the first.
        bad: "error" refuses images that cannot be read and names them all; "skip" leaves them out and notes it, as it
            does rows of the table without a label or whose file is absent.
        follow: follows links that lead out of the folder.
        file_column: the table's column of file names, by name or by number from 1; None finds `file`, `image_id`, ….
        label_column: the table's column of labels; None finds `label`, `diagnosis`, ….
        split_column: the table's column of parts (train, val, test; folds); None finds `split`, `fold`, `is_test`, …,
            and "none" uses no column.
        merge_names: makes one class of names that differ only by case or outer space.

    Raises:
        PocketlensError: the folder is not laid out like this, or has two readings, or images are bad.
    """
    rules = Rules(size, bad)
    if path is None:
        raise PocketlensError("datasets: folder needs a path, such as folder('photos').")
    given = {"path": path, "labels": labels, "group": group, "size": size, "test": test, "val": val, "depth": depth}
    given |= {"bad": None if bad == "error" else bad, "follow": follow or None, "merge_names": merge_names or None}
    given |= {"file_column": file_column, "label_column": label_column, "split_column": split_column}
    typed = Component("folder", tuple((name, value) for name, value in given.items() if value is not None))
    tables = TableRequest(Columns(file_column, label_column, group, split_column), typed, bad == "skip")
    source = _Source(typed, labels, tables, test, val, depth, follow, merge_names)
    root = Path(path).expanduser()
    if root.is_file() and root.name.lower().endswith(archive.SUFFIXES):
        key = Key((root, *_tables(labels, test, val)), repr(("folder 2", rules, typed.options[1:])))
        return parts(find(key) or _read_archive(root, key, source, rules), "folder")
    listing = _list(root, source)
    if not listing.paths:
        raise PocketlensError(f"{printable(path)} must hold at least one image in its class folders, and holds none.")
    key = Key((*listing.paths, *_tables(labels, test, val)), repr(("folder", rules, listing.digest())))
    return parts(find(key) or _read(listing, key, rules), "folder")


@dataclass(frozen=True)
class _Source:
    """The options that decide the rows, and the data set as it was typed."""

    typed: Component
    labels: str | None
    tables: TableRequest
    test: str | None
    val: str | None
    depth: int | None
    follow: bool
    merge_names: bool


def _tables(*paths: str | None) -> tuple[Path, ...]:
    return tuple(Path(path) for path in paths if path is not None and Path(path).is_file())


def _read(listing: Listing, key: Key, rules: Rules) -> Entry:
    number = {name: label for label, name in enumerate(listing.classes)}
    columns = {"labels": np.array([number[label] for label in listing.labels], np.int64)}
    if listing.groups is not None:
        columns["groups"] = np.unique(np.array(listing.groups, object), return_inverse=True)[1].astype(np.int64)
    if listing.val is not None:
        columns["val"] = listing.val.astype(np.int64)
    if listing.folds is not None:
        columns["folds"] = listing.folds
    shown = tuple(printable(name) for name in listing.names)
    classes = tuple(printable(name) for name in listing.classes)
    return store(key, Encoded("folder", listing.paths, shown, columns, classes, listing.held, listing.notes), rules)


def _read_archive(root: Path, key: Key, source: _Source, rules: Rules) -> Entry:
    with unpacked(root) as place:
        entries = [entry for entry in place.iterdir() if not is_junk(entry.name)]
        only_folder = len(entries) == 1 and entries[0].is_dir()
        return _read(_list(entries[0] if only_folder else place, source), key, rules)


def _list(root: Path, source: _Source) -> Listing:
    if not root.is_dir():
        raise PocketlensError(f"{printable(str(root))} must be a folder that exists.")
    test, val = (_Named.find(root, each) for each in (source.test, source.val))
    asked = Asked(source.typed, test.inside, val.inside, source.depth, has_other_test=test.elsewhere is not None)
    labels = None if source.labels in (None, BY_FOLDERS) else _below(root, source.labels)
    names = list_names(root, follow=source.follow) if labels is None else []
    table = table_of(root, labels, source.tables, [] if source.labels == BY_FOLDERS else names)
    if table is not None:
        listing = list_labelled(root, table, asked)
    else:
        layout = recognise(folder_tree(names, SUFFIXES), asked)
        listing = list_parts(root, layout, asked, follow=source.follow)
    for kind, place in (("val", val.elsewhere), ("test", test.elsewhere)):
        if place is not None:
            by_table = table is not None
            other = list_elsewhere(root, place, source.tables) if by_table else _elsewhere(place, source, asked)
            listing = join(listing, other, kind=kind)
    return one_name_each(listing, asked, merge=source.merge_names)


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


def _elsewhere(place: Path, source: _Source, asked: Asked) -> Listing:
    """The rows of a part that lies elsewhere, in a folder of class folders."""
    if not place.is_dir():
        raise PocketlensError(
            f"{printable(str(place))} must be a folder of class folders; to name images in a CSV, give labels too."
        )
    base = class_base(folder_tree(list_names(place, follow=source.follow), SUFFIXES))
    layout = Layout((), (), asked.depth or 1)
    return list_part(place, Part("test", base), layout, asked, follow=source.follow)
