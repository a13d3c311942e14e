"""Changes to a recipe as text: values with commas, pipes and brackets; addresses; errors that say what to write."""

from __future__ import annotations

import pytest
from made_images import refused

from pocketlens.recipe import Recipe, read_recipe
from pocketlens.studies.overrides import apply, grid, pointwise, read_lists, read_value, read_variant, value_at

BASE = Recipe()


def test_values_may_hold_commas_pipes_and_brackets() -> None:
    lists = read_lists("model=cnn(channels=(8, 16)), lens; augment=flip | crop(pad=2), none; lr=0.1, 1e-3;")
    assert lists == {
        "model": ["cnn(channels=(8, 16))", "lens"],
        "augment": ["flip | crop(pad=2)", "none"],
        "lr": [0.1, 1e-3],
    }
    assert read_lists("model.pooling=max, 'average'")["model.pooling"] == ["max", "average"]
    assert read_lists("augment='flip | crop(pad=2)'")["augment"] == ["flip | crop(pad=2)"]


def test_a_variant_is_a_name_changes_or_both() -> None:
    assert read_variant("base", BASE).recipe == BASE
    assert read_variant("small", BASE).recipe == read_recipe("small")
    both = read_variant("small; lr=0.1; model.width=0.25", BASE)
    assert both.recipe == read_recipe("small").changed(lr=0.1, model="lens(width=0.25)")
    assert both.changes == (("lr", 0.1), ("model.width", 0.25))


def test_options_are_reached_by_address() -> None:
    assert apply(BASE, {"optimizer.momentum": 0.9}).optimizer == "muon(momentum=0.9, rest_lr=1.38)"
    assert apply(BASE, {"augment.pad": 4}).augment == "flip | crop(pad=4)"
    assert apply(BASE, {"augment.crop.pad": 4}).augment == "flip | crop(pad=4)"
    assert apply(BASE, {"model.width": 0.5, "model": "lens"}).model == "lens(width=0.5)"  # whole fields come first
    assert value_at(BASE, "augment.crop.pad") == 2
    assert value_at(BASE, "model.width") == 1.0  # the component's default
    assert value_at(BASE, "lr") == 0.18


def test_pointwise_and_grid() -> None:
    lists = read_lists("lr=0.18,0.2; optimizer=sgd,adam")
    names = [variant.name for variant in pointwise(BASE, lists)]
    assert names == ["base", "lr=0.2", "optimizer=sgd", "optimizer=adam"]  # 0.18 is the base's own
    assert len(grid(BASE, lists)) == 5
    assert grid(BASE, lists)[4].recipe == BASE.changed(lr=0.2, optimizer="adam")


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("lr", "must be like lr=0.1"),
        ("lr=", "empty part"),
        ("lr=0.1,,0.2", "empty part"),
        ("lr=fast", "lr must be a number, got 'fast'"),
        ("lr=-1", "lr must be a number above 0"),
        ("epochs=true", "epochs must be a number"),
        ("batch_size=1.5", "batch_size must be a whole number"),
        ("lx=1", "Did you mean 'lr'?"),
        ("lr.x=1", "has no options"),
        ("optimizer.momentun=1", "Did you mean 'momentum'?"),
        ("augment.flip.pad=2", "no such option"),
        ("model=(1", "not closed"),
        ("model='lens", "not closed"),
        ("model=lens)", "closes a bracket that was not opened"),
        ("model=lenz", "Did you mean 'lens'?"),
        ("lr=0.1; lr=0.2", "given twice"),
        ("recipe=smal", "Did you mean 'small'?"),
    ],
)
def test_mistakes_say_what_to_write(text: str, part: str) -> None:
    with refused(part):
        pointwise(BASE, read_lists(text))


def test_an_option_that_two_components_have_needs_its_component() -> None:
    base = BASE.changed(augment="cutout(size=4) | random_erasing(p=0.5) | flip(p=0.5)")
    with refused("several of", "write augment."):
        apply(base, {"augment.p": 0.3})


def test_none_is_no_value() -> None:
    assert read_value("patience", "none") is None
    assert read_value("start", "none") is None
    assert read_value("augment", "none") == "none"
