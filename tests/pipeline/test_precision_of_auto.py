"""`auto` takes the faster precision before it measures its recipe, once, and says so where it was measured."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import pytest

from pocketlens.events import Note
from pocketlens.pipeline import planning
from pocketlens.recipe import Recipe
from pocketlens.training.precision import Measured, PrecisionChoice, choice_from


@dataclass(frozen=True)
class Held:
    base: Recipe
    measured: Any = None


class Session:
    def __init__(self, state: Held) -> None:
        self.state = state

    def save(self, state: Held) -> None:
        self.state = state


def task_of(session: Session) -> Any:
    dataset = SimpleNamespace(shape=(32, 32, 3), classes=("a", "b"))
    split, limits = SimpleNamespace(train=range(100)), SimpleNamespace(device="cpu")
    return SimpleNamespace(session=session, dataset=dataset, split=split, limits=limits)


@pytest.mark.parametrize(
    ("choice", "name", "n_said"),
    [(choice_from([Measured(32, 2.0, 1.0)], [1.0]), "bf16", 1), (PrecisionChoice("fp32"), "fp32", 0)],
    ids=("measured", "not worth it"),
)
def test_the_precision_of_the_session(
    choice: PrecisionChoice, name: str, n_said: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "choose_precision", lambda *_args: choice)
    session = Session(Held(Recipe()))
    said = list(planning.take_faster_precision(task_of(session)))
    assert [type(event) for event in said] == [Note] * n_said
    assert session.state.base == Recipe(precision=name)
    session.state = replace(session.state, base=Recipe(), measured="something")
    assert list(planning.take_faster_precision(task_of(session))) == []  # not a second time
    assert session.state.base.precision == "fp32"
