"""Locks between processes: one owner, released with its process, and probes that get in nobody's way."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path
from typing import Any

import pytest
from children import child, receive

from pocketlens.locks import is_alive, is_locked, owner_of, try_lock, wait_for_lock


def hold(pipe: Any, path: Path, has_locks: bool = True) -> None:
    if not has_locks:
        without_locks(pytest.MonkeyPatch())
    with wait_for_lock(path) as _:  # type: ignore[union-attr]
        pipe.send("held")
        pipe.poll(600)


def probe(pipe: Any, path: Path) -> None:
    pipe.send("ready")
    while not pipe.poll():
        is_locked(path)


def without_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that knows no locks."""

    def refuse(descriptor: int, *, blocking: bool) -> bool:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr("filelock.lock_descriptor", refuse)


@pytest.mark.parametrize("has_locks", [True, False], ids=["system", "marker"])
def test_a_lock_has_one_owner_and_ends_with_its_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_locks: bool
) -> None:
    if not has_locks:
        without_locks(monkeypatch)
    path = tmp_path / "lock"
    assert not is_locked(path)
    assert not path.exists(), "a probe makes no file"
    with child(hold, path, has_locks) as (process, pipe):
        assert receive(pipe) == "held"
        assert process.pid is not None
        assert (is_locked(path), owner_of(path), try_lock(path)) == (True, process.pid, None)
        assert wait_for_lock(path, 0.05) is None
        process.kill()
        process.join()
        assert not is_locked(path)
        assert owner_of(path) == process.pid, "a probe does not sign"
    with wait_for_lock(path, 0) as held:  # type: ignore[union-attr]
        assert owner_of(path) == os.getpid()
        assert is_locked(path)
        assert try_lock(path) is None, "neither does this process get it twice"
        held.close()
        assert not is_locked(path)
    with try_lock(path):  # type: ignore[union-attr]
        assert is_locked(path)
    assert not is_locked(path)


def test_probes_get_in_the_way_neither_of_owners_nor_of_each_other(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.write_text("999999999")  # of a process that is gone
    with child(probe, path) as (_, first), child(probe, path) as (_, second):
        assert [receive(first), receive(second)] == ["ready"] * 2
        until = time.monotonic() + 1
        while time.monotonic() < until:
            assert not is_locked(path)
            held = try_lock(path)
            assert held is not None
            held.close()
            path.write_text("999999999")


def test_locks_of_earlier_versions_are_seen_and_see_ours(tmp_path: Path) -> None:
    fcntl = pytest.importorskip("fcntl")
    path = tmp_path / "lock"
    with open(path, "a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        file.write(str(os.getpid()))
        file.flush()
        assert (is_locked(path), owner_of(path), try_lock(path)) == (True, os.getpid(), None)
    with try_lock(path), open(path, "a+") as file:  # type: ignore[union-attr]
        with pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        file.seek(0)
        assert file.read().strip() == str(os.getpid()), "they name us in their message"


def test_a_folder_that_is_not_there_or_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        try_lock(tmp_path / "absent" / "lock")
    assert not is_locked(tmp_path / "absent" / "lock")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        try_lock(tmp_path / "folder")


def test_a_file_that_may_only_be_read_can_be_probed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, real = tmp_path / "lock", os.open
    path.write_text("1")

    def only_read(path: Any, flags: int, *more: Any) -> int:
        if flags & os.O_RDWR:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return real(path, flags, *more)

    monkeypatch.setattr(os, "open", only_read)
    assert not is_locked(path)


def test_where_the_locked_byte_cannot_be_read_the_owner_is_told_by_what_follows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Windows."""
    import builtins
    import io

    class Locked(io.FileIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() == 0:
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            return super().read(size)  # type: ignore[return-value]

    path = tmp_path / "lock"
    with try_lock(path):  # type: ignore[union-attr]
        monkeypatch.setattr(builtins, "open", lambda file, mode, buffering: Locked(file, mode.replace("b", "")))
        assert owner_of(path) == os.getpid()


@pytest.mark.parametrize("text", ["", "x", "1 2", "\x00"])
def test_what_names_no_owner(tmp_path: Path, text: str) -> None:
    (tmp_path / "lock").write_text(text)
    assert owner_of(tmp_path / "lock") is None
    assert owner_of(tmp_path / "absent") is None


def test_which_processes_are_alive() -> None:
    assert is_alive(os.getpid())
    assert not is_alive(10**30)
