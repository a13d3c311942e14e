"""The first lines on a data set."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pocketlens.audit.summary import summarize
from pocketlens.data.dataset import Dataset, hash_images, seal
from pocketlens.data.split import make_split


def test_equal_counts_are_one_number() -> None:
    images = np.random.default_rng(0).integers(0, 256, (12, 4, 4, 1), np.uint8)
    dataset = Dataset("made", images, np.arange(12, dtype=np.int64) % 2, ("a", "b"), hash_images(images))
    uneven = replace(dataset, labels=np.arange(12, dtype=np.int64) // 9)
    lines = [summarize(each, seal(each), make_split(each)).lines()[1] for each in (dataset, uneven)]
    assert lines == ["images per class: 6 in each", "images per class: 3 (b) to 9"]
