"""Weight decay falls on weights alone: never on norms and biases unless `decay_on` says so, whatever the optimizer."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pocketlens.components import names, parse_one, resolve
from pocketlens.recipe import Recipe, is_modifier
from pocketlens.training.state import make_optimizer

NORMS = (
    nn.modules.batchnorm._BatchNorm,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.modules.instancenorm._InstanceNorm,
)
OFFERED = [name for name in names("models") if name != "timm"]


def decayed(model: nn.Module, decay_on: str, optimizer: str = "sgd") -> set[str]:
    recipe = Recipe(optimizer=optimizer, weight_decay=0.1, decay_on=decay_on)
    made: Any = SimpleNamespace(net=model)
    chosen = {
        id(p) for group in make_optimizer(made, recipe).param_groups if group["weight_decay"] for p in group["params"]
    }
    return {name for name, parameter in model.named_parameters() if id(parameter) in chosen}


@pytest.mark.parametrize("name", OFFERED)
def test_no_norm_and_no_bias_of_any_model_decays(name: str) -> None:
    with torch.device("meta"):
        model = resolve(parse_one(name, "models"), "models")((32, 32, 3), 10)
    exempt = {
        f"{place}.{own}"
        for place, module in model.named_modules()
        for own, _ in module.named_parameters(recurse=False)
        if isinstance(module, NORMS) or "bias" in own or "norm" in place.rpartition(".")[2]
    }
    for optimizer in ("sgd", "muon"):
        assert not decayed(model, "weights", optimizer) & exempt
        assert not decayed(model, "head", optimizer) & exempt
        assert decayed(model, "none", optimizer) == set()
    assert decayed(model, "head") == {name for name in decayed(model, "weights") if name.startswith("head.")}
    trainable = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert decayed(model, "all") == trainable


@pytest.mark.parametrize("name", [name for name in names("optimizers") if not is_modifier(name)])
def test_without_a_gradient_only_what_decays_moves(name: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 8), nn.LayerNorm(8))
    for parameter in model.parameters():
        parameter.data.uniform_(0.5, 1.0)

    def moved(decay_on: str) -> set[str]:
        made: Any = SimpleNamespace(net=model)
        recipe = Recipe(optimizer=name, lr=0.01, weight_decay=0.1, decay_on=decay_on)
        optimizer = make_optimizer(made, recipe)
        before = {key: value.clone() for key, value in model.state_dict().items()}
        for parameter in model.parameters():
            parameter.grad = torch.zeros_like(parameter)
        for _ in range(3):
            optimizer.step()
        after = model.state_dict()
        return {key for key, old in before.items() if not torch.allclose(after[key], old, rtol=1e-7, atol=0)}

    filters = {"0.weight"} if name == "muon" else set()  # renormalised in every step, so decay has no say in them
    assert moved("none") - filters == set()
    assert moved("weights") | filters == {"0.weight", "3.weight"}
    assert moved("all") | filters == {key for key, _ in model.named_parameters()}


def test_muon_renormalises_filters_and_decay_does_not_turn_them() -> None:
    def filters(weight_decay: float) -> Tensor:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(2, 4, 3))
        made: Any = SimpleNamespace(net=model)
        optimizer = make_optimizer(made, Recipe(weight_decay=weight_decay, decay_on="all"))
        for parameter in model.parameters():
            parameter.grad = torch.ones_like(parameter)
        optimizer.step()
        return model[0].weight.detach()

    assert torch.equal(filters(0.0), filters(0.5))
