"""The choice between a pretrained body and training from scratch: what is tried, on which rows, and what follows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pocketlens.data.dataset import Dataset, hash_images, seal
from pocketlens.data.split import make_split
from pocketlens.events import Note, Stage
from pocketlens.pipeline import AutoResult, approach_choice, run_auto
from pocketlens.pipeline.approaches import Approach, judged_rows, judging_splits, obstacle
from pocketlens.recipe import Recipe, read_recipe

BODY = "test_resnet.r160_in1k"


def made(n: int, side: int) -> Dataset:
    images = np.random.default_rng(0).integers(0, 256, (n, side, side, 3), np.uint8)
    return Dataset("made", images, np.arange(n, dtype=np.int64) % 3, ("a", "b", "c"), hash_images(images))


@pytest.mark.parametrize(
    ("side", "n_train", "why"),
    [(8, 1000, "images of 8 px are too small"), (32, 50_000, "50,000 small images"), (32, 5_000, ""), (256, 50_000, "")],
)
def test_where_a_body_cannot_help_it_is_not_tried(side: int, n_train: int, why: str) -> None:
    dataset = made(6, side)
    found = obstacle(Approach("probe", read_recipe("probe"), dataset, seal(dataset)), n_train)
    assert (found is None) == (not why)
    assert why in (found or "")


def test_few_validation_rows_become_folds_over_all_rows() -> None:
    dataset = made(90, 8)
    split = make_split(dataset)
    splits = judging_splits(dataset, split)
    assert len(splits) == 3
    assert judged_rows(splits).tolist() == list(range(90)), "each row is judged once"
    assert all(not set(each.train) & set(each.val) and len(each.train) + len(each.val) == 90 for each in splits)
    many = make_split(made(1200, 4), val_fraction=0.5)
    assert judging_splits(made(1200, 4), many) == (many,)
