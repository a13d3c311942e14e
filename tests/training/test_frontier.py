"""The frontier of accuracy against compute: where a narrower network is taken; a person's own choices stay."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pocketlens as pl
from pocketlens.pipeline import planning
from pocketlens.recipe import Recipe, read_recipe
from pocketlens.training import budget
from pocketlens.training.budget import Budget
from pocketlens.training.frontier import FRONTIER, mean_multiply_adds, recipe_for

SHORT = read_recipe("short")


@pytest.mark.parametrize(
    ("epochs", "n_train", "size", "is_shorter"),
    [
        (3.7, 45_000, 32, True),
        (4.0, 45_000, 32, False),
        (4.0, 4_500, 32, False),  # the default goes through all its epochs, nearly
        (3.9, 60_000, 32, False),
        (0.5, 300_000, 32, True),
        (1.0, 300_000, 32, False),
        (3.7, 45_000, 64, False),  # four times the operations
        (0.7, 45_000, 64, True),
    ],
)
def test_little_compute_takes_a_narrower_network(epochs: float, n_train: int, size: int, is_shorter: bool) -> None:
    base = Recipe(augment="flip", precision="bf16")
    images = n_train, (size, size, 3), 100
    assert (recipe_for(base, epochs, *images) is not None) == is_shorter
    assert recipe_for(base.changed(model="lens(width=0.5)"), epochs, *images) is None
    resized = base.changed(prepare=f"resize({size})")
    assert (recipe_for(resized, epochs, n_train, (96, 96, 3), 100) is not None) == is_shorter


@pytest.mark.parametrize(("epochs", "name"), [(0.5, "shortest"), (1.5, "shorter"), (2.5, "short")])
def test_the_less_compute_the_narrower(epochs: float, name: str) -> None:
    base, wanted = Recipe(augment="flip", precision="bf16"), read_recipe(name)
    found = recipe_for(base, epochs, 45_000, (32, 32, 3), 100)
    assert found == wanted.changed(augment="flip", precision="bf16"), "these two stay"


def test_the_corners_are_recipes_in_rising_order() -> None:
    assert [corner.petaflop for corner in FRONTIER] == sorted(corner.petaflop for corner in FRONTIER)
    width = {corner.recipe: float(read_recipe(corner.recipe).model[len("lens(width=") : -1]) for corner in FRONTIER}
    assert list(width.values()) == sorted(width.values()), "the more compute, the wider"


def test_multiply_adds_are_the_mean_over_the_sizes_of_prepared_images() -> None:
    base = Recipe(sizes="100%")
    whole = mean_multiply_adds(base, (32, 32, 3), 10)
    assert mean_multiply_adds(base.changed(sizes="50%:0.5 100%"), (32, 32, 3), 10) == pytest.approx(0.625 * whole)
    assert mean_multiply_adds(base.changed(sizes="16:0.25 100%"), (32, 32, 3), 10) == pytest.approx(0.8125 * whole)
    assert mean_multiply_adds(base.changed(prepare="resize(32)"), (80, 60, 3), 10) == pytest.approx(whole)


def test_auto_goes_on_to_the_small_recipe_where_even_that_gets_few_epochs() -> None:
    base, images = Recipe(augment="flip", precision="bf16"), ((32, 32, 3), 100)
    short = planning._shorter(base, 3.0, 45_000, *images)
    assert short == base.changed(model=SHORT.model, epochs=SHORT.epochs, precision="fp32")
    small = read_recipe("small").changed(augment="flip")
    assert planning._shorter(short.changed(precision="bf16"), 1.0, 45_000, *images) == small
    assert planning._shorter(small, 1.0, 45_000, *images) is None
    assert planning._shorter(short, 2.0, 45_000, *images) is None
    assert planning._shorter(base, 5.0, 45_000, *images) is None


@pytest.mark.parametrize(("options", "width"), [({}, 0.25), ({"recipe": "default"}, 1), ({"lr": 0.2}, 1)])
def test_train_takes_it_for_few_minutes_unless_a_choice_was_typed(
    options: dict[str, Any], width: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(0)
    np.savez(tmp_path / "made.npz", images=random.integers(0, 256, (60, 8, 8, 3), np.uint8), labels=np.arange(60) % 2)
    monkeypatch.setattr("pocketlens.recipe.SMALL", 0)  # as if the images were many
    monkeypatch.setattr(budget, "plan_steps", lambda *_, **__: Budget(1, 9, {"8": 1.0}, 0.1, 2.0))
    run = pl.train(tmp_path / "made.npz", minutes=1, runs=tmp_path, verbose=False, **options).run
    assert run.experiment.recipe.model == ("lens(width=0.25)" if width == 0.25 else "lens")
    assert run.experiment.n_steps == 1
