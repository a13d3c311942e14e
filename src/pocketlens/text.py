"""Texts for people: names from outside made safe to show, counts with their nouns, durations, paths that are meant."""

from __future__ import annotations

import os
import re
import shlex
import unicodedata
from collections.abc import Iterable, Sequence
from numbers import Integral
from pathlib import Path, PurePath

from pocketlens.errors import nearest

_HIDDEN = ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")  # control, format, surrogate, private, line and paragraph separators
_JOINER = "\u200d"  # joins emoji; harmless
_CUTOFF = 0.6  # of difflib: fotos and photos are at 0.73


def printable(name: str) -> str:
    r"""`name` with everything that is not shown as itself written out: `\n`, `\x1b`, a raw byte as `\xff`."""
    return name if name.isprintable() else "".join(_shown(character) for character in name)


def listed(names: Sequence[str], most: int = 100) -> str:
    """`a, b and 3 more`: the first `most` of the names."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


def counted(n: float, one: str, many: str = "", digits: int = 6) -> str:
    """`1 image`, `2,000 images`, `0 classes`, `0.5 epochs`: a number with what is counted.

    Args:
        n: a whole number has thousands separators, another at most so many `digits`.
        one: what it is where there is one of it; its last word is made plural where `many` is not given.
        many: what it is otherwise, such as `classes have` beside `class has`.
        digits: of a number that is not whole.
    """
    number = f"{n:,}" if isinstance(n, Integral) else f"{n:.{digits}g}"
    return f"{number} {one if n == 1 else many or plural(one)}"


def capitalised(text: str) -> str:
    """The text with its first letter as a capital, and the others as they are."""
    return f"{text[:1].upper()}{text[1:]}"


def times(n: int) -> str:
    """`once`, `2 times`."""
    return "once" if n == 1 else f"{n} times"


def plural(noun: str) -> str:
    """The plural of a regular English noun: `images`, `classes`, `entries`."""
    if re.search(r"(s|x|z|(?<!o)ch|sh)$", noun):
        return f"{noun}es"
    return f"{noun[:-1]}ies" if re.search(r"[^aeiou]y$", noun) else f"{noun}s"


def in_quotes(text: str) -> str:
    """`text` in quotes, as one word for a shell: in double quotes, which all shells know, where they are enough."""
    special = '"$`' if os.name == "nt" else '"$`\\'
    return shlex.quote(text) if set(special) & set(text) else f'"{text}"'


def as_command(words: Iterable[str]) -> str:
    """Words as a line to type into a shell, in quotes where they need them."""
    return " ".join(word if shlex.quote(word) == word else in_quotes(word) for word in words)


def shorten(text: str, most: int = 60) -> str:
    """`text` if it has at most so many characters, else its beginning and `…`."""
    return text if len(text) <= most else text[: most - 1] + "…"


def lookalikes(names: Iterable[str]) -> tuple[str, str] | None:
    """Two names that a person cannot tell apart: equal after Unicode normalisation, or once they are shown."""
    seen: dict[str, str] = {}
    for name in names:
        folded = printable(unicodedata.normalize("NFC", name))
        if folded in seen and seen[folded] != name:
            return seen[folded], name
        seen[folded] = name
    return None


def class_order(names: Iterable[str]) -> list[str]:
    """The order of classes: by number where all names are whole numbers, else by code point."""
    unique = sorted(set(names))
    if unique and all(name.isascii() and name.isdigit() and len(name) < 19 for name in unique):
        return sorted(unique, key=lambda name: (int(name), name))
    return unique


def _shown(character: str) -> str:
    if character == _JOINER or unicodedata.category(character) not in _HIDDEN:
        return character
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a file name that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


def format_duration(seconds: float) -> str:
    """In a sentence: `4.2 s`, `42 s`, `49 min 12 s` or `2 h 5 min`."""
    whole = max(0, round(seconds))
    if whole < 120:
        return f"{max(0.0, seconds):.1f} s" if seconds < 10 else f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest} s" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def clock(seconds: float | None) -> str:
    """In a table: `4.2s`, `3:05`, `1:02:03`, and `-` where there is none."""
    if seconds is None:
        return "-"
    if seconds < 60:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


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
