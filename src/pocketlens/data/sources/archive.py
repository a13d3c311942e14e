"""Unpacks archives (tar, also compressed; zip; gz) without trusting them.

Refused: names that lead out of the folder (absolute, `..`, backslash, drive letter), everything but plain files and
folders (links, FIFOs, devices), names that stand twice or differ only in case, encrypted members, and whatever goes
beyond the limits. What is refused leaves nothing behind: members go to a temporary folder that is renamed at the end.
An archive inside an archive stays a file.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import re
import shutil
import stat
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO

from pocketlens.errors import PocketlensError
from pocketlens.text import counted, printable

SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".zip")
_BLOCK = 1 << 20
_MAX_HEADER = 1 << 22  # bytes of one tar header, long names included


@dataclass(frozen=True)
class Limits:
    """How much an archive may unpack to."""

    total: int = 16 * 2**30  # bytes
    ratio: float = 100.0  # unpacked to packed, once more than `ratio_above` bytes are unpacked
    ratio_above: int = 256 * 2**20
    members: int = 1_000_000


def unpack(archive: Path, target: Path, *, only: Collection[str] | None = None, limits: Limits | None = None) -> None:
    """Unpacks `archive` into the new folder `target`; `only` names the members that are wanted.

    Raises:
        PocketlensError: the archive is damaged, holds a member that is refused, or is too large. Nothing is left.
    """
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        writer = _Writer(archive, part, only, limits or Limits())
        if archive.name.lower().endswith(".zip"):
            _unpack_zip(archive, writer)
        elif archive.name.lower().endswith(SUFFIXES):
            _unpack_tar(archive, writer)
        else:
            with gzip.open(archive) as file:
                writer.add(archive.name.removesuffix(".gz"), file)
        os.rename(part, target)
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, gzip.BadGzipFile) as error:
        raise PocketlensError(f"{archive} must be a complete archive and is damaged ({_brief(error)}).") from None
    except (NotImplementedError, RuntimeError, ValueError, UnicodeError, OverflowError) as error:
        raise PocketlensError(f"{archive} cannot be unpacked ({_brief(error)}).") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _unpack_zip(archive: Path, writer: _Writer) -> None:
    with zipfile.ZipFile(archive) as bundle:
        for member in bundle.infolist():
            mode = member.external_attr >> 16
            name = member.orig_filename
            if member.flag_bits & 1:
                writer.refuse(name, "it is encrypted")
            if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
                writer.refuse(name, "it is neither a file nor a folder")
            if name.endswith("/"):
                writer.add_folder(name)
            elif writer.wants(name):
                with bundle.open(member) as file:
                    writer.add(name, file)


def _unpack_tar(archive: Path, writer: _Writer) -> None:
    with _decompressed(archive) as stream:
        forward = _Forward(stream, writer)
        with tarfile.open(fileobj=forward, mode="r:") as bundle:  # type: ignore[call-overload]
            for member in _members(bundle):
                if member.isdir():
                    writer.add_folder(member.name)
                elif not member.isreg() or member.issparse():
                    writer.refuse(member.name, "it is neither a plain file nor a folder")
                elif writer.wants(member.name):
                    file = bundle.extractfile(member)
                    assert file is not None
                    writer.add(member.name, file, member.size)


def _members(bundle: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    while (member := bundle.next()) is not None:
        bundle.members = []  # type: ignore[attr-defined]  # a million of them would fill the memory
        yield member


def _decompressed(archive: Path) -> IO[bytes]:
    with open(archive, "rb") as file:
        magic = file.read(6)
    if magic[:2] == b"\x1f\x8b":
        return gzip.open(archive)  # type: ignore[return-value]
    if magic[:3] == b"BZh":
        return bz2.open(archive)
    if magic == b"\xfd7zXZ\x00":
        return lzma.open(archive)
    return open(archive, "rb")


class _Writer:
    """Writes members below one folder, checks their names, and counts what goes out."""

    def __init__(self, archive: Path, folder: Path, only: Collection[str] | None, limits: Limits) -> None:
        self.archive, self.folder, self.only, self.limits = archive, folder, only, limits
        self.packed = archive.stat().st_size
        self.n_bytes = self.n_members = 0
        self.seen: dict[str, str] = {}

    def refuse(self, name: str, why: str) -> None:
        """Raises the error of a member that is refused."""
        raise PocketlensError(
            f"{self.archive}: the member '{printable(name)}' is refused: {why}. Nothing was unpacked."
        )

    def wants(self, name: str) -> bool:
        """Checks and counts a member; says whether it is among those that are wanted."""
        self._check(name, is_file=True)
        return self.only is None or name.removeprefix("./") in self.only

    def add_folder(self, name: str) -> None:
        """Checks and makes a folder."""
        self._check(name.rstrip("/") or ".", is_file=False)
        if self.only is None:
            try:
                self._path(name).mkdir(parents=True, exist_ok=True)
            except OSError as error:
                self.refuse(name, f"it cannot be made ({error.strerror})")

    def add(self, name: str, file: IO[bytes] | gzip.GzipFile, size: int | None = None) -> None:
        """Writes one file of `size` bytes (None: until its end)."""
        path = self._path(name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            out: BinaryIO = open(path, "xb")  # noqa: SIM115  closed below; only its opening may be refused
        except OSError as error:
            self.refuse(name, f"it cannot be written ({error.strerror})")
        written = 0
        with out:
            while block := file.read(_BLOCK):
                written += len(block)
                self.count(len(block))
                out.write(block)
        if size is not None and written != size:
            raise EOFError(f"{printable(name)} should have {size} bytes and has {written}")

    def count(self, n_bytes: int) -> None:
        """Adds to the bytes that came out, and stops at the limits."""
        self.n_bytes += n_bytes
        limits = self.limits
        if self.n_bytes > limits.total:
            self._stop(f"more than {limits.total} bytes")
        if self.n_bytes > limits.ratio_above and self.n_bytes > limits.ratio * self.packed:
            self._stop(f"more than {limits.ratio:.0f} times its size")

    def _check(self, name: str, is_file: bool) -> None:
        self.n_members += 1
        if self.n_members > self.limits.members:
            self._stop(f"more than {counted(self.limits.members, 'member')}")
        parts = name.split("/")
        if not name or name.startswith("/") or "\\" in name or "\0" in name or re.match(r"[A-Za-z]:", name):
            self.refuse(name, "its name must be relative, with forward slashes")
        if ".." in parts:
            self.refuse(name, "its name leads out of the folder")
        if any(len(os.fsencode(part)) > 255 for part in parts):
            self.refuse(name, "a part of its name is longer than 255 bytes")
        plain = [part for part in parts if part not in ("", ".")]
        for length in range(1, len(plain) + 1):
            self._check_twin(name, "/".join(plain[:length]), is_file=is_file and length == len(plain))

    def _check_twin(self, name: str, path: str, is_file: bool) -> None:
        folded = unicodedata.normalize("NFC", path).casefold()
        earlier = self.seen.setdefault(folded, path)
        if earlier != path:
            self.refuse(name, f"it clashes with '{printable(earlier)}'")
        if f"{folded}/file" in self.seen:
            self.refuse(name, "its name occurs twice")
        if is_file:
            self.seen[f"{folded}/file"] = path

    def _path(self, name: str) -> Path:
        return self.folder.joinpath(*[part for part in name.split("/") if part not in ("", ".")])

    def _stop(self, what: str) -> None:
        raise PocketlensError(f"{self.archive} unpacks to {what}, which is refused. Nothing was unpacked.")


class _Forward:
    """A stream that `tarfile` reads forward only; it steps back by one byte at most, and counts what is skipped too."""

    def __init__(self, stream: IO[bytes], writer: _Writer) -> None:
        self.stream, self.writer = stream, writer
        self.position, self.last, self.stepped_back = 0, b"", False

    def tell(self) -> int:
        return self.position - self.stepped_back

    def seek(self, position: int, whence: int = 0) -> int:
        if whence != 0 or position < self.position - 1:
            raise tarfile.StreamError("the archive cannot be read in one pass")
        self.stepped_back = position == self.position - 1
        skipping = position - self.position
        while skipping > 0:
            block = self._next(min(skipping, _BLOCK))
            self.writer.count(len(block))
            if not block:
                raise EOFError("the archive is cut short")
            skipping -= len(block)
        return position

    def read(self, size: int = -1) -> bytes:
        if size < 0 or size > _MAX_HEADER:
            raise tarfile.StreamError("a header of the archive is too long")
        head = self.last if self.stepped_back and size else b""
        self.stepped_back = self.stepped_back and not size
        return head + self._next(size - len(head))

    def _next(self, size: int) -> bytes:
        block = self.stream.read(size) if size else b""
        self.position += len(block)
        self.last = block[-1:] or self.last
        return block


def _brief(error: Exception) -> str:
    return printable(" ".join(str(error).split())) or type(error).__name__
