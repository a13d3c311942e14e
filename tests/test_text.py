"""Seconds in a sentence and in a table."""

from __future__ import annotations

import shlex

import pytest

from pocketlens.text import as_command, clock, format_duration, in_quotes


def test_in_a_sentence() -> None:
    said = [format_duration(s) for s in (-1, 0.04, 9.96, 59.4, 75, 185, 2931, 7199.6, 7500)]
    assert said == [
        "0.0 s", "0.0 s", "10.0 s", "59 s", "75 s", "3 min 5 s", "48 min 51 s", "2 h 0 min", "2 h 5 min"
    ]  # fmt: skip


def test_in_a_table() -> None:
    assert [clock(value) for value in (None, 1.26, 65, 3725)] == ["-", "1.3s", "1:05", "1:02:05"]


@pytest.mark.parametrize("text", ["a b", "it's", 'say "a"', "$HOME `x`", "a\\b\\", ""])
def test_in_quotes_it_is_one_word(text: str) -> None:
    assert shlex.split(in_quotes(text)) == [text]
    assert in_quotes("it's") == '"it\'s"'


def test_a_command_is_quoted_as_people_type_it() -> None:
    words = ["pocketlens", "train", "folder(path='/my photos')", "--lr", "0.1", "a$b", "it's"]
    assert as_command(words) == "pocketlens train \"folder(path='/my photos')\" --lr 0.1 'a$b' \"it's\""
    assert shlex.split(as_command(words)) == words
