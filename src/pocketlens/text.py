"""Names that come from outside, made safe to show: no control bytes, no text that turns the line around."""

from __future__ import annotations

import os
import shlex
import unicodedata
from collections.abc import Iterable, Sequence

_HIDDEN = ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")  # control, format, surrogate, private, line and paragraph separators
_JOINER = "\u200d"  # joins emoji; harmless


def printable(name: str) -> str:
    r"""`name` with everything that is not shown as itself written out: `\n`, `\x1b`, a raw byte as `\xff`."""
    return "".join(_shown(character) for character in name)


def listed(names: Sequence[str], most: int = 100) -> str:
    """`a, b and 3 more`: the first `most` of the names."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


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


def counted(n: float, noun: str) -> str:
    """`1 epoch`, `2.5 epochs`."""
    return f"{n:g} {noun}{'' if n == 1 else 's'}"


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
