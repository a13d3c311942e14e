"""What `auto` takes: the command line fills it from words, `pl.auto` from keywords."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from pocketlens.api.requests import Machine
from pocketlens.files import RUNS


@dataclass(frozen=True)
class AutoOptions:
    """What `auto` takes.

    Attributes:
        dataset: a path, or a component text such as `cifar100(labels='coarse')`.
        minutes: the time for everything.
        test: open the test rows even if they have been opened for this data before.
        body: the pretrained body that is tried beside training from scratch, by its name in timm; auto, or none.
        new: start over instead of resuming an unfinished session of the same data.
        data: the folder in which data sets are searched first.
        runs: the folder of runs.
        seed: of the split into training and validation images, of first weights, order and augmentation.
        folds: how many folds, each a test part once, or "given" for the numbered ones of the data; None: no folds.
    """

    dataset: str
    minutes: float = 30.0
    test: bool = False
    new: bool = False
    body: str = "auto"
    data: Path | None = None
    machine: Machine = field(default_factory=Machine)
    runs: Path = RUNS
    seed: int = 0
    folds: int | str | None = None
