"""Loading data for a call: the split that the data gives, and what overrides it."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from made_images import class_folder

from pocketlens.api.compare import CompareRequest, SweepRequest
from pocketlens.api.data import LoadedData, load_data
from pocketlens.api.look import LookRequest
from pocketlens.api.lr_range import LrRangeRequest
from pocketlens.api.requests import DataRequest, RecipeRequest, TrainRequest, build
from pocketlens.api.search import SearchRequest
from pocketlens.cli.terminal.options import add_split, data_of
from pocketlens.cli.terminal.parser import Parser
from pocketlens.data.split import make_split
from pocketlens.datasets import load
from pocketlens.events import Fact
from pocketlens.recipe import read_recipe


def folder_with_parts(root: Path) -> Path:
    for seed, (part, n) in enumerate({"train": 10, "val": 3, "test": 2}.items()):
        class_folder(root / part, {"cat": n, "dog": n}, (4, 4, 1), seed)
    return root


def ended(events: Generator[object, object, LoadedData]) -> tuple[list[str], LoadedData]:
    """The lines that were said, and the outcome."""
    lines = []
    while True:
        try:
            event = next(events)
        except StopIteration as end:
            return lines, end.value
        if isinstance(event, Fact):
            lines.append(f"{event.name} {event.text}".strip())


@pytest.mark.parametrize(
    ("fraction", "n_val", "said"),
    [
        (None, 6, "split 20 train, 6 validation"),
        (0.25, 6, "the validation fraction 0.25 overrides the 6 given validation rows"),
        (0.0, 0, "the validation fraction 0 overrides the 6 given validation rows: all development rows train"),
    ],
)
def test_given_validation_rows_and_what_overrides_them(
    tmp_path: Path, fraction: float | None, n_val: int, said: str
) -> None:
    root = folder_with_parts(tmp_path)
    lines, loaded = ended(load_data(DataRequest(str(root), val_fraction=fraction)))
    assert loaded.dataset.files is not None
    names = [loaded.dataset.files[row] for row in loaded.split.val]
    assert len(names) == n_val
    assert loaded.split.given == (fraction is None)
    assert all(name.startswith("val/") for name in names) == (fraction is None or not names)
    assert any(line.startswith(said) for line in lines)


def test_the_option_is_known_apart_from_its_default() -> None:
    parser = Parser(prog="pocketlens")
    parser.add_argument("dataset")
    parser.set_defaults(data=None)
    add_split(parser)
    assert data_of(parser.parse_args(["digits"])).val_fraction is None
    assert data_of(parser.parse_args(["digits", "--val-fraction", "0.1"])).val_fraction == 0.1


def test_a_recipe_that_is_given_has_the_name_that_people_know(tmp_path: Path) -> None:
    dataset, _ = load(str(folder_with_parts(tmp_path)))
    probe = read_recipe("probe")
    asked = [RecipeRequest("probe"), RecipeRequest(probe), RecipeRequest(probe.changed(lr=0.123))]
    assert [each.choose(dataset, make_split(dataset)).source for each in asked] == ["probe", "probe", "given"]


@pytest.mark.parametrize(
    "kind", [TrainRequest, CompareRequest, SweepRequest, SearchRequest, LrRangeRequest, LookRequest]
)
def test_data_and_recipe_may_be_paths(kind: type) -> None:
    takes_recipe = kind is not LookRequest
    options = {"recipe": Path("mine.json")} if takes_recipe else {}
    made: Any = build(kind, {"dataset": Path("photos")}, options)
    asked = getattr(made, "study", made)
    assert asked.data.dataset == "photos"
    assert not takes_recipe or asked.recipe.recipe == "mine.json"
