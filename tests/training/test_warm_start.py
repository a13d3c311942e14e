"""Warm starts, kept, new and appended heads, frozen groups: what moves, what stands still, what is refused."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_images import refused
from made_models import build
from made_trainings import PLAIN, contents, finish, made_data, new_run

import pocketlens.training.checkpoint
from pocketlens.events import Note, Progress
from pocketlens.recipe import Recipe
from pocketlens.training.checkpoint import Checkpoint
from pocketlens.training.classifier import load_classifier, predict_logits
from pocketlens.training.freeze import frozen_parts, groups_of
from pocketlens.training.refit import refit
from pocketlens.training.run import Run
from pocketlens.training.train import train
from pocketlens.training.warm_start import check_source, open_source, reuse_source

LENS = PLAIN.changed(model="lens(width=0.125)", epochs=1.0, lr=0.01)
NORMED = PLAIN.changed(model="cnn(channels=(4, 8), batch_norm='before', dense=(), dropout=0.2)", epochs=1.0)
TWO = replace(made_data(), labels=made_data().labels % 2, classes=("even", "odd"))


def source_of(folder: Path, recipe: Recipe = LENS) -> Run:
    run = new_run(folder, recipe, label="source")
    finish(run)
    return run


def moved(run: Run, source: Run, below: str = "net.") -> set[str]:
    """The names of the source's tensors that are not the same in the run."""
    mine, theirs = run.checkpoint().result(), source.checkpoint().result()
    renamed = {name: name.replace("net.", below, 1) if name.startswith("net.") else name for name in theirs}
    return {name for name, value in theirs.items() if not torch.equal(mine[renamed[name]], value)}


def changed_to(recipe: Recipe, source: Run, **changes: Any) -> Recipe:
    return recipe.changed(start=source.id, **changes)


@pytest.mark.parametrize(
    ("model", "names"),
    [
        ("lens(width=0.125)", ["stem", "groups.0", "groups.1", "groups.2"]),
        ("mlp(hidden=(8, 8))", ["body.1", "body.3"]),
        ("resnet(depth=20, width=0.5)", ["stem", *(f"body.{n}" for n in range(9))]),
        ("vgg(depth=11, width=0.125, batch_norm=False, until=(2, 1))", ["features.0", "features.3"]),
        ("vit(width=32, depth=2, heads=4)", ["patches", "body.0", "body.1", "norm"]),
    ],
)
def test_groups_are_the_stages_in_their_order(model: str, names: list[str]) -> None:
    net = build(model)
    found = groups_of(net)
    if not model.startswith("vit"):
        assert [name for name, _ in found] == names
    assert [net.get_submodule(name) for name, _ in found] == [module for _, module in found]
    assert frozen_parts(net, f"groups({len(found)})") == [module for _, module in found]
    with refused(f"the net has {len(found)} groups"):
        frozen_parts(net, f"groups({len(found) + 1})")


def test_frozen_groups_stand_still_with_their_batch_norms(tmp_path: Path) -> None:
    source = source_of(tmp_path, NORMED)
    run = new_run(tmp_path, changed_to(NORMED, source, freeze="groups(2)", decay_on="all"))
    finish(run)
    still = {name for name, _ in load_classifier(run).named_parameters()} - moved(run, source)
    names = [f"net.{name}." for name, _ in groups_of(load_classifier(run).net)[:2]]
    assert still == {name for name in still if name.startswith(tuple(names))}
    assert len(still) >= 3
    assert not any(name.startswith(tuple(names)) for name in moved(run, source))  # statistics of the norm among them
    assert any("running_mean" in name for name in moved(run, source))  # of those that are not frozen


def test_the_whole_body_frozen_trains_the_head_alone(tmp_path: Path) -> None:
    source = source_of(tmp_path, NORMED)
    run = new_run(tmp_path, changed_to(NORMED, source, freeze="body", head="new"))
    finish(run)
    assert moved(run, source) == {"net.head.weight", "net.head.bias"}


def test_a_smaller_rate_for_the_body_moves_it_less(tmp_path: Path) -> None:
    source = source_of(tmp_path)
    far: dict[float, float] = {}
    for scale in (1.0, 0.01):
        run = new_run(tmp_path, changed_to(LENS, source, body_lr_scale=scale))
        finish(run)
        mine, theirs = run.checkpoint().result(), source.checkpoint().result()
        far[scale] = float((mine["net.groups.1.conv_a.weight"] - theirs["net.groups.1.conv_a.weight"]).norm())
    assert 0 < far[0.01] < 0.05 * far[1.0]


