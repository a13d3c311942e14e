"""References to code of one's own in component texts: `FILE.py:function`, where FILE may stand in quotes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from pocketlens.literals import Unclosed, outside, quoted, write_literal

IN_PYTHON = "<function>"  # stands for the file of a function that lives in none, such as that of a notebook
_BARE = r"(?:[^\s'\"|;,=(){}\[\]]+\.py|<function>)"
_REFERENCE = re.compile(rf"({_BARE}):([A-Za-z_]\w*)")
_BEHIND_QUOTES = re.compile(r"\s*:\s*([A-Za-z_]\w*)")


@dataclass(frozen=True)
class Reference:
    """`FILE.py:function` in a text, from `start` to `end`; FILE may stand in quotes."""

    start: int
    end: int
    file: str
    name: str

    @property
    def key(self) -> str:
        """What tells its code from that of others: the file, or the function where it lives in none."""
        return key_of(self.file, self.name)


def key_of(file: str, name: str) -> str:
    """See `Reference.key`."""
    return f"{file}:{name}" if file == IN_PYTHON else file


def references(text: str) -> list[Reference]:
    """The components of one's own in a text, in order; what stands in quotes or brackets is none.

    A text in which brackets or quotes are not closed has none: its reader will say so.
    """
    if ".py" not in text and IN_PYTHON not in text:
        return []
    try:
        masked, texts = outside(text), quoted(text)
    except Unclosed:
        return []
    found = [Reference(each.start(), each.end(), each[1], each[2]) for each in _REFERENCE.finditer(masked)]
    for item in texts:
        behind = _BEHIND_QUOTES.match(masked, item.end)
        if item.value is not None and behind is not None:
            found.append(Reference(item.start, behind.end(), item.value, behind[1]))
    return sorted(found, key=lambda each: each.start)


def show_reference(file: str, name: str) -> str:
    """`FILE.py:function`, with quotes around the file where it needs them."""
    return f"{file if re.fullmatch(_BARE, file) else write_literal(file)}:{name}"


def texts_in(value: object) -> list[str]:
    """The texts in quotes within a text."""
    try:
        return [item.value for item in quoted(value) if item.value] if isinstance(value, str) else []
    except Unclosed:
        return []


def keys_in(texts: Iterable[str]) -> list[str]:
    """What tells the code in the texts apart, also that of texts in quotes within them."""
    keys: dict[str, None] = {}
    for text in texts:
        keys |= dict.fromkeys(each.key for each in references(text))
        keys |= dict.fromkeys(keys_in(texts_in(text)))
    return list(keys)
