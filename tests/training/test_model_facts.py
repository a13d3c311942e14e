"""ModelFacts: the JSON keeps its keys, old files are read, and what no training writes is refused in one line."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from made_images import refused

from pocketlens.training.model_facts import FeatureHeadFacts, ModelFacts

OLD = {  # as the first checkpoints have it
    "model": "lens(width=0.125)",
    "prepare": "none",
    "shape": [12, 16, 3],
    "classes": ["a", "b"],
    "superclasses": None,
    "superclass_of": None,
    "levels": None,
    "mean": [0.5, 0.5, 0.5],
    "std": [0.25, 0.25, 0.25],
    "seed": 7,
}
FULL = {
    **OLD,
    "prepare": "resize((12, 16))",
    "image_shape": [24, 32, 3],
    "superclasses": ["all"],
    "superclass_of": [0, 0],
    "levels": [0.0, 4095.0],
    "appended": [10, 4],
    "judge": {"kind": "knn", "layer": "head", "outputs": 4, "shapes": {"points": [9, 64], "votes": [2]}},
}


def test_the_json_keeps_its_keys_and_their_order() -> None:
    text = json.dumps(FULL)
    keys = ["model", "prepare", "shape", "image_shape", "classes", "superclasses", "superclass_of", "levels"]
    keys += ["mean", "std", "seed", "appended", "judge"]
    written = ModelFacts.from_dict(json.loads(text), "made").to_dict()
    assert written == FULL
    assert list(written) == keys
    assert json.loads(json.dumps(written)) == FULL


def test_files_without_the_later_keys_are_read() -> None:
    facts = ModelFacts.from_dict(OLD, "made")
    assert (facts.image_shape, facts.appended, facts.feature_head) == ((12, 16, 3), (), None)
    assert facts.to_dict() == {**OLD, "image_shape": [12, 16, 3]}
    assert replace(facts, seed=8) != facts
    head = ModelFacts.from_dict(FULL, "made").feature_head
    assert head == FeatureHeadFacts("knn", "head", 4, {"points": (9, 64), "votes": (2,)})


def judge(**changes: Any) -> dict[str, Any]:
    return {"judge": {**FULL["judge"], **changes}}  # type: ignore[dict-item]


@pytest.mark.parametrize(
    "changes",
    [
        {"model": 7},
        {"prepare": None},
        {"prepare": "resize(99)"},
        {"shape": [12, 16]},
        {"shape": [12, 16, True]},
        {"classes": []},
        {"classes": "ab"},
        {"superclasses": [1]},
        {"superclass_of": ["0", "0"]},
        {"superclass_of": 3},
        {"levels": [0.0]},
        {"levels": [0, 10**400]},
        {"levels": [0.0, float("inf")]},
        {"mean": ["nan"] * 3},
        {"std": None},
        {"seed": "7"},
        {"appended": [0]},
        {"appended": [10**9]},
        {"appended": 10},
        {"judge": {}},
        {"judge": 7},
        judge(kind="svm"),
        judge(kind=["knn"]),
        judge(layer=None),
        judge(outputs=0),
        judge(outputs=2.0),
        judge(shapes=[9, 64]),
        judge(shapes={"points": 9}),
        judge(shapes={"points": [2**40]}),
    ],
    ids=str,
)
def test_what_no_training_writes_is_refused(changes: dict[str, Any]) -> None:
    with refused("made: its checkpoint does not describe a classifier ("):
        ModelFacts.from_dict({**FULL, **changes}, "made")


@pytest.mark.parametrize("value", [None, [], "facts", {}])
def test_what_is_no_description_at_all_is_refused(value: Any) -> None:
    with refused("made: its checkpoint does not describe a classifier ("):
        ModelFacts.from_dict(value, "made")
