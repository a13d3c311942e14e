"""Test scores without contaminated images, where `look` has searched for duplicates after the test set was opened."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pocketlens.data.duplicates import read_duplicates
from pocketlens.scoring.predictions import read_predictions
from pocketlens.scoring.scores import Clean, Scores

if TYPE_CHECKING:
    from pocketlens.data.dataset import Dataset, SealedTest
    from pocketlens.training.run import Run


def with_known_duplicates(
    run: Run, scores: Scores | None, dataset: Dataset | None, sealed: SealedTest | None
) -> Scores | None:
    """Test scores, with those without contaminated images where `look` has searched for them after the opening."""
    path = run.file("predictions-test.safetensors")
    if scores is None or dataset is None or sealed is None or len(sealed) != scores.n or not path.exists():
        return scores
    if scores.clean is not None and scores.clean.complete:
        return scores
    found = read_duplicates(dataset, sealed)
    return scores if found is None else replace(scores, clean=Clean.of(read_predictions(path), found))
