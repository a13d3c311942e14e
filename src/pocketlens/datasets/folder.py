"""A folder of images, or an archive of one: a folder for each class, or a CSV that names each image's label.

Below it there may be parts: `train/`, `val/` and `test/` in any case and under their usual names, or numbered folds;
also below wrapping folders. The parts are used as they are given: test rows are sealed, validation rows validate. Rows
are in the order of their file names, part by part; with a CSV, in the order of its lines.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pocketlens.components import Component
from pocketlens.data.sources import archive
from pocketlens.data.sources.cache import Entry, Key, find
from pocketlens.data.sources.folders import Folders
from pocketlens.data.split import Parts
from pocketlens.datasets._encoded import Encoded, Rules, parts, store
from pocketlens.datasets._folder_rows import FolderRequest, list_rows
from pocketlens.datasets._listing import Listing
from pocketlens.datasets._official import only_folder, unpacked
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
    request = FolderRequest(typed, labels, test, val, depth, follow, merge_names)
    root = Path(path).expanduser()
    if root.is_file() and root.name.lower().endswith(archive.SUFFIXES):
        key = Key((root, *_tables(labels, test, val)), repr(("folder 2", rules, typed.options[1:])))
        return parts(find(key) or _read_archive(root, key, request, rules), "folder")
    listing = list_rows(root, request)
    if not listing.paths:
        raise PocketlensError(f"{printable(path)} must hold at least one image in its class folders, and holds none.")
    key = Key((*listing.paths, *_tables(labels, test, val)), repr(("folder", rules, listing.digest())))
    return parts(find(key) or _read(listing, key, rules), "folder")


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


def _read_archive(root: Path, key: Key, request: FolderRequest, rules: Rules) -> Entry:
    with unpacked(root) as place:
        return _read(list_rows(only_folder(place), request), key, rules)
