"""Loading data for a call: the development rows and their split, corrected labels, and the sealed test part."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from pocketlens.api.requests import DataRequest
from pocketlens.data.relabel import Corrections, read_corrections, relabel
from pocketlens.data.sizes import FROM_SCRATCH, Aim
from pocketlens.data.split import HOLD_OUT_VERSION, Split, fewer_rows, make_split
from pocketlens.datasets import load, share_source, sized_as
from pocketlens.errors import PocketlensError
from pocketlens.events import Events, Fact, watched
from pocketlens.text import counted

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pocketlens.data.dataset import Dataset, SealedTest
    from pocketlens.recipe import Recipe
    from pocketlens.training.run import Run


@dataclass(frozen=True, eq=False)
class LoadedData:
    """Development rows with the labels to train on, the sealed test part, the split, and what was corrected."""

    dataset: Dataset
    sealed: SealedTest
    split: Split
    corrections: Corrections | None = None


def aim_at(recipe: Recipe, sources: Sequence[Run] = (), *, minutes: float | None = None, device: str = "cpu") -> Aim:
    """What pictures are sized for: a recipe, and the images of the first run that is started from, if any."""
    side = None
    if sources:
        from pocketlens.training.model_facts import ModelFacts

        facts = ModelFacts.of(sources[0].checkpoint(), f"run {sources[0].id}")
        side = min(facts.image_shape[:2])
    return Aim(recipe.model, recipe.prepare, minutes, device, side)


def sources_of(recipe: Recipe, runs: Path) -> tuple[Run, ...]:
    """The run that a recipe starts from, as a tuple; empty where it starts from none."""
    if recipe.start is None:
        return ()
    from pocketlens.training.run import Run

    return (Run.open(recipe.start, runs),)


def version_for(text: str, sources: Sequence[Run]) -> int:
    """The version of the hold-out rule for a data set: that of the runs that have trained on the same pictures.

    So what those runs have trained on is never among the test rows.

    Raises:
        PocketlensError: several such runs hold out different test rows, or another size would.
    """
    related = [run for run in sources if share_source(run.experiment.data, text)]
    versions = {run.experiment.hold_out for run in related}
    if len(versions) > 1:
        named = ", ".join(run.id for run in related)
        raise PocketlensError(
            f"the runs {named} hold out different test rows, so each may have been trained on test rows of the others; "
            "start from runs with the same test rows."
        )
    version = versions.pop() if versions else HOLD_OUT_VERSION
    sizes = {sized_as(run.experiment.data) for run in related}
    if version == 1 and sized_as(text) not in ("", *sizes):  # its test rows depend on the size
        raise PocketlensError(
            f"run {related[0].id} was made by an earlier rule, under which each size has its own test rows, so it was "
            f'trained on some of these; give the data as "{related[0].experiment.data}".'
        )
    return version


def load_data(request: DataRequest, aim: Aim = FROM_SCRATCH, sources: Sequence[Run] = ()) -> Events[LoadedData]:
    """Loads and splits the data, and says what it is.

    Args:
        request: which data.
        aim: what pictures are sized for where no size is typed.
        sources: the runs that are started from.

    Raises:
        PocketlensError: the data cannot be read, or it leaves nothing to train on.
    """
    version = version_for(request.dataset, sources)
    read = partial(load, request.dataset, request.data, version=version, aim=aim)
    dataset, sealed = yield from watched(lambda tally: read(tally=tally))
    split = make_split(dataset, val_fraction=request.val_fraction, seed=request.split_seed)
    split = replace(split, n_test=len(sealed))
    height, width, channels = dataset.shape
    text = f"{dataset.text}: {counted(len(dataset), 'image')} of {height} x {width} x {channels}"
    kept_apart = (
        (f"{counted(len(sealed), 'test image stays', 'test images stay')} sealed") if len(sealed) else "no test images"
    )
    yield Fact("data", f"{text}, {counted(len(dataset.classes), 'class')}; {kept_apart}")
    if version != HOLD_OUT_VERSION:
        yield Fact("", "the test rows are held out by the rule of the run that it starts from, an earlier one")
    for note in (*dataset.notes, *split.notes):
        yield Fact("", note)
    yield Fact("split", f"{len(split.train):,} train, {len(split.val):,} validation")
    kept = fewer_rows(split, dataset, request.rows)
    if kept is not split:
        yield Fact("rows", f"{len(kept.train):,} of the {counted(len(split.train), 'training image')}")
    if request.relabel is None:
        return LoadedData(dataset, sealed, kept)
    changed, corrections = relabel(dataset, read_corrections(request.relabel), str(request.relabel))
    if corrections.is_empty:
        yield Fact("relabel", f"{request.relabel} has no decisions, so no label changes")
        return LoadedData(dataset, sealed, kept)
    left = corrections.without_dropped(kept)
    stays = "split unchanged" if not corrections.dropped else "the other images keep their part"
    yield Fact("relabel", f"{request.relabel}: {corrections.said()} ({corrections.hash}); {stays}")
    return LoadedData(changed, sealed, left, corrections)
