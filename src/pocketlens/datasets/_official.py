"""Finding the files of a well-known data set, or downloading them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from pocketlens.data.sources.archive import unpack
from pocketlens.data.sources.cache import temporary_folder
from pocketlens.data.sources.download import Remote, download
from pocketlens.data.sources.folders import Folders, downloads
from pocketlens.data.sources.tree import is_junk
from pocketlens.errors import PocketlensError

Found = TypeVar("Found")


def fetch(name: str, remotes: tuple[Remote, ...], folders: Folders) -> None:
    """Downloads the files of the data set `name` into the user's cache.

    Raises:
        PocketlensError: that is not possible; the message names the files and the folder to put them into.
    """
    try:
        for remote in remotes:
            download(remote, downloads() / name)
    except PocketlensError as error:
        files = ", ".join(remote.name for remote in remotes)
        raise PocketlensError(
            f"{name} must be on this machine and could not be downloaded ({error}): put {files} into "
            f"{folders.place(name)}, or set POCKETLENS_DATA to the folder that holds {name}/."
        ) from None


def find_or_fetch(
    name: str, remotes: tuple[Remote, ...], folders: Folders, find: Callable[[Folders], Found | None]
) -> Found:
    """What `find` finds in the folders, downloaded first where it finds nothing.

    Raises:
        PocketlensError: it is not there and cannot be downloaded.
    """
    found = find(folders)
    if found is None:
        fetch(name, remotes, folders)
        found = find(folders)
        assert found is not None
    return found


def shards(folder: Path) -> tuple[tuple[Path, ...], tuple[Path, ...]] | None:
    """The parquet files of the training part and of the test part in a folder, or None."""
    train, test = (tuple(sorted(folder.glob(f"{part}*.parquet"))) for part in ("train", "test"))
    return (train, test) if train and test else None


def first_folder(folders: list[Path], *files: str) -> Path | None:
    """The first folder that holds all these files."""
    return next((folder for folder in folders if all((folder / file).is_file() for file in files)), None)


@contextmanager
def unpacked(archive: Path, members: tuple[str, ...] | None = None) -> Iterator[Path]:
    """The folder of an unpacked archive, as long as the block lasts; `members` are those that are wanted."""
    with temporary_folder("unpacked") as folder:
        target = folder / "archive"
        unpack(archive, target, only=members)
        yield target


def only_folder(place: Path) -> Path:
    """The one folder in an unpacked archive, where there is nothing else in it; else the archive's own."""
    entries = [entry for entry in place.iterdir() if not is_junk(entry.name)]
    return entries[0] if len(entries) == 1 and entries[0].is_dir() else place


@contextmanager
def unpacked_files(archive: Path, folder: str, names: Sequence[str]) -> Iterator[tuple[Path, ...]]:
    """Files of one folder of an archive, unpacked as long as the block lasts.

    Raises:
        PocketlensError: one is not in the archive.
    """
    with unpacked(archive, tuple(f"{folder}/{name}" for name in names)) as root:
        files = tuple(root / folder / name for name in names)
        missing = [file.name for file in files if not file.exists()]
        if missing:
            raise PocketlensError(f"{archive} must hold {folder}/{missing[0]}.")
        yield files
