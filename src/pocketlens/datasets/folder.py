"""A folder of images, or an archive of one: a folder for each class, or a CSV that names each image's label.

Below it there may be `train/` and `test/` (the official test part) and `val/` (joins the development rows, because
pocketlens makes its own split). Rows are in the order of their file names; with a CSV, in the order of its lines.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pocketlens.data.images import SUFFIXES
from pocketlens.data.sources import archive
from pocketlens.data.sources.folders import Folders
from pocketlens.data.sources.table import LabelTable, read_table
from pocketlens.data.sources.tree import is_junk, scan
from pocketlens.data.split import Parts
from pocketlens.datasets._encoded import Encoded, load_encoded, parts
from pocketlens.datasets._headers import Origin, Rules
from pocketlens.datasets._official import unpacked
from pocketlens.errors import PocketlensError
from pocketlens.text import class_order, listed, lookalikes, printable

_PARTS = ("train", "val", "valid", "validation", "test")


def folder(
    folders: Folders,
    *,
    path: str | None = None,
    labels: str | None = None,
    group: str | None = None,
    size: int | None = None,
    test: str | None = None,
    bad: str = "error",
    follow: bool = False,
    fit: str = "crop",
) -> Parts:
    """A folder of images.

    Args:
        folders: how images are held out and sized; the path says where they are.
        path: the folder, or an archive (tar, zip) of it.
        labels: a CSV with the columns `file` (relative to `path`) and `label`; None: the class folders give the labels.
        group: a column of that CSV whose equal values (slide, patient) never stand in different parts.
        size: brings images to this many pixels; None chooses a size where they have several, or a large one.
        test: the official test part: another folder of class folders, or another CSV.
        bad: "error" refuses images that cannot be read and names them all; "skip" leaves them out and notes it.
        follow: follows links that lead out of the folder.
        fit: how an image becomes square: crop (its middle), stretch (all of it), pad (all of it, with grey edges).

    Raises:
        PocketlensError: the folder is not laid out like this, or images are bad.
    """
    rules = Rules(size, bad, fit=fit, hold_out=folders.hold_out)
    if path is None:
        raise PocketlensError("datasets: folder needs a path, such as folder('photos').")
    if group is not None and labels is None:
        raise PocketlensError(
            "datasets: group of folder names a column of the labels CSV, so labels must be given too."
        )
    root = Path(path).expanduser()
    layout = (labels, group, test, follow)
    if root.is_file() and root.name.lower().endswith(archive.SUFFIXES):
        origin = Origin("folder", (root, *_tables(labels, test)), repr(layout))
        return parts(load_encoded(origin, rules, folders.aim, _encoded_in_archive(root, layout)), "folder")
    listing = _list(root, *layout)
    if not listing.paths:
        raise PocketlensError(f"{printable(path)} must hold at least one image in its class folders, and holds none.")
    origin = Origin("folder", (*listing.paths, *_tables(labels, test)), repr(listing.digest()))
    return parts(load_encoded(origin, rules, folders.aim, _encoded(listing)), "folder")


@dataclass(frozen=True, eq=False)
class _Listing:
    """The images that were found, row by row, development and test."""

    paths: tuple[Path, ...]
    names: tuple[str, ...]  # relative, as the file system has them
    labels: tuple[str, ...]
    classes: tuple[str, ...]  # those of the development part, also those without an image
    held: NDArray[np.bool_] | None = None
    groups: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()

    def digest(self) -> str:
        """What decides the rows beside the bytes of the files."""
        held = None if self.held is None else self.held.tobytes()
        content = repr((self.names, self.labels, self.classes, held, self.groups, self.notes))
        return hashlib.blake2b(content.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()


def _tables(*paths: str | None) -> tuple[Path, ...]:
    return tuple(Path(path) for path in paths if path is not None and Path(path).is_file())


@contextmanager
def _encoded(listing: _Listing) -> Iterator[Encoded]:
    number = {name: label for label, name in enumerate(listing.classes)}
    columns = {"labels": np.array([number[label] for label in listing.labels], np.int64)}
    if listing.groups is not None:
        columns["groups"] = np.unique(np.array(listing.groups, object), return_inverse=True)[1].astype(np.int64)
    shown = tuple(printable(name) for name in listing.names)
    classes = tuple(printable(name) for name in listing.classes)
    yield Encoded("folder", listing.paths, shown, columns, classes, listing.held, listing.notes)


@contextmanager
def _encoded_in_archive(root: Path, layout: tuple[str | None, str | None, str | None, bool]) -> Iterator[Encoded]:
    with unpacked(root) as place:
        entries = [entry for entry in place.iterdir() if not is_junk(entry.name)]
        only_folder = len(entries) == 1 and entries[0].is_dir()
        inside = entries[0] if only_folder else place
        labels, group, test, follow = layout
        labels, test = (_inside(inside, value) for value in (labels, test))
        with _encoded(_list(inside, labels, group, test, follow)) as encoded:
            yield encoded


def _inside(place: Path, value: str | None) -> str | None:
    """A path that was given relative to the archive, in the unpacked one; any other stays as it is."""
    if value is None or Path(value).exists():
        return value
    below = Path(value).name if Path(value).is_absolute() else value
    return str(place / below)


def _list(root: Path, labels: str | None, group: str | None, test: str | None, follow: bool) -> _Listing:
    if not root.is_dir():
        raise PocketlensError(f"{printable(str(root))} must be a folder that exists.")
    if labels is not None:
        development = _by_table(root, read_table(_below(root, labels), group))
        return (
            development if test is None else _join(development, _by_table(root, read_table(_below(root, test), group)))
        )
    top = sorted(entry.name for entry in root.iterdir() if entry.is_dir() and not is_junk(entry.name))
    if not top or set(top) - set(_PARTS) or "train" not in top:
        development = _by_class(root, follow)
        return development if test is None else _join(development, _by_class(_below(root, test), follow))
    if test is not None:
        raise PocketlensError(
            f"test needs a path that is a folder of classes, but {root} holds the parts {', '.join(top)}; leave test "
            "out, or give the path of one part."
        )
    validation = [name for name in top if name not in ("train", "test")]
    if validation and "test" not in top:
        raise PocketlensError(
            f"{root} must hold test/ beside train/ and {validation[0]}/, or the test set must be named, as in "
            f"folder('{root / 'train'}', test='{root / validation[0]}')."
        )
    development = _by_class(root / "train", follow, "train/")
    for name in validation:
        joined = _join(development, _by_class(root / name, follow, f"{name}/"))
        note = f"the images of {name}/ are added to the development set, which is split again"
        development = replace(joined, held=None, notes=(*joined.notes, note))
    return development if "test" not in top else _join(development, _by_class(root / "test", follow, "test/"))


def _below(root: Path, path: str) -> Path:
    return root / path if (root / path).exists() else Path(path).expanduser()


def _by_class(root: Path, follow: bool, prefix: str = "") -> _Listing:
    tree = scan(root, suffixes=SUFFIXES, follow=follow)
    if not tree.folders:
        raise PocketlensError(
            f"{printable(str(root))} must hold a folder for each class, or have a CSV of labels, as in "
            "folder('…', labels='labels.csv')."
        )
    alike = lookalikes(tree.folders)
    if alike is not None:
        raise PocketlensError(
            f"{printable(str(root))} must have class folders with distinct names; {alike[0]!a} and {alike[1]!a} look "
            "the same: rename one."
        )
    rows = [(path, name) for path, name in zip(tree.paths, tree.names, strict=True) if "/" in name]
    labels = tuple(name.split("/")[0] for _, name in rows)
    notes = [f"{prefix}{note}" if not prefix else f"{prefix}: {note}" for note in tree.notes]
    if len(rows) < len(tree.paths):
        notes.append(f"{len(tree.paths) - len(rows)} images outside the class folders were ignored")
    empty = sorted(set(tree.folders) - set(labels))
    if empty and prefix != "test/":
        notes.append(f"{len(empty)} class folders have no images: {listed([printable(name) for name in empty], 20)}")
    paths = tuple(path for path, _ in rows)
    names = tuple(prefix + name for _, name in rows)
    return _Listing(paths, names, labels, tuple(class_order(tree.folders)), notes=tuple(notes))


def _by_table(root: Path, table: LabelTable) -> _Listing:
    paths = tuple(root / name for name in table.files)
    missing = [printable(name) for name, path in zip(table.files, paths, strict=True) if not path.is_file()]
    if missing:
        raise PocketlensError(
            f"{root} must hold every file of the CSV; {len(missing)} are missing: {listed(missing, 10)}."
        )
    inside = root.resolve()
    outside = [
        printable(name) for name, path in zip(table.files, paths, strict=True) if inside not in path.resolve().parents
    ]
    if outside:
        raise PocketlensError(f"{root} must not hold links that lead out of it: {listed(outside, 10)}.")
    return _Listing(paths, table.files, table.labels, tuple(class_order(table.labels)), groups=table.groups)


def _join(development: _Listing, test: _Listing) -> _Listing:
    """Both parts as one listing; the classes are those of the development part."""
    filled = set(development.labels)
    unknown = [printable(name) for name in class_order(test.labels) if name not in filled]
    if unknown:
        raise PocketlensError(
            f"every class of the test set must have development images; only the test set has {listed(unknown, 10)}."
        )
    shared = set(development.groups or ()) & set(test.groups or ())
    if shared:
        raise PocketlensError(
            "a group must not be in both the development and the test set; "
            f"{len(shared)} are: {listed(sorted(map(printable, shared)), 10)}."
        )
    absent = [printable(name) for name in class_order(filled - set(test.labels))]
    notes = (f"{len(absent)} classes have no test images: {listed(absent, 20)}",) if absent else ()
    held = np.arange(len(development.paths) + len(test.paths)) >= len(development.paths)
    groups = None if development.groups is None or test.groups is None else development.groups + test.groups
    return _Listing(
        development.paths + test.paths,
        development.names + test.names,
        development.labels + test.labels,
        development.classes,
        held,
        groups,
        development.notes + test.notes + notes,
    )
