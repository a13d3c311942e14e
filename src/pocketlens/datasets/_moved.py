"""Where a data set of files lies: its paths made absolute, and the texts by which it is found at a new place."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath

from pocketlens.components import Component, names, parse_one
from pocketlens.data.sources.columns import BY_FOLDERS, BY_NAMES
from pocketlens.data.sources.delimited import KINDS
from pocketlens.errors import PocketlensError, closest, nearest
from pocketlens.literals import python_reading
from pocketlens.text import in_quotes, near_path, path_hint, printable

OF_PATHS = {"folder": ("path", "labels", "test", "val"), "npz": ("path",), "parquet": ("path", "test")}


_KINDS_OF_PLACE = {
    "folder": "a folder",
    "npz": "an .npz file or a folder of .npy files",
    "parquet": "a parquet file or a folder of them",
    "labels": "a table, such as a CSV,",
    "test": "a parquet file",
}
_OF_PARTS = ("test", "val")  # they may name a part of the data, such as fold5, which stays as it was typed


def absolute(chosen: Component, *, must_exist: bool = False) -> Component:
    """The component with absolute paths, so that it means the same everywhere.

    Raises:
        PocketlensError: a path is not a text, or the one that it needs is not there.
    """
    source = source_of(chosen)
    if source is not chosen:
        return with_source(chosen, source if source.file else absolute(source, must_exist=must_exist))
    keys = OF_PATHS.get(chosen.name, ())
    options = dict(chosen.options)
    for key in keys:
        value = options.get(key)
        if key == "labels" and value in (BY_FOLDERS, BY_NAMES):
            continue
        if isinstance(value, str) and value:
            value = as_it_lies(value)
            below = Path(str(options.get("path"))) / value
            place = below if key != "path" and below.exists() else Path(value).expanduser()
            is_part = key in _OF_PARTS and (chosen.name == "folder" or not value.lower().endswith(".parquet"))
            if must_exist and not is_part and place != below and not place.exists():
                _require_unpacked(chosen, key, value)
            if not is_part or (place != below and place.exists() and value != "validation"):
                options[key] = str(place.absolute())
        elif value is not None:
            raise PocketlensError(f"datasets: {key} of {chosen.name} must be a path in quotes, got {value!r}.")
    if keys and options.get("path") is None:
        raise PocketlensError(f"datasets: {chosen.name} needs a path, such as {chosen.name}('…').")
    return Component(chosen.name, tuple(options.items()))


def _require_unpacked(chosen: Component, key: str, value: str) -> None:
    """Refuses a path at which nothing lies, unless it may lie in an archive, with the text that is likely meant."""
    root = str(dict(chosen.options).get("path"))
    if key == "labels" and not os.path.isdir(os.path.expanduser(root)):
        return
    reader = "parquet" if key == "test" else chosen.name
    of_file = (f".{reader}",) if reader != "folder" and PurePath(value).suffix else ()
    endings = KINDS if key == "labels" else of_file
    inside = None if key == "path" else near_path(value, endings, below=os.path.expanduser(root))
    near = inside or near_path(value, endings)
    options = tuple((name, near if name == key else old) for name, old in chosen.options)
    hint = "" if near is None else f" Did you mean {in_quotes(str(replace(chosen, options=options)))}?"
    shown, what = printable(value), _KINDS_OF_PLACE[chosen.name if key == "path" else key]
    shown = f"{key} of {chosen.name} is {shown!r}, which" if key != "path" else shown
    raise PocketlensError(f"{shown} must be {what} that exists.{hint}")


def unknown(text: str) -> PocketlensError:
    """What is wrong with a text that is neither a data set's name nor a path that exists, and what was likely meant."""
    near = near_path(text) if text else None
    is_path = near is not None and nearest(text, (*names("datasets"), near)) in (near, None)
    hint = f" Did you mean {in_quotes(str(near))}?" if is_path else closest(text, names("datasets"))
    return PocketlensError(f"'{printable(text)}' must be the name of a data set or a path that exists.{hint}")


