"""What all phases of one session work with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pocketlens.data.dataset import Dataset, SealedTest
from pocketlens.data.split import Split
from pocketlens.pipeline.session import AutoSession
from pocketlens.studies.process import Limits


@dataclass(frozen=True, eq=False)
class Task:
    """The session, its data, and what its trainings may use."""

    session: AutoSession
    dataset: Dataset
    sealed: SealedTest
    split: Split
    runs: Path
    limits: Limits
