"""The decoded cache: a source is decoded once; later starts memory-map one `.npy` file.

An entry is a folder: images.npy (development rows, then test rows), hashes.npy, columns.npz and meta.json. It is made
in a temporary folder that is renamed when all is on the disk, so an incomplete entry is never read. Its name is a hash
of the source's content; a small file beside it leads there from the names, sizes and times of the source's files.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

import numpy as np
from numpy.typing import NDArray

from pocketlens.data.dataset import Hashes, Images, Labels, hash_images
from pocketlens.data.sizes import SourceSizes
from pocketlens.data.split import HOLD_OUT_VERSION, hold_out_test
from pocketlens.errors import PocketlensError
from pocketlens.events import Tally
from pocketlens.files import cache_folder, read_json, sync_folder, write_bytes, write_json, write_with
from pocketlens.locks import is_alive
from pocketlens.text import counted, printable

_VERSION = 1  # of the layout and of the decoding rules: raise it, and everything is decoded again
_CHUNK = 1 << 23  # bytes that are copied at a time


class _FileStat(NamedTuple):
    """What tells cheaply whether a file is still the same: its name, size in bytes, and times."""

    path: str
    size: int
    mtime_ns: int
    ctime_ns: int


@dataclass(frozen=True)
class Key:
    """What a decoded source is found by: its files, and everything that decides how they are read."""

    files: tuple[Path, ...]
    how: str
    tally: Tally = field(default_factory=Tally, compare=False, repr=False)

    def read_as(self, how: str) -> Key:
        """The key of the same files, read in another way; their sizes and times are not asked for again."""
        other = Key(self.files, how, self.tally)
        other.__dict__["stats"] = self.stats
        return other

    @cached_property
    def stats(self) -> list[_FileStat]:
        """The files' names, sizes and times."""
        return [_stat(path) for path in self.tally.over(self.files, "checking files", len(self.files))]

    @cached_property
    def stamp(self) -> str:
        """A hash of the files' names, sizes and times: cheap."""
        data = repr((_VERSION, self.how, [tuple(stat) for stat in self.stats])).encode("utf-8", "surrogateescape")
        return hashlib.blake2b(data, digest_size=16).hexdigest()

    @cached_property
    def content(self) -> str:
        """A hash of the files' names below their common folder and of their bytes: reads them all."""
        folder = _common_folder(self.files)
        digest = hashlib.blake2b(repr((_VERSION, self.how)).encode("utf-8", "surrogateescape"), digest_size=16)
        for path in self.tally.over(self.files, "hashing files", len(self.files)):
            name = str(path.absolute()) if folder is None else os.path.relpath(path.absolute(), folder)
            digest.update(os.fsencode(name) + b"\0")
            with open(path, "rb") as file:
                digest.update(hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).digest())
        return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class Table:
    """Everything about the rows but their pixels; N rows in the order in which the images were written.

    Attributes:
        columns: int64 columns of N rows; "labels" must be there; "groups", "val" (1: a given validation row) and
            "folds" may.
        classes: the names of the classes.
        held: (N,) bool, the official test rows; None: 20 % are held out by image hash, by the rule `hold_out`.
        files: for each row its name at the source, or None.
        notes: what a person should know about the loading.
        levels: the deep values that became 0 and 255, or None.
        sizes: the sizes of the images at the source, where these are encoded; or None.
        hold_out: the version of the rule by which test rows are held out.
    """

    columns: dict[str, Labels]
    classes: tuple[str, ...]
    held: NDArray[np.bool_] | None = None
    files: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()
    levels: tuple[float, float] | None = None
    sizes: SourceSizes | None = None
    hold_out: int = HOLD_OUT_VERSION


@dataclass(frozen=True, eq=False)
class Chunk:
    """Some images that follow each other, (n, H, W, C) uint8, and their hashes."""

    images: Images
    hashes: Hashes


@dataclass(frozen=True, eq=False)
class Entry:
    """A decoded source. The development rows come first, the test rows last; `table.held` says so row by row."""

    images: Images  # memory-mapped
    hashes: Hashes
    table: Table