def place_of(text: str) -> str | None:
    """The path at which a data set of files lies; None for one with a name, which is searched in folders."""
    chosen = _chosen(text)
    return None if chosen is None else str(dict(chosen.options)["path"])


def places_of(text: str, place: Path) -> tuple[str, ...]:
    """The component texts of a data set of files that has moved to `place`, the likeliest first.

    `place` is the folder or the file itself, or the folder in which it lies under its old name. Paths in other options,
    such as a table of labels, move with it where they lie below or beside it.

    Raises:
        PocketlensError: `place` does not exist.
    """
    chosen = _chosen(text)
    assert chosen is not None, text
    typed = parse_one(text, "datasets")
    place = place.expanduser().absolute()
    if not os.path.exists(place):
        hint = path_hint(place, "--data")
        raise PocketlensError(f"--data must be a folder or a file that exists, got {str(place)!r}.{hint}")
    old = _pure(str(dict(chosen.options)["path"]))
    inside = place / old.name
    found = [inside, place] if old.name and place.is_dir() and os.path.exists(inside) else [place]
    if place.name == old.name:
        found.reverse()
    return tuple(str(with_source(typed, _moved(chosen, old, new))) for new in found)


def source_of(chosen: Component) -> Component:
    """The data set whose rows `fold` deals out; any other data set is its own source.

    Raises:
        PocketlensError: the source that is named is no data set.
    """
    data = dict(chosen.options).get("data")
    return (
        parse_one(data, "datasets") if not chosen.file and chosen.name == "fold" and isinstance(data, str) else chosen
    )


def with_source(chosen: Component, source: Component) -> Component:
    """A data set with another text of its source; any but `fold` is its own source."""
    if chosen.file or chosen.name != "fold":
        return source
    options = tuple((key, str(source) if key == "data" else value) for key, value in chosen.options)
    return replace(chosen, options=options)


def _chosen(text: str) -> Component | None:
    """The component of a data set of files, which that of `fold` may be the source of; None for others."""
    try:
        chosen = source_of(parse_one(text, "datasets"))
    except PocketlensError:  # whoever loads it says why
        return None
    is_of_files = not chosen.file and chosen.name in OF_PATHS and isinstance(dict(chosen.options).get("path"), str)
    return chosen if is_of_files else None


def _moved(chosen: Component, old: PurePath, new: Path) -> Component:
    options = [(key, str(new) if key == "path" else _follow(value, old, new)) for key, value in chosen.options]
    return replace(chosen, options=tuple(options))


def _follow(value: object, old: PurePath, new: Path) -> object:
    """The new place of a path that lay below the data or beside it; any other value as it is."""
    if not isinstance(value, str) or not _pure(value).is_absolute():
        return value
    for before, now in ((old, new), (old.parent, new.parent)):
        if _pure(value).is_relative_to(before):
            moved = now.joinpath(*_pure(value).relative_to(before).parts)
            if os.path.exists(moved):
                return str(moved)
    return value


def _pure(path: str) -> PurePath:
    """A path as the system meant it that wrote it."""
    is_windows = re.match(r"[A-Za-z]:[\\/]|\\\\", path) is not None
    return PureWindowsPath(path) if is_windows else PurePosixPath(path)


def absent(text: str) -> str | None:
    """The place of a data set of files at which nothing lies now; None where something does, and for other data."""
    place = place_of(text)
    if place is None or os.path.exists(Path(as_it_lies(place)).expanduser()):  # False where it may not be looked at
        return None
    return printable(place)


def as_it_lies(path: str) -> str:
    """The path; runs of earlier versions wrote odd characters in it, such as line breaks, with Python's escapes."""
    meant = python_reading(path) if "\\" in path and not os.path.lexists(path) else None
    return meant if meant is not None and os.path.lexists(meant) else path
