"""The data of a run: its development rows with the labels that it was trained on, and its sealed test part."""

from __future__ import annotations

from pathlib import Path

from pocketlens.data.dataset import Dataset, SealedTest
from pocketlens.data.relabel import relabel
from pocketlens.datasets import load
from pocketlens.training.run import Run


def load_of(run: Run, data: Path | None = None) -> tuple[Dataset, SealedTest]:
    """Loads the data of a run, with the labels that it was trained on.

    Raises:
        PocketlensError: the data cannot be loaded, or the run's corrections do not fit it.
    """
    run.bind_code()
    dataset, sealed = load(run.experiment.data, data, version=run.experiment.hold_out, aim=None)
    text = run.corrections()
    return (dataset if text is None else relabel(dataset, text, str(run.file("relabel.csv")))[0]), sealed
