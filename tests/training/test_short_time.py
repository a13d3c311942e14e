"""The recipe for a short time: where it is taken, and that a person's own choices stay."""

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
from pocketlens.training.short_time import shorter_recipe

SHORT = read_recipe("short")


@pytest.mark.parametrize(
    ("epochs", "n_train", "is_shorter"),
    [(3.9, 45_000, True), (4.0, 45_000, False), (3.9, 60_000, False), (0.5, 300_000, True), (1.0, 300_000, False)],
)
def test_few_epochs_and_few_images_take_a_narrower_network(epochs: float, n_train: int, is_shorter: bool) -> None:
    base = Recipe(augment="flip", precision="bf16")
    wanted = base.changed(model=SHORT.model, epochs=SHORT.epochs) if is_shorter else None
    assert shorter_recipe(base, epochs, n_train) == wanted
    assert shorter_recipe(base.changed(model="lens(width=0.5)"), epochs, n_train) is None


def test_auto_goes_on_to_the_small_recipe_where_even_that_gets_few_epochs() -> None:
    base = Recipe(augment="flip", precision="bf16")
    short = planning._shorter(base, 1.0, 45_000)
    assert short == base.changed(model=SHORT.model, epochs=SHORT.epochs, precision="fp32")
    small = read_recipe("small").changed(augment="flip")
    assert planning._shorter(short.changed(precision="bf16"), 1.0, 45_000) == small
    assert planning._shorter(small, 1.0, 45_000) is None
    assert planning._shorter(short, 2.0, 45_000) is None
    assert planning._shorter(base, 5.0, 45_000) is None


@pytest.mark.parametrize(("options", "width"), [({}, 0.5), ({"recipe": "default"}, 1), ({"lr": 0.2}, 1)])
def test_train_takes_it_for_few_minutes_unless_a_choice_was_typed(
    options: dict[str, Any], width: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(0)
    np.savez(tmp_path / "made.npz", images=random.integers(0, 256, (60, 8, 8, 3), np.uint8), labels=np.arange(60) % 2)
    monkeypatch.setattr("pocketlens.recipe.SMALL", 0)  # as if the images were many
    monkeypatch.setattr(budget, "plan_steps", lambda *_, **__: Budget(1, 9, {"8": 1.0}, 0.1, 2.0))
    run = pl.train(tmp_path / "made.npz", minutes=1, runs=tmp_path, verbose=False, **options).run
    assert run.experiment.recipe.model == ("lens(width=0.5)" if width == 0.5 else "lens")
    assert run.experiment.n_steps == 1
