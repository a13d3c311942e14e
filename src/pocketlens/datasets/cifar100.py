"""CIFAR-100: 50,000 + 10,000 photographs of 32x32 in 100 classes, five in each of 20 superclasses.

Source: A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009;
https://www.cs.toronto.edu/~kriz/cifar.html. Reads the Python batches, the binary files, their archives, and parquet.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pocketlens.data.dataset import Dataset, Labels
from pocketlens.data.sources.cache import Entry, Key, Table, find, store
from pocketlens.data.sources.download import Remote
from pocketlens.data.sources.folders import Folders
from pocketlens.data.split import Parts
from pocketlens.datasets._cifar import file_names, image_chunks, read_batch, read_binary
from pocketlens.datasets._encoded import Encoded, split_parts
from pocketlens.datasets._encoded import store as store_encoded
from pocketlens.datasets._headers import Rules
from pocketlens.datasets._official import find_or_fetch, first_folder, shards, unpacked_files
from pocketlens.errors import PocketlensError
from pocketlens.text import counted

_MEMBERS = {  # superclass: its classes; both in the official, alphabetical order
    "aquatic_mammals": "beaver dolphin otter seal whale",
    "fish": "aquarium_fish flatfish ray shark trout",
    "flowers": "orchid poppy rose sunflower tulip",
    "food_containers": "bottle bowl can cup plate",
    "fruit_and_vegetables": "apple mushroom orange pear sweet_pepper",
    "household_electrical_devices": "clock keyboard lamp telephone television",
    "household_furniture": "bed chair couch table wardrobe",
    "insects": "bee beetle butterfly caterpillar cockroach",
    "large_carnivores": "bear leopard lion tiger wolf",
    "large_man-made_outdoor_things": "bridge castle house road skyscraper",
    "large_natural_outdoor_scenes": "cloud forest mountain plain sea",
    "large_omnivores_and_herbivores": "camel cattle chimpanzee elephant kangaroo",
    "medium_mammals": "fox porcupine possum raccoon skunk",
    "non-insect_invertebrates": "crab lobster snail spider worm",
    "people": "baby boy girl man woman",
    "reptiles": "crocodile dinosaur lizard snake turtle",
    "small_mammals": "hamster mouse rabbit shrew squirrel",
    "trees": "maple_tree oak_tree palm_tree pine_tree willow_tree",
    "vehicles_1": "bicycle bus motorcycle pickup_truck train",
    "vehicles_2": "lawn_mower rocket streetcar tank tractor",
}
SUPERCLASSES = tuple(_MEMBERS)
CLASSES = tuple(sorted(name for members in _MEMBERS.values() for name in members.split()))
SUPERCLASS_OF = tuple(
    next(i for i, members in enumerate(_MEMBERS.values()) if name in members.split()) for name in CLASSES
)

_OFFICIAL = (50_000, 10_000)
_PYTHON, _BINARY = "cifar-100-python.tar.gz", "cifar-100-binary.tar.gz"
REMOTES = (
    Remote(
        _PYTHON,
        "md5:eb9058c3a382ffc7106e4002c42a8d85",
        (
            f"https://www.cs.toronto.edu/~kriz/{_PYTHON}",
            f"https://web.archive.org/web/2024id_/https://www.cs.toronto.edu/~kriz/{_PYTHON}",
        ),
    ),
)


def cifar100(folders: Folders, *, labels: str = "fine") -> Parts:
    """CIFAR-100 with `labels` "fine" (100 classes) or "coarse" (the 20 superclasses); rows keep the source's order.

    Raises:
        PocketlensError: `labels` is neither, or the files are absent or damaged.
    """
    if labels not in ("fine", "coarse"):
        raise PocketlensError(f"datasets: labels of cifar100 must be 'fine' or 'coarse', got {labels!r}.")
    source = find_or_fetch("cifar100", REMOTES, folders, _find)
    key = Key(source.files, "cifar100")
    entry = find(key)
    if entry is None:
        entry = _read(source, key)
    fine, coarse = entry.table.columns["labels"], entry.table.columns["coarse"]
    is_fine = labels == "fine"
    assert entry.table.held is not None
    whole = Dataset(
        "cifar100",
        entry.images,
        fine if is_fine else coarse,
        CLASSES if is_fine else SUPERCLASSES,
        entry.hashes,
        superclasses=SUPERCLASSES,
        superclass_of=SUPERCLASS_OF if is_fine else tuple(range(len(SUPERCLASSES))),
        strata=None if is_fine else fine,
        files=entry.table.files,
        notes=entry.table.notes,
    )
    return split_parts(whole, int(entry.table.held.sum()))


@dataclass(frozen=True)
class _Source:
    kind: str  # python, binary, parquet
    files: tuple[Path, ...]  # of the training part and of the test part
    n_train: int = 1  # how many of the files belong to the training part
    archive: bool = False


@dataclass(frozen=True, eq=False)
class _Batch:
    pixels: NDArray[np.uint8]  # (N, 3072): red, green, blue planes
    fine: Labels
    coarse: Labels
    names: tuple[str, ...] | None


def _find(folders: Folders) -> _Source | None:
    for folder in folders.candidates("cifar100"):
        python = first_folder([folder / "cifar-100-python", folder], "train", "test")
        if python is not None:
            return _Source("python", (python / "train", python / "test"))
        binary = first_folder([folder / "cifar-100-binary", folder], "train.bin", "test.bin")
        if binary is not None:
            return _Source("binary", (binary / "train.bin", binary / "test.bin"))
        found = shards(folder) or shards(folder / "cifar100")
        if found is not None and _has_fine_labels(found[0]):
            return _Source("parquet", found[0] + found[1], len(found[0]))
        for name, kind in ((_PYTHON, "python"), (_BINARY, "binary")):
            if (folder / name).is_file():
                return _Source(kind, (folder / name,), archive=True)
    return None


def _has_fine_labels(files: tuple[Path, ...]) -> bool:
    from pocketlens.data.sources.parquet import open_shards

    return "fine_label" in open_shards(files[:1]).schema.names


def _read(source: _Source, key: Key) -> Entry:
    if source.kind == "parquet":
        return _read_parquet(source, key)
    names = ("train", "test") if source.kind == "python" else ("train.bin", "test.bin")
    if not source.archive:
        return _store(source.kind, source.files, key)
    with unpacked_files(source.files[0], f"cifar-100-{source.kind}", names) as files:
        return _store(source.kind, files, key)


def _store(kind: str, files: tuple[Path, ...], key: Key) -> Entry:
    batches = [_read_python(file) if kind == "python" else _read_binary(file) for file in files]
    fine, coarse = (np.concatenate([getattr(batch, name) for batch in batches]) for name in ("fine", "coarse"))
    names = [batch.names for batch in batches]
    files_shown = None if None in names else tuple(name for part in names if part is not None for name in part)
    table = _table(fine, coarse, [len(batch.fine) for batch in batches], files_shown, files[0])
    return store(key, image_chunks(batch.pixels for batch in batches), table)


def _read_python(path: Path) -> _Batch:
    values = read_batch(path, ("fine_labels", "coarse_labels"))
    pixels, fine, coarse = (values[name] for name in ("data", "fine_labels", "coarse_labels"))
    if fine.shape != (len(pixels),) or coarse.shape != (len(pixels),):
        raise PocketlensError(
            f"{path} must hold a fine and a coarse label for each of its {counted(len(pixels), 'image')}, it holds "
            f"{fine.shape} and {coarse.shape}."
        )
    return _Batch(pixels, fine.astype(np.int64), coarse.astype(np.int64), file_names(values))


def _read_binary(path: Path) -> _Batch:
    rows = read_binary(path, 2)
    return _Batch(rows[:, 2:], rows[:, 1].astype(np.int64), rows[:, 0].astype(np.int64), None)


def _read_parquet(source: _Source, key: Key) -> Entry:
    from pocketlens.data.sources import parquet

    parts = [parquet.open_shards(files) for files in (source.files[: source.n_train], source.files[source.n_train :])]
    both = parquet.open_shards(source.files)
    images = parquet.image_column(both, None)
    fine, coarse = (parquet.read_numbers(both, name) for name in ("fine_label", "coarse_label"))
    for column, expected in (("fine_label", CLASSES), ("coarse_label", SUPERCLASSES)):
        if parquet.class_names(both, column) not in (None, expected):
            raise PocketlensError(f"{source.files[0]}: the class names of {column} are not those of CIFAR-100.")
    names = parquet.read_paths(images) or tuple(f"row {row}" for row in range(len(both)))
    table = _table(fine, coarse, [len(part) for part in parts], names, source.files[0])
    encoded = Encoded("cifar100", images, names, table.columns, CLASSES, table.held, table.notes)
    return store_encoded(key, encoded, Rules(shape=(32, 32, 3)))


def _table(fine: Labels, coarse: Labels, counts: list[int], files: tuple[str, ...] | None, path: Path) -> Table:
    """The checked columns of both parts."""
    for labels, n_classes, name in ((fine, 100, "fine"), (coarse, 20, "coarse")):
        bad = np.flatnonzero((labels < 0) | (labels >= n_classes))
        if len(bad):
            raise PocketlensError(
                f"{path}: {name} labels must be 0..{n_classes - 1}, row {bad[0]} has {labels[bad[0]]}."
            )
    wrong = np.flatnonzero(np.array(SUPERCLASS_OF)[fine] != coarse)
    if len(wrong):
        row = wrong[0]
        raise PocketlensError(
            f"{path}: the superclass of {CLASSES[fine[row]]!r} is {SUPERCLASSES[SUPERCLASS_OF[fine[row]]]!r}, but "
            f"row {row} says {SUPERCLASSES[coarse[row]]!r}."
        )
    n_train, n_test = counts
    notes = (
        ()
        if (n_train, n_test) == _OFFICIAL
        else (f"cifar100 has {n_train} + {n_test} images here, officially 50000 + 10000",)
    )
    return Table({"labels": fine, "coarse": coarse}, CLASSES, np.arange(len(fine)) >= n_train, files, notes)
