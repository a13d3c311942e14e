"""The data of a run: its development rows with the labels on which it was trained, and its sealed test part."""

from __future__ import annotations

from pathlib import Path

from pocketlens.data.dataset import Dataset, SealedTest
from pocketlens.data.relabel import relabel
from pocketlens.datasets import load
from pocketlens.training.run import Run


def load_of(run: Run, data: Path | None = None) -> tuple[Dataset, SealedTest]:
    """The data of a run, with the labels on which it was trained.

    Raises:
        PocketlensError: the data cannot be loaded, or is not the run's any more.
    """
    run.bind_code()
    dataset, sealed = load(run.experiment.data, data)
    text = run.corrections()
    return (dataset if text is None else relabel(dataset, text, str(run.file("relabel.csv")))[0]), sealed
