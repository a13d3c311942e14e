"""Split: which development rows train and which validate; stratified, with whole groups, by image hash and seed.

Because the hash of an image decides and not its position, pickles and parquet files of the same data give the same
split; fine and coarse labels share it, because the data set names the fine labels as its strata.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketlens.data.dataset import Dataset, Hashes, Labels
from pocketlens.data.shortages import part_notes, training_notes
from pocketlens.data.whole_units import Units, choose
from pocketlens.errors import PocketlensError
from pocketlens.text import counted

Rows = NDArray[np.int64]

_TRIED_FRACTIONS = (0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5)  # for an advice

HOLD_OUT_VERSION = 2  # the rule by which new runs hold rows out; a run keeps the one that it was made with


@dataclass(frozen=True, eq=False)
class Split:
    """Row numbers of the two parts, each ascending; `val` is empty if all rows train.

    `n_test` is the number of sealed test rows of the same data, or None where nobody has counted them.
    """

    train: Rows
    val: Rows
    seed: int
    val_fraction: float
    notes: tuple[str, ...] = ()
    n_test: int | None = None
    given: bool = False  # the validation rows are those that the source gives, not a choice of ours

    def to_dict(self) -> dict[str, Any]:
        """What split.json holds."""
        return {
            "seed": self.seed,
            "val_fraction": self.val_fraction,
            "notes": list(self.notes),
            **({} if self.n_test is None else {"n_test": self.n_test}),
            **({"given": True} if self.given else {}),
            "train": self.train.tolist(),
            "val": self.val.tolist(),
        }

    @staticmethod
    def from_dict(value: dict[str, Any]) -> Split:
        """The reverse of `to_dict`."""
        train, val = (np.asarray(value[part], np.int64) for part in ("train", "val"))
        seed, fraction, n_test = int(value["seed"]), float(value["val_fraction"]), value.get("n_test")
        notes, given = tuple(value["notes"]), bool(value.get("given", False))
        return Split(train, val, seed, fraction, notes, None if n_test is None else int(n_test), given)


VAL_FRACTION = 0.1


def make_split(dataset: Dataset, *, val_fraction: float | None = None, seed: int = 0) -> Split:
    """Holds out `val_fraction` of every class for validation, in whole groups if there are groups.

    The only image of a class stays in training. Rows with equal images stay together. None takes the validation rows
    that the data set gives, where it gives any, else a tenth of every class. The rule of the hold-out is that of the
    data set, see `hold_out`.

    Raises:
        PocketlensError: `val_fraction` is not in [0, 1), or there is nothing left to train on.
    """
    if val_fraction is not None and not 0 <= val_fraction < 1:
        raise PocketlensError(f"val_fraction must be at least 0 and below 1, got {val_fraction}.")
    if len(dataset) == 0:
        raise PocketlensError(f"{dataset.text}: the data set must have at least one image, it has none.")
    rows = np.arange(len(dataset), dtype=np.int64)
    given = dataset.val if dataset.val is not None and dataset.val.any() else None
    is_given = given is not None and val_fraction is None
    fraction = VAL_FRACTION if val_fraction is None else val_fraction
    if given is not None and val_fraction is None:
        held, fraction = given, float(given.mean())
    else:
        held = hold_out(dataset, fraction=fraction, seed=seed, salt="val")
    train, val = (np.bincount(dataset.labels[part], minlength=len(dataset.classes)) for part in (~held, held))
    overridden = () if given is None or is_given else (_overridden(int(given.sum()), fraction),)
    notes = (*overridden, *training_notes(train, dataset.classes))
    if fraction > 0:
        notes = (*notes, *part_notes("validation", val, train, dataset, fraction))
    return Split(rows[~held], rows[held], seed, fraction, notes, given=is_given)


def _overridden(n_given: int, fraction: float) -> str:
    """What a validation fraction that was asked for does with the validation rows that the data set gives."""
    if not fraction:
        return (
            f"the validation fraction 0 overrides the {counted(n_given, 'given validation row')}: all "
            "development rows train"
        )
    return (
        f"the validation fraction {fraction:g} overrides the {counted(n_given, 'given validation row')}: "
        "they are joined with "
        "the training rows, and split anew"
    )


def require_validation(dataset: Dataset, split: Split) -> None:
    """Refuses a split without validation rows for a study.

    Raises:
        PocketlensError: it has none; the message says why, and what to type.
    """
    if not len(split.val):
        why = no_validation_rows(dataset, split.val_fraction)
        raise PocketlensError(f"a study compares validation scores, and there are no validation rows: {why}.")


def no_validation_rows(dataset: Dataset, val_fraction: float) -> str:
    """Why a split has no validation rows, and what to type."""
    if val_fraction == 0:
        return "--val-fraction must be above 0"
    size = (
        f"--val-fraction {val_fraction:g} of {counted(len(dataset), 'image')} in "
        f"{counted(len(dataset.classes), 'class')} gives none"
    )
    for fraction in _TRIED_FRACTIONS:
        if fraction > val_fraction and hold_out(dataset, fraction=fraction, seed=0, salt="val").any():
            return f"{size}; give --val-fraction {fraction:g}"
    what = "image" if dataset.groups is None else "group"
    return f"{size}, as every class has only one {what}, which is trained on; add images"


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
    note = f"{n:,} of {counted(len(split.train), 'training image is', 'training images are')} used"
    return replace(split, train=split.train[kept], notes=(*split.notes, note))


def hold_out(
    dataset: Dataset, *, fraction: float, seed: int, salt: str, version: int | None = None, least_left: int = 1
) -> NDArray[np.bool_]:
    """(N,) bool: a stratified part of about `fraction` of the rows, in whole groups; equal images form a group.

    With groups, every class that has two of them gives one and keeps one, and each gives as nearly its share as whole
    groups allow. Without groups the share holds over all rows, so that of many small classes some give a row.

    Args:
        version: None is that of the data set. 1 is the rule of runs that name none: it ends a class at the first group
            that does not fit. 2 is the rule of new runs.
        least_left: groups that a class with more of them keeps, 1 or 2.

    Raises:
        PocketlensError: there is no such version.
    """
    version = dataset.hold_out if version is None else version
    if version not in (1, HOLD_OUT_VERSION):
        raise PocketlensError(
            f"the version of the hold-out must be from 1 to {HOLD_OUT_VERSION}, got {version!r}; install a newer "
            "pocketlens."
        )
    if version == 1:
        return _hold_out_1(dataset, fraction, seed, salt)
    if not len(dataset) or fraction <= 0:
        return np.zeros(len(dataset), bool)
    unit = _in_order_of_keys(_units(dataset), dataset, seed, salt)
    held = choose(_count(unit, dataset), fraction, by_seats=dataset.groups is None, least_left=least_left)
    return held[unit]


def _in_order_of_keys(unit: NDArray[np.int64], dataset: Dataset, seed: int, salt: str) -> NDArray[np.int64]:
    """(N,) the unit of each row, renumbered in the order of the units' keys."""
    n = int(unit.max()) + 1
    keys = _smallest(np.array([_key(hash_, seed, salt) for hash_ in dataset.hashes], np.int64), unit, n)
    rank = np.empty(n, np.int64)
    rank[np.argsort(keys, kind="stable")] = np.arange(n)
    return rank[unit]


