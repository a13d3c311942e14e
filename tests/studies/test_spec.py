"""study.json: specs that are written and read again, files of earlier versions, and files that are damaged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from made_images import refused
from made_studies import spec_and_split
from made_trainings import PLAIN

from pocketlens.files import read_json, write_json
from pocketlens.studies.overrides import Variant, read_variant
from pocketlens.studies.spec import ComparisonSpec, SearchSpec, Strategy, TransferSpec, read_spec, write_spec

FASTER = PLAIN.changed(lr=0.2)
CANDIDATES = (Variant("base", PLAIN), read_variant("lr=0.2", PLAIN))
STRATEGIES = (Strategy("scratch", "", PLAIN, 3000, 100), Strategy("frozen", "run-1", FASTER, 1000, 10))
TRANSFER = TransferSpec("multiply-adds", STRATEGIES)


@pytest.mark.parametrize(
    "design",
    [
        ComparisonSpec(CANDIDATES, 3, seed=2),
        ComparisonSpec(CANDIDATES, 3, pairs="base", kind="sweep"),
        ComparisonSpec(CANDIDATES, 3, pairs="base", transfer=TRANSFER),
        SearchSpec("lr=log(0.01,1)", 12),
        SearchSpec("lr=log(0.01,1)", 12, 2, 5, 1.5, "tpe", 3, (0.25, 1.0), 0.3, 4),
    ],
)
def test_what_is_written_is_read(design: ComparisonSpec | SearchSpec, tmp_path: Path) -> None:
    spec = replace(spec_and_split(tmp_path, design)[0], label="mine", rows=40)
    write_spec(tmp_path / "study.json", spec)
    assert read_spec(tmp_path / "study.json") == spec


OLD: dict[str, Any] = {
    "format": 1,
    "data": "digits",
    "data_fingerprint": "f00d",
    "val_fraction": 0.25,
    "split_seed": 1,
    "rows": None,
    "n_train": 1076,
    "n_val": 362,
    "n_classes": 10,
    "shape": [8, 8, 1],
    "base": {"lr": 0.05},
    "repeats": 2,
    "seed": 3,
    "label": "",
    "made_by": "pocketlens …",
}
OLD_COMPARISON = {
    **OLD,
    "kind": "compare",
    "judge": "base",
    "arms": [
        {"name": "scratch", "recipe": {"lr": 0.05}, "changes": {}},
        {"name": "full", "recipe": {"lr": 0.1}, "changes": {"lr": 0.1}},
    ],
}
OLD_TRANSFER = {
    **OLD_COMPARISON,
    "equal": "steps",
    "ways": [
        {"name": "scratch", "source": "", "multiply_adds": 2528, "n_trained": 1210},
        {"name": "full", "source": "run-1", "multiply_adds": 2528, "n_trained": 1210},
    ],
}
OLD_SEARCH = {
    **OLD,
    "kind": "search",
    "space": "lr=log(0.01,1)",
    "trials": 6,
    "minutes": None,
    "method": "coarse-to-fine",
    "rounds": 2,
    "rungs": [0.5, 1.0],
    "keep": 0.5,
    "jobs": 1,
}


def test_studies_of_earlier_versions_are_read(tmp_path: Path) -> None:
    path = tmp_path / "study.json"
    write_json(path, OLD_TRANSFER)
    spec = read_spec(path)
    assert (spec.kind, spec.data, spec.shape, spec.base.lr) == ("compare", "digits", (8, 8, 1), 0.05)
    comparison = spec.comparison
    assert (comparison.pairs, comparison.repeats, comparison.seed) == ("base", 2, 3)
    assert [(each.name, each.recipe.lr, each.changes) for each in comparison.candidates] == [
        ("scratch", 0.05, ()),
        ("full", 0.1, (("lr", 0.1),)),
    ]
    assert comparison.transfer is not None
    assert comparison.transfer.equal == "steps"
    assert [(each.name, each.source, each.recipe.lr) for each in comparison.transfer.strategies] == [
        ("scratch", "", 0.05),
        ("full", "run-1", 0.1),
    ]
    write_json(path, OLD_SEARCH)
    assert read_spec(path).search == SearchSpec("lr=log(0.01,1)", 6, 2, 3, rungs=(0.5, 1.0))


@pytest.mark.parametrize("old", [OLD_COMPARISON, OLD_TRANSFER, OLD_SEARCH])
def test_the_keys_on_disk_stay_as_they_are(old: dict[str, Any], tmp_path: Path) -> None:
    write_json(tmp_path / "old.json", old)
    write_spec(tmp_path / "new.json", read_spec(tmp_path / "old.json"))
    new = read_json(tmp_path / "new.json")
    assert new.keys() == old.keys()
    assert {key: new[key] for key in old if key not in ("base", "arms")} == {
        key: old[key] for key in old if key not in ("base", "arms")
    }
    assert [each.keys() for each in new.get("arms", [])] == [each.keys() for each in old.get("arms", [])]


@pytest.mark.parametrize("old", [OLD_COMPARISON, OLD_TRANSFER, OLD_SEARCH])
def test_a_missing_key_is_named(old: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "study.json"
    for key in old:
        write_json(path, {other: value for other, value in old.items() if other != key})
        if key in ("label", "made_by"):
            assert read_spec(path).label == ""
        elif key == "format":
            with refused("study.json must be a JSON object with a format in it"):
                read_spec(path)
        elif key != "ways":
            with refused("study.json", f"the key {key!r} is missing"):
                read_spec(path)


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"kind": "guess"}, "kind must be one of compare, sweep, search, got 'guess'"),
        ({"shape": [8, 8]}, "shape must be height, width and channels"),
        ({"n_val": "many"}, "n_val must be a whole number, got 'many'"),
        ({"n_val": True}, "n_val must be a whole number"),
        ({"val_fraction": "0.1"}, "val_fraction must be a number"),
        ({"data": 3}, "data must be a text"),
        ({"base": {"lrr": 1}}, "no field 'lrr'"),
        ({"judge": "nobody"}, "judge must be one of all pairs, base"),
        ({"arms": {}}, "arms must be a list"),
        ({"arms": [7]}, "arms[0] must be a JSON object, got 7"),
        ({"arms": [{"name": "a", "changes": {}}]}, "arms[0]: the key 'recipe' is missing"),
        ({"arms": [{"name": "a", "recipe": {}, "changes": []}]}, "changes must be a JSON object"),
        ({"ways": [], "equal": "steps"}, "ways must be as many as arms, got 0 and 2"),
    ],
)
def test_damaged_files_say_what_is_wrong(changes: dict[str, Any], part: str, tmp_path: Path) -> None:
    write_json(tmp_path / "study.json", {**OLD_COMPARISON, **changes})
    with refused("study.json", part):
        read_spec(tmp_path / "study.json")


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"method": "guess"}, "method must be one of coarse-to-fine, tpe, random, grid"),
        ({"rungs": ["half", 1]}, "rungs must be numbers"),
        ({"minutes": "ten"}, "minutes must be a number"),
    ],
)
def test_damaged_searches_say_what_is_wrong(changes: dict[str, Any], part: str, tmp_path: Path) -> None:
    write_json(tmp_path / "study.json", {**OLD_SEARCH, **changes})
    with refused("study.json", part):
        read_spec(tmp_path / "study.json")


def test_a_design_of_the_other_kind_is_refused(tmp_path: Path) -> None:
    write_json(tmp_path / "study.json", OLD_SEARCH)
    with refused("must be a comparison, and is a search"):
        _ = read_spec(tmp_path / "study.json").comparison
    write_json(tmp_path / "study.json", OLD_COMPARISON)
    with refused("must be a search, and is a compare"):
        _ = read_spec(tmp_path / "study.json").search
