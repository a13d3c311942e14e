"""The rows of a folder of images: which file is in which part and has which label, before anything is decoded."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pocketlens.data.images import SUFFIXES
from pocketlens.data.sources.class_names import same_class
from pocketlens.data.sources.layout import Asked, Layout, Part
from pocketlens.data.sources.other_files import other_files
from pocketlens.data.sources.table import LabelTable
from pocketlens.data.sources.tree import scan
from pocketlens.errors import PocketlensError
from pocketlens.events import Tally
from pocketlens.text import class_order, counted, listed, lookalikes, printable


@dataclass(frozen=True, eq=False)
class Listing:
    """Images, row by row: N of them.

    Attributes:
        paths: the files.
        names: relative to the root, as the file system has them.
        labels: the name of each one's class.
        classes: those of the training part, also those without an image.
        held: (N,) bool, the given test rows; None: 20 % are held out.
        val: (N,) bool, the given validation rows, or None.
        folds: (N,) int64, the number of each row's fold, or None.
        groups: rows with the same text must not be in different parts; or None.
        notes: what a person should know.
    """

    paths: tuple[Path, ...]
    names: tuple[str, ...]
    labels: tuple[str, ...]
    classes: tuple[str, ...]
    held: NDArray[np.bool_] | None = None
    val: NDArray[np.bool_] | None = None
    folds: NDArray[np.int64] | None = None
    groups: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()

    def digest(self) -> str:
        """What decides the rows beside the bytes of the files."""
        arrays = [None if array is None else array.tobytes() for array in (self.held, self.val, self.folds)]
        given = arrays[0] if arrays[1:] == [None, None] else arrays  # as it was before there were others than `held`
        content = repr((self.names, self.labels, self.classes, given, self.groups, self.notes))
        return hashlib.blake2b(content.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()


def list_parts(root: Path, layout: Layout, asked: Asked, *, follow: bool, tally: Tally | None = None) -> Listing:
    """The rows of all parts of a layout, part by part, each in the order of its file names.

    Raises:
        PocketlensError: a part has links that are refused, or classes that the training part does not have.
    """
    pieces = [list_part(root, part, layout, asked, follow=follow, tally=tally) for part in layout.parts]
    kinds = [part.kind for part in layout.parts]
    counts = [len(piece.paths) for piece in pieces]
    classes = class_order({name for piece, kind in zip(pieces, kinds, strict=True) if kind == "train"
                           for name in piece.classes})  # fmt: skip
    folds = [*layout.folds, *(0 for _ in range(len(pieces) - len(layout.folds)))]
    joined = Listing(
        sum((piece.paths for piece in pieces), ()),
        sum((piece.names for piece in pieces), ()),
        sum((piece.labels for piece in pieces), ()),
        tuple(classes),
        held=np.repeat([kind == "test" for kind in kinds], counts) if "test" in kinds else None,
        val=np.repeat([kind == "val" for kind in kinds], counts) if "val" in kinds else None,
        folds=np.repeat(np.array(folds, np.int64), counts) if layout.folds else None,
        notes=(*layout.notes, *(note for piece in pieces for note in piece.notes)),
    )
    return checked(joined)


def list_part(
    root: Path, part: Part, layout: Layout, asked: Asked, *, follow: bool, tally: Tally | None = None
) -> Listing:
    """The rows of one part.

    Raises:
        PocketlensError: it has no class folders, two that look the same, or links that are refused.
    """
    if part.labels is not None:
        paths = tuple(root / file for file in part.labels.files)
        return Listing(paths, part.labels.files, part.labels.labels, tuple(class_order(part.labels.labels)))
    place, prefix = root / part.base.path, f"{part.base.path}/" if part.base.path else ""
    shown = printable(f"{asked.path}/{prefix}".rstrip("/"))
    if not follow and root.resolve() not in (place.resolve(), *place.resolve().parents):
        raise PocketlensError(
            f"{asked.shown} must not hold links that lead out of it: {printable(part.base.path)}; remove them, or give "
            f"{asked.text(follow=True)}."
        )
    tree = scan(place, suffixes=SUFFIXES, follow=follow, without=part.without, tally=tally)
    if not tree.folders and part.kind == "train":
        raise PocketlensError(
            f"{shown} must hold a folder for each class, or have a CSV of labels, as in "
            f"{asked.text(labels='labels.csv')}."
        )
    alike = lookalikes(tree.folders)
    if alike is not None:
        raise PocketlensError(
            f"{shown} must have class folders with distinct names; {alike[0]!a} and {alike[1]!a} look the same: rename "
            "one."
        )
    inside = zip(tree.paths, tree.names, strict=True)
    rows = [(path, name) for path, name in inside if name.count("/") >= layout.depth]
    labels = tuple(name.split("/")[layout.depth - 1] for _, name in rows)
    classes = tree.folders if layout.depth == 1 else labels
    notes = [f"{prefix}: {note}" if prefix else note for note in tree.notes]
    if len(rows) < len(tree.paths):
        n_outside = len(tree.paths) - len(rows)
        outside = "outside the class folders"
        notes.append(counted(n_outside, f"image {outside} was ignored", f"images {outside} were ignored"))
    empty = sorted(set(classes) - set(labels))
    if empty and part.kind == "train":
        notes.append(
            f"{counted(len(empty), 'class folder has', 'class folders have')} no images: "
            f"{listed([_empty(place, name) for name in empty], 20)}"
        )
    notes += _merged([name for _, name in rows], layout.depth)
    paths, names = tuple(path for path, _ in rows), tuple(prefix + name for _, name in rows)
    return Listing(paths, names, labels, tuple(class_order(classes)), notes=tuple(notes))


def _empty(place: Path, name: str) -> str:
    """A class folder without images, and what it holds."""
    others = other_files(place / name, SUFFIXES)
    return f"{printable(name)} ({others})" if others else printable(name)


def _merged(names: Sequence[str], depth: int) -> list[str]:
    """A note where folders of the same name, in different places, are one class."""
    places: dict[str, set[str]] = {}
    for name in names if depth > 1 else ():
        parts = name.split("/")
        places.setdefault(parts[depth - 1], set()).add("/".join(parts[:depth]))
    several = sorted(f"{label} ({listed(sorted(found), 3)})" for label, found in places.items() if len(found) > 1)
    return [f"folders of the same name are one class: {printable(listed(several, 5))}"] if several else []


def list_table(root: Path, table: LabelTable) -> Listing:
    """The rows of a CSV, in the order of its lines.

    Raises:
        PocketlensError: a file lies outside the folder.
    """
    paths = tuple(root / name for name in table.files)
    inside = root.resolve()
    outside = [
        printable(name) for name, path in zip(table.files, paths, strict=True) if inside not in path.resolve().parents
    ]
    if outside:
        raise PocketlensError(f"{root} must not hold links that lead out of it: {listed(outside, 10)}.")
    return Listing(
        paths, table.files, table.labels, tuple(class_order(table.labels)), groups=table.groups, notes=table.notes
    )


def join(development: Listing, other: Listing, *, kind: str) -> Listing:
    """The rows of a part that lies elsewhere behind those of the development set; `kind` is "test" or "val".

    Raises:
        PocketlensError: a class is in the other part alone, or a group is on both sides.
    """
    n, n_other = len(development.paths), len(other.paths)
    is_other = np.arange(n + n_other) >= n
    none = np.zeros(n_other, bool)
    held = None if development.held is None else np.concatenate([development.held, none])
    val = None if development.val is None else np.concatenate([development.val, none])
    folds = None if development.folds is None else np.concatenate([development.folds, none.astype(np.int64)])
    groups = None if development.groups is None or other.groups is None else development.groups + other.groups
    return checked(
        replace(
            development,
            paths=development.paths + other.paths,
            names=development.names + other.names,
            labels=development.labels + other.labels,
            groups=groups,
            notes=development.notes + other.notes,
            held=is_other if kind == "test" else held,
            val=is_other if kind == "val" else val,
            folds=folds,
        )
    )


def checked(listing: Listing) -> Listing:
    """The listing with notes on its parts; its classes are those of the training part.

    Raises:
        PocketlensError: a class is in the test or validation part alone, or a group is in development and test.
    """
    none = np.zeros(len(listing.paths), bool)
    held = none if listing.held is None else listing.held
    val = none if listing.val is None else listing.val
    labels = np.array(listing.labels, object)
    trained = set(labels[~held & ~val])
    notes = list(listing.notes)
    for name, called, rows in (("validation", "training", val), ("test", "development", held)):
        found = set(labels[rows])
        alike = {same_class(each) for each in trained}  # see `one_name_each`
        unknown = [printable(each) for each in class_order(found) if same_class(each) not in alike]
        if unknown:
            raise PocketlensError(
                f"every class of the {name} set must have {called} images; only the {name} set has "
                f"{listed(unknown, 10)}; add images of it to train on, or remove it."
            )
    if listing.groups is not None:
        groups = np.array(listing.groups, object)
        shared = sorted(set(groups[held]) & set(groups[~held]))
        if shared:
            raise PocketlensError(
                "a group must not be in both the development and the test set; "
                f"{len(shared)} are: {listed([printable(each) for each in shared], 10)}."
            )
        shared = sorted(set(groups[val]) & set(groups[~val & ~held]))
        if shared:
            shown = listed([printable(each) for each in shared], 10)
            notes.append(
                f"{counted(len(shared), 'group is', 'groups are')} on both sides of the given training and "
                f"validation parts: {shown}"
            )
    return replace(listing, notes=tuple(notes))
