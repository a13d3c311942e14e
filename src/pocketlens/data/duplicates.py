"""Duplicates: pairs of rows that show the same image, and which test rows they contaminate.

`audit/near_duplicates.py` finds them; this file stores them with the decoded data, for the code that opens the test
part. Pairs with equal pixels need no search: `exact_pairs` finds them by their hashes.
"""

from __future__ import annotations

import csv
import hashlib
import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketlens.data.dataset import Dataset, Hashes, SealedTest
from pocketlens.files import cache_folder, write_with
from pocketlens.text import counted

DEVELOPMENT, TEST = "development", "test"
JUDGEMENTS = ("exact", "near", "similar")
NEARLY_EQUAL = "nearly equal"  # how two images differ that are the same but for noise
MOST_COPIES = (
    10  # up to so many equal images are listed as all their pairs; of more, each is paired with the first only
)

Texts = NDArray[np.str_]
Numbers = NDArray[np.int64]
_VERSION = 2  # of the search and of the file; after a change, stored lists are no longer read
_COLUMNS = ("part_a", "row_a", "part_b", "row_b", "distance", "judgement", "how")


@dataclass(frozen=True, eq=False)
class Pairs:
    """M pairs of rows that count through both parts, development rows first; the other fields as in `Duplicates`."""

    first: Numbers
    second: Numbers
    distance: NDArray[np.float32]
    judgement: Texts
    how: Texts