def test_an_appended_head_stands_on_the_whole_source(tmp_path: Path) -> None:
    source = source_of(tmp_path)
    recipe = changed_to(LENS, source, head="append", freeze="body")
    run = new_run(tmp_path, recipe, TWO)
    said = [event.text for event in finish(run, TWO) if isinstance(event, Note)]
    assert "not taken: net.head.weight (new), net.head.bias (new)" in said[0]
    assert run.experiment.start_outputs == (4,)
    assert moved(run, source, "net.body.") == set()
    made = load_classifier(run)
    inner = predict_logits(load_classifier(source), TWO.images)
    expected = made.net.head(torch.from_numpy(inner)).detach().numpy()  # type: ignore[operator]
    assert np.allclose(predict_logits(made, TWO.images), expected, atol=1e-5)
    assert made.net.head.weight.shape == (2, 4)  # type: ignore[union-attr]

    again = new_run(tmp_path, changed_to(LENS, run), TWO)  # a start from such a run keeps both heads
    said = [event.text for event in finish(again, TWO) if isinstance(event, Note)]
    assert "not taken: none" in said[0]
    partly = new_run(tmp_path, changed_to(LENS, source, head="append", freeze="groups(5)"), TWO)
    finish(partly, TWO)
    assert moved(partly, source, "net.body.") == set()  # the fifth group is the old head


@pytest.mark.parametrize("head", ["new", "append"])
def test_resumed_and_refitted_they_are_the_same_bytes(tmp_path: Path, head: str) -> None:
    source = source_of(tmp_path)
    recipe = changed_to(LENS, source, head=head, freeze="groups(1)", body_lr_scale=0.5, epochs=2.0)
    unbroken, stopped = (new_run(tmp_path, recipe, TWO) for _ in range(2))
    finish(unbroken, TWO)
    refitted = [refit(unbroken, tmp_path) for _ in range(2)]
    for run in refitted:
        assert run.experiment.start_weights == source.weights_hash()
        said = [event.text for event in finish(run, TWO) if isinstance(event, Note)]
        assert said[0].startswith(f"starts from {source.id}")
    assert refitted[0].weights_hash() == refitted[1].weights_hash()

    events = train(stopped, TWO)
    for event in events:
        if isinstance(event, Progress) and event.step == 2:
            break
    events.close()  # type: ignore[attr-defined]
    shutil.rmtree(source.path)  # its weights are in the checkpoint
    finish(stopped, TWO)
    assert contents(stopped) == contents(unbroken)


def test_a_source_that_has_gone_or_changed_before_the_first_step_is_named(tmp_path: Path) -> None:
    source = source_of(tmp_path)
    waiting = [new_run(tmp_path, changed_to(LENS, source, lr=lr)) for lr in (0.01, 0.02)]
    other = new_run(tmp_path, LENS, seed=1)
    finish(other)
    kept = tmp_path / "kept"
    shutil.copytree(source.path, kept)
    for path in source.checkpoint_files():
        path.unlink()
    shutil.copy(other.checkpoint_files()[-1], source.path)
    with refused("has other weights now"):
        finish(waiting[0])
    shutil.rmtree(source.path)
    with refused(f"has no checkpoint yet and starts from {source.id}, which no longer exists"):
        finish(waiting[1])
    shutil.move(kept, source.path)
    finish(waiting[1])


def test_a_source_is_read_once_for_all_runs_that_start_from_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, read = source_of(tmp_path), []
    real = pocketlens.training.checkpoint.read_checkpoint

    def counted(path: Path) -> Checkpoint:
        read.extend([path] if path.parent == source.path else [])
        return real(path)

    monkeypatch.setattr(pocketlens.training.checkpoint, "read_checkpoint", counted)
    alone = new_run(tmp_path, changed_to(LENS, source))
    assert len(read) == 1
    finish(alone)
    assert len(read) == 2, "train() opens it itself where it is not given"

    read.clear()
    opened = open_source(alone.experiment, tmp_path)
    assert opened is not None
    check_source(opened.checkpoint, opened.id, alone.experiment.recipe, 3)
    for seed in (0, 1):
        experiment = reuse_source(opened, replace(opened.experiment, seed=seed)).experiment
        run = Run.create(experiment, alone.split, tmp_path)
        list(train(run, made_data(), source=opened))
        if seed == 0:
            assert contents(run) == contents(alone)
    assert len(read) == 1
    other = source_of(tmp_path, LENS.changed(lr=0.02))
    wrong = open_source(replace(alone.experiment, start_weights="", recipe=changed_to(LENS, other)), tmp_path)
    with refused("has other weights now"):
        list(train(new_run(tmp_path, changed_to(LENS, source)), made_data(), source=wrong))
    assert open_source(source.experiment, tmp_path) is None


def test_what_cannot_be_started_from_is_refused(tmp_path: Path) -> None:
    source = source_of(tmp_path)
    grey = made_data(shape=(12, 12, 1))
    with refused("takes images with 3 channels, these have one grey channel"):
        finish(new_run(tmp_path, changed_to(LENS, source), grey), grey)
    with refused("--model must be its 'lens(width=0.125)', got 'lens(width=0.25)'"):
        new_run(tmp_path, changed_to(LENS, source, head="append", model="lens(width=0.25)"))
    with refused("give --model 'lens(width=0.125)'"):
        finish(new_run(tmp_path, changed_to(PLAIN, source)))
    for value, field in (("groups(0)", "freeze"), ("groups", "freeze"), ("top", "head")):
        with refused(f"{field} must be"):
            LENS.changed(**{field: value})
    with refused("start must be a run if head is append"):
        LENS.changed(head="append")
