"""Optimizers: torch's own steps with the options that were given, rates by group, and a resume that changes no bit."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from made_images import refused
from made_trainings import PLAIN, made_data
from torch import Tensor, nn

from pocketlens.components import parse_one, resolve
from pocketlens.data.split import make_split
from pocketlens.recipe import Experiment
from pocketlens.training.checkpoint import Checkpoint
from pocketlens.training.fit import fit
from pocketlens.training.state import State

TORCHS: dict[str, tuple[type[torch.optim.Optimizer], dict[str, Any]]] = {
    "adadelta(rho=0.95, eps=1e-7)": (torch.optim.Adadelta, {"rho": 0.95, "eps": 1e-7}),
    "adagrad(start=0.1, lr_decay=0.01, eps=1e-7)": (
        torch.optim.Adagrad,
        {"initial_accumulator_value": 0.1, "lr_decay": 0.01, "eps": 1e-7},
    ),
    "adam(beta1=0.8)": (torch.optim.Adam, {"betas": (0.8, 0.999)}),
    "adamax(beta2=0.99)": (torch.optim.Adamax, {"betas": (0.9, 0.99)}),
    "adamw(eps=1e-6)": (torch.optim.AdamW, {"eps": 1e-6}),
    "nadam(momentum_decay=0.01)": (torch.optim.NAdam, {"momentum_decay": 0.01}),
    "rmsprop(alpha=0.9, momentum=0.5, centered=True)": (
        torch.optim.RMSprop,
        {"alpha": 0.9, "momentum": 0.5, "centered": True},
    ),
    "sgd(momentum=0.8)": (torch.optim.SGD, {"momentum": 0.8, "nesterov": True}),
    "sgd(momentum=0)": (torch.optim.SGD, {}),
}


def made(text: str, groups: list[dict[str, Any]], lr: float) -> torch.optim.Optimizer:
    part = parse_one(text, "optimizers")
    optimizer: torch.optim.Optimizer = resolve(part, "optimizers")(groups, lr, **dict(part.options))
    return optimizer


def weights() -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(3)
    return [nn.Parameter(torch.randn(size, generator=generator)) for size in ((4, 3), (4,), (2, 3, 3, 3))]


def walk(optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter]) -> list[Tensor]:
    for step in range(5):
        for parameter in parameters:
            parameter.grad = torch.sin(parameter.detach() * (step + 1))
        optimizer.step()
    return [parameter.detach().clone() for parameter in parameters]


@pytest.mark.parametrize("text", TORCHS)
def test_an_optimizer_takes_torchs_steps_with_its_options(text: str) -> None:
    ours, theirs = weights(), weights()
    kind, options = TORCHS[text]
    groups = [
        {"params": ours[:1], "weight_decay": 0.3, "lr_scale": 1.0},
        {"params": ours[1:], "weight_decay": 0.0, "lr_scale": 0.25},
    ]
    reference = kind(
        [{"params": theirs[:1], "weight_decay": 0.3}, {"params": theirs[1:], "weight_decay": 0.0, "lr": 0.01 * 0.25}],
        lr=0.01,  # type: ignore[call-arg]
        **options,
    )
    optimizer = made(text, groups, 0.01)
    assert [group["initial_lr"] for group in optimizer.param_groups] == [0.01, 0.01 * 0.25]
    before = [parameter.detach().clone() for parameter in ours]
    for mine, other, start in zip(walk(optimizer, ours), walk(reference, theirs), before, strict=True):
        assert torch.equal(mine, other)
        assert not torch.equal(mine, start)


def after_steps(state: State, n_steps: int) -> Checkpoint:
    for _, _event in zip(range(n_steps), (e for e in fit(state) if hasattr(e, "loss_tensor")), strict=False):
        pass
    return state.checkpoint()


@pytest.mark.parametrize("name", ["adadelta", "adagrad", "adamax", "nadam", "rmsprop(momentum=0.9, centered=True)"])
def test_a_training_restored_from_a_checkpoint_goes_on_with_the_same_bits(name: str) -> None:
    dataset = made_data()
    recipe = PLAIN.changed(model="cnn(channels=(4,), dense=8)", optimizer=name, weight_decay=0.01, decay_on="weights")
    split = make_split(dataset, val_fraction=0.25)

    def fresh() -> State:
        return State(Experiment("made", recipe, seed=1), dataset, split, "cpu")

    whole = after_steps(fresh(), 7)
    resumed = fresh()
    resumed.restore(after_steps(fresh(), 4))
    parts = after_steps(resumed, 3)
    assert whole.meta["step"] == parts.meta["step"] == 7
    assert whole.tensors.keys() == parts.tensors.keys()
    assert any(key.startswith("optimizer/") for key in whole.tensors)
    for key, value in whole.tensors.items():
        assert torch.equal(value, parts.tensors[key]), key


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("sgd(momentum=1.5)", "sgd: momentum must be a number, at least 0 and below 1, got 1.5"),
        ("muon(momentum=-0.1)", "muon: momentum must be"),
        ("muon(steps=0)", "muon: steps must be a whole number in 1..100"),
        ("muon(rest_lr=-1)", "muon: rest_lr must be"),
        ("adam(beta1=1.0)", "adam: beta1 must be"),
        ("adamw(eps=0)", "adamw: eps must be a number above 0"),
        ("adamax(beta2='x')", "adamax: beta2 must be"),
        ("nadam(momentum_decay=-1)", "nadam: momentum_decay must be"),
        ("rmsprop(alpha=1)", "rmsprop: alpha must be"),
        ("adadelta(rho=True)", "adadelta: rho must be"),
        ("adagrad(start=-0.5)", "adagrad: start must be a number in 0..1000"),
    ],
)
def test_options_that_are_not_allowed_are_refused(text: str, says: str) -> None:
    with refused(says):
        made(text, [{"params": weights(), "weight_decay": 0.0, "lr_scale": 1.0}], 0.1)
