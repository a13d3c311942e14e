"""Data sets: one file, one data set. `load` gives the development rows, and the test rows sealed.

A file holds `def name(folders: Folders, *, options...) -> Parts`. It finds its files by `folders`, decodes them into
the cache once, and returns the development part and the official test part, or None where there is none.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from pocketlens.components import Component, names, parse_one, resolve, signature_of
from pocketlens.data.dataset import Dataset, Hashes, SealedTest, seal
from pocketlens.data.sources import archive
from pocketlens.data.sources.folders import Folders
from pocketlens.data.sources.table_search import BY_FOLDERS
from pocketlens.data.split import Parts, hold_out_test
from pocketlens.datasets._encoded import MixedSizes
from pocketlens.errors import PocketlensError, closest
from pocketlens.literals import python_reading, references
from pocketlens.text import listed, printable

__all__ = ["Folders", "Parts", "component", "load", "load_to_look"]

_OF_PATHS = {"folder": ("path", "labels", "test", "val"), "npz": ("path",), "parquet": ("path", "test")}
_OF_PARTS = ("test", "val")  # they may name a part of the data, such as fold5, which stays as it was typed


def load(text: str, data: Path | None = None) -> tuple[Dataset, SealedTest]:
    """Loads a data set: a component text such as `cifar100(labels='coarse')`, or a path.

    Where the source has no official test part, 20 % of every class are held out by image hash and sealed.

    Args:
        text: the component text, or the path of a folder, an archive, a `.npz` or a `.parquet`.
        data: the folder in which data sets are searched first.

    Raises:
        PocketlensError: the text is not a data set, or its files are absent or damaged.
    """
    development, test = _read(component(text), data)
    _check(development, test)
    return _sealed(development, test)


def load_to_look(text: str, data: Path | None = None) -> tuple[Dataset, SealedTest]:
    """Loads a data set for an audit, even one that cannot be trained on yet.

    One class is enough, and images of different sizes are brought to one, with a note that says how to train on them.

    Raises:
        PocketlensError: the text is not a data set, its files are absent or damaged, or there is no image.
    """
    chosen, note = component(text), ""
    try:
        development, test = _read(chosen, data)
    except MixedSizes as error:
        known = signature_of(chosen, "datasets")
        if known is None or "size" not in known.positional:
            raise
        size = min(max(error.sides[len(error.sides) // 2], 8), 64)
        chosen = replace(chosen, options=(*chosen.options, ("size", size)))
        note = (
            f"the images have different sizes: this audit uses their central squares at {size} x {size} px; to train "
            f'on these, give the data set as "{chosen}"'
        )
        development, test = _read(chosen, data)
    if not len(development):
        raise PocketlensError(f"{chosen}: the data set must have at least one image, it has none.")
    development, sealed = _sealed(development, test)
    return replace(development, notes=(*development.notes, *([note] if note else []))), sealed


def _read(chosen: Component, data: Path | None) -> tuple[Dataset, Dataset]:
    """Development and test rows of a data set, the latter held out where there are no official ones."""
    parts = _parts(chosen, data)
    text = str(chosen)
    development, test = _with_test(replace(parts.development, text=text), parts.test)
    return development, replace(test, text=text)


def _parts(chosen: Component, data: Path | None) -> Parts:
    function = resolve(chosen, "datasets")
    if not chosen.file:
        parts: Parts = function(Folders(data), **dict(chosen.options))
        return parts
    try:
        own = function(Folders(data), **dict(chosen.options))
    except PocketlensError:
        raise
    except Exception as error:
        raise PocketlensError(f"{chosen} raised {type(error).__name__}: {printable(str(error))[:200]}") from None
    if not isinstance(own, Parts):
        raise PocketlensError(f"{chosen} must return Parts(development, test), got {type(own).__name__}.")
    return own


def _sealed(development: Dataset, test: Dataset) -> tuple[Dataset, SealedTest]:
    notes = (*development.notes, *_conflicts(development), *_across(development.hashes, test.hashes))
    return replace(development, notes=notes), seal(replace(test, notes=()))


def component(text: str) -> Component:
    """The component behind a text or a path; the paths in it become absolute, so that it means the same everywhere.

    Raises:
        PocketlensError: the text is neither.
    """
    text = text.strip()
    if references(text)[:1] and references(text)[0].start == 0:
        return parse_one(text, "datasets")
    called = re.fullmatch(r"([A-Za-z_]\w*)\s*(\(.*\))?", text, re.DOTALL)
    if called is not None and (called[1] in names("datasets") or called[2]):
        return _absolute(parse_one(text, "datasets"))
    path = Path(text).expanduser()
    if text and path.exists():
        return Component(_reader(path), (("path", str(path.absolute())),))
    hint = closest(text, [*names("datasets")])
    raise PocketlensError(f"'{printable(text)}' must be the name of a data set or a path that exists.{hint}")


def _reader(path: Path) -> str:
    if path.is_dir():
        if any(path.glob("*.parquet")):
            return "parquet"
        return "npz" if any(path.glob("*.npy")) else "folder"
    if path.name.lower().endswith(archive.SUFFIXES):
        return "folder"
    if path.suffix.lower() in (".npz", ".parquet"):
        return path.suffix.lower().removeprefix(".")
    kinds = ", ".join((".npz", ".parquet", *archive.SUFFIXES))
    raise PocketlensError(f"{printable(str(path))} must be a folder or a file with one of the endings {kinds}.")


def _absolute(chosen: Component) -> Component:
    keys = _OF_PATHS.get(chosen.name, ())
    options = dict(chosen.options)
    for key in keys:
        value = options.get(key)
        if key == "labels" and value == BY_FOLDERS:
            continue
        if isinstance(value, str) and value:
            value = _as_it_lies(value)
            below = Path(str(options.get("path"))) / value
            place = below if key != "path" and below.exists() else Path(value).expanduser()
            is_part = key in _OF_PARTS and (chosen.name == "folder" or not value.lower().endswith(".parquet"))
            if not is_part or (place != below and place.exists() and value != "validation"):
                options[key] = str(place.absolute())
        elif value is not None:
            raise PocketlensError(f"datasets: {key} of {chosen.name} must be a path in quotes, got {value!r}.")
    if keys and options.get("path") is None:
        raise PocketlensError(f"datasets: {chosen.name} needs a path, such as {chosen.name}('…').")
    return Component(chosen.name, tuple(options.items()))


def _as_it_lies(path: str) -> str:
    """The path; runs of earlier versions wrote odd characters in it, such as line breaks, with Python's escapes."""
    meant = python_reading(path) if "\\" in path and not os.path.lexists(path) else None
    return meant if meant is not None and os.path.lexists(meant) else path


