"""Loading data for a call: the development rows and their split, corrected labels, and the sealed test part."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pocketlens.api.requests import DataRequest
from pocketlens.data.relabel import Corrections, read_corrections, relabel
from pocketlens.data.split import Split, fewer_rows, make_split
from pocketlens.datasets import load
from pocketlens.events import Events, Fact

if TYPE_CHECKING:
    from pocketlens.data.dataset import Dataset, SealedTest


@dataclass(frozen=True, eq=False)
class LoadedData:
    """Development rows with the labels to train on, the sealed test part, the split, and what was corrected."""

    dataset: Dataset
    sealed: SealedTest
    split: Split
    corrections: Corrections | None = None


def load_data(request: DataRequest) -> Events[LoadedData]:
    """Loads and splits the data, and says what it is.

    Raises:
        PocketlensError: the data cannot be read, or it leaves nothing to train on.
    """
    dataset, sealed = load(request.dataset, request.data)
    split = make_split(dataset, val_fraction=request.val_fraction, seed=request.split_seed)
    split = replace(split, n_test=len(sealed))
    height, width, channels = dataset.shape
    text = f"{dataset.text}: {len(dataset):,} images of {height} x {width} x {channels}"
    kept_apart = f"{len(sealed):,} test images stay sealed" if len(sealed) else "no test images"
    yield Fact("data", f"{text}, {len(dataset.classes)} classes; {kept_apart}")
    for note in (*dataset.notes, *split.notes):
        yield Fact("", note)
    yield Fact("split", f"{len(split.train):,} train, {len(split.val):,} validation")
    kept = fewer_rows(split, dataset, request.rows)
    if kept is not split:
        yield Fact("rows", f"{len(kept.train):,} of the {len(split.train):,} training images")
    if request.relabel is None:
        return LoadedData(dataset, sealed, kept)
    changed, corrections = relabel(dataset, read_corrections(request.relabel), str(request.relabel))
    if not corrections.n:
        yield Fact("relabel", f"{request.relabel} has no decisions, so no label changes")
        return LoadedData(dataset, sealed, kept)
    made = f"{corrections.n:,} labels corrected by {request.relabel} ({corrections.hash}); split unchanged"
    yield Fact("relabel", made)
    return LoadedData(changed, sealed, kept, corrections)