def _count(unit: NDArray[np.int64], dataset: Dataset) -> Units:
    """The rows of each unit in each class."""
    _, label = np.unique(dataset.labels if dataset.strata is None else dataset.strata, return_inverse=True)
    n_classes = int(label.max()) + 1
    pairs, size = np.unique(unit * n_classes + label.reshape(-1), return_counts=True)
    return Units(pairs // n_classes, pairs % n_classes, size, int(unit.max()) + 1, n_classes)


def _hold_out_1(dataset: Dataset, fraction: float, seed: int, salt: str) -> NDArray[np.bool_]:
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
    same_image = _equal_hashes(dataset.hashes)
    if dataset.groups is None:
        return same_image
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n_images = int(same_image.max()) + 1
    _, group = np.unique(dataset.groups, return_inverse=True)
    n = n_images + int(group.max()) + 1
    edges = coo_array((np.ones(len(group)), (same_image, group.reshape(-1) + n_images)), shape=(n, n))
    component = connected_components(edges, directed=False)[1][same_image]
    return np.unique(component, return_inverse=True)[1].astype(np.int64)


def _equal_hashes(hashes: Hashes) -> NDArray[np.int64]:
    """(N,) a number for each row, the same for equal hashes."""
    words = np.ascontiguousarray(hashes).view(np.uint64)  # (N, 2)
    order = np.lexsort((words[:, 1], words[:, 0]))
    number = np.empty(len(hashes), np.int64)
    number[order] = np.cumsum(np.append(False, (np.diff(words[order].astype(np.int64), axis=0) != 0).any(axis=1)))
    return number


def _key(image_hash: NDArray[np.uint8], seed: int, salt: str) -> int:
    digest = hashlib.blake2b(image_hash.tobytes(), digest_size=8, key=f"{salt}/{seed}".encode())
    return int.from_bytes(digest.digest(), "little") >> 1


def _smallest(values: NDArray[np.int64], unit: NDArray[np.int64], n_units: int) -> NDArray[np.int64]:
    result = np.full(n_units, np.iinfo(np.int64).max, np.int64)
    np.minimum.at(result, unit, values)
    return result


TEST_FRACTION = 0.2


@dataclass(frozen=True, eq=False)
class Parts:
    """Development rows and test rows; `test` is None if the source has no official test part."""

    development: Dataset
    test: Dataset | None = None


def hold_out_test(
    hashes: Hashes, columns: dict[str, Labels], classes: tuple[str, ...], version: int = HOLD_OUT_VERSION
) -> NDArray[np.bool_]:
    """(N,) bool: the test rows of a source without official ones: 20 % of every class, by the hashes of the images.

    Groups ("groups" in `columns`) stay whole, and equal images stay together. Given validation rows ("val") are none
    of them. `version` is the rule of the hold-out.
    """
    n = len(hashes)
    if n == 0:
        return np.zeros(0, bool)
    if "val" in columns:  # the given validation rows stay as they are
        open_rows = np.flatnonzero(columns["val"] == 0)
        rest = {name: column[open_rows] for name, column in columns.items() if name != "val"}
        held = np.zeros(n, bool)
        held[open_rows] = hold_out_test(hashes[open_rows], rest, classes, version)
        return held
    pixels = np.broadcast_to(np.uint8(0), (n, 1, 1, 1))  # the hashes decide; the pixels do not matter
    groups = columns.get("groups")
    dataset = Dataset("test", pixels, columns["labels"], classes, hashes, groups=groups, hold_out=version)
    return hold_out(dataset, fraction=TEST_FRACTION, seed=0, salt="test", least_left=2)


def held_out_rows(dataset: Dataset, version: int) -> NDArray[np.bool_]:
    """(N,) bool: the rows of a data set without official test rows that `hold_out_test` holds out."""
    columns = {"labels": dataset.labels}
    if dataset.groups is not None:
        columns["groups"] = dataset.groups
    if dataset.val is not None:
        columns["val"] = dataset.val.astype(np.int64)
    return hold_out_test(dataset.hashes, columns, dataset.classes, version)
