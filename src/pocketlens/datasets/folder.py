"""A folder of images, or an archive of one: a folder for each class, or a table that names each image's label.

Below it there may be parts: `train/`, `val/` and `test/` in any case and under their usual names, or numbered folds;
also below wrapping folders. The parts are used as they are given: test rows are sealed, validation rows validate. Rows
are in the order of their file names, part by part; with a table, in the order of its lines.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pocketlens.components import Component
from pocketlens.data.sources import archive
from pocketlens.data.sources.folders import Folders
from pocketlens.data.sources.other_files import other_files
from pocketlens.data.split import Parts
from pocketlens.datasets._encoded import Encoded, load_encoded, parts
from pocketlens.datasets._folder_rows import FolderRequest, list_rows
from pocketlens.datasets._headers import Origin, Rules
from pocketlens.datasets._listing import Listing
from pocketlens.datasets._official import only_folder, unpacked
from pocketlens.errors import PocketlensError
from pocketlens.text import printable

if TYPE_CHECKING:
    from pocketlens.data.sizes import Aim
    from pocketlens.data.sources.cache import Entry


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
    fit: str = "crop",
    max_pixels: int = 25_000_000,
    file_column: str | int | None = None,
    label_column: str | int | None = None,
    split_column: str | int | None = None,
    merge_names: bool = False,
) -> Parts:
    """A folder of images.

    Args:
        folders: how images are held out and sized; the path says where they are.
        path: the folder, or an archive (tar, zip) of it.
        labels: a table (CSV, JSON lines) with a column of file names and one of labels; None: the class folders give
            the labels, or, where there are none, the one table beside the images; "folders": the class folders do;
            "names": the file names do, as in cat.0.jpg.
        group: a column of that table whose equal values (slide, patient) never stand in different parts.
        size: brings images to this many pixels; None chooses a size where they have several, or a large one.
        test: the test part: a folder of class folders in `path`, such as 'fold5', or elsewhere; or another table.
        val: the validation part, in the same way; "validation" is the one in `path`, which otherwise becomes the test
            part where there is no other one.
        depth: which level of folders below a part are the classes; None: the first.
        bad: "error" refuses images that cannot be read and names them all; "skip" leaves them out and notes it, as it
            does rows of the table without a label or whose file is absent.
        follow: follows links that lead out of the folder.
        fit: how an image becomes square: crop (its middle), stretch (all of it), pad (all of it, with grey edges).
        max_pixels: larger JPEGs are decoded smaller, to no less than the size; other larger images cannot be read.
        file_column: the table's column of file names, by name or by number from 1; None finds `file`, `image_id`, ….
        label_column: the table's column of labels; None finds `label`, `diagnosis`, …; "folders": the class folders
            give them.
        split_column: the table's column of parts (train, val, test; folds); None finds `split`, `fold`, `is_test`, …,
            and "none" uses no column.
        merge_names: makes one class of names that differ only by case or outer space.

    Raises:
        PocketlensError: the folder is not laid out like this, or has two readings, or images are bad.
    """
    rules = Rules(size, bad, fit=fit, hold_out=folders.hold_out, max_pixels=max_pixels, form=folders.form)
    if path is None:
        raise PocketlensError("datasets: folder needs a path, such as folder('photos').")
    given = {"path": path, "labels": labels, "group": group, "size": size, "test": test, "val": val, "depth": depth}
    given |= {"bad": None if bad == "error" else bad, "follow": follow or None, "merge_names": merge_names or None}
    given |= {"fit": None if fit == "crop" else fit, "max_pixels": None if max_pixels == 25_000_000 else max_pixels}
    given |= {"file_column": file_column, "label_column": label_column, "split_column": split_column}
    typed = Component("folder", tuple((name, value) for name, value in given.items() if value is not None))
    request = FolderRequest(typed, labels, test, val, depth, follow, merge_names, folders.tally)
    return parts(_load(Path(path).expanduser(), request, rules, folders.aim), "folder")


def _load(root: Path, request: FolderRequest, rules: Rules, aim: Aim | None) -> Entry:
    tables = _tables(request.labels, request.test, request.val)
    if root.is_file() and root.name.lower().endswith(archive.SUFFIXES):
        origin = Origin("folder", (root, *tables), repr(("folder 2", _of_rows(request.typed))), tally=request.tally)
        return load_encoded(origin, rules, aim, _encoded_in_archive(root, request))
    listing = list_rows(root, request)
    if not listing.paths:
        others = other_files(root)
        found = f": {others}" if others else ""
        raise PocketlensError(
            f"{printable(str(root))} must hold at least one image in its class folders, and holds none{found}."
        )
    origin = Origin("folder", (*listing.paths, *tables), repr(listing.digest()), tally=request.tally)
    return load_encoded(origin, rules, aim, _encoded(listing))


def _of_rows(typed: Component) -> tuple[tuple[str, object], ...]:
    """The options that decide which rows an archive has, without those that decide their pixels."""
    return tuple(each for each in typed.options[1:] if each[0] not in ("size", "fit", "max_pixels"))


def _tables(*paths: str | None) -> tuple[Path, ...]:
    return tuple(Path(path) for path in paths if path is not None and Path(path).is_file())


@contextmanager
def _encoded(listing: Listing) -> Iterator[Encoded]:
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
    yield Encoded("folder", listing.paths, shown, columns, classes, listing.held, listing.notes)


@contextmanager
def _encoded_in_archive(root: Path, request: FolderRequest) -> Iterator[Encoded]:
    with unpacked(root) as place, _encoded(list_rows(only_folder(place), request)) as encoded:
        yield encoded
