"""Locks between processes: exclusive, on a file, and released by the system when their process ends, however it ends.

The file keeps the id of the process that locked it last, so that a message can name it. It begins at the second byte,
because Windows lets nobody read the byte that is locked. Where a file system knows no locks, as some network file
systems do, a file beside it marks the owner, and the marker of a dead process counts for nothing.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from filelock import SoftFileLock

_CREATE = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0)
_WITHOUT_LOCKS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK)
_TRIES, _PAUSE = 20, 0.002  # `is_locked` holds the lock for an instant; who meets it there tries again, in seconds


class Lock:
    """A lock that this process holds until it is closed or the process ends."""

    def __init__(self, descriptor: int, marker: SoftFileLock | None = None) -> None:
        self._descriptor, self._marker = descriptor, marker

    def __enter__(self) -> Lock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Releases the lock; closing it again does nothing."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor < 0:
            return
        if self._marker is not None:
            self._marker.release()
        else:
            from filelock import unlock_descriptor

            with contextlib.suppress(OSError):
                unlock_descriptor(descriptor)  # Windows would take its time behind a close
        os.close(descriptor)

    def sign(self) -> None:
        """Writes this process's id into the file."""
        with contextlib.suppress(OSError):  # a full disk: the lock holds without it
            os.lseek(self._descriptor, 0, os.SEEK_SET)
            os.ftruncate(self._descriptor, 0)
            os.write(self._descriptor, f" {os.getpid()}\n".encode())


def try_lock(path: Path) -> Lock | None:
    """Locks a file, which is made where it is absent; None where somebody holds the lock, this process included.

    Raises:
        OSError: the file cannot be written.
    """
    return _signed(_take(path, _CREATE, partial(_is_worth_a_try, path)))


def wait_for_lock(path: Path, seconds: float = math.inf) -> Lock | None:
    """Like `try_lock`, but waits for the owner; None where it has not let go within `seconds`.

    Raises:
        OSError: the file cannot be written.
    """
    deadline = time.monotonic() + seconds
    return _signed(_take(path, _CREATE, lambda _: time.monotonic() < deadline))


def is_locked(path: Path) -> bool:
    """Whether somebody holds the lock on a file. Changes nothing; a file that cannot be opened counts as locked."""
    try:
        try:
            lock = _take(path, _CREATE & ~os.O_CREAT, partial(_is_worth_a_try, path))
        except PermissionError:
            lock = _take(path, os.O_RDONLY, partial(_is_worth_a_try, path))
    except FileNotFoundError:
        return False
    except OSError:
        return True
    if lock is None:
        return True
    lock.close()
    return False


def owner_of(path: Path) -> int | None:
    """The id of the process that locked a file last, or None where the file does not tell."""
    try:
        with open(path, "rb", buffering=0) as file:
            try:
                text = file.read(32)
            except PermissionError:  # Windows: the first byte is locked
                file.seek(1)
                text = file.read(32)
        return int(text)
    except (OSError, ValueError):
        return None


def is_alive(process: int) -> bool:
    """Whether there is a process of this id."""
    import psutil

    try:
        return psutil.pid_exists(process)
    except OverflowError:
        return False


def _take(path: Path, flags: int, goes_on: Callable[[int], bool]) -> Lock | None:
    """Tries to lock a file for as long as `goes_on`, which is given how often it was tried, says so."""
    descriptor, lock, n_tried = os.open(path, flags, 0o666), None, 0
    try:
        while (lock := _try(descriptor, path)) is None:
            n_tried += 1
            if not goes_on(n_tried):
                break
            time.sleep(_PAUSE)
    finally:
        if lock is None:
            os.close(descriptor)
    return lock


def _is_worth_a_try(path: Path, n_tried: int) -> bool:
    """Whether somebody may only have probed the lock: of its owner there is no trace."""
    owner = owner_of(path)
    return n_tried < _TRIES and (owner is None or not is_alive(owner))


def _signed(lock: Lock | None) -> Lock | None:
    if lock is not None:
        lock.sign()
    return lock


def _try(descriptor: int, path: Path) -> Lock | None:
    from filelock import lock_descriptor

    try:
        return Lock(descriptor) if lock_descriptor(descriptor, blocking=False) else None
    except OSError as error:
        if error.errno not in _WITHOUT_LOCKS:
            raise
    marker = _try_marker(path)
    return None if marker is None else Lock(descriptor, marker)


def _try_marker(path: Path) -> SoftFileLock | None:
    from filelock import SoftFileLock, Timeout

    marker = SoftFileLock(path.with_name(f"{path.name}.held"), thread_local=False)
    try:
        marker.acquire(blocking=False)
    except Timeout:
        return None
    return marker
