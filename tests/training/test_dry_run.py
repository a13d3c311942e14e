"""Mistakes in options are one line that says what is allowed, before data is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from made_images import refused
from made_trainings import PLAIN, RECIPES

import pocketlens.datasets
from pocketlens.cli import main
from pocketlens.recipe import named_recipes, read_recipe
from pocketlens.training.dry_run import try_options, try_recipe

MISTAKES: dict[str, tuple[list[str], str]] = {
    "rho below 0": (["--optimizer", "sgd | sam(rho=-1)"], "sam: rho must be a number in 0..100, got -1"),
    "decay of 1": (["--optimizer", "sgd | ema(decay=1)"], "ema: decay must be a number, at least 0 and below 1, got 1"),
    "one view": (
        ["--loss", "jsd(views=1)", "--augment", "augmix"],
        "jsd: views must be a whole number in 2..10, got 1",
    ),
    "views without augmentation": (["--loss", "jsd", "--augment", "none"], "augment must end with"),
    "momentum": (["--optimizer", "sgd(momentum=2)"], "sgd: momentum must be"),
    "a modifier first": (["--optimizer", "ema | sgd"], "ema modifies the optimizer before it"),
    "plateau without validation": (["--schedule", "plateau", "--val-fraction", "0"], "--val-fraction must be above 0"),
    "a schedule": (["--schedule", "plateau(gamma=3)"], "plateau: gamma must be a number in 0..1, got 3"),
    "class weights": (["--class-weight", "balance"], "class_weight must be none or balanced, got 'balance'"),
    "sampling": (["--sampling", "even"], "sampling must be none or balanced, got 'even'"),
    "an augmentation": (["--augment", "augmix(severity=99)"], "augmix: severity must be"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line_before_data_is_read(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pocketlens.datasets, "load", lambda *args, **options: pytest.fail("data was read"))
    words, says = MISTAKES[name]
    assert main(["train", "digits", *words, "--runs", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("name", [*RECIPES, *named_recipes()])
def test_recipes_that_work_pass(name: str) -> None:
    recipe: Any = RECIPES[name] if name in RECIPES else read_recipe(name)
    try_options(recipe)
    if name in RECIPES:
        assert try_recipe(recipe, (12, 12, 3), 4) > 0


def test_a_mistake_of_the_model_needs_the_shape() -> None:
    recipe = PLAIN.changed(model="cnn(channels=(4, 4, 4, 4), padding='valid')")
    try_options(recipe)
    with refused("at least one pixel"):
        try_recipe(recipe, (8, 8, 1), 4)


def test_mistakes_of_the_model_and_of_freeze_are_found_before_the_shape_is_known() -> None:
    with refused("mlp: hidden must be whole numbers from 1 on"):
        try_options(PLAIN.changed(model="mlp(hidden=(-3,))"))
    with refused("freeze=groups(5): the net has 4 groups of layers: stem, groups.0, groups.1, groups.2."):
        try_options(PLAIN.changed(model="lens(width=0.125)", freeze="groups(5)"))
