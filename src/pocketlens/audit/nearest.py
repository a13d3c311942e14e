"""Nearest neighbours among many rows: all are compared up to MOST_EXACT rows, beyond by an approximate index (faiss).

Comparing all takes time that grows with the square of the rows: a minute for 60,000 and hours for a million. The index
looks at some thousand rows for each; how many of the true neighbours it finds is measured every time, on a sample.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import pocketlens
from pocketlens.data.sources.cache import temporary_folder
from pocketlens.errors import PocketlensError
from pocketlens.events import Step, Work

MOST_EXACT = 100_000  # images up to which all are compared with all
_SAMPLED = 256  # rows on which the recall of the index is measured
_BLOCK = 65_536  # rows that they are compared with at a time
_ROWS = 1024  # rows of which all similarities are in memory at a time
_NONE = -2.0  # a similarity below that of any two rows


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The nearest rows of R rows.

    Attributes:
        rows: (R, count) int64, the nearest first; where `similarity` is -2 there is none.
        similarity: (R, count) float32, cosines.
    """

    rows: Tensor
    similarity: Tensor

    @property
    def there(self) -> Tensor:
        """(R, count) bool: where there is a neighbour; the index may find fewer than were wanted."""
        return self.similarity > _NONE


@dataclass(frozen=True, eq=False)
class Found:
    """The neighbours for each query, and the share of the true ones among them, 0..1, measured on a sample."""

    neighbours: tuple[Neighbours, ...]
    recall: float


def is_exact(n: int) -> bool:
    """Whether all of `n` images are compared with all."""
    return n <= MOST_EXACT


def search(rows: Tensor, queries: Sequence[Tensor], count: int, what: str) -> Work[Found]:
    """The `count` nearest of `rows` for each row of each query, but not the row of the same number.

    Args:
        rows: (N, D) float32 of length 1.
        queries: each (N, D) float32 of length 1; row r shows the same image as row r of `rows`.
        count: how many neighbours.
        what: names the work in its progress.

    Raises:
        PocketlensError: the process of the index failed.
    """
    wanted = min(count + 1, len(rows))
    with temporary_folder("neighbours") as folder:
        np.save(folder / "rows.npy", rows.numpy())
        for number, query in enumerate(queries):
            np.save(folder / f"{number}.npy", query.numpy())
        yield from _run(folder, wanted, len(queries) * len(rows), what)
        found = tuple(_without_itself(_read(folder, number), count) for number in range(len(queries)))
    return Found(found, _recall(rows, queries, found, count))


def within(rows: Tensor, count: int, n: int, so_far: Step) -> Work[Neighbours]:
    """The `count` nearest of some rows for each of them: all are compared where the data set is small enough.

    Args:
        rows: (R, D) float32 of length 1.
        count: how many neighbours, fewer than R.
        n: how many images the whole data set has, which decides how the neighbours are found.
        so_far: the progress before these rows; its total is not used.

    Raises:
        PocketlensError: the process of the index failed.
    """
    if not is_exact(n):
        work = search(rows, [rows], count, so_far.what)
        found: Found = yield from _moved(work, so_far.done, n)
        return found.neighbours[0]
    similarity, places = torch.empty(len(rows), count), torch.empty(len(rows), count, dtype=torch.long)
    for start in range(0, len(rows), _ROWS):
        block = rows[start : start + _ROWS] @ rows.T  # (<= _ROWS, R) float32
        own = torch.arange(len(block))
        block[own, start + own] = _NONE
        best = block.topk(count, dim=1)
        similarity[start : start + _ROWS], places[start : start + _ROWS] = best.values, best.indices
        yield Step(so_far.what, so_far.done + start + len(block), n)
    return Neighbours(places, similarity)


def _moved(work: Work[Found], done: int, total: int) -> Work[Found]:
    """A work whose steps are a part of another's."""
    while True:
        try:
            step = next(work)
        except StopIteration as end:
            found: Found = end.value
            return found
        yield Step(step.what, done + step.done, total)


def _run(folder: Path, count: int, total: int, what: str) -> Work[None]:
    """Runs the process of the index; it ends with this one, at the latest with its next line."""
    source = str(Path(pocketlens.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (source, os.environ.get("PYTHONPATH"))))}
    module, threads = "pocketlens.audit.index_process", str(torch.get_num_threads())
    command = [sys.executable, "-m", module, str(folder), str(count), threads]
    with (
        open(folder / "errors.txt", "w+", encoding="utf-8", errors="replace") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, env=environment, text=True) as process,  # noqa: S603 - our own module
    ):
        try:
            yield Step(what, 0, total)
            assert process.stdout is not None
            for line in process.stdout:
                yield Step(what, int(line), total)
        except BaseException:
            process.kill()
            raise
        if process.wait() != 0:
            errors.seek(0)
            last = (errors.read().strip().splitlines() or ["it was killed"])[-1]
            raise PocketlensError(f"the search for neighbours failed ({last}); run the command again.")


def _read(folder: Path, number: int) -> Neighbours:
    rows, similarity = (np.load(folder / f"{name}-{number}.npy") for name in ("rows", "similarity"))
    return Neighbours(torch.from_numpy(rows), torch.from_numpy(similarity))


def _without_itself(found: Neighbours, count: int) -> Neighbours:
    """Leaves the row of the same number out, or else the farthest one."""
    own = found.rows == torch.arange(len(found.rows))[:, None]
    similarity = found.similarity.masked_fill(own | (found.rows < 0), _NONE)
    similarity, order = torch.sort(similarity, stable=True, dim=1, descending=True)
    return Neighbours(found.rows.gather(1, order)[:, :count], similarity[:, :count])


def _recall(rows: Tensor, queries: Sequence[Tensor], found: Sequence[Neighbours], count: int) -> float:
    """The share of the true neighbours of some rows that were found."""
    chosen = torch.linspace(0, len(rows) - 1, min(_SAMPLED, len(rows))).long()
    right, total = 0, 0
    for query, neighbours in zip(queries, found, strict=True):
        true = exact(rows, query[chosen], chosen, count)
        hits = neighbours.rows[chosen][:, :, None] == true.rows[:, None, :]
        right += int((hits & true.there[:, None, :] & neighbours.there[chosen][:, :, None]).sum())
        total += int(true.there.sum())
    return right / total if total else 1.0


def exact(rows: Tensor, queries: Tensor, numbers: Tensor, count: int) -> Neighbours:
    """The `count` nearest of `rows` for some queries, whose own rows are `numbers`, by comparing all."""
    best = Neighbours(torch.zeros(len(queries), 0, dtype=torch.long), torch.zeros(len(queries), 0))
    for start in range(0, len(rows), _BLOCK):
        similarity = queries @ rows[start : start + _BLOCK].T
        own = torch.nonzero((numbers >= start) & (numbers < start + similarity.shape[1]))[:, 0]
        similarity[own, numbers[own] - start] = _NONE
        values, places = similarity.topk(min(count, similarity.shape[1]), dim=1)
        joined = torch.cat([best.similarity, values], 1), torch.cat([best.rows, places + start], 1)
        values, order = joined[0].topk(min(count, joined[0].shape[1]), dim=1)
        best = Neighbours(joined[1].gather(1, order), values)
    return best
