"""The decoded cache: found again, made anew where the source changed, never half made."""

from __future__ import annotations

import errno
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_images import class_folder, random_images, refused

from pocketlens.data.dataset import hash_images
from pocketlens.data.sources import cache
from pocketlens.data.sources.cache import Entry, Key, Table, find, store
from pocketlens.datasets import load
from pocketlens.files import cache_folder

N = 40


def source(tmp_path: Path) -> Path:
    path = tmp_path / "source.bin"
    if not path.exists():
        path.write_bytes(b"the source")
    return path


def build(key: Key) -> Entry:
    images = random_images(N)
    labels = np.arange(N, dtype=np.int64) % 2
    table = Table(
        {"labels": labels}, ("a", "b"), None, tuple(f"{row}.png" for row in range(N)), ("a note",), (1.0, 2.0)
    )
    return store(key, iter([images[:15], images[15:]]), table)


def check(entry: Entry | None) -> None:
    assert entry is not None
    images, table = random_images(N), entry.table
    assert table.held is not None
    assert isinstance(entry.images, np.memmap)
    assert table.held.sum() == 8
    assert np.array_equal(table.held, np.arange(N) >= 32)
    assert table.files is not None
    rows = np.array([int(name.removesuffix(".png")) for name in table.files])
    assert np.array_equal(entry.images, images[rows])
    assert np.array_equal(entry.hashes, hash_images(images[rows]))
    assert np.array_equal(table.columns["labels"], rows % 2)
    assert (np.diff(rows[:32]) > 0).all()
    assert (np.diff(rows[32:]) > 0).all()
    assert (table.notes, table.levels) == (("a note",), (1.0, 2.0))


def test_an_entry_is_found_again(tmp_path: Path) -> None:
    key = Key((source(tmp_path),), "test")
    assert find(key) is None
    check(build(key))
    check(find(Key(key.files, "test")))
    assert find(Key(key.files, "other")) is None


def test_a_touched_or_moved_source_is_found_a_changed_one_is_not(tmp_path: Path) -> None:
    path = source(tmp_path)
    build(Key((path,), "test"))
    os.utime(path, (1, 1))
    check(find(Key((path,), "test")))
    (tmp_path / "elsewhere").mkdir()
    shutil.copy(path, tmp_path / "elsewhere")
    check(find(Key((tmp_path / "elsewhere" / path.name,), "test")))
    stat = path.stat()
    path.write_bytes(b"the sourcE")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert find(Key((path,), "test")) is None


def test_a_source_that_changes_while_it_is_read_is_refused(tmp_path: Path) -> None:
    path = source(tmp_path)
    key = Key((path,), "test")

    def chunks() -> Iterator[Any]:
        yield random_images(N)
        path.write_bytes(b"another source")

    assert find(key) is None
    with refused("changed while it was read"):
        store(key, chunks(), Table({"labels": np.zeros(N, np.int64)}, ("a",)))
    assert list((cache_folder() / "decoded").iterdir()) == []


@pytest.mark.parametrize("name", ["images.npy", "hashes.npy", "columns.npz", "meta.json"])
@pytest.mark.parametrize("damage", ["cut", "gone", "zeros"])
def test_a_damaged_entry_is_made_anew(tmp_path: Path, name: str, damage: str) -> None:
    key = Key((source(tmp_path),), "test")
    build(key)
    path = cache_folder() / "decoded" / key.content / name
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:40] if damage == "cut" else bytes(60))
    assert find(key) is None
    check(build(key))


def kill_sweep(attempt: Callable[[], object], verify: Callable[[], None]) -> int:
    """Runs `attempt` in a child that is killed before its k-th file operation, for every k; how many there were."""
    for k in range(200):
        child = os.fork()
        if child == 0:
            die_before(k)
            try:
                attempt()
            finally:
                os._exit(0)
        _, status = os.waitpid(child, 0)
        verify()
        if not os.WIFSIGNALED(status):
            return k
    raise AssertionError("the sweep does not end")


def die_before(k: int) -> None:
    """This process is killed before its k-th file operation."""
    count = iter(range(1000))
    for name in ("open", "fsync", "rename", "replace", "mkdir", "unlink", "rmdir"):
        original = getattr(os, name)

        def killing(*args: Any, _original: Any = original, **options: Any) -> Any:
            if next(count) == k:
                os.kill(os.getpid(), signal.SIGKILL)
            return _original(*args, **options)

        setattr(os, name, killing)


@pytest.mark.slow
def test_killed_before_every_file_operation_no_half_entry_is_read(tmp_path: Path) -> None:
    key = Key((source(tmp_path),), "test")

    def verify() -> None:
        entry = find(Key(key.files, "test"))
        if entry is not None:
            check(entry)
        shutil.rmtree(cache_folder() / "decoded" / key.content, ignore_errors=True)

    assert kill_sweep(lambda: build(Key(key.files, "test")), verify) > 15
    check(build(key))
    left = [path.name for path in (cache_folder() / "decoded").iterdir()]
    assert sorted(left) == sorted([key.content, f"{key.stamp}.json"])


def test_the_sweep_reports_a_broken_saver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Written in place, and believed as soon as it is there: the sweep must find a half entry."""
    key = Key((source(tmp_path),), "test")
    target = cache_folder() / "decoded" / key.content

    def broken() -> None:
        os.mkdir(target)
        for name in ("images.npy", "meta.json"):
            descriptor = os.open(target / name, os.O_CREAT | os.O_WRONLY)
            os.write(descriptor, b"half")
            os.fsync(descriptor)

    def verify() -> None:
        if target.exists():
            half.append(target)
        shutil.rmtree(target, ignore_errors=True)

    half: list[Path] = []
    target.parent.mkdir(parents=True)
    kill_sweep(broken, verify)
    assert len(half) >= 4


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    key = Key((source(tmp_path),), "test")
    with monkeypatch.context() as patch, refused("No space left on device", "POCKETLENS_HOME"):
        patch.setattr(os, "fsync", full)
        build(key)
    assert not [path for path in cache_folder().rglob("*") if path.is_file()]


def test_a_home_that_is_a_file_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("POCKETLENS_HOME", str(tmp_path / "file"))
    with refused("POCKETLENS_HOME"):
        build(Key((source(tmp_path),), "test"))


def test_a_folder_with_a_new_edited_or_removed_file_is_read_anew(tmp_path: Path) -> None:
    root = class_folder(tmp_path / "photos", {"cat": 6, "dog": 6})
    fingerprints = [load(str(root))[0].fingerprint]
    class_folder(root, {"cat": 7}, seed=5)
    fingerprints.append(load(str(root))[0].fingerprint)
    (root / "dog" / "000.png").unlink()
    fingerprints.append(load(str(root))[0].fingerprint)
    (root / "dog" / "001.png").rename(root / "cat" / "moved.png")
    fingerprints.append(load(str(root))[0].fingerprint)
    assert len(set(fingerprints)) == 4
    assert load(str(root))[0].fingerprint == fingerprints[3]


def test_the_second_start_decodes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = class_folder(tmp_path / "photos", {"cat": 6, "dog": 6})
    first, first_test = load(str(root))

    def never(*_: Any) -> None:
        raise AssertionError("decoded again")

    monkeypatch.setattr(cache, "write_images", never)
    monkeypatch.setattr("pocketlens.datasets._encoded.opened", never)
    second, second_test = load(str(root))
    assert second.fingerprint == first.fingerprint
    assert second_test.fingerprint == first_test.fingerprint
    assert isinstance(second.images, np.memmap)