def _with_test(development: Dataset, test: Dataset | None) -> tuple[Dataset, Dataset]:
    if test is not None:
        return development, test
    columns = {"labels": development.labels}
    if development.groups is not None:
        columns["groups"] = development.groups
    if development.val is not None:
        columns["val"] = development.val.astype(np.int64)
    held = hold_out_test(development.hashes, columns, development.classes)
    return development.take(np.flatnonzero(~held)), development.take(np.flatnonzero(held))


def _check(development: Dataset, test: Dataset) -> None:
    text, classes = development.text, development.classes
    if not len(development):
        raise PocketlensError(f"{text}: the data set must have at least one image to train on, it has none.")
    present = np.unique(development.labels)
    if len(present) < 2:
        only = listed([repr(classes[label]) for label in present])
        raise PocketlensError(f"{text}: the data set must have images of at least 2 classes, it has only {only}.")
    unknown = np.setdiff1d(test.labels, development.labels)
    if len(unknown):
        names_ = listed([repr(classes[label]) for label in unknown], 10)
        raise PocketlensError(
            f"{text}: every class of the test set must have development images; only the test set has {names_}."
        )


def _conflicts(dataset: Dataset) -> tuple[str, ...]:
    """A note if images with the same pixels have different labels."""
    labels = dataset.labels if dataset.strata is None else dataset.strata
    _, image = np.unique(_words(dataset.hashes), return_inverse=True)
    n_images = int(image.max()) + 1
    lowest, highest = np.full(n_images, np.iinfo(np.int64).max), np.full(n_images, -1, np.int64)
    np.minimum.at(lowest, image, labels)
    np.maximum.at(highest, image, labels)
    rows = np.flatnonzero((lowest != highest)[image])
    if not len(rows):
        return ()
    shown = listed([dataset.files[row] if dataset.files else f"row {row}" for row in rows], 4)
    return (f"{len(np.unique(image[rows]))} images have more than one label: {shown}",)


def _across(hashes: Hashes, test_hashes: Hashes) -> tuple[str, ...]:
    """A note if test images are also among the development rows."""
    count = int(np.isin(_words(test_hashes), _words(hashes)).sum())
    return (f"{count} test images are also among the development images, equal in every pixel",) if count else ()


def _words(hashes: Hashes) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    """(N,) uint64: half of each hash, enough to tell images apart."""
    return np.ascontiguousarray(hashes[:, :8]).view(np.uint64).reshape(-1)