def find(key: Key) -> Entry | None:
    """The decoded source, or None where it has to be decoded. What is broken in the cache is removed.

    Raises:
        PocketlensError: a file of the source cannot be read.
    """
    pointer = _folder() / f"{key.stamp}.json"
    try:
        known = read_json(pointer)["entry"] if pointer.exists() else None
    except (PocketlensError, KeyError, TypeError):
        known = None
    entry = _open(_folder() / known) if _is_name(known) else None
    if entry is not None:
        return entry
    try:
        content = key.content
    except OSError as error:
        raise PocketlensError(f"{printable(error.filename)} must be readable: {error.strerror}.") from None
    entry = _open(_folder() / content)
    if entry is not None:
        with suppress(OSError):  # it only makes the next start faster
            write_json(pointer, {"entry": content})
    return entry


def store(key: Key, chunks: Iterable[Images], table: Table) -> Entry:
    """Makes the entry of a source whose images are read without a decoder.

    Raises:
        PocketlensError: the counts of images and labels differ, or the cache cannot be written.
    """
    with staging(key) as stage:
        hashes = write_images(stage, _hashed(chunks, key.tally, len(table.columns["labels"])))
        if len(hashes) != len(table.columns["labels"]):
            raise PocketlensError(
                f"{key.files[0]}: there must be one label for each image, there are "
                f"{counted(len(hashes), 'image')} and "
                f"{counted(len(table.columns['labels']), 'label')}."
            )
        finish(stage, hashes, table)
    return found(key)


def _hashed(chunks: Iterable[Images], tally: Tally, total: int) -> Iterator[Chunk]:
    done = 0
    for chunk in chunks:
        tally.count("reading images", done, total)
        yield Chunk(chunk, hash_images(chunk))
        done += len(chunk)


def found(key: Key) -> Entry:
    """The entry that was just made."""
    entry = find(key)
    if entry is None:
        raise PocketlensError("the decoded data was removed from the cache while it was read; run the command again.")
    return entry


@contextmanager
def staging(key: Key) -> Iterator[Path]:
    """A temporary folder that becomes the entry of `key` when the block ends well, and vanishes when it does not."""
    with temporary_folder(key.content) as stage:
        yield stage
        if Key(key.files, key.how).stamp != key.stamp:
            raise PocketlensError(
                f"{key.files[0].parent}: a file was changed while it was read; run the command again."
            )
        _commit(stage, _folder() / key.content)
        write_json(_folder() / f"{key.stamp}.json", {"entry": key.content})


def write_images(stage: Path, chunks: Iterable[Chunk]) -> Hashes:
    """Streams images into images.npy; gives the hashes of all, (N, 16) uint8."""
    hashes: list[Hashes] = [np.empty((0, 16), np.uint8)]
    shape: list[tuple[int, ...]] = []

    def fill(file: Any) -> None:
        file.write(_npy_header((0, 1, 1, 1)))
        for chunk in chunks:
            shape.append(chunk.images.shape[1:])
            hashes.append(chunk.hashes)
            file.write(np.ascontiguousarray(chunk.images).reshape(-1).data)
        file.seek(0)
        file.write(_npy_header((sum(map(len, hashes)), *(shape[0] if shape else (1, 1, 1)))))

    write_with(stage / "images.npy", fill)
    return np.concatenate(hashes)


def finish(stage: Path, hashes: Hashes, table: Table) -> None:
    """Holds test rows out where none are official, puts development rows first, and writes the rest of the entry."""
    held = table.held
    if held is None:
        held = hold_out_test(hashes, table.columns, table.classes, table.hold_out)
    order = np.concatenate([np.flatnonzero(~held), np.flatnonzero(held)])
    if not np.array_equal(order, np.arange(len(order))):
        _reorder(stage, order)
    columns = {name: column[order] for name, column in table.columns.items()}
    write_with(stage / "hashes.npy", lambda file: np.save(file, hashes[order], allow_pickle=False))
    write_with(stage / "columns.npz", lambda file: np.savez(file, **columns))
    meta = {
        "version": _VERSION,
        "n": len(order),
        "n_test": int(held.sum()),
        "classes": table.classes,
        "files": None if table.files is None else [table.files[row] for row in order],
        "notes": table.notes,
        "levels": table.levels,
        "sizes": None if table.sizes is None else asdict(table.sizes),
    }
    write_bytes(stage / "meta.json", json.dumps(meta, ensure_ascii=True).encode())


