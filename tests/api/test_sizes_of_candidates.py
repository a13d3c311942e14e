"""A comparison of recipes for photos says where its images are smaller than pretrained candidates would get."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from made_images import random_images
from PIL import Image

from pocketlens.api.compare import _sizes_note
from pocketlens.datasets import load
from pocketlens.events import Fact
from pocketlens.recipe import read_recipe
from pocketlens.studies.overrides import Variant
from pocketlens.studies.spec import ComparisonSpec

DESIGN = ComparisonSpec((Variant("small", read_recipe("small")), Variant("probe", read_recipe("probe"))), 2)


def photos(folder: Path) -> str:
    for number, pixels in enumerate(random_images(12, (150, 200, 3), seed=1)):
        target = folder / "ab"[number % 2] / f"{number}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.asarray(pixels)).save(target)
    return str(folder)


def test_a_size_chosen_for_the_base_is_said(tmp_path: Path) -> None:
    typed = photos(tmp_path / "photos")
    dataset, _ = load(typed)
    (fact,) = _sizes_note(typed, dataset, DESIGN)
    assert isinstance(fact, Fact)
    side = dataset.shape[0]
    assert f"the images have {side} px, chosen for the base recipe, and probe would get 148 px" in fact.text
    assert side < 148


def test_nothing_is_said_of_a_size_that_was_typed_or_that_fits_all(tmp_path: Path) -> None:
    typed = f"folder({photos(tmp_path / 'photos')!r}, size=48)"
    dataset, _ = load(typed)
    assert not list(_sizes_note(typed, dataset, DESIGN))
    plain = str(tmp_path / "photos")
    only = ComparisonSpec((Variant("small", read_recipe("small")), Variant("mlp", read_recipe("mlp"))), 2)
    assert not list(_sizes_note(plain, load(plain)[0], only))
