"""The same seed gives the same bytes: twice, stopped anywhere, killed anywhere; draws are pure functions, and fair."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_trainings import PLAIN, RECIPES, contents, finish, made_data, new_run
from torch import Tensor

from pocketlens.data.split import make_split
from pocketlens.draws import Draws, order, stream
from pocketlens.events import Epoch, Progress
from pocketlens.recipe import Experiment, Recipe
from pocketlens.scoring.predictions import read_predictions
from pocketlens.training.classifier import load_classifier, predict_logits
from pocketlens.training.run import Run
from pocketlens.training.state import State
from pocketlens.training.train import train

loop = import_module("pocketlens.training.fit")  # pocketlens.training.fit itself is the function
train_module = import_module("pocketlens.training.train")
scores_module = import_module("pocketlens.training.validation_scores")
EIGHT_STEPS = PLAIN.changed(optimizer="adam", model="mlp(hidden=(16,), dropout=0.2)", batch_size=6, epochs=2.0)


class Death(BaseException):
    """The process is gone: nobody saves anything, and the lock is let go."""


def die_at(run: Run, step: int, save_every: int | None) -> None:
    """Trains until `step` is done and dies before it could be saved; or to the end, where that comes first."""
    events = train(run, made_data(), save_every=save_every)
    for event in events:
        if isinstance(event, Progress) and event.step == step:
            with pytest.raises(Death):
                events.throw(Death())
            return


# ---- the same bytes


@pytest.mark.parametrize("name", RECIPES)
def test_same_seed_same_bytes_and_stopped_after_every_step_too(name: str, tmp_path: Path) -> None:
    unbroken, stopped, other = (
        new_run(tmp_path / place, RECIPES[name], seed=seed) for place, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    n_stops = 0
    torch.manual_seed(1)
    finish(unbroken, save_every=1)
    while stopped.status()[0] != "complete":
        torch.manual_seed(n_stops)  # the global generator plays no part
        events = train(stopped, made_data())
        for event in events:
            if isinstance(event, (Progress, Epoch)):
                break
        events.close()
        n_stops += stopped.status()[0] == "stopped"
    n_epochs = len(unbroken.history())
    assert n_stops == unbroken.history()[-1]["step"] + n_epochs  # once behind every step, once behind every epoch
    assert contents(stopped) == contents(unbroken)
    finish(other)
    assert other.weights_hash() != unbroken.weights_hash()


CONVOLUTIONS = {
    "resnet": PLAIN.changed(model="resnet(depth=20, width=0.5)", optimizer="adam | ema(decay=0.5)", epochs=2.0),
    "lens, best": PLAIN.changed(model="lens(width=0.125)", optimizer="muon", lr=0.1, keep="best"),
    "vit": PLAIN.changed(model="vit(width=32, depth=2, heads=4)", optimizer="adamw", lr=0.003, epochs=1.0),
}


@pytest.mark.parametrize("name", [*RECIPES, *CONVOLUTIONS])
def test_the_scores_are_those_of_the_stored_weights_which_are_not_read_again(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = {**RECIPES, **CONVOLUTIONS}[name]
    run, resumed = new_run(tmp_path / "a", recipe), new_run(tmp_path / "b", recipe)
    with monkeypatch.context() as patch:
        patch.setattr(scores_module, "load_classifier", lambda _run: pytest.fail("the state has these logits"))
        finish(run)
    stored = read_predictions(run.file("predictions-val.safetensors"))
    assert np.array_equal(stored.logits, predict_logits(load_classifier(run), made_data().images, run.split.val))

    def die(*_args: Any) -> None:
        raise Death

    monkeypatch.setattr(train_module, "leave_scores_if_they_fit", die)
    with pytest.raises(Death):  # killed between the last checkpoint and the scores
        finish(resumed)
    monkeypatch.undo()
    assert not resumed.file("scores-val.json").exists()
    finish(resumed)
    assert contents(resumed) == contents(run)


def test_a_repetition_and_another_save_every_give_the_same_bytes(tmp_path: Path) -> None:
    runs = [new_run(tmp_path / str(number), EIGHT_STEPS) for number in range(3)]
    for run, save_every in zip(runs, (None, None, 1), strict=True):
        finish(run, save_every=save_every)
    first, second, third = (contents(run) for run in runs)
    assert first == second
    assert first.items() - third.items() == {
        ("checkpoint-00000008.safetensors", first["checkpoint-00000008.safetensors"])
    }


@pytest.mark.parametrize("seed", [*range(3), *(pytest.param(n, marks=pytest.mark.slow) for n in range(3, 20))])
def test_killed_five_times_in_one_epoch(seed: int, tmp_path: Path) -> None:
    unbroken, killed = (new_run(tmp_path / place, EIGHT_STEPS, seed=seed) for place in "ab")
    finish(unbroken, save_every=2)
    for step in sorted(np.random.default_rng(seed).choice(np.arange(9, 16), 5, replace=False)):
        die_at(killed, int(step), save_every=2)
        assert killed.status()[0] == "killed"
    finish(killed, save_every=2)
    assert contents(killed) == contents(unbroken)


def test_no_batch_is_repeated_or_skipped_by_stopping(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = loop._batch
    seen: list[tuple[int, list[int]]] = []

    def batch_and_tell(state: State, picked: Tensor, epoch: int) -> tuple[Tensor, Tensor]:
        seen.append((state.step, picked.tolist()))
        return batch(state, picked, epoch)

    monkeypatch.setattr(loop, "_batch", batch_and_tell)
    unbroken, stopped = (new_run(tmp_path / place, EIGHT_STEPS) for place in "ab")
    finish(unbroken)
    wanted, seen[:] = list(seen), []
    for stop in (2, 5, 8, "epoch", 11):  # twice in an epoch; behind its last step; behind the epoch; and again
        events = train(stopped, made_data())
        for event in events:
            if (isinstance(event, Progress) and event.step == stop) or (isinstance(event, Epoch) and stop == "epoch"):
                break
        events.close()
    finish(stopped)
    assert [step for step, _ in seen] == list(range(16))
    assert seen == wanted
    for epoch in (wanted[:8], wanted[8:]):
        assert sorted(row for _, rows in epoch for row in rows) == list(range(48))


def test_history_has_no_gap_and_no_overlap_after_kills(tmp_path: Path) -> None:
    run = new_run(tmp_path, EIGHT_STEPS.changed(epochs=5.0))
    for step in (3, 9, 17, 18, 39):
        die_at(run, step, save_every=None)
        assert [record["epoch"] for record in run.history()] == list(range(1, len(run.history()) + 1))
    finish(run)
    history = run.history()
    assert [record["epoch"] for record in history] == [1, 2, 3, 4, 5]
    assert all(before["step"] < after["step"] for before, after in pairwise(history))


# ---- augmentation does not depend on the batch size


@pytest.mark.parametrize("augment", ["flip | crop(pad=1)", "flip(alternate=False) | cutout(size=4, p=0.7)"])
def test_the_batch_size_does_not_change_which_augmentation_an_image_gets(augment: str) -> None:
    small, large = (augmented(PLAIN.changed(augment=augment, replicate=1, batch_size=n), epoch=1) for n in (5, 96))
    assert small.keys() == large.keys()
    assert len(small) == 96
    assert all(torch.equal(small[row], large[row]) for row in small)
    again = augmented(PLAIN.changed(augment=augment, replicate=1, batch_size=5), epoch=2)
    assert any(not torch.equal(small[row], again[row]) for row in small)


def test_copies_of_an_image_get_augmentations_of_their_own_and_refresh_keeps_them() -> None:
    recipe = PLAIN.changed(augment="crop(pad=3)", replicate=1, refresh=2)
    first, second, third = (augmented(recipe, epoch) for epoch in (0, 1, 2))
    n = len(first) // 2
    assert sum(torch.equal(first[row], first[row + n]) for row in range(n)) < n / 4  # 49 shifts: 1 of 49 by chance
    assert all(torch.equal(first[row], second[row]) for row in first)
    assert sum(torch.equal(first[row], third[row]) for row in first) < n / 2


def augmented(recipe: Recipe, epoch: int) -> dict[int, Tensor]:
    """What the loop makes of every virtual row in an epoch, whatever the order and the batches."""
    dataset = made_data()
    state = State(Experiment("made", recipe, seed=3), dataset, make_split(dataset, val_fraction=0.25), "cpu")
    places = order(state.virtual_rows, 3, epoch)
    result = {}
    for index in range(state.plan.steps_per_epoch):
        picked = places[state.plan.batch(index)]
        images, _ = loop._batch(state, picked, epoch)
        result.update(zip(picked.tolist(), images, strict=True))
    return result


# ---- draws


def draws(n: int = 100_000, **changes: Any) -> Draws:
    rows = torch.arange(n)
    return replace(Draws(seed=7, rows=rows, copies=torch.zeros_like(rows), epoch=3, name="/0/crop"), **changes)


def chi_square(values: Tensor, n_bins: int) -> float:
    """In standard deviations from what fair values in 0..1 give; below 5 for all but one of a million fair ones."""
    counts = torch.histc(values.double(), n_bins, 0, 1)
    expected = len(values) / n_bins
    statistic = float(((counts - expected) ** 2 / expected).sum())
    return abs(statistic - (n_bins - 1)) / math.sqrt(2 * (n_bins - 1))


@pytest.mark.parametrize("of", ["rows", "copies", "epochs", "seeds", "names", "columns"])
def test_draws_are_uniform_along_every_axis(of: str) -> None:
    n, zeros = 20_000, torch.zeros(20_000, dtype=torch.int64)
    few = draws(1)
    values: dict[str, Callable[[], Tensor]] = {
        "rows": lambda: draws(n).uniform("x")[:, 0],
        "copies": lambda: draws(rows=zeros, copies=torch.arange(n)).uniform("x")[:, 0],
        "epochs": lambda: torch.cat([replace(few, epoch=k).uniform("x")[:, 0] for k in range(4000)]),
        "seeds": lambda: torch.cat([replace(few, seed=k).uniform("x")[:, 0] for k in range(4000)]),
        "names": lambda: torch.cat([few.uniform(f"x{k}")[:, 0] for k in range(4000)]),
        "columns": lambda: draws(1).uniform("x", n)[0],
    }
    taken = values[of]()
    assert len(taken.unique()) > 0.99 * len(taken)
    assert float(taken.min()) >= 0
    assert float(taken.max()) < 1
    assert chi_square(taken, 64) < 5
    assert chi_square(taken * 2**12 % 1, 64) < 5  # the lower bits too
    centred = taken.double() - 0.5
    for lag in (1, 2, 7):  # neighbours do not follow each other
        correlation = float((centred[:-lag] * centred[lag:]).mean() * 12)
        assert abs(correlation) < 5 / math.sqrt(len(taken))


def test_chi_square_sees_an_unfair_draw() -> None:
    fair = draws(20_000).uniform("x")[:, 0]
    assert chi_square(fair**1.2, 64) > 5


def test_draws_of_different_origin_are_not_related() -> None:
    base = draws()
    others = {
        "name": replace(base, name="/1/crop").uniform("x"),
        "what": base.uniform("y"),
        "epoch": replace(base, epoch=4).uniform("x"),
        "seed": replace(base, seed=8).uniform("x"),
        "copy": replace(base, copies=base.copies + 1).uniform("x"),
        "row": replace(base, rows=base.rows + 1).uniform("x"),
        "column": base.uniform("x", 2)[:, 1:],
    }
    own = base.uniform("x")[:, 0].double() - 0.5
    for origin, values in others.items():
        correlation = float((own * (values[:, 0].double() - 0.5)).mean() * 12)
        equal = int((base.uniform("x")[:, 0] == values[:, 0]).sum())
        if origin != "row":  # the next row's number is the same number at another place
            assert equal < 5, origin
        assert abs(correlation) < 5 / math.sqrt(len(own)), origin


def test_integers_take_every_value_equally_often_and_fixed_ignores_the_epoch() -> None:
    made = draws()
    values = made.integers("shift", -2, 2, 2)
    assert values.shape == (100_000, 2)
    assert values.dtype == torch.int64
    for column in values.T:
        counts = torch.bincount(column + 2)
        assert len(counts) == 5
        assert (counts - 20_000).abs().max() < 5 * math.sqrt(100_000 * 0.2 * 0.8)
    assert torch.equal(made.fixed("half"), replace(made, epoch=9).fixed("half"))
    assert not torch.equal(made.uniform("half"), replace(made, epoch=9).uniform("half"))


def test_a_draw_does_not_depend_on_the_rows_beside_it() -> None:
    made = draws(1000)
    some = torch.tensor([999, 0, 17, 500, 17])
    part = replace(made, rows=made.rows[some], copies=made.copies[some])
    for name in ("a", "b"):
        assert torch.equal(part.named(name).uniform("x", 3), made.named(name).uniform("x", 3)[some])
        assert torch.equal(part.named(name).fixed("x"), made.named(name).fixed("x")[some])
        assert torch.equal(part.integers(name, 0, 8), made.integers(name, 0, 8)[some])


def test_order_is_a_fair_permutation_that_changes_with_epoch_and_seed() -> None:
    rows = torch.arange(16)
    orders = torch.stack([order(rows, 0, epoch) for epoch in range(2000)])  # (2000, 16) int64
    assert torch.equal(orders.sort(1).values, rows.expand(2000, 16))
    for place in (0, 7, 15):
        assert chi_square((orders[:, place] + 0.5) / 16, 16) < 5
    assert len({tuple(made.tolist()) for made in orders}) == 2000
    assert not torch.equal(order(rows, 1, 0), orders[0])
    assert torch.equal(order(rows, 0, 0), orders[0])
    partners = draws(500).partners("partner")
    assert torch.equal(partners.sort().values, torch.arange(500))
    assert int((partners == torch.arange(500)).sum()) < 10  # a random permutation leaves about one in its place


def test_known_values_stay_known() -> None:
    """Stored runs can be reproduced by later versions only while these numbers hold."""
    made = Draws(seed=0, rows=torch.tensor([0, 1, 50_000]), copies=torch.tensor([0, 1, 0]), epoch=2).named("0/crop")
    assert stream(0, "init") == KNOWN_STREAM
    assert (made.uniform("shift")[:, 0] * 2**24).long().tolist() == KNOWN_DRAWS
    assert order(torch.arange(8), 0, 1).tolist() == KNOWN_ORDER


KNOWN_STREAM = 7824777423566302168  # computed without torch, with Python's integers modulo 2**64
KNOWN_DRAWS = [7477282, 8160459, 11433932]
KNOWN_ORDER = [2, 6, 3, 7, 1, 5, 4, 0]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_draws_and_order_are_the_same_on_cuda() -> None:
    here = draws(10_000)
    there = replace(here, rows=here.rows.cuda(), copies=here.copies.cuda())
    assert torch.equal(here.uniform("x", 4), there.uniform("x", 4).cpu())
    assert torch.equal(here.partners("x"), there.partners("x").cpu())
    assert torch.equal(order(here.rows, 5, 6), order(there.rows, 5, 6).cpu())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", RECIPES)
def test_on_cuda_too_a_stopped_and_resumed_run_has_the_bytes_of_an_unbroken_one(name: str, tmp_path: Path) -> None:
    unbroken, stopped = (new_run(tmp_path / place, RECIPES[name]) for place in "ab")
    for _ in train(unbroken, made_data(), device="cuda", save_every=1):
        pass
    while stopped.status()[0] != "complete":
        events = train(stopped, made_data(), device="cuda")
        for event in events:
            if isinstance(event, (Progress, Epoch)):
                break
        events.close()
    assert contents(stopped) == contents(unbroken)
