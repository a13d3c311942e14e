"""Split: which development rows train and which validate; stratified, with whole groups, by image hash and seed.

Because the hash of an image decides and not its position, pickles and parquet files of the same data give the same
split; fine and coarse labels share it, because the data set names the fine labels as its strata.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketlens.data.dataset import Dataset, Hashes, Labels
from pocketlens.errors import PocketlensError

Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Split:
    """Row numbers of the two parts, each ascending; `val` is empty if all rows train."""

    train: Rows
    val: Rows
    seed: int
    val_fraction: float
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """What split.json holds."""
        return {
            "seed": self.seed,
            "val_fraction": self.val_fraction,
            "notes": list(self.notes),
            "train": self.train.tolist(),
            "val": self.val.tolist(),
        }

    @staticmethod
    def from_dict(value: dict[str, Any]) -> Split:
        """The reverse of `to_dict`."""
        train, val = (np.asarray(value[part], np.int64) for part in ("train", "val"))
        return Split(train, val, int(value["seed"]), float(value["val_fraction"]), tuple(value["notes"]))


def make_split(dataset: Dataset, *, val_fraction: float = 0.1, seed: int = 0) -> Split:
    """Holds out `val_fraction` of every class for validation, in whole groups if there are groups.

    The only image of a class stays in training. Rows with equal images stay together.

    Raises:
        PocketlensError: `val_fraction` is not in [0, 1), or there is nothing left to train on.
    """
    if not 0 <= val_fraction < 1:
        raise PocketlensError(f"val_fraction must be at least 0 and below 1, got {val_fraction}.")
    if len(dataset) == 0:
        raise PocketlensError(f"{dataset.text}: the data set must have at least one image, it has none.")
    held = hold_out(dataset, fraction=val_fraction, seed=seed, salt="val")
    rows = np.arange(len(dataset), dtype=np.int64)
    notes = tuple(
        f"class {name!r} has 1 training image"
        if count
        else f"class {name!r} has no training images, so it cannot be learned"
        for name, count in zip(
            dataset.classes, np.bincount(dataset.labels[~held], minlength=len(dataset.classes)), strict=True
        )
        if count < 2
    )
    return Split(rows[~held], rows[held], seed, val_fraction, notes)


def fewer_rows(split: Split, dataset: Dataset, n: int | None) -> Split:
    """The split with only `n` of its training rows, in the same class proportions; the validation rows stay.

    The hash of an image decides if it stays, so that nearly all rows of a smaller `n` are among those of a larger one.

    Raises:
        PocketlensError: there are fewer than `n` training rows, or a class would be left without any.
    """
    if n is None or n == len(split.train):
        return split
    labels = dataset.labels[split.train]
    present, counts = np.unique(labels, return_counts=True)
    if not len(present) <= n <= len(split.train):
        raise PocketlensError(f"rows must be from {len(present)} (one per class) to {len(split.train)}, got {n}.")
    keys = np.array([_key(hash_, split.seed, "rows") for hash_ in dataset.hashes[split.train]], np.int64)
    wanted = np.maximum(1, np.floor(counts * n / len(split.train))).astype(np.int64)
    order = np.argsort(keys, kind="stable")
    place = np.empty(len(order), np.int64)  # rank of each row within its class, by its key
    for label in present:
        members = order[labels[order] == label]
        place[members] = np.arange(len(members))
    # The rank beyond the class's share decides which rows fill up to n and, with many tiny classes, which are dropped.
    excess = place - wanted[np.searchsorted(present, labels)]
    kept = np.sort(np.lexsort((keys, excess))[:n])
    note = f"{n:,} of {len(split.train):,} training images are used"
    return Split(split.train[kept], split.val, split.seed, split.val_fraction, (*split.notes, note))


def hold_out(dataset: Dataset, *, fraction: float, seed: int, salt: str) -> NDArray[np.bool_]:
    """(N,) bool: a stratified part of about `fraction` of the rows, in whole groups; equal images form a group."""
    unit = _units(dataset)
    n_units = int(unit.max()) + 1
    size = np.bincount(unit, minlength=n_units)
    # A unit's key and stratum must not depend on the order of its rows, so the smallest of its rows decides.
    keys = _smallest(np.array([_key(hash_, seed, salt) for hash_ in dataset.hashes], np.int64), unit, n_units)
    strata = _smallest(dataset.labels if dataset.strata is None else dataset.strata, unit, n_units)
    chosen = np.zeros(n_units, bool)
    for stratum in np.unique(strata):
        members = np.flatnonzero(strata == stratum)
        members = members[np.argsort(keys[members], kind="stable")]
        wanted, filled = fraction * int(size[members].sum()), 0
        for member in members[: len(members) - 1]:  # at least one unit stays in training
            if filled + size[member] / 2 > wanted:
                break
            chosen[member] = True
            filled += int(size[member])
    return chosen[unit]


def _units(dataset: Dataset) -> NDArray[np.int64]:
    """(N,) the unit of each row: rows of one group or with equal images share a unit."""
    _, same_image = np.unique(dataset.hashes, axis=0, return_inverse=True)
    same_image = same_image.reshape(-1)
    if dataset.groups is None:
        return same_image.astype(np.int64)
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n_images = int(same_image.max()) + 1
    _, group = np.unique(dataset.groups, return_inverse=True)
    n = n_images + int(group.max()) + 1
    edges = coo_array((np.ones(len(group)), (same_image, group.reshape(-1) + n_images)), shape=(n, n))
    component = connected_components(edges, directed=False)[1][same_image]
    return np.unique(component, return_inverse=True)[1].astype(np.int64)


def _key(image_hash: NDArray[np.uint8], seed: int, salt: str) -> int:
    digest = hashlib.blake2b(image_hash.tobytes(), digest_size=8, key=f"{salt}/{seed}".encode())
    return int.from_bytes(digest.digest(), "little") >> 1


def _smallest(values: NDArray[np.int64], unit: NDArray[np.int64], n_units: int) -> NDArray[np.int64]:
    result = np.full(n_units, np.iinfo(np.int64).max, np.int64)
    np.minimum.at(result, unit, values)
    return result


TEST_FRACTION = 0.2
HOLD_OUT_VERSION = 2  # of the rule by which test rows are held out; a run keeps the one that it was made with


@dataclass(frozen=True, eq=False)
class Parts:
    """Development rows and test rows; `test` is None if the source has no official test part."""

    development: Dataset
    test: Dataset | None = None


def hold_out_test(
    hashes: Hashes, columns: dict[str, Labels], classes: tuple[str, ...], version: int = HOLD_OUT_VERSION
) -> NDArray[np.bool_]:
    """(N,) bool: the test rows of a source without official ones: 20 % of every class, by the hashes of the images.

    Groups ("groups" in `columns`) stay whole, and equal images stay together. `version` is that of the rule.
    """
    n = len(hashes)
    if n == 0:
        return np.zeros(0, bool)
    pixels = np.broadcast_to(np.uint8(0), (n, 1, 1, 1))  # the hashes decide; the pixels do not matter
    groups = columns.get("groups")
    dataset = Dataset("test", pixels, columns["labels"], classes, hashes, groups=groups, hold_out=version)
    return hold_out(dataset, fraction=TEST_FRACTION, seed=0, salt="test")
