"""CIFAR-10: 50,000 + 10,000 photographs of 32x32 in 10 classes.

Source: A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009;
https://www.cs.toronto.edu/~kriz/cifar.html. Reads the Python batches, the binary files, their archives, and parquet.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pocketlens.data.dataset import Labels
from pocketlens.data.sources.cache import Entry, Key, Table, find, store
from pocketlens.data.sources.download import Remote
from pocketlens.data.sources.folders import Folders
from pocketlens.data.sources.idx import check_labels
from pocketlens.data.split import Parts
from pocketlens.datasets._cifar import file_names, image_chunks, read_batch, read_binary
from pocketlens.datasets._encoded import Encoded, parts
from pocketlens.datasets._encoded import store as store_encoded
from pocketlens.datasets._headers import Rules
from pocketlens.datasets._official import find_or_fetch, first_folder, shards, unpacked_files
from pocketlens.errors import PocketlensError

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_OFFICIAL = (50_000, 10_000)
_BATCHES = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch")
_FILES = {"python": _BATCHES, "binary": tuple(f"{name}.bin" for name in _BATCHES)}
_FOLDER = {"python": "cifar-10-batches-py", "binary": "cifar-10-batches-bin"}
_ARCHIVE = {"python": "cifar-10-python.tar.gz", "binary": "cifar-10-binary.tar.gz"}
REMOTES = (
    Remote(
        _ARCHIVE["python"],
        "md5:c58f30108f718f92721af3b95e74349a",
        (
            f"https://www.cs.toronto.edu/~kriz/{_ARCHIVE['python']}",
            f"https://web.archive.org/web/2024id_/https://www.cs.toronto.edu/~kriz/{_ARCHIVE['python']}",
        ),
    ),
)


def cifar10(folders: Folders) -> Parts:
    """CIFAR-10 with its official test part; rows keep the order of the source.

    Raises:
        PocketlensError: the files are absent or damaged.
    """
    source = find_or_fetch("cifar10", REMOTES, folders, _find)
    key = Key(source.files, "cifar10")
    return parts(find(key) or _read(source, key), "cifar10")


@dataclass(frozen=True)
class _Source:
    kind: str  # python, binary, parquet
    files: tuple[Path, ...]  # of the training part, then of the test part; or the one archive
    n_train: int  # how many of the files belong to the training part
    archive: bool = False


@dataclass(frozen=True, eq=False)
class _Batch:
    pixels: NDArray[np.uint8]  # (N, 3072): red, green, blue planes
    labels: Labels
    names: tuple[str, ...] | None


def _find(folders: Folders) -> _Source | None:
    for folder in folders.candidates("cifar10"):
        for kind, names in _FILES.items():
            place = first_folder([folder / _FOLDER[kind], folder], *names)
            if place is not None:
                return _Source(kind, tuple(place / name for name in names), 5)
        for place in (folder, folder / "plain_text"):
            found = shards(place) if "cifar" in folder.name and "100" not in folder.name else None
            if found is not None:
                return _Source("parquet", found[0] + found[1], len(found[0]))
        for kind, name in _ARCHIVE.items():
            if (folder / name).is_file():
                return _Source(kind, (folder / name,), 5, archive=True)
    return None


def _read(source: _Source, key: Key) -> Entry:
    if source.kind == "parquet":
        return _read_parquet(source, key)
    if not source.archive:
        return _store(source.kind, source.files, key)
    with unpacked_files(source.files[0], _FOLDER[source.kind], _FILES[source.kind]) as files:
        return _store(source.kind, files, key)


def _store(kind: str, files: tuple[Path, ...], key: Key) -> Entry:
    batches = [_read_python(file) if kind == "python" else _read_rows(file) for file in files]
    names = [batch.names for batch in batches]
    shown = None if None in names else tuple(name for part in names if part is not None for name in part)
    for batch, file in zip(batches, files, strict=True):
        check_labels(batch.labels, len(CLASSES), file)
    labels = np.concatenate([batch.labels for batch in batches])
    table = _table(labels, len(labels) - len(batches[-1].labels), shown)
    return store(key, image_chunks(batch.pixels for batch in batches), table)


def _read_python(path: Path) -> _Batch:
    values = read_batch(path, ("labels",))
    pixels, labels = values["data"], values["labels"]
    if labels.shape != (len(pixels),):
        raise PocketlensError(
            f"{path} must hold a label for each image, of which there are {len(pixels)}, it holds {labels.shape}."
        )
    return _Batch(pixels, labels.astype(np.int64), file_names(values))


def _read_rows(path: Path) -> _Batch:
    rows = read_binary(path, 1)
    return _Batch(rows[:, 1:], rows[:, 0].astype(np.int64), None)


def _read_parquet(source: _Source, key: Key) -> Entry:
    from pocketlens.data.sources import parquet

    both = parquet.open_shards(source.files)
    images, column = parquet.image_column(both, None), parquet.label_column(both, None)
    labels = parquet.read_numbers(both, column)
    if parquet.class_names(both, column) not in (None, CLASSES):
        raise PocketlensError(f"{source.files[0]}: the class names of {column} are not those of CIFAR-10.")
    check_labels(labels, len(CLASSES), source.files[0])
    names = parquet.read_paths(images) or tuple(f"row {row}" for row in range(len(both)))
    n_train = len(parquet.open_shards(source.files[: source.n_train]))
    table = _table(labels, n_train, names)
    encoded = Encoded("cifar10", images, names, table.columns, CLASSES, table.held, table.notes)
    return store_encoded(key, encoded, Rules(shape=(32, 32, 3)))


def _table(labels: Labels, n_train: int, files: tuple[str, ...] | None) -> Table:
    counts = (n_train, len(labels) - n_train)
    official = counts == _OFFICIAL
    notes = () if official else (f"cifar10 has {counts[0]} + {counts[1]} images here, officially 50000 + 10000",)
    return Table({"labels": labels}, CLASSES, np.arange(len(labels)) >= n_train, files, notes)
