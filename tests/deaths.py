"""Sudden ends for tests: a process that dies before its k-th file operation, or fails at it; savers that are broken.

What is written here to be killed is written in small pieces, so that a saver that can leave half a file does leave it.
"""

from __future__ import annotations

import builtins
import errno
import io
import os
import re
import shutil
import stat
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO
from unittest import mock

from pocketlens.files import sync_folder

DEAD = 99  # the exit code of a process that died where it was told to
WRITING = set("wax+")


@dataclass
class Watch:
    """What happens to files below a folder: `trace` has one text for each operation, such as "fsync x.json"."""

    folder: Path
    act: Callable[[int, str], None]  # called before each operation with how many there were, and its text
    piece: int
    trace: list[str] = field(default_factory=list)

    def tick(self, operation: str, path: Any) -> None:
        place = os.path.abspath(os.fsdecode(path))
        if place != str(self.folder) and not place.startswith(os.path.join(self.folder, "")):
            return
        name = re.sub(r"\.\d+\.part", ".part", os.path.relpath(place, self.folder))
        text = f"{operation} {name}"
        self.act(len(self.trace), text)
        self.trace.append(text)


@contextmanager
def watched(folder: Path, act: Callable[[int, str], None] = lambda k, text: None, piece: int = 4096) -> Iterator[Watch]:
    """Within it, `act` is called before every operation that changes a file below `folder`; it may end or fail it."""
    watch = Watch(Path(os.path.abspath(folder)), act, piece)
    real_open, real_fsync, real_os_open = builtins.open, os.fsync, os.open

    class Pieces(io.FileIO):
        def write(self, data: Any) -> int:
            watch.tick("write", self.name)
            return super().write(memoryview(data).cast("B")[: watch.piece])

        def truncate(self, size: int | None = None) -> int:
            watch.tick("truncate", self.name)
            return super().truncate(size)

    def open_(file: Any, mode: str = "r", *args: Any, **options: Any) -> Any:
        if isinstance(file, int) or not WRITING & set(mode):
            return real_open(file, mode, *args, **options)
        watch.tick("open", file)
        raw = Pieces(file, mode.replace("b", "").replace("t", ""))
        buffered = io.BufferedRandom(raw) if raw.readable() else io.BufferedWriter(raw)
        return buffered if "b" in mode else io.TextIOWrapper(buffered, encoding="utf-8")

    def os_open(path: Any, flags: int, *args: Any, **options: Any) -> int:
        if flags & (os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_RDWR):
            watch.tick("open", path)
        return real_os_open(path, flags, *args, **options)

    def fsync(descriptor: int) -> None:
        kind = "folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file"
        watch.tick(f"fsync {kind}", os.readlink(f"/proc/self/fd/{descriptor}"))
        real_fsync(descriptor)

    def counted(name: str) -> Callable[..., Any]:
        real = getattr(os, name)

        def operation(*args: Any, **options: Any) -> Any:
            if not options.get("dir_fd"):
                watch.tick(name, args[-1] if name in ("replace", "rename") else args[0])
            return real(*args, **options)

        return operation

    patches = [mock.patch.object(builtins, "open", open_), mock.patch.object(io, "open", open_)]
    patches += [mock.patch.object(os, "open", os_open), mock.patch.object(os, "fsync", fsync)]
    names = ("replace", "rename", "unlink", "remove", "mkdir", "rmdir")
    patches += [mock.patch.object(os, name, counted(name)) for name in names]
    for patch in patches:
        patch.start()
    try:
        yield watch
    finally:
        for patch in patches:
            patch.stop()


def full_disk(names: str) -> Callable[[int, str], None]:
    """For `watched`: writing to files whose name matches `names` fails as on a full disk."""

    def act(_k: int, text: str) -> None:
        if text.startswith("write") and re.search(names, text):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    return act


@dataclass(frozen=True)
class Case:
    """One saving that is to survive death at any moment.

    Attributes:
        prepare: makes the folder as it is before.
        save: what is killed.
        check: looks at the folder after a death and gives a complaint, or "" where old or new is whole.
        piece: how many bytes are written at a time.
    """

    prepare: Callable[[Path], None]
    save: Callable[[Path], None]
    check: Callable[[Path], str]
    piece: int = 16_384


def sweep(case: Case, folder: Path, saver: str = "whole") -> tuple[int, list[str]]:
    """Kills `case.save` before each of its file operations; how many there are, and the complaints.

    A broken saver is left alone after the first complaint. This process forks, so it must not have started threads.
    """
    template, complaints, k = folder / "template", [], 0
    case.prepare(template)
    while True:
        place = folder / "place"  # the same for all, as paths may be a part of what is written
        shutil.copytree(template, place)
        code = _die_at(k, case, place, saver)
        if code not in (0, DEAD):
            complaints.append(f"operation {k}: the process failed with {code}")
            break
        try:
            complaint = case.check(place)
        except Exception as error:
            complaint = repr(error)
        complaints += [f"killed before operation {k}: {complaint}"] if complaint else []
        shutil.rmtree(place)
        if code == 0 or (complaints and saver != "whole"):
            break
        k += 1
    return k, complaints


def _die_at(k: int, case: Case, place: Path, saver: str) -> int:
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    try:
        with SAVERS[saver](), watched(place, lambda n, _text: os._exit(DEAD) if n == k else None, case.piece):
            case.save(place)
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    raise AssertionError("never reached")


def _in_place(path: Path, fill: Callable[[BinaryIO], None]) -> None:
    with open(path, "wb") as file:
        fill(file)
        file.flush()
        os.fsync(file.fileno())


def _slowly_in_place(path: Path, fill: Callable[[BinaryIO], None]) -> None:
    buffer = io.BytesIO()
    fill(buffer)
    with open(path, "wb", buffering=0) as file:
        for start in range(0, len(buffer.getvalue()), 2048):
            file.write(buffer.getvalue()[start : start + 2048])
            time.sleep(0.001)


def _remove_first(path: Path, fill: Callable[[BinaryIO], None]) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    _in_place(part, fill)
    path.unlink(missing_ok=True)
    os.replace(part, path)
    sync_folder(path.parent)


def _without_fsync(path: Path, fill: Callable[[BinaryIO], None]) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    with open(part, "wb") as file:
        fill(file)
    os.replace(part, path)


def _forgetful() -> AbstractContextManager[Any]:
    from pocketlens.training.state import State

    real = State.checkpoint

    def checkpoint(self: State) -> Any:
        whole = real(self)
        kept = {name: value for name, value in whole.tensors.items() if not name.startswith("optimizer/")}
        return type(whole)(kept, whole.meta)

    return mock.patch.object(State, "checkpoint", checkpoint)


def _writer(write_with: Callable[..., None]) -> Callable[[], AbstractContextManager[Any]]:
    return lambda: mock.patch("pocketlens.files.write_with", write_with)


SAVERS: dict[str, Callable[[], AbstractContextManager[Any]]] = {  # all but the first are broken
    "whole": nullcontext,
    "in place": _writer(_in_place),
    "slowly in place": _writer(_slowly_in_place),
    "remove first": _writer(_remove_first),
    "without fsync": _writer(_without_fsync),
    "forgets the optimizer": _forgetful,
}
