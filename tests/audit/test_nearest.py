"""Neighbours: the index finds those that comparing all finds, and says what share; where it fails, it says so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from made_images import parts
from test_alignment import pictures

from pocketlens.audit import nearest
from pocketlens.audit.candidates import find_candidates
from pocketlens.audit.near_duplicates import find_duplicates
from pocketlens.audit.nearest import search, within
from pocketlens.data.scratch import scratch_array
from pocketlens.errors import PocketlensError
from pocketlens.events import Step, finish


def clusters(n: int, seed: int = 0) -> torch.Tensor:
    """(n, 16) float32 of length 1: pairs of rows that lie close together."""
    generator = torch.Generator().manual_seed(seed)
    middles = torch.randn(n // 2, 16, generator=generator).repeat(2, 1)
    return torch.nn.functional.normalize(middles + 0.05 * torch.randn(n, 16, generator=generator), dim=1)


def test_the_index_finds_the_true_neighbours_and_measures_its_recall() -> None:
    rows = clusters(2000)
    work = search(rows, [rows, rows.flip(1)], 3, "finding neighbours")
    steps = []
    while True:
        try:
            steps.append(next(work))
        except StopIteration as end:
            found = end.value
            break
    assert (steps[-1].done, steps[-1].total) == (4000, 4000)
    own, other = found.neighbours
    assert own.rows.shape == (2000, 3)
    assert (own.rows != torch.arange(2000)[:, None]).all()  # not itself
    twin = (torch.arange(2000) + 1000) % 2000
    assert (own.rows[:, 0] == twin).float().mean() > 0.99
    true = nearest.exact(rows, rows, torch.arange(2000), 3)
    assert torch.allclose(true.similarity[:, 0], own.similarity[:, 0], atol=1e-5)
    assert 0.9 < found.recall <= 1
    assert (other.rows[:, 0] != twin).any()


def test_few_rows_and_blocks_give_the_same_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = clusters(50)
    whole = finish(within(rows, 4, 50, Step("x", 0, 0)))
    monkeypatch.setattr(nearest, "_ROWS", 7)
    monkeypatch.setattr(nearest, "_BLOCK", 11)
    blocks = finish(within(rows, 4, 50, Step("x", 0, 0)))
    assert torch.equal(whole.rows, blocks.rows)
    assert torch.equal(nearest.exact(rows, rows, torch.arange(50), 4).rows, whole.rows)
    assert whole.there.all()


def test_a_search_that_fails_says_so_in_one_line() -> None:
    rows = clusters(50)
    with pytest.raises(PocketlensError, match=r"the search for neighbours failed \(.*\); run the command again"):
        finish(search(rows[:0], [rows[:0]], 3, "x"))


@pytest.mark.slow
def test_of_many_images_the_index_gives_the_same_duplicates(monkeypatch: pytest.MonkeyPatch) -> None:
    images = pictures(330).byte()
    images[300:310] = images[:10].flip(3)  # mirrored
    images[310:320] = torch.roll(images[10:20], (2, 2), (2, 3))
    development, test = np.split(np.ascontiguousarray(images.permute(0, 2, 3, 1).numpy()), [300])
    data = parts(development, test)
    all_compared = finish(find_duplicates(*data, keep=False))
    assert finish(find_candidates(images)).recall is None
    monkeypatch.setattr(nearest, "MOST_EXACT", 100)
    found = finish(find_duplicates(*data, keep=False))
    assert found.row_a.tolist() == all_compared.row_a.tolist()
    assert found.judgement.tolist() == all_compared.judgement.tolist()
    assert len(found.contaminated()) == 20
    assert "searched with an approximate index (faiss), which found 100.0 % of the true ones" in found.notes[-1]
    assert all_compared.notes == ()


def test_large_arrays_lie_in_files(monkeypatch: pytest.MonkeyPatch) -> None:
    assert type(scratch_array((10, 3), np.float32)) is np.ndarray
    monkeypatch.setattr("pocketlens.data.scratch.LARGE", 100)
    large = scratch_array((10, 3), np.float32)
    assert isinstance(large, np.memmap)
    large[:] = 2
    assert torch.from_numpy(large).sum() == 60
    assert type(scratch_array((0, 3), np.float32)) is np.ndarray
    monkeypatch.setattr("tempfile.TemporaryFile", _full)
    assert type(scratch_array((10, 3), np.float32)) is np.ndarray


def _full(dir: Path) -> None:
    raise OSError(28, "No space left on device")
