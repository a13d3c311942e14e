"""Recipe and Experiment: what they refuse, and that their JSON goes there and back."""

import dataclasses
import json
from pathlib import Path

import pytest

from pocketlens.errors import PocketlensError
from pocketlens.recipe import Experiment, Recipe, from_dict, named_recipes, parse_sizes, read_recipe, usual_recipe


def test_at_most_25_fields_all_scalar_with_help() -> None:
    fields = dataclasses.fields(Recipe)
    assert len(fields) <= 25
    for field in fields:
        assert isinstance(getattr(Recipe(), field.name), (str, int, float, type(None)))
        assert field.metadata["help"]


def test_json_there_and_back(tmp_path: Path) -> None:
    recipe = Recipe(model="resnet(depth=20)", lr=0.1, patience=3)
    assert from_dict(json.loads(json.dumps(recipe.to_dict())), "x") == recipe
    experiment = Experiment("digits", recipe, seed=4, label="<b>")
    file = tmp_path / "experiment.json"
    file.write_text(json.dumps(experiment.to_dict()))
    assert Experiment.from_dict(json.loads(file.read_text())) == experiment
    assert read_recipe(str(file)) == recipe  # an experiment.json is a valid recipe file


def test_id_follows_what_differs_from_the_defaults() -> None:
    assert Recipe().id == Recipe().changed(lr=0.18).id
    assert Recipe(lr=0.2).id != Recipe().id
    assert len(Recipe().id) == 8


def test_named_recipes_are_valid() -> None:
    assert "default" in named_recipes()
    for name in named_recipes():
        read_recipe(name)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"lr": 0.0}, "lr must be a number above 0"),
        ({"lr": float("nan")}, "lr must be a number above 0"),
        ({"lr": float("inf")}, "lr must be a number above 0"),
        ({"lr": 1e39}, "that float32 can hold"),
        ({"lr": "1e-3"}, "lr must be float"),
        ({"epochs": -1}, "epochs must be"),
        ({"batch_size": 0}, "batch_size must be 1 or more"),
        ({"batch_size": 2.5}, "batch_size must be int"),
        ({"batch_size": True}, "batch_size must be int"),
        ({"patience": 0}, "patience must be"),
        ({"keep": "first"}, "keep must be last or best"),
        ({"precision": "fp8"}, "precision must be"),
        ({"model": "lense"}, "Did you mean 'lens'"),
        ({"model": "lens | mlp"}, "must be a name"),
        ({"model": "resnet(deep=3)"}, "Did you mean 'depth'"),
        ({"model": "__import__('os').system('x')"}, "must be a name"),
        ({"augment": "flip | cropp"}, "Did you mean 'crop'"),
        ({"augment": "crop(pad=f(1))"}, "literals"),
        ({"augment": "crop(pad=2, pad=3)"}, "given twice"),
        ({"augment": "flip |"}, "component text"),
        ({"sizes": "24:0.5 20:0.2 32"}, "must rise"),
        ({"sizes": "24:x"}, "SIZE:UNTIL"),
        ({"sizes": "24:0.5"}, "must rise and end at 1"),
        ({"learning_rate": 0.1}, "no field 'learning_rate'"),
    ],
)
def test_mistakes_end_in_one_line(changes: dict[str, object], says: str) -> None:
    with pytest.raises(PocketlensError) as caught:
        Recipe().changed(**changes)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "must be JSON; line 1"),
        ('{"lr": NaN}', "not a JSON number"),
        ('{"lr": 0.1, "lr": 0.2}', "occurs twice"),
        ("[]", "must be a JSON object"),
        ('{"lr": "1e-3"}', "lr must be float"),
        ('{"lr": 0.1, "momentun": 1}', "no field 'momentun'"),
        ("[" * 100_000, "cannot be read"),
        ('{"data": "digits", "recipe": {}, "sead": 1}', "unknown key 'sead'"),
    ],
)
def test_recipe_files_with_mistakes(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "recipe.json"
    file.write_text(text)
    with pytest.raises(PocketlensError, match=says):
        read_recipe(str(file))


def test_the_usual_recipe_follows_rows_and_channels() -> None:
    found = [usual_recipe(n, channels) for n in (19_999, 20_000) for channels in (1, 3)]
    assert [each.name for each in found] == ["small", "small", "grey", "default"]
    assert all(each.recipe == read_recipe(each.name) for each in found)


def test_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(PocketlensError, match="Did you mean 'default'"):
        read_recipe("defualt")


def test_sizes() -> None:
    assert parse_sizes("62.5%:0.15 24:0.5 100%") == ((62.5, 0.15, True), (24.0, 0.5, False), (100.0, 1.0, True))
