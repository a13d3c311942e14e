"""What is reviewed: the label issues, duplicates and outliers that `pocketlens look` has kept, an item for each row.

Label issues come first, the most likely one first; then duplicates, of which only the later row is asked about unless
their labels differ; then outliers. Test images are shown beside their duplicates, without labels, and are no items.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pocketlens.audit.options import n_reviewed
from pocketlens.data.dataset import Dataset, SealedTest
from pocketlens.data.duplicates import DEVELOPMENT, TEST
from pocketlens.data.relabel import lines_of, read_corrections
from pocketlens.errors import PocketlensError
from pocketlens.files import read_json
from pocketlens.text import as_command, printable

LABEL, DUPLICATE, OUTLIER = KINDS = ("label issue", "duplicate", "outlier")
_CLOSE = ("exact", "near")  # a similar pair is probably not the same shot
_RANKS = ("autoencoder_rank", "neighbours_rank")


@dataclass(frozen=True)
class Duplicate:
    """An image that may be the same one: its part, its row, and how it differs."""

    part: str
    row: int
    judgement: str
    how: str


@dataclass(frozen=True)
class Item:
    """One image to decide on.

    Attributes:
        row: its number among the development rows.
        kinds: why it is asked about, of KINDS.
        suggested: the class that the models suggest; None where they suggest none.
        given_probability, suggested_probability: of the given and the suggested class, by the models; None likewise.
        nearest: rows of its nearest neighbours, the nearest first.
        duplicates: what may be the same image.
    """

    row: int
    kinds: tuple[str, ...]
    suggested: int | None = None
    given_probability: float | None = None
    suggested_probability: float | None = None
    nearest: tuple[int, ...] = ()
    duplicates: tuple[Duplicate, ...] = ()


@dataclass(frozen=True, eq=False)
class Findings:
    """The items of a look, in the order of the review, and the test images that are shown beside them, by row."""

    folder: Path
    items: tuple[Item, ...]
    skipped: dict[str, str]  # the checks that did not run, and why
    tests: dict[int, NDArray[np.uint8]] = field(default_factory=dict)


def find_look(pages: Sequence[Path], dataset: Dataset, command: str) -> Path:
    """The folder of the newest of several look.json whose look was at these images and labels; `command` makes one.

    Raises:
        PocketlensError: there is none.
    """
    for path in sorted(pages, key=lambda path: path.stat().st_mtime_ns, reverse=True):
        try:
            if _fingerprint(path) == dataset.fingerprint:
                return path.parent
        except PocketlensError:
            continue  # of another program, or damaged
    raise PocketlensError(f"there is no look at these images and labels here; first type: {command}")


def read_findings(folder: Path, dataset: Dataset, sealed: SealedTest) -> Findings:
    """What a look has found in a data set.

    Raises:
        PocketlensError: the folder is not that of a look, its files cannot be read, or it was at other data.
    """
    path = folder / "look.json"
    if _fingerprint(path) != dataset.fingerprint:
        again = as_command(["pocketlens", "look", dataset.text, "--out", str(folder)])
        raise PocketlensError(f"{folder} must be a look at these images and labels, and is not; look again: {again}")
    items = _label_items(folder, dataset)
    for each in (*_duplicate_items(folder, dataset), *_outlier_items(folder, dataset)):
        before = items.get(each.row)
        items[each.row] = each if before is None else _joined(before, each)
    near = _nearest(folder, len(dataset))
    found = tuple(replace(item, nearest=near.get(row, ())) for row, item in items.items())
    skipped = read_json(path).get("skipped")
    tests = {each.row for item in found for each in item.duplicates if each.part == TEST}
    return Findings(folder, found, skipped if isinstance(skipped, dict) else {}, _test_images(sealed, tests))


def _joined(one: Item, other: Item) -> Item:
    kinds = tuple(kind for kind in KINDS if kind in (*one.kinds, *other.kinds))
    return replace(one, kinds=kinds, duplicates=(*one.duplicates, *other.duplicates))


def _fingerprint(path: Path) -> str:
    value = read_json(path)
    if not isinstance(value, dict) or not isinstance(value.get("fingerprint"), str):
        raise PocketlensError(f"{path} must be the look.json of pocketlens look, and is not.")
    return str(value["fingerprint"])


def _label_items(folder: Path, dataset: Dataset) -> dict[int, Item]:
    path, number = folder / "labels.csv", {name: label for label, name in enumerate(dataset.classes)}
    if not path.is_file():
        return {}
    items = {}
    for row, line in lines_of(dataset, read_corrections(path), str(path)):
        cells = line.cells
        given, suggested = (_probability(cells.get(f"{name}_probability", "")) for name in ("given", "suggested"))
        items[row] = Item(row, (LABEL,), number.get(cells["suggested"]), given, suggested)
    return items


def _duplicate_items(folder: Path, dataset: Dataset) -> Iterator[Item]:
    """The later row of each pair, both where their labels differ, and the development row beside a test image."""
    pairs = [row for row in _rows(folder / "duplicates.csv") if row.get("judgement") in _CLOSE]
    for cells in pairs:
        judgement, how = cells["judgement"], cells.get("how", "")
        first, second = (_number(cells, f"row_{side}", folder / "duplicates.csv") for side in "ab")
        parts = cells.get("part_a", ""), cells.get("part_b", "")
        if parts == (DEVELOPMENT, DEVELOPMENT) and max(first, second) < len(dataset):
            yield Item(second, (DUPLICATE,), duplicates=(Duplicate(DEVELOPMENT, first, judgement, how),))
            if dataset.labels[first] != dataset.labels[second]:
                yield Item(first, (DUPLICATE,), duplicates=(Duplicate(DEVELOPMENT, second, judgement, how),))
        elif parts == (DEVELOPMENT, TEST) and first < len(dataset):
            yield Item(first, (DUPLICATE,), duplicates=(Duplicate(TEST, second, judgement, how),))


def _outlier_items(folder: Path, dataset: Dataset) -> Iterator[Item]:
    """The rows that the methods rank highest, by the better of their ranks."""
    path, most = folder / "outliers.csv", n_reviewed(len(dataset))
    best: dict[int, int] = {}
    for cells in _rows(path):
        ranks = [_number(cells, name, path) for name in _RANKS if name in cells]
        row = _number(cells, "row", path)
        if ranks and min(ranks) <= most and row < len(dataset):
            best[row] = min(ranks)
    for row in sorted(best, key=lambda row: (best[row], row)):
        yield Item(row, (OUTLIER,))


def _nearest(folder: Path, n: int) -> dict[int, tuple[int, ...]]:
    """The nearest rows of each row; looks of before have not kept them."""
    path, found = folder / "nearest.csv", {}
    for cells in _rows(path):
        near = [int(word) for word in cells.get("nearest", "").split() if word.isascii() and word.isdigit()]
        found[_number(cells, "row", path)] = tuple(row for row in near if row < n)
    return found


def _test_images(sealed: SealedTest, wanted: set[int]) -> dict[int, NDArray[np.uint8]]:
    images: dict[int, NDArray[np.uint8]] = {}
    start = 0
    for chunk in sealed.images_without_labels() if wanted else ():
        images |= {row: chunk[row - start] for row in wanted if start <= row < start + len(chunk)}
        start += len(chunk)
    return images


def _rows(path: Path) -> list[dict[str, str]]:
    """The lines of a CSV by column; none where there is no file."""
    if not path.is_file():
        return []
    try:
        lines = list(csv.DictReader(io.StringIO(read_corrections(path), newline="")))
    except csv.Error as error:
        raise PocketlensError(f"{printable(str(path))} must be a CSV file: {error}.") from None
    return [{str(name): cell or "" for name, cell in line.items()} for line in lines]


def _number(cells: dict[str, str], name: str, path: Path) -> int:
    text = cells.get(name, "")
    if not (text.isascii() and text.isdigit()):
        raise PocketlensError(
            f"{printable(str(path))}: {name} must be a whole number, got {printable(text)!r}; look again."
        )
    return int(text)


def _probability(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value <= 1 else None
