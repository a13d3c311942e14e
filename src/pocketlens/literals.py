r"""Literals and references in component texts.

What stands in quotes is read as it is typed, so that paths of every system are paths.

In quotes a backslash is itself: `folder('C:\new\images')` is that path. Two backslashes are one, as Python writes them,
except at the beginning, where they are a network path, as in '\\server\share'. A backslash before the quote that began
the text is that quote, as in 'it\'s', except at the end, as in 'C:\images\'. Where `u` stands before the quotes,
Python's escapes count, as in u'a\nb'; a text that cannot be typed otherwise is written like that.

A reference, `FILE.py:function`, names code of one's own; FILE may stand in quotes.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

_CLOSING = {"(": ")", "[": "]", "{": "}"}
_BEHIND_TEXT = frozenset(",)]};|")  # what may follow a text in quotes, as does the end
IN_PYTHON = "<function>"  # stands for the file of a function that lives in none, such as that of a notebook
_BARE = r"(?:[^\s'\"|;,=(){}\[\]]+\.py|<function>)"
_REFERENCE = re.compile(rf"({_BARE}):([A-Za-z_]\w*)")
_BEHIND_QUOTES = re.compile(r"\s*:\s*([A-Za-z_]\w*)")


@dataclass(frozen=True)
class Quoted:
    """A text in quotes, from its first quote to behind its last one."""

    start: int
    end: int
    value: str | None  # None: Python reads it, as there is a letter before it


class Unclosed(ValueError):
    """A bracket or a quote is not closed, or a bracket closes none.

    Attributes:
        character: what must still come, or the bracket that closes none.
    """

    def __init__(self, character: str, *, is_open: bool) -> None:
        super().__init__(character)
        self.character, self.is_open = character, is_open


def read_literal(text: str) -> Any:
    """The value of a literal: a number, a text in quotes, True, False, None, or a tuple of such.

    Raises:
        ValueError, TypeError, SyntaxError, MemoryError, RecursionError: the text is no literal.
    """
    return ast.literal_eval(python_text(text))


def write_literal(value: Any) -> str:
    """The literal of a value, which `read_literal` reads back."""
    if isinstance(value, str):
        return _write_text(value)
    if isinstance(value, tuple):
        return f"({', '.join(map(write_literal, value))}{',' if len(value) == 1 else ''})"
    if isinstance(value, list):
        return f"[{', '.join(map(write_literal, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{write_literal(key)}: {write_literal(item)}' for key, item in value.items())}}}"
    return repr(value)


def python_text(text: str) -> str:
    """A text that Python reads as it is meant here: each text in quotes with Python's escapes."""
    try:
        found = quoted(text)
    except Unclosed:
        return text  # Python will refuse it
    parts, last = [], 0
    for item in found:
        shown = text[item.start : item.end] if item.value is None else repr(item.value)
        parts += [text[last : item.start], shown]
        last = item.end
    return "".join([*parts, text[last:]])


def outside(text: str) -> str:
    """The text with everything inside quotes and brackets blanked out.

    Raises:
        Unclosed: a bracket or a quote is not closed, or a bracket closes none.
    """
    shown, depth = list(text), 0
    for item in quoted(text):
        shown[item.start : item.end] = " " * (item.end - item.start)
    for place, character in enumerate(shown):
        depth += character in _CLOSING
        shown[place] = " " if depth else character
        depth -= character in _CLOSING.values()
    return "".join(shown)


def quoted(text: str) -> list[Quoted]:
    r"""The texts in quotes, in order.

    Where `\'` could end a text or stand for a quote, it ends it, unless brackets and quotes then do not match.

    Raises:
        Unclosed: a bracket or a quote is not closed, or a bracket closes none.
    """
    try:
        return _scan(text, may_end=True)
    except Unclosed:
        return _scan(text, may_end=False)


def python_reading(text: str) -> str | None:
    """A text in quotes as Python would have read it; None where it would not, or not otherwise."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what Python does not know as an escape
            value = ast.literal_eval(f'"{text}"')
    except (ValueError, SyntaxError):
        return None
    return value if isinstance(value, str) and value != text else None


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


def _scan(text: str, *, may_end: bool) -> list[Quoted]:
    found: list[Quoted] = []
    closing: list[str] = []
    place = 0
    while place < len(text):
        character = text[place]
        if character in "'\"":
            found.append(_read_quoted(text, place, may_end))
            place = found[-1].end
            continue
        if character in _CLOSING:
            closing.append(_CLOSING[character])
        elif character in _CLOSING.values() and (not closing or closing.pop() != character):
            raise Unclosed(character, is_open=False)
        place += 1
    if closing:
        raise Unclosed(closing[-1], is_open=True)
    return found


def _read_quoted(text: str, start: int, may_end: bool) -> Quoted:
    quote, has_letter = text[start], text[start - 1 : start].isalnum()
    value, place = "", start + 1
    while place < len(text) and text[place] != quote:
        character, following = text[place], text[place + 1 : place + 2]
        if character == "\\" and following == quote and (has_letter or not may_end or not _ends(text, place + 2)):
            character, place = quote, place + 1
        elif character == "\\" == following and (
            has_letter or place > start + 1 or not _begins_network_path(text, place)
        ):
            place += 1
        value, place = value + character, place + 1
    if place >= len(text):
        raise Unclosed(quote, is_open=True)
    return Quoted(start, place + 1, None if has_letter else value)


def _ends(text: str, place: int) -> bool:
    while text[place : place + 1].isspace():
        place += 1
    return place >= len(text) or text[place] in _BEHIND_TEXT


def _begins_network_path(text: str, place: int) -> bool:
    """Whether neither a backslash nor a quote follows the two backslashes at `place`."""
    return text[place + 2 : place + 3] not in "\\'\""


def _write_text(value: str) -> str:
    quote = '"' if "'" in value and '"' not in value else "'"
    plain = f"{quote}{value}{quote}"
    if value.isprintable():
        try:
            found = quoted(plain)
        except Unclosed:
            found = []
        if found == [Quoted(0, len(plain), value)]:
            return plain
    return f"u{value!r}"
