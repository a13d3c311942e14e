"""Duplicates: pairs of rows that show the same picture, and which test rows they contaminate.

`audit/duplicates.py` finds them; here they are kept with the decoded data, and read by what opens the test part. Pairs
with equal pixels need no search: `exact_pairs` has them from the hashes.
"""

from __future__ import annotations

import csv
import hashlib
import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketlens.data.dataset import Dataset, Hashes, SealedTest
from pocketlens.files import cache_folder, write_with

DEVELOPMENT, TEST = "development", "test"
JUDGEMENTS = ("exact", "near", "similar")
MOST_COPIES = 10  # equal images of which every pair is listed; of more, each is paired with the first alone

Texts = NDArray[np.str_]
Numbers = NDArray[np.int64]
Pairs = tuple[Numbers, Numbers, NDArray[np.float32], Texts, Texts]
_VERSION = 1  # of the search and of the file: raise it, and stored lists are no longer read
_COLUMNS = ("part_a", "row_a", "part_b", "row_b", "distance", "judgement", "how")


@dataclass(frozen=True, eq=False)
class Duplicates:
    """M pairs of rows. The first of a pair is never a test row where the second is a development row.

    Attributes:
        part_a, part_b: (M,) text, "development" or "test".
        row_a, row_b: (M,) int64, row numbers in these parts.
        distance: (M,) float32, 0 for equal pixels; what is left of the difference after the best alignment, 0..1.
        judgement: (M,) text. "exact": equal in every pixel, or all but equal; "near": the same shot, shifted,
            recoloured, rescaled or mirrored; "similar": hard to tell apart, probably not the same shot.
        how: (M,) text, what makes the second from the first: "copied", or some of "shifted", "recoloured", "rescaled"
            and "mirrored", joined by ", ".
        n_development, n_test: how many images were compared.
        complete: near duplicates were searched for, not only equal pixels.
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
        """How many pairs: ["within development", "development and test" or "within test"][judgement]."""
        in_test = (self.part_a == TEST).astype(int) + (self.part_b == TEST)
        names = ("within development", "development and test", "within test")
        return {
            name: {kind: int(((in_test == number) & (self.judgement == kind)).sum()) for kind in JUDGEMENTS}
            for number, name in enumerate(names)
        }

    def contaminated(self) -> Numbers:
        """The test rows that show a picture of the development rows, exactly or nearly; sorted, each once.

        A copy of a contaminated test row is contaminated too.
        """
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        first = self.row_a + self.n_development * (self.part_a == TEST)
        second = self.row_b + self.n_development * (self.part_b == TEST)
        n = self.n_development + self.n_test
        exact, near = self.judgement == "exact", self.judgement == "near"
        links = coo_array((np.ones(int(exact.sum()), np.int8), (first[exact], second[exact])), shape=(n, n))
        _, image = connected_components(links, directed=False)  # (N,) rows with equal pixels have the same number
        developed = np.zeros(n, bool)
        developed[image[: self.n_development]] = True
        reached = developed.copy()
        for a, b in ((first, second), (second, first)):
            reached[image[a[near & developed[image[b]]]]] = True
        return np.flatnonzero(reached[image[self.n_development :]])

    def lines(self) -> list[str]:
        """The counts as a person reads them."""
        searched = "exact, near and similar" if self.complete else "equal pixels only"
        lines = [f"duplicates ({searched}) among {self.n_development:,} development and {self.n_test:,} test images"]
        lines += [
            f"  {name:<21}" + ", ".join(f"{count:,} {kind}" for kind, count in row.items())
            for name, row in self.counts().items()
        ]
        lines.append(f"  {len(self.contaminated()):,} test images show a picture of the development rows")
        return [*lines, *self.notes]

    def to_dict(self) -> dict[str, Any]:
        """All pairs and the counts, as JSON holds them."""
        return {
            "n_development": self.n_development,
            "n_test": self.n_test,
            "complete": self.complete,
            "counts": self.counts(),
            "contaminated_test_rows": self.contaminated().tolist(),
            "notes": list(self.notes),
            "pairs": [dict(zip(_COLUMNS, pair, strict=True)) for pair in self._rows()],
        }

    def csv(self) -> str:
        """The pairs as CSV text, the closest kinds first."""
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
    first, second, notes = copies(np.concatenate([dataset.hashes, sealed.hashes]))
    n = len(first)
    pairs = (first, second, np.zeros(n, np.float32), np.full(n, "exact"), np.full(n, "copied"))
    return _make(pairs, (len(dataset), len(sealed)), complete=False, notes=notes)


def join_pairs(exact: Duplicates, pairs: Pairs, notes: tuple[str, ...]) -> Duplicates:
    """The exact pairs and others, sorted: exact ones first, the closest first.

    Args:
        exact: from `exact_pairs`.
        pairs: first row, second row, distance, judgement and how; rows count through both parts, development first.
        notes: what a person should know.
    """
    sizes = (exact.n_development, exact.n_test)
    rows = [exact.row_a + sizes[0] * (exact.part_a == TEST), exact.row_b + sizes[0] * (exact.part_b == TEST)]
    both = (
        np.concatenate([rows[0], pairs[0]]),
        np.concatenate([rows[1], pairs[1]]),
        np.concatenate([exact.distance, pairs[2]]),
        np.concatenate([exact.judgement, pairs[3]]),
        np.concatenate([exact.how, pairs[4]]),
    )
    return _make(both, sizes, complete=True, notes=notes)


def _make(pairs: Pairs, sizes: tuple[int, int], *, complete: bool, notes: tuple[str, ...]) -> Duplicates:
    first, second, distance, judgement, how = pairs
    rank = np.searchsorted(JUDGEMENTS, judgement)  # they are in the order of the alphabet
    order = np.lexsort((second, first, distance, rank))
    sides = []
    for rows in (first[order], second[order]):
        is_test = rows >= sizes[0]
        sides += [np.where(is_test, TEST, DEVELOPMENT), rows - sizes[0] * is_test]
    columns = (distance[order].astype(np.float32), judgement[order], how[order])
    return Duplicates(sides[0], sides[1], sides[2], sides[3], *columns, *sizes, complete, notes)


def copies(hashes: Hashes) -> tuple[Numbers, Numbers, tuple[str, ...]]:
    """Pairs of rows with equal hashes, and a note where some have so many copies that not every pair is listed."""
    order = np.lexsort(hashes.T[::-1])
    ordered = hashes[order]
    starts = np.flatnonzero(np.r_[True, (ordered[1:] != ordered[:-1]).any(axis=1)][: len(order)])
    groups = [np.sort(group) for group in np.split(order, starts[1:]) if len(group) > 1] if len(order) else []
    first, second = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for group in groups:
        if len(group) > MOST_COPIES:
            first.append(np.full(len(group) - 1, group[0]))
            second.append(group[1:])
        else:
            upper, lower = np.triu_indices(len(group), 1)
            first.append(group[upper])
            second.append(group[lower])
    many = [len(group) for group in groups if len(group) > MOST_COPIES]
    notes = (
        (
            f"{len(many)} images have more than {MOST_COPIES} copies (the most: {max(many):,}); each copy is paired "
            "with the first one alone",
        )
        if many
        else ()
    )
    return np.concatenate(first), np.concatenate(second), notes


def known_duplicates(dataset: Dataset, sealed: SealedTest) -> Duplicates:
    """The stored list where this data has been searched, else the pairs with equal pixels."""
    stored = read_duplicates(dataset, sealed)
    return exact_pairs(dataset, sealed) if stored is None else stored


def write_duplicates(dataset: Dataset, sealed: SealedTest, found: Duplicates) -> Path:
    """Keeps a list with the decoded data; gives its path.

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
    """The stored list, or None where there is none or it cannot be read."""
    try:
        with open(_path(dataset, sealed), "rb") as file, np.load(file, allow_pickle=False) as arrays:
            n_development, n_test, complete = arrays["sizes"].tolist()
            columns = {name: arrays[name] for name in _COLUMNS}
            notes = tuple(arrays["notes"].tolist())
        sizes = {"n_development": n_development, "n_test": n_test, "complete": bool(complete)}
        found = Duplicates(**columns, **sizes, notes=notes)
        fits = (n_development, n_test) == (len(dataset), len(sealed)) and len(set(map(len, columns.values()))) == 1
        return found if fits else None
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
        return None


def _path(dataset: Dataset, sealed: SealedTest) -> Path:
    """One file for the images of both parts in their order: labels do not matter, so fine and coarse share it."""
    digest = hashlib.blake2b(repr((_VERSION, len(dataset), len(sealed))).encode(), digest_size=16)
    for hashes in (dataset.hashes, sealed.hashes):
        digest.update(np.ascontiguousarray(hashes).tobytes())
    return cache_folder() / "duplicates" / f"{digest.hexdigest()}.npz"
