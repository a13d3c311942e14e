"""sam, lookahead and ema: their papers' steps, what they remember, which weights count, and where they may stand."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from made_images import refused
from made_trainings import PLAIN, finish, made_data, new_run
from torch import Tensor, nn

from pocketlens.data.split import make_split
from pocketlens.events import Progress
from pocketlens.optimizers.ema import ema
from pocketlens.optimizers.lookahead import lookahead
from pocketlens.optimizers.sam import sam
from pocketlens.recipe import Experiment, Recipe, parse_optimizer
from pocketlens.training.classifier import load_classifier, predict_logits
from pocketlens.training.fit import Diverged, fit
from pocketlens.training.state import State


def state(recipe: Recipe = PLAIN, **changes: Any) -> State:
    dataset = made_data()
    made = recipe.changed(**changes)
    return State(Experiment("made", made, seed=1), dataset, make_split(dataset, val_fraction=0.25), "cpu")


def walk(made: State, n_steps: int) -> State:
    for event in fit(made):
        if isinstance(event, Progress) and event.step == n_steps:
            return made
    return made


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 2))


def test_sam_takes_the_gradient_of_the_moved_weights() -> None:
    """Algorithm 1 by hand: w - lr * grad L(w + rho * g / |g|), for five steps of plain gradient descent."""
    ours, theirs = net(), net()
    optimizer = torch.optim.SGD(ours.parameters(), lr=0.1)
    modifier = sam(ours, rho=0.2)
    generator = torch.Generator().manual_seed(5)
    for step in range(5):
        x, y = torch.randn(8, 3, generator=generator), torch.arange(8) % 2

        def gradients(model: nn.Module = ours, x: Tensor = x, y: Tensor = y) -> None:
            model.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()

        gradients()
        statistics = ours[1].running_mean.clone()
        before = [p.detach().clone() for p in ours.parameters()]
        modifier.before_step(step, gradients)
        assert all(torch.equal(p, old) for p, old in zip(ours.parameters(), before, strict=True))
        assert torch.equal(ours[1].running_mean, statistics)  # of the first pass alone
        optimizer.step()

        slopes = torch.autograd.grad(nn.functional.cross_entropy(theirs(x), y), list(theirs.parameters()))
        length = sum(float((slope**2).sum()) for slope in slopes) ** 0.5
        moved = copy.deepcopy(theirs)
        with torch.no_grad():
            for parameter, slope in zip(moved.parameters(), slopes, strict=True):
                parameter += 0.2 * slope / length
        slopes = torch.autograd.grad(nn.functional.cross_entropy(moved(x), y), list(moved.parameters()))
        with torch.no_grad():
            for parameter, slope in zip(theirs.parameters(), slopes, strict=True):
                parameter -= 0.1 * slope
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, other, atol=1e-6, rtol=1e-4)


def test_sam_sees_the_same_batch_and_dropout_and_rho_0_changes_nothing() -> None:
    changes: dict[str, Any] = {"model": "mlp(hidden=(16,), dropout=0.5)", "augment": "crop(pad=2)"}
    plain = walk(state(**changes), 5).checkpoint()
    none = walk(state(**changes, optimizer="sgd | sam(rho=0)"), 5).checkpoint()
    some = walk(state(**changes, optimizer="sgd | sam(rho=0.1)"), 5).checkpoint()
    assert plain.weights_hash() == none.weights_hash() != some.weights_hash()


def test_a_second_pass_that_is_not_finite_leaves_the_weights_of_before() -> None:
    made = state(optimizer="sgd | sam(rho=1)")
    before: dict[str, Tensor] = {}
    calls = 0
    loss = made.loss

    def broken(logits: Tensor, targets: Tensor) -> Tensor:
        nonlocal calls, before
        calls += 1
        if calls == 3:
            before = {name: value.clone() for name, value in made.classifier.state_dict().items()}
        values: Tensor = loss(logits, targets) * (float("nan") if calls == 4 else 1.0)
        return values

    made.loss = broken
    with pytest.raises(Diverged, match="in step 2"):
        walk(made, 5)
    assert all(torch.equal(value, before[name]) for name, value in made.classifier.state_dict().items())


def test_lookahead_is_that_of_the_paper() -> None:
    """Algorithm 1 by hand, with momentum that is kept across the meetings."""
    ours, theirs = state(optimizer="sgd | lookahead(k=3, alpha=0.4)"), state(optimizer="sgd")
    parameters = dict(theirs.classifier.named_parameters())
    slow = {name: value.detach().clone() for name, value in parameters.items()}
    for event in fit(theirs):
        if isinstance(event, Progress) and event.step % 3 == 0:
            with torch.no_grad():
                for name, parameter in parameters.items():
                    slow[name] += 0.4 * (parameter - slow[name])
                    parameter.copy_(slow[name])
        if isinstance(event, Progress) and event.step == 8:
            break
    walk(ours, 8)
    for name, parameter in ours.classifier.named_parameters():
        torch.testing.assert_close(parameter, parameters[name])
        torch.testing.assert_close(ours.modifiers["lookahead"].memory[name], slow[name])
        torch.testing.assert_close(ours.result()[name], slow[name])


def test_ema_is_its_formula_for_weights_and_statistics() -> None:
    changes: dict[str, Any] = {"model": "mlp(hidden=(16,), batch_norm=True)"}
    ours, theirs = state(**changes, optimizer="sgd | ema(decay=0.4)"), state(**changes)
    average = {name: value.clone() for name, value in theirs.classifier.state_dict().items()}
    for event in fit(theirs):
        if not isinstance(event, Progress):
            continue
        t = event.step
        decay = min(0.4, (1 + t) / (10 + t))  # the bound holds from step 5 on
        for name, value in theirs.classifier.state_dict().items():
            if value.is_floating_point():
                average[name] = decay * average[name] + (1 - decay) * value
            else:
                average[name] = value.clone()
    walk(ours, 99)
    assert ours.step == 9
    weights = theirs.classifier.state_dict()
    for name, value in ours.classifier.state_dict().items():
        assert torch.equal(value, weights[name])  # training does not see the average
        torch.testing.assert_close(ours.result()[name], average[name])
    assert any("running_mean" in name for name in average)


@pytest.mark.parametrize("optimizer", ["sgd | ema(decay=0.9)", "sgd | lookahead(k=4)", "sgd | lookahead(k=2) | ema"])
def test_what_is_remembered_is_validated_and_is_the_result(optimizer: str, tmp_path: Any) -> None:
    run = new_run(tmp_path, PLAIN.changed(optimizer=optimizer))
    finish(run)
    checkpoint, rows = run.checkpoint(), run.split.val
    name = "net.head.weight"
    assert torch.equal(checkpoint.result()[name], checkpoint.part(f"{parse_optimizer(optimizer)[-1].name}/")[name])
    assert not torch.equal(checkpoint.result()[name], checkpoint.part("weights/")[name])
    logits = predict_logits(load_classifier(run), made_data().images, rows)
    losses = nn.functional.cross_entropy(torch.from_numpy(logits), torch.from_numpy(made_data().labels[rows]))
    assert run.history()[-1]["val_loss"] == pytest.approx(float(losses), rel=1e-5)
    assert run.history()[-1]["val_accuracy"] == np.mean(logits.argmax(1) == made_data().labels[rows])


def test_what_is_remembered_begins_behind_a_warm_start(tmp_path: Any) -> None:
    source = new_run(tmp_path)
    finish(source)
    run = new_run(tmp_path, PLAIN.changed(start=source.id, optimizer="sgd | lookahead(k=1000) | ema", lr=1e-12))
    finish(run)
    given = source.checkpoint().result()
    for memory in (run.checkpoint().part("lookahead/"), run.checkpoint().part("ema/")):
        assert all(torch.allclose(value, given[name], atol=1e-6) for name, value in memory.items())


@pytest.mark.parametrize("part", ["a tensor is missing", "another shape", "none at all"])
def test_a_checkpoint_whose_memory_does_not_fit_is_refused(part: str) -> None:
    made = state(optimizer="sgd | ema")
    checkpoint = made.checkpoint()
    if part == "another shape":
        checkpoint.tensors["ema/net.head.weight"] = torch.zeros(2)
    else:
        for name in [name for name in checkpoint.tensors if name.startswith("ema/")]:
            if part == "none at all" or name == "ema/net.head.weight":
                del checkpoint.tensors[name]
    with refused("the checkpoint does not fit the run", "ema"):
        made.restore(checkpoint)


def test_a_frozen_body_stays_where_it_is() -> None:
    made = state(optimizer="sgd | sam | lookahead(k=2) | ema(decay=0.5)", freeze="body", model="lens(width=0.125)")
    before = {name: value.clone() for name, value in made.classifier.state_dict().items()}
    walk(made, 5)
    result = made.result()
    assert {name for name, value in before.items() if not torch.equal(value, result[name])} == {"net.head.weight"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("sam", "sam modifies the optimizer before it and cannot come first; try 'sgd | sam'"),
        (
            "sgd | adam",
            "adam in 'sgd | adam' must come first; only ema, layer_decay, lookahead, sam, wise_ft may follow it",
        ),
        ("sgd | ema | ema", "ema must occur only once"),
        ("none", "optimizer must be given"),
        ("sgd | lookahed", "Did you mean 'lookahead'"),
        ("sgd | sam(rho=0.1, adaptive=True)", "sam has no option 'adaptive'"),
    ],
)
def test_the_wrong_places_are_refused_without_torch(text: str, says: str) -> None:
    with refused(says):
        PLAIN.changed(optimizer=text)


def test_options_that_are_not_allowed_are_refused() -> None:
    model = nn.Linear(2, 2)
    for rho in (-0.1, float("nan"), "much", True):
        with refused("sam: rho must be a number in 0..100"):
            sam(model, rho=rho)  # type: ignore[arg-type]
    for decay in (1.0, -0.1, None):
        with refused("ema: decay must be a number, at least 0 and below 1"):
            ema(model, decay=decay)  # type: ignore[arg-type]
    with refused("lookahead: k must be a whole number"):
        lookahead(model, k=0)
    with refused("lookahead: alpha must be a number in 0..1"):
        lookahead(model, alpha=1.5)
