"""Files: old or new and never half, strict JSON, lines that survive a torn end, and no leftovers."""

from __future__ import annotations

import csv
import errno
import io
import json
import math
import os
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
from deaths import full_disk, watched
from made_images import refused

from pocketlens.files import (
    append_json,
    cache_folder,
    csv_text,
    from_cell,
    ledger_file,
    read_json,
    read_lines,
    to_json,
    write_bytes,
    write_json,
    write_text,
    write_with,
)


def test_what_is_written_replaces_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    for value in ({"a": [1, 2.5, None, "ü"]}, {"b": True}):
        write_json(path, value)
        assert read_json(path) == value
    write_text(path, "line\n")
    assert path.read_bytes() == b"line\n"
    assert os.listdir(tmp_path) == ["a.json"]


def test_the_order_of_operations(tmp_path: Path) -> None:
    with watched(tmp_path) as watch:
        write_bytes(tmp_path / "x", b"12345")
    assert watch.trace == ["open .x.part", "write .x.part", "fsync file .x.part", "replace x", "fsync folder ."]
    with watched(tmp_path) as watch:
        append_json(tmp_path / "lines", {"a": 1})
    assert watch.trace == ["open lines", "write lines", "fsync file lines", "fsync folder ."]


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt(), ValueError()])
def test_a_failure_leaves_the_old_file_and_nothing_else(error: BaseException, tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_bytes(path, b"old")

    def fill(file: BinaryIO) -> None:
        file.write(b"half")
        raise error

    with pytest.raises(type(error)):
        write_with(path, fill)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("operation", ["open", "write", "fsync file", "replace"])
def test_an_operation_that_fails_leaves_the_old_file_and_nothing_else(operation: str, tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_bytes(path, b"old")

    def act(_k: int, text: str) -> None:
        if text.startswith(operation):
            raise OSError(errno.EIO, "Input/output error")

    with watched(tmp_path, act), pytest.raises(OSError, match="Input/output error"):
        write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]


def test_a_full_disk_in_the_middle_of_a_line_is_cut_off_by_the_next(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    append_json(path, {"a": 1})
    n_writes = 0

    def act(_k: int, text: str) -> None:
        nonlocal n_writes
        n_writes += text.startswith("write")
        if n_writes >= 2:
            raise OSError(errno.ENOSPC, "No space left on device")

    with watched(tmp_path, act, piece=5), pytest.raises(OSError, match="No space"):
        append_json(path, {"b": "a long line"})
    assert path.read_bytes() != b'{"a": 1}\n'  # a torn line stands there
    assert list(read_lines(path)) == [{"a": 1}]
    append_json(path, {"c": 3})
    assert list(read_lines(path)) == [{"a": 1}, {"c": 3}]


def test_a_torn_end_is_cut_off_at_every_place(tmp_path: Path) -> None:
    """More than 50 places in the last line: what came before is kept, what comes behind it is whole."""
    path, last = tmp_path / "lines", {"b": "x" * 20, "ü": [1.5, None, {"c": "é\n"}], "d": "0123456789"}
    before, whole = b'{"a": 1}\n', (to_json(last) + "\n").encode()
    assert len(whole) > 50
    for length in range(len(whole)):
        path.write_bytes(before + whole[:length])
        assert list(read_lines(path)) == [{"a": 1}]
        append_json(path, {"c": 3})
        assert path.read_bytes() == before + b'{"c": 3}\n', length
    path.write_bytes(before + whole)
    assert list(read_lines(path)) == [{"a": 1}, last]


def test_lines_of_an_absent_file_are_none_and_a_bad_line_is_named(tmp_path: Path) -> None:
    assert list(read_lines(tmp_path / "absent")) == []
    (tmp_path / "bad").write_text('{"a": 1}\nnonsense\n{"b": 2}\n')
    with refused("bad", "not JSON"):
        list(read_lines(tmp_path / "bad"))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, np.float32("nan"), np.array([1.0, np.nan])])
def test_numbers_that_are_not_finite_become_null(value: Any, tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"a": [value], "b": {"c": value}})
    append_json(tmp_path / "b.jsonl", {"a": value})
    for path in tmp_path.iterdir():
        text = path.read_text()
        assert "NaN" not in text
        assert "Infinity" not in text
        assert "null" in text
    assert read_json(tmp_path / "a.json")["a"][0] in (None, [1.0, None])


def test_numbers_there_and_back(tmp_path: Path) -> None:
    value = {"float": 0.1 + 0.2, "big": 2**60, "single": float(np.float32(0.1)), "tiny": 5e-324, "int": np.int64(3)}
    write_json(tmp_path / "a", value)
    assert read_json(tmp_path / "a") == {**value, "int": 3}
    assert json.loads(to_json({1: (2, 3), "path": Path("x")})) == {"1": [2, 3], "path": "x"}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "line 1"),
        (b'{"a": 1,\n "b"}', "line 2"),
        (b'{"a": NaN}', "NaN is not a JSON number"),
        (b'{"a": -Infinity}', "not a JSON number"),
        (b'{"a": 1, "a": 2}', "'a' occurs twice"),
        (b"\xff\xfe", "cannot be read as JSON"),
        (b"[" * 100_000, "cannot be read as JSON"),
        (b"1" * 10_000, "cannot be read as JSON"),
    ],
)
def test_what_is_not_strict_json_is_refused(content: bytes, says: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with refused("a.json", says):
        read_json(tmp_path / "a.json")


def test_an_absent_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with refused("must be a file that exists"):
        read_json(tmp_path / "absent.json")
    with refused("cannot be read as JSON"):
        read_json(tmp_path)


def test_folders_follow_the_home_that_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POCKETLENS_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "cache"
    assert ledger_file() == tmp_path / "ledger.jsonl"
    monkeypatch.delenv("POCKETLENS_HOME")
    assert cache_folder().is_absolute()
    assert cache_folder() != ledger_file().parent


def test_a_full_disk_at_a_file_leaves_others_alone(tmp_path: Path) -> None:
    with watched(tmp_path, full_disk(r"\.a\.part")):
        with pytest.raises(OSError, match="No space"):
            write_bytes(tmp_path / "a", b"1")
        write_bytes(tmp_path / "b", b"2")
    assert os.listdir(tmp_path) == ["b"]


def test_tables_run_no_formula_and_read_back() -> None:
    cells = ["=1+1", "+1", "-1", "@x", "\tx", "'x", "plain", "", "two\nlines", 'a "quote", a comma']
    rows = list(csv.reader(io.StringIO(csv_text(["=name", "n"], [[cell, -1.5] for cell in cells]))))
    assert rows[0] == ["'=name", "n"]
    assert [row[0] for row in rows[1:]] == ["'" + cell if cell[:1] in "=+-@\t'" and cell else cell for cell in cells]
    assert [from_cell(row[0]) for row in rows[1:]] == cells
    assert all(row[1] == "-1.5" for row in rows[1:])  # a number is no text