@contextmanager
def temporary_folder(name: str) -> Iterator[Path]:
    """A folder in the cache that is removed in the end; those of killed processes are removed first."""
    folder = _folder() / f".{name}.{os.getpid()}.part"
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        for stale in folder.parent.glob(".*.part"):
            if stale == folder or not _is_at_work(stale.name.split(".")[-2]):
                shutil.rmtree(stale, ignore_errors=True)
                stale.unlink(missing_ok=True)  # where it is a file
        folder.mkdir()
    except OSError as error:
        raise PocketlensError(_cannot_write(error)) from None
    try:
        yield folder
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            raise PocketlensError(_cannot_write(error)) from None
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def read_note(key: Key) -> Any:
    """What `write_note` kept for these files, or None."""
    with suppress(PocketlensError, OSError):
        path = _folder() / f"{key.stamp}.note.json"
        return read_json(path) if path.exists() else None
    return None


def write_note(key: Key, value: Any) -> None:
    """Keeps a small JSON value that follows from the files of a key, until one of them changes.

    Raises:
        OSError: the cache cannot be written.
    """
    _folder().mkdir(parents=True, exist_ok=True)
    write_bytes(_folder() / f"{key.stamp}.note.json", json.dumps(value).encode())


def chunk_rows(shape: tuple[int, ...]) -> int:
    """How many images of this shape are handled at a time, so that memory stays bounded."""
    return max(1, _CHUNK // max(1, int(np.prod(shape))))


def _open(folder: Path) -> Entry | None:
    if not folder.is_dir():
        return None
    with suppress(OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
        return _read_entry(folder)
    shutil.rmtree(folder, ignore_errors=True)  # only here is the map of its images closed
    return None


def _read_entry(folder: Path) -> Entry:
    meta = json.loads((folder / "meta.json").read_bytes())
    images = np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False)
    hashes = np.load(folder / "hashes.npy", allow_pickle=False)
    with open(folder / "columns.npz", "rb") as file, np.load(file, allow_pickle=False) as arrays:
        columns = {name: arrays[name] for name in arrays.files}
    n = meta["n"]
    lengths = {len(images), len(hashes), *map(len, columns.values())}
    if meta["version"] != _VERSION or lengths != {n} or images.dtype != np.uint8 or images.ndim != 4:
        raise ValueError("the parts do not fit together")
    held = np.arange(n) >= n - meta["n_test"]
    files = None if meta["files"] is None else tuple(meta["files"])
    levels = None if meta["levels"] is None else (float(meta["levels"][0]), float(meta["levels"][1]))
    sizes = None if meta.get("sizes") is None else SourceSizes.from_dict(meta["sizes"])
    table = Table(columns, tuple(meta["classes"]), held, files, tuple(meta["notes"]), levels, sizes)
    return Entry(images, hashes, table)


def _commit(stage: Path, target: Path) -> None:
    sync_folder(stage)
    try:
        os.rename(stage, target)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):  # another process was faster
            raise
    sync_folder(target.parent)


def _reorder(stage: Path, order: NDArray[np.int64]) -> None:
    def fill(file: Any) -> None:
        images = np.load(stage / "images.npy", mmap_mode="r")  # closed before the new file takes the old one's place
        step = chunk_rows(images.shape[1:])
        file.write(_npy_header(images.shape))
        for start in range(0, len(order), step):
            file.write(np.ascontiguousarray(images[order[start : start + step]]).reshape(-1).data)

    write_with(stage / "images.npy", fill)


def _npy_header(shape: tuple[int, ...]) -> bytes:
    """128 bytes whatever the shape, so that it can be written before and again after the rows are counted."""
    text = repr({"descr": "|u1", "fortran_order": False, "shape": tuple(map(int, shape))})
    return b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little") + text.ljust(117).encode() + b"\n"


def _folder() -> Path:
    return cache_folder() / "decoded"


def _common_folder(files: tuple[Path, ...]) -> str | None:
    try:
        return os.path.commonpath([str(path.absolute().parent) for path in files])
    except ValueError:  # Windows: they lie on several drives
        return None


def _stat(path: Path) -> _FileStat:
    try:
        stat = path.stat()
    except OSError as error:
        raise PocketlensError(f"{printable(str(path))} must be a file that can be read: {error.strerror}.") from None
    return _FileStat(str(path.absolute()), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)


def _is_name(name: object) -> TypeGuard[str]:
    return isinstance(name, str) and len(name) == 32 and name.isalnum()


def _is_at_work(process: str) -> bool:
    return process.isascii() and process.isdigit() and is_alive(int(process))


def _cannot_write(error: OSError) -> str:
    return (
        f"the cache folder {cache_folder()} must be writable and have space for the decoded images ({error.strerror}): "
        "free some space, or set POCKETLENS_HOME to another folder."
    )