@dataclass(frozen=True, eq=False)
class Duplicates:
    """M pairs of rows. In a pair across both parts the development row comes first.

    Attributes:
        part_a: (M,) text, "development" or "test".
        row_a: (M,) int64, row numbers in that part.
        part_b: as `part_a`, for the second image.
        row_b: as `row_a`, for the second image.
        distance: (M,) float32, 0..1: the difference that remains after the best alignment; 0 for equal pixels.
        judgement: (M,) text. "exact": equal in every pixel; "near": the same shot, nearly equal, shifted, recoloured,
            rescaled, mirrored or, as a pretrained body tells, turned or cut; "similar": hard to tell apart, but
            probably not the same shot.
        how: (M,) text, how the second image differs from the first: "copied", "nearly equal", or some of "shifted",
            "recoloured", "rescaled", "mirrored" and "turned or cut", joined by ", ".
        n_development: how many development images were compared.
        n_test: how many test images were compared.
        complete: whether near duplicates were searched for, not only equal pixels.
        notes: what a person should know, such as pairs that are not listed.
    """

    part_a: Texts
    row_a: Numbers
    part_b: Texts
    row_b: Numbers
    distance: NDArray[np.float32]
    judgement: Texts
    how: Texts
    n_development: int
    n_test: int
    complete: bool
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.row_a)

    def counts(self) -> dict[str, dict[str, int]]:
        """The number of pairs, by parts ("within development", "development and test", "within test") and judgement."""
        in_test = (self.part_a == TEST).astype(int) + (self.part_b == TEST)
        names = ("within development", "development and test", "within test")
        return {
            name: {kind: int(((in_test == number) & (self.judgement == kind)).sum()) for kind in JUDGEMENTS}
            for number, name in enumerate(names)
        }

    def contaminated(self) -> Numbers:
        """The test rows that are exact or near duplicates of a development row; sorted, each once.

        An exact or nearly equal copy of a contaminated test row is contaminated too.
        """
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        first = self.row_a + self.n_development * (self.part_a == TEST)
        second = self.row_b + self.n_development * (self.part_b == TEST)
        n = self.n_development + self.n_test
        near = self.judgement == "near"
        equal = (self.judgement == "exact") | (near & (self.how == NEARLY_EQUAL))
        links = coo_array((np.ones(int(equal.sum()), np.int8), (first[equal], second[equal])), shape=(n, n))
        _, image = connected_components(links, directed=False)  # (N,) rows with equal pixels have the same number
        developed = np.zeros(n, bool)
        developed[image[: self.n_development]] = True
        reached = developed.copy()
        for a, b in ((first, second), (second, first)):
            reached[image[a[near & developed[image[b]]]]] = True
        return np.flatnonzero(reached[image[self.n_development :]])

    def lines(self) -> list[str]:
        """The counts as lines of text."""
        searched = "exact, near and similar" if self.complete else "equal pixels only"
        lines = [
            f"duplicates ({searched}) among {self.n_development:,} development and {counted(self.n_test, 'test image')}"
        ]
        lines += [
            f"  {name:<21}" + ", ".join(f"{count:,} {kind}" for kind, count in row.items())
            for name, row in self.counts().items()
        ]
        lines.append(
            f"  test images with an exact or near duplicate in the development rows: {len(self.contaminated()):,}"
        )
        return [*lines, *self.notes]

    def to_dict(self) -> dict[str, Any]:
        """All pairs and the counts, as JSON holds them."""
        return {**self.summary(), "pairs": [dict(zip(_COLUMNS, pair, strict=True)) for pair in self._rows()]}

    def summary(self) -> dict[str, Any]:
        """The counts, as JSON holds them, without the pairs."""
        return {
            "n_development": self.n_development,
            "n_test": self.n_test,
            "complete": self.complete,
            "counts": self.counts(),
            "contaminated_test_rows": self.contaminated().tolist(),
            "notes": list(self.notes),
        }

    def csv(self) -> str:
        """The pairs as CSV text, the closest first."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(_COLUMNS)
        writer.writerows(self._rows())
        return text.getvalue()

    def _rows(self) -> Iterator[tuple[Any, ...]]:
        columns = [getattr(self, name).tolist() for name in _COLUMNS]
        for pair in zip(*columns, strict=True):
            yield tuple(round(value, 4) if isinstance(value, float) else value for value in pair)


def exact_pairs(dataset: Dataset, sealed: SealedTest) -> Duplicates:
    """The pairs with equal pixels, from the hashes alone; sorted by row."""
    groups = _equal_groups(np.concatenate([dataset.hashes, sealed.hashes]))
    first, second = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for group in groups:
        if len(group) > MOST_COPIES:
            first.append(np.full(len(group) - 1, group[0]))
            second.append(group[1:])
        else:
            upper, lower = np.triu_indices(len(group), 1)
            first.append(group[upper])
            second.append(group[lower])
    n = sum(map(len, first))
    distance, judgement, how = np.zeros(n, np.float32), np.full(n, "exact"), np.full(n, "copied")
    pairs = Pairs(np.concatenate(first), np.concatenate(second), distance, judgement, how)
    many = [len(group) for group in groups if len(group) > MOST_COPIES]
    note = (
        f"{counted(len(many), 'image has', 'images have')} more than {MOST_COPIES} copies (the most: "
        f"{max(many, default=0):,}); each copy is "
        "paired only with the first one"
    )
    return _make(pairs, (len(dataset), len(sealed)), complete=False, notes=(note,) if many else ())


def join_pairs(exact: Duplicates, pairs: Pairs, notes: tuple[str, ...]) -> Duplicates:
    """The exact pairs of `exact_pairs` and others, sorted: exact ones first, the closest first."""
    sizes = (exact.n_development, exact.n_test)
    both = Pairs(
        np.concatenate([exact.row_a + sizes[0] * (exact.part_a == TEST), pairs.first]),
        np.concatenate([exact.row_b + sizes[0] * (exact.part_b == TEST), pairs.second]),
        np.concatenate([exact.distance, pairs.distance]),
        np.concatenate([exact.judgement, pairs.judgement]),
        np.concatenate([exact.how, pairs.how]),
    )
    return _make(both, sizes, complete=True, notes=notes)


def _make(pairs: Pairs, sizes: tuple[int, int], *, complete: bool, notes: tuple[str, ...]) -> Duplicates:
    rank = np.searchsorted(JUDGEMENTS, pairs.judgement)  # the judgements are in alphabetical order
    order = np.lexsort((pairs.second, pairs.first, pairs.distance, rank))
    sides = []
    for rows in (pairs.first[order], pairs.second[order]):
        is_test = rows >= sizes[0]
        sides += [np.where(is_test, TEST, DEVELOPMENT), rows - sizes[0] * is_test]
    columns = (pairs.distance[order].astype(np.float32), pairs.judgement[order], pairs.how[order])
    return Duplicates(sides[0], sides[1], sides[2], sides[3], *columns, *sizes, complete, notes)


def _equal_groups(hashes: Hashes) -> list[Numbers]:
    """The rows of each hash that several rows share, in ascending order."""
    if not len(hashes):
        return []
    order = np.lexsort(hashes.T[::-1])
    ordered = hashes[order]
    starts = np.append(0, np.flatnonzero((ordered[1:] != ordered[:-1]).any(axis=1)) + 1)
    ends = np.append(starts[1:], len(order))
    several = ends - starts > 1  # most hashes occur once
    return [np.sort(order[start:end]) for start, end in zip(starts[several], ends[several], strict=True)]


def known_duplicates(dataset: Dataset, sealed: SealedTest) -> Duplicates:
    """The stored list if this data has been searched before, otherwise the pairs with equal pixels."""
    stored = read_duplicates(dataset, sealed)
    return exact_pairs(dataset, sealed) if stored is None else stored


def write_duplicates(dataset: Dataset, sealed: SealedTest, found: Duplicates) -> Path:
    """Stores a list with the decoded data and returns its path.

    Raises:
        OSError: the cache cannot be written.
    """
    path = _path(dataset, sealed)
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {name: getattr(found, name) for name in _COLUMNS}
    arrays["sizes"] = np.array([found.n_development, found.n_test, int(found.complete)])
    arrays["notes"] = np.array(found.notes, dtype=np.str_)
    write_with(path, lambda file: np.savez_compressed(file, **arrays))
    return path


def read_duplicates(dataset: Dataset, sealed: SealedTest) -> Duplicates | None:
    """The stored list, or None if there is none or it cannot be read.

    Where pictures have been brought to another size since the search, the list of that size counts: its rows are the
    same.
    """
    own, images = _path(dataset, sealed), _images(dataset, sealed)
    others = sorted(own.parent.glob(f"{images}*.npz")) if own.parent.is_dir() else []
    lists = (_read(path, dataset, sealed) for path in (own, *(path for path in others if path != own)))
    return next((found for found in lists if found is not None), None)


def _read(path: Path, dataset: Dataset, sealed: SealedTest) -> Duplicates | None:
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            n_development, n_test, complete = arrays["sizes"].tolist()
            columns = {name: arrays[name] for name in _COLUMNS}
            notes = tuple(arrays["notes"].tolist())
        sizes = {"n_development": n_development, "n_test": n_test, "complete": bool(complete)}
        found = Duplicates(**columns, **sizes, notes=notes)
        fits = (n_development, n_test) == (len(dataset), len(sealed)) and len(set(map(len, columns.values()))) == 1
        return _with_equal_alone(found, dataset, sealed) if fits else None
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
        return None


def _with_equal_alone(found: Duplicates, dataset: Dataset, sealed: SealedTest) -> Duplicates:
    """A list in which pairs are exact where their pixels are equal alone; lists of before had nearly equal ones too."""
    hashes = [
        np.where((part == TEST)[:, None], _hashes_at(sealed.hashes, row), _hashes_at(dataset.hashes, row))
        for part, row in ((found.part_a, found.row_a), (found.part_b, found.row_b))
    ]
    nearly = (found.judgement == "exact") & (hashes[0] != hashes[1]).any(axis=1)
    if not nearly.any():
        return found
    judgement, how = np.where(nearly, "near", found.judgement), np.where(nearly, NEARLY_EQUAL, found.how)
    return replace(found, judgement=judgement, how=how)


def _hashes_at(hashes: Hashes, rows: Numbers) -> Hashes:
    """The hashes of rows that may be of the other part: any, where there is no such row."""
    return hashes[np.minimum(rows, len(hashes) - 1)] if len(hashes) else np.zeros((len(rows), 16), np.uint8)


def _path(dataset: Dataset, sealed: SealedTest) -> Path:
    """One file for the images of both parts in their order, whatever their labels: fine and coarse labels share it."""
    name = _images(dataset, sealed)
    if dataset.is_resized:  # the hashes are those of the source, the search compares what became of it
        height, width, channels = dataset.shape
        name += f"-{height}x{width}x{channels}-{dataset.fit}"
    return cache_folder() / "duplicates" / f"{name}.npz"


def _images(dataset: Dataset, sealed: SealedTest) -> str:
    """What the images of both parts have in common at every size."""
    digest = hashlib.blake2b(repr((_VERSION, len(dataset), len(sealed))).encode(), digest_size=16)
    for hashes in (dataset.hashes, sealed.hashes):
        digest.update(np.ascontiguousarray(hashes).tobytes())
    return digest.hexdigest()
