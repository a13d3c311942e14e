"""What a person who mistyped a path is likely to have meant: the same path with the nearest names that are there."""

from __future__ import annotations

import os
from pathlib import Path, PurePath

from pocketlens.errors import nearest
from pocketlens.text import as_command, in_quotes

_CUTOFF = 0.6  # of difflib: fotos and photos are at 0.73


def near_path(typed: str, endings: tuple[str, ...] = (), below: str | Path = "") -> str | None:
    """The path that is there and is nearest to the one that was typed; None where nothing is near.

    Args:
        typed: a path at which nothing lies.
        endings: of files, in lower case; where they are given, the last name is that of a file with one of them.
        below: where a relative path begins, the present folder if it is empty.
    """
    parts, found = PurePath(typed).parts, PurePath()
    for number, part in enumerate(parts):
        is_last = number == len(parts) - 1
        place = Path(below, Path(found).expanduser())
        if number == 0 and (part == "~" or PurePath(part).is_absolute()):
            name: str | None = part
        elif os.path.exists(place / part) and not (is_last and endings):
            name = part
        else:
            name = nearest(part, _entries(place, endings if is_last else (), folders=not is_last), _CUTOFF)
        if name is None:
            return None
        found = found / name
    return str(found)


def path_hint(typed: str | Path, option: str = "", endings: tuple[str, ...] = ()) -> str:
    """` Did you mean --data "photos"?`, with the words to type; "" where nothing is near."""
    near = near_path(str(typed), endings)
    return "" if near is None else f" Did you mean {as_command([option]) + ' ' if option else ''}{in_quotes(near)}?"


def _entries(place: Path, endings: tuple[str, ...], *, folders: bool) -> list[str]:
    """The names in a folder that may be meant, without hidden ones; none where it cannot be read."""
    try:
        entries = [entry for entry in os.scandir(place) if not entry.name.startswith(".")]
    except OSError:
        return []
    return sorted(
        entry.name
        for entry in entries
        if (not folders or entry.is_dir()) and (not endings or entry.name.lower().endswith(endings))
    )
