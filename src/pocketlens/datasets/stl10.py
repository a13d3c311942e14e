"""STL-10: 5,000 + 8,000 labelled photographs of 96x96 in 10 classes; the official binary files, or parquet.

Source: A. Coates, H. Lee, A. Y. Ng, An Analysis of Single-Layer Networks in Unsupervised Feature Learning, AISTATS
2011; https://cs.stanford.edu/~acoates/stl10/. The unlabelled images are not read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pocketlens.data.dataset import Dataset, Images, Labels
from pocketlens.data.sources.cache import Entry, Key, Table, find, store
from pocketlens.data.sources.download import Remote
from pocketlens.data.sources.folders import Folders
from pocketlens.data.sources.idx import check_labels
from pocketlens.data.split import Parts
from pocketlens.datasets._encoded import Encoded, parts
from pocketlens.datasets._encoded import store as store_encoded
from pocketlens.datasets._headers import Rules
from pocketlens.datasets._official import find_or_fetch, first_folder, shards, unpacked
from pocketlens.errors import PocketlensError, closest
from pocketlens.text import counted

CLASSES = ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck")
_FILES = ("train_X.bin", "train_y.bin", "test_X.bin", "test_y.bin")
_ARCHIVE = "stl10_binary.tar.gz"
_ROW = 3 * 96 * 96
REMOTES = (
    Remote(
        _ARCHIVE,
        "md5:91f7769df0f17e558f3565bffb0c7dfb",
        (f"https://ai.stanford.edu/~acoates/stl10/{_ARCHIVE}", f"https://cs.stanford.edu/~acoates/stl10/{_ARCHIVE}"),
    ),
)


def stl10(folders: Folders, *, classes: str | None = None) -> Parts:
    """STL-10 with its official test part; `classes` such as 'airplane, bird' keeps those, in the data set's order.

    Raises:
        PocketlensError: a class is unknown, or the files are absent or damaged.
    """
    chosen = _chosen(classes)
    files = find_or_fetch("stl10", REMOTES, folders, _find)
    key = Key(files, "stl10")
    entry = find(key)
    if entry is None:
        entry = _read_parquet(files, key) if files[0].suffix == ".parquet" else _read(files, key)
    whole = parts(entry, "stl10")
    if chosen is None:
        return whole
    assert whole.test is not None
    return Parts(_keep(whole.development, chosen), _keep(whole.test, chosen))


def _chosen(classes: str | None) -> tuple[str, ...] | None:
    if classes is None:
        return None
    if not isinstance(classes, str):
        raise PocketlensError(f"datasets: classes of stl10 must be a text such as 'airplane, bird', got {classes!r}.")
    chosen = tuple(name.strip() for name in classes.split(",") if name.strip())
    for name in chosen:
        if name not in CLASSES:
            raise PocketlensError(f"datasets: stl10 has no class {name!r}.{closest(name, CLASSES)}")
    return chosen


def _keep(part: Dataset, chosen: tuple[str, ...]) -> Dataset:
    missing = [name for name in chosen if name not in part.classes]
    if missing:
        raise PocketlensError(
            f"stl10: classes must be among those of the files here, which have no {missing[0]!r}, only "
            f"{', '.join(part.classes)}."
        )
    kept = [label for label, name in enumerate(part.classes) if name in chosen]
    new_label = np.full(len(part.classes), -1, np.int64)
    new_label[kept] = np.arange(len(kept))
    rows = np.flatnonzero(new_label[part.labels] >= 0)
    classes = tuple(part.classes[label] for label in kept)
    return replace(part.take(rows), labels=new_label[part.labels[rows]], classes=classes)


def _find(folders: Folders) -> tuple[Path, ...] | None:
    for folder in folders.candidates("stl10"):
        binary = first_folder([folder / "stl10_binary", folder], *_FILES)
        if binary is not None:
            return tuple(binary / name for name in _FILES)
        found = shards(folder) if "stl10" in folder.name else None
        if found is not None:
            return found[0] + found[1]
        if (folder / _ARCHIVE).is_file():
            return (folder / _ARCHIVE,)
    return None


def _read(files: tuple[Path, ...], key: Key) -> Entry:
    if len(files) == len(_FILES):
        return _read_binary(files, key)
    members = tuple(f"stl10_binary/{name}" for name in _FILES)
    with unpacked(files[0], members) as root:
        inside = tuple(root / member for member in members)
        missing = [file.name for file in inside if not file.exists()]
        if missing:
            raise PocketlensError(f"{files[0]} must hold stl10_binary/{missing[0]}.")
        return _read_binary(inside, key)


def _read_binary(files: tuple[Path, ...], key: Key) -> Entry:
    images = [_pixels(path) for path in (files[0], files[2])]
    labels = [_labels(path, len(part)) for path, part in zip((files[1], files[3]), images, strict=True)]
    held = np.arange(sum(map(len, images))) >= len(images[0])
    notes = _notes(len(images[0]), len(images[1]), CLASSES)
    return store(key, _chunks(images), Table({"labels": np.concatenate(labels)}, CLASSES, held, None, notes))


def _pixels(path: Path) -> NDArray[np.uint8]:
    size = path.stat().st_size
    if size == 0 or size % _ROW:
        raise PocketlensError(f"{path} must have a multiple of {_ROW} bytes, it has {size} ({size % _ROW} too many).")
    return np.memmap(path, np.uint8, "r").reshape(-1, 3, 96, 96)  # colour, column, row: MATLAB's order


def _labels(path: Path, n_images: int) -> Labels:
    labels = np.fromfile(path, np.uint8).astype(np.int64)
    if len(labels) != n_images:
        raise PocketlensError(
            f"{path} must hold {counted(n_images, 'label')}, one for each image, it holds {len(labels)}."
        )
    check_labels(labels, len(CLASSES), path, first=1)
    return labels - 1


def _chunks(parts_: list[NDArray[np.uint8]]) -> Iterator[Images]:
    for part in parts_:
        for start in range(0, len(part), 256):
            yield np.ascontiguousarray(part[start : start + 256].transpose(0, 3, 2, 1))  # (n, 96, 96, 3)


def _read_parquet(files: tuple[Path, ...], key: Key) -> Entry:
    from pocketlens.data.sources import parquet

    both = parquet.open_shards(files)
    images, column = parquet.image_column(both, None), parquet.label_column(both, None)
    labels = parquet.read_numbers(both, column)
    classes = parquet.class_names(both, column) or CLASSES
    if any(name not in CLASSES for name in classes):
        raise PocketlensError(f"{files[0]}: the class names {', '.join(classes)!r} must be those of STL-10.")
    check_labels(labels, len(classes), files[0])
    is_test = np.repeat([path.name.startswith("test") for path in files], both.n_rows)
    notes = _notes(int((~is_test).sum()), int(is_test.sum()), classes)
    names = parquet.read_paths(images) or tuple(f"row {row}" for row in range(len(both)))
    encoded = Encoded("stl10", images, names, {"labels": labels}, classes, is_test, notes)
    return store_encoded(key, encoded, Rules(shape=(96, 96, 3)))


def _notes(n_train: int, n_test: int, classes: tuple[str, ...]) -> tuple[str, ...]:
    notes = [] if len(classes) == 10 else [f"stl10 has {len(classes)} of its 10 classes here: {', '.join(classes)}"]
    if (n_train, n_test) != (500 * len(classes), 800 * len(classes)):
        notes.append(f"stl10 has {n_train} + {n_test} images here, officially 500 + 800 in each class")
    return tuple(notes)
