"""The finished phases of an audit, kept in the cache until it is done, so that the same command goes on after a kill.

What is kept belongs to the images, their labels, the seed, the device and the version of pocketlens, and not to the
checks that are skipped: each phase gives the same numbers whichever others run. Arrays are read back as memory maps.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketlens import __version__
from pocketlens.data.dataset import Dataset, SealedTest
from pocketlens.events import Work
from pocketlens.files import cache_folder, sync_folder, write_with

KEPT_FROM = 2000  # images; with fewer, an audit takes less than a minute
KEPT_FOR = 7 * 86_400.0  # seconds for which an audit that was killed can go on
_VERSION = 1  # of the phases; after a change, those of before are not read

Arrays = list[NDArray[Any]]


@dataclass(frozen=True)
class Phases:
    """Where the finished phases of one audit lie; `folder` is None where none are kept."""

    folder: Path | None = None

    @staticmethod
    def of(dataset: Dataset, sealed: SealedTest, seed: int, device: str) -> Phases:
        """Those of the audit of some data; what audits of before have left for too long is removed."""
        n = len(dataset) + len(sealed)
        if n < KEPT_FROM:
            return Phases()
        _forget_old()
        facts = (_VERSION, __version__, dataset.fingerprint, dataset.shape, dataset.fit, dataset.levels, seed, device)
        digest = hashlib.blake2b(repr(facts).encode(), digest_size=16)
        digest.update(np.ascontiguousarray(sealed.hashes).tobytes())
        return Phases(_folder() / digest.hexdigest())

    def finished(self) -> tuple[str, ...]:
        """The names of the phases that are kept."""
        places = self.folder.iterdir() if self.folder is not None and self.folder.is_dir() else ()
        return tuple(sorted(place.name for place in places if not place.name.startswith(".")))

    def read(self, name: str) -> Arrays | None:
        """The arrays of a phase that was finished before, or None."""
        place = None if self.folder is None else self.folder / name
        if place is None or not place.is_dir():
            return None
        try:
            n = len(list(place.glob("*.npy")))
            return [np.load(place / f"{number}.npy", mmap_mode="c", allow_pickle=False) for number in range(n)]
        except (OSError, ValueError, EOFError):
            return None

    def write(self, name: str, arrays: Sequence[NDArray[Any]]) -> None:
        """Keeps the arrays of a finished phase; without room for them the audit goes on, and this phase is not kept."""
        if self.folder is None or (self.folder / name).exists():
            return
        part = self.folder / f".{name}.{os.getpid()}.part"
        with suppress(OSError):
            try:
                part.mkdir(parents=True, exist_ok=True)
                for number, array in enumerate(arrays):
                    write_with(part / f"{number}.npy", lambda file, array=array: np.save(file, array, False))  # type: ignore[misc]
                os.rename(part, self.folder / name)
                sync_folder(self.folder)
            finally:
                shutil.rmtree(part, ignore_errors=True)

    def once(self, name: str, work: Work[Arrays]) -> Work[Arrays]:
        """The arrays of a phase: those that are kept, or those of `work`, which are then kept."""
        known = self.read(name)
        if known is not None:
            work.close()
            return known
        arrays = yield from work
        self.write(name, arrays)
        return arrays

    def forget(self) -> None:
        """Removes everything, as the audit is done."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)


def _folder() -> Path:
    return cache_folder() / "looks"


def _forget_old() -> None:
    oldest = time.time() - KEPT_FOR
    for place in _folder().glob("*") if _folder().is_dir() else ():
        with suppress(OSError):
            if place.stat().st_mtime < oldest:
                shutil.rmtree(place, ignore_errors=True)
