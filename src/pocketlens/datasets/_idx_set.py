"""MNIST and the data sets made like it: 28x28 grey images and labels of two parts, in four IDX files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from pocketlens.data.dataset import Images
from pocketlens.data.sources.cache import Entry, Key, Table, store
from pocketlens.data.sources.download import Remote
from pocketlens.data.sources.folders import Folders
from pocketlens.data.sources.idx import Idx, open_idx, read_chunks, read_labels
from pocketlens.errors import PocketlensError

FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
_OFFICIAL = [60_000, 10_000]


def remotes_of(md5s: tuple[str, ...], places: tuple[str, ...]) -> tuple[Remote, ...]:
    """The four files, gzipped, as they lie at each of some addresses."""
    return tuple(
        Remote(f"{name}.gz", f"md5:{md5}", tuple(f"{place}/{name}.gz" for place in places))
        for name, md5 in zip(FILES, md5s, strict=True)
    )


def find_idx_set(folders: Folders, name: str, inside: str, is_own: Callable[[str], bool]) -> tuple[Path, ...] | None:
    """The four files of a set, or None.

    Args:
        folders: where to search.
        name: of the set.
        inside: the folder in which torchvision keeps them.
        is_own: whether a folder's name, in lower case, says that files right in it are this set's and not another's.
    """
    for folder in folders.candidates(name):
        places = [folder / inside / "raw", folder / inside]
        places += [folder / "raw", folder] if is_own(folder.name.lower()) else []
        found = next((files for place in places if (files := idx_files(place)) is not None), None)
        if found is not None:
            return found
    return None


def idx_files(place: Path) -> tuple[Path, ...] | None:
    """The four files in a folder, plain or gzipped, also with a dot before `idx`; None where one is absent."""
    found = []
    for name in FILES:
        names = (name, f"{name}.gz", name.replace("-idx", ".idx"), f"{name.replace('-idx', '.idx')}.gz")
        file = next((place / each for each in names if (place / each).is_file()), None)
        if file is None:
            return None
        found.append(file)
    return tuple(found)


def read_idx_set(files: tuple[Path, ...], key: Key, name: str, classes: tuple[str, ...]) -> Entry:
    """Reads the four files into the cache.

    Raises:
        PocketlensError: a file is damaged, or the files do not belong together.
    """
    train_images, train_labels, test_images, test_labels = files
    images = [open_idx(path, 3) for path in (train_images, test_images)]
    for idx in images:
        if idx.shape[1:] != (28, 28):
            raise PocketlensError(f"{idx.path} must hold images of 28x28, it holds {idx.shape[2]}x{idx.shape[1]}.")
    counts = [idx.shape[0] for idx in images]
    labels = [
        read_labels(path, count, len(classes)) for path, count in zip((train_labels, test_labels), counts, strict=True)
    ]
    held = np.arange(sum(counts)) >= counts[0]
    note = f"{name} has {counts[0]} + {counts[1]} images here, officially 60000 + 10000"
    notes = () if counts == _OFFICIAL else (note,)
    return store(key, _chunks(images), Table({"labels": np.concatenate(labels)}, classes, held, None, notes))


def _chunks(images: list[Idx]) -> Iterator[Images]:
    for idx in images:
        for chunk in read_chunks(idx, 4096):
            yield chunk[:, :, :, None]  # (n, 28, 28, 1)
