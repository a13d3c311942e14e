"""Data sets: one file, one data set. `load` gives the development rows, and the test rows sealed.

A file holds `def name(folders: Folders, *, options...) -> Parts`. It finds its files by `folders`, decodes them into
the cache once, and returns the development part and the official test part, or None where there is none.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pocketlens.components import Component, names, parse_one, resolve
from pocketlens.data.dataset import Dataset, Loaded, SealedTest, seal
from pocketlens.data.sizes import FROM_SCRATCH, Aim
from pocketlens.data.sources import archive
from pocketlens.data.sources.folders import Folders
from pocketlens.data.split import HOLD_OUT_VERSION, Parts, held_out_rows
from pocketlens.datasets._checks import check, joined_in_form, sealed
from pocketlens.datasets._moved import absent, absolute, place_of, places_of, source_of, unknown, with_source
from pocketlens.datasets._sized import fit_of, size_notes, with_size
from pocketlens.errors import PocketlensError
from pocketlens.literals import references
from pocketlens.text import printable

if TYPE_CHECKING:
    from pocketlens.data.fit import Form
    from pocketlens.events import Tally

__all__ = [
    "Aim",
    "Folders",
    "Parts",
    "absent",
    "component",
    "load",
    "load_to_look",
    "load_whole",
    "place_of",
    "places_of",
    "read_parts",
    "share_source",
    "sized_as",
]


def load(
    text: str,
    data: Path | None = None,
    *,
    version: int = HOLD_OUT_VERSION,
    aim: Aim | None = FROM_SCRATCH,
    tally: Tally | None = None,
) -> Loaded:
    """Loads a data set: a component text such as `cifar100(labels='coarse')`, or a path.

    Where the source has no official test part, 20 % of every class are held out by image hash and sealed. Pictures of
    different sizes, or of one that is too large, are brought to the size that `size=` says or else to one that suits
    them and the model; it then stands in the text of the data set.

    Args:
        text: the component text, or the path of a folder, an archive, a `.npz` or a `.parquet`.
        data: the folder in which data sets are searched first.
        version: of the rule by which test rows are held out; a run keeps its own, `Experiment.hold_out`.
        aim: what pictures are sized for; None for the text of a run, which says the size.
        tally: to which reading says how far it is; `events.watched` shows it.

    Raises:
        PocketlensError: the text is not a data set, or its files are absent or damaged.
    """
    folders = _told(Folders(data, version, _kept(aim, version)), tally)
    development, test = _read(component(text, must_exist=True), folders)
    check(development, test)
    return sealed(development, test)


def load_to_look(
    text: str,
    data: Path | None = None,
    *,
    version: int = HOLD_OUT_VERSION,
    aim: Aim | None = FROM_SCRATCH,
    tally: Tally | None = None,
) -> Loaded:
    """Loads a data set as `load` does, for an audit, even one that cannot be trained on yet: one class is enough.

    Raises:
        PocketlensError: the text is not a data set, its files are absent or damaged, or there is no image.
    """
    chosen = component(text, must_exist=True)
    development, test = _read(chosen, _told(Folders(data, version, _kept(aim, version)), tally))
    if not len(development):
        raise PocketlensError(f"{chosen}: the data set must have at least one image, it has none.")
    return sealed(development, test)


def _told(folders: Folders, tally: Tally | None) -> Folders:
    return folders if tally is None else replace(folders, tally=tally)


def _kept(aim: Aim | None, version: int) -> Aim | None:
    """Data of before was read in the size that it had, which only a run that is started from still says."""
    return None if version == 1 and aim is not None and aim.side is None else aim


def _read(chosen: Component, folders: Folders) -> tuple[Dataset, Dataset]:
    """Development and test rows of a data set, the latter held out where there are no official ones."""
    parts = read_parts(chosen, folders)
    source = source_of(chosen)
    sized_source = with_size(source, parts.development)
    sized = with_source(chosen, sized_source)
    notes = (*parts.development.notes, *size_notes(source, sized_source, parts.development))
    fit = parts.development.fit if source.file else fit_of(source)
    whole = replace(parts.development, text=str(sized), notes=notes, hold_out=folders.hold_out, fit=fit)
    development, test = _with_test(whole, parts.test)
    return development, replace(test, text=str(sized), hold_out=folders.hold_out, fit=fit)


def load_whole(text: str, form: Form, data: Path | None = None, version: int = HOLD_OUT_VERSION) -> SealedTest:
    """All rows of a data set, its parts joined, in the form that a model takes: for scoring it, and nothing else.

    Args:
        text: the component text, or the path of a folder, an archive, a `.npz` or a `.parquet`.
        form: to which every image is brought, as `predict` does.
        data: the folder in which data sets are searched first.
        version: of the rule by which the model's run holds test rows out, which says what identifies an image.

    Raises:
        PocketlensError: the text is not a data set, or its files are absent or damaged.
    """
    chosen = component(text, must_exist=True)
    parts = read_parts(chosen, Folders(data, version, form=form))
    return seal(replace(joined_in_form(parts, form, version), text=str(chosen)))


def read_parts(chosen: Component, folders: Folders) -> Parts:
    """The parts that a data set gives, before any test rows are held out of it.

    Raises:
        PocketlensError: its files are absent or damaged.
    """
    function = resolve(chosen, "datasets")
    if not chosen.file:
        try:
            parts: Parts = function(folders, **dict(chosen.options))
        except PocketlensError as error:  # what to type next names the data set as it was typed
            error.args = (str(error).replace(f"{chosen.name}(…, ", f"{str(chosen).removesuffix(')')}, "),)
            raise
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


def component(text: str, *, must_exist: bool = False) -> Component:
    """The component behind a text or a path; the paths in it become absolute, so that it means the same everywhere.

    Args:
        text: a component text, or a path that exists.
        must_exist: refuse component texts with a path at which nothing lies, too.

    Raises:
        PocketlensError: the text is neither.
    """
    text = text.strip()
    if references(text)[:1] and references(text)[0].start == 0:
        return parse_one(text, "datasets")
    called = re.fullmatch(r"([A-Za-z_]\w*)\s*(\(.*\))?", text, re.DOTALL)
    if called is not None and (called[1] in names("datasets") or called[2]):
        return absolute(parse_one(text, "datasets"), must_exist=must_exist)
    path = Path(text).expanduser()
    if text and path.exists():
        return Component(_reader(path), (("path", str(path.absolute())),))
    raise unknown(text)


def sized_as(text: str) -> str:
    """The size and the fit in the text of a data set, such as `32-crop`; empty where it names no size."""
    try:
        chosen = parse_one(text, "datasets")
    except PocketlensError:
        return ""
    source = source_of(chosen)
    size = dict(source.options).get("size")
    return "" if size is None else f"{size}-{fit_of(source)}"


def share_source(first: str, second: str) -> bool:
    """Whether two data sets may hold the same pictures: those of one name, or whose paths are the same or nested."""
    try:
        a, b = source_of(component(first)), source_of(component(second))
    except PocketlensError:  # what a run was trained on is no longer there
        return first == second
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


def _with_test(development: Dataset, test: Dataset | None) -> tuple[Dataset, Dataset]:
    if test is not None:
        return development, test
    held = held_out_rows(development, development.hold_out)
    return development.take(np.flatnonzero(~held)), development.take(np.flatnonzero(held))
