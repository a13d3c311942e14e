"""Pretrained weights that are absent or of another body are refused before data is read, whatever trains on them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
import torch
from made_images import refused

import pocketlens as pl
from pocketlens.models import _body_weights

ABSENT = "timm(name='test_resnet', weights='absent.pth')"
CALLS: dict[str, Callable[..., Any]] = {
    "train": lambda data, model, **options: pl.train(data, model=model, **options),
    "compare": lambda data, model, **options: pl.compare(data, ["lr=0.1", "lr=0.2"], model=model, **options),
    "compare, in one recipe": lambda data, model, **options: pl.compare(data, [f"model={model}", "base"], **options),
    "sweep": lambda data, model, **options: pl.sweep(data, "lr=0.1,0.2", model=model, **options),
    "sweep of models": lambda data, model, **options: pl.sweep(data, {"model": ["mlp", model]}, **options),
    "search": lambda data, model, **options: pl.search(data, "lr=log(0.01,1)", model=model, **options),
    "search of models": lambda data, model, **options: pl.search(data, f"model=choice(mlp,{model})", **options),
}


@pytest.fixture
def unread(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """A data set that must not be read."""

    def read(*_: Any, **__: Any) -> None:
        pytest.fail("data was read")

    monkeypatch.setattr("pocketlens.datasets.load", read)
    monkeypatch.setattr("pocketlens.api.data.load_data", read)
    monkeypatch.chdir(tmp_path)
    return "digits"


@pytest.mark.parametrize("call", CALLS)
def test_absent_weights(call: str, unread: str, tmp_path: Path) -> None:
    with refused("absent.pth"):
        CALLS[call](unread, ABSENT, verbose=False)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("call", CALLS)
def test_weights_of_another_body(call: str, unread: str, tmp_path: Path) -> None:
    torch.save({"a.weight": torch.zeros(3)}, tmp_path / "other.pth")
    with refused("must hold the weights of test_resnet"):
        CALLS[call](unread, "timm(name='test_resnet', weights='other.pth')", verbose=False)
    assert [path.name for path in tmp_path.iterdir()] == ["other.pth"]


def test_auto_with_a_body_that_cannot_be_had(unread: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise requests.ConnectionError("no network")

    monkeypatch.setattr("requests.head", refuse)
    monkeypatch.setattr(_body_weights, "in_hub_cache", lambda _: False)
    with refused("resnet18"):
        pl.auto(unread, minutes=1, body="resnet18", verbose=False)
    with refused("resnett18"):
        pl.auto(unread, minutes=1, body="resnett18", verbose=False)
    assert not list(tmp_path.iterdir())
