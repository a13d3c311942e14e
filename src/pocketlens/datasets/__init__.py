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

from pocketlens.components import Component, names, parse_one, resolve
from pocketlens.data.dataset import Dataset, Hashes, SealedTest, seal
from pocketlens.data.sizes import FROM_SCRATCH, Aim
from pocketlens.data.sources import archive
from pocketlens.data.sources.folders import Folders
from pocketlens.data.split import HOLD_OUT_VERSION, Parts, hold_out_test
from pocketlens.datasets._sized import fit_of, size_notes, with_size
from pocketlens.errors import PocketlensError, closest
from pocketlens.literals import python_reading, references
from pocketlens.text import listed, printable

__all__ = ["Aim", "Folders", "Parts", "component", "load", "load_to_look", "share_source", "sized_as"]

_OF_PATHS = {"folder": ("path", "labels", "test"), "npz": ("path",), "parquet": ("path", "test")}


def load(
    text: str, data: Path | None = None, *, version: int = HOLD_OUT_VERSION, aim: Aim | None = FROM_SCRATCH
) -> tuple[Dataset, SealedTest]:
    """Loads a data set: a component text such as `cifar100(labels='coarse')`, or a path.

    Where the source has no official test part, 20 % of every class are held out by image hash and sealed. Pictures of
    different sizes, or of one that is too large, are brought to the size that `size=` says or else to one that suits
    them and the model; it then stands in the text of the data set.

    Args:
        text: the component text, or the path of a folder, an archive, a `.npz` or a `.parquet`.
        data: the folder in which data sets are searched first.
        version: of the rule by which test rows are held out; a run keeps its own, `Experiment.hold_out`.
        aim: what pictures are sized for; None for the text of a run, which says the size.

    Raises:
        PocketlensError: the text is not a data set, or its files are absent or damaged.
    """
    development, test = _read(component(text), Folders(data, version, _kept(aim, version)))
    _check(development, test)
    return _sealed(development, test)


def load_to_look(
    text: str, data: Path | None = None, *, version: int = HOLD_OUT_VERSION, aim: Aim | None = FROM_SCRATCH
) -> tuple[Dataset, SealedTest]:
    """Loads a data set as `load` does, for an audit, even one that cannot be trained on yet: one class is enough.

    Raises:
        PocketlensError: the text is not a data set, its files are absent or damaged, or there is no image.
    """
    chosen = component(text)
    development, test = _read(chosen, Folders(data, version, _kept(aim, version)))
    if not len(development):
        raise PocketlensError(f"{chosen}: the data set must have at least one image, it has none.")
    return _sealed(development, test)


def _kept(aim: Aim | None, version: int) -> Aim | None:
    """Data of before was read in the size that it had."""
    return None if version == 1 else aim


def _read(chosen: Component, folders: Folders) -> tuple[Dataset, Dataset]:
    """Development and test rows of a data set, the latter held out where there are no official ones."""
    parts = _parts(chosen, folders)
    sized = with_size(chosen, parts.development)
    notes = (*parts.development.notes, *size_notes(chosen, sized, parts.development))
    whole = replace(parts.development, text=str(sized), notes=notes, hold_out=folders.hold_out, fit=fit_of(chosen))
    development, test = _with_test(whole, parts.test)
    return development, replace(test, text=str(sized), hold_out=folders.hold_out, fit=whole.fit)


def _parts(chosen: Component, folders: Folders) -> Parts:
    function = resolve(chosen, "datasets")
    if not chosen.file:
        parts: Parts = function(folders, **dict(chosen.options))
        return parts
    try:
        own = function(folders, **dict(chosen.options))
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


def sized_as(text: str) -> str:
    """The size and the fit in the text of a data set, such as `32-crop`; empty where it names no size."""
    try:
        chosen = parse_one(text, "datasets")
    except PocketlensError:
        return ""
    size = dict(chosen.options).get("size")
    return "" if size is None else f"{size}-{fit_of(chosen)}"


def share_source(first: str, second: str) -> bool:
    """Whether two data sets may hold the same pictures: those of one name, or whose paths are the same or nested."""
    a, b = component(first), component(second)
    paths = [dict(each.options).get("path") for each in (a, b)]
    if not all(isinstance(path, str) for path in paths):
        return (a.name, a.file, paths[0]) == (b.name, b.file, paths[1])
    one, other = (Path(str(path)) for path in paths)
    return one == other or one in other.parents or other in one.parents


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
        if isinstance(value, str) and value:
            value = _as_it_lies(value)
            below = Path(str(options.get("path"))) / value
            place = below if key != "path" and below.exists() else Path(value).expanduser()
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
    held = hold_out_test(development.hashes, columns, development.classes, development.hold_out)
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
