"""Fine-tuning from a probe: its start, what moves, which weights count, killed and resumed, what is refused."""

from __future__ import annotations

import itertools
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_images import refused
from made_trainings import contents, finish, made_data, new_run

import pocketlens as pl
from pocketlens.api.requests import TrainRequest, build
from pocketlens.api.train import training
from pocketlens.data.dataset import Dataset, hash_images
from pocketlens.data.split import make_split
from pocketlens.events import Note, Progress, RunStarted, Stop
from pocketlens.events import finish as finish_work
from pocketlens.recipe import Experiment, Recipe, read_recipe
from pocketlens.training.checkpoint import Checkpoint
from pocketlens.training.classifier import load_classifier, predict_logits
from pocketlens.training.fine_tune import FineTuning, find_probe, fine_tune, plan_fine_tuning, probe_recipe
from pocketlens.training.fit import _batch as batch_of
from pocketlens.training.freeze import groups_of
from pocketlens.training.interpolation import Interpolation, interpolated
from pocketlens.training.refit import extend, refit
from pocketlens.training.run import Run
from pocketlens.training.state import State, make_optimizer
from pocketlens.training.train import train

BODY = "timm(name='test_resnet')"  # with random weights: what matters here is the way, not the score
CROPS = "random_resized_crop(scale=(0.5, 1.0), size=32) | flip(alternate=False)"
FINE = read_recipe("finetune").changed(
    model=BODY, prepare="middle(32)", augment=CROPS, batch_size=16, epochs=2.0, lr=0.01, freeze="groups(2) | statistics"
)


def data(n: int = 64, side: int = 40) -> Dataset:
    return made_data(n, shape=(side, side, 3))


def probe_of(runs: Path, dataset: Dataset | None = None, recipe: Recipe = FINE, **options: Any) -> Run:
    dataset = data() if dataset is None else dataset
    run = new_run(runs, probe_recipe(recipe), dataset, **options)
    finish(run, dataset)
    return run


def end(events: Any) -> Any:
    try:
        while True:
            next(events)
    except StopIteration as stop:
        return stop.value


def tuned(runs: Path, probe: Run, dataset: Dataset | None = None, **options: Any) -> Run:
    task = FineTuning(probe, data() if dataset is None else dataset, **{"recipe": FINE, **options})
    run: Run = end(fine_tune(task, runs))
    return run


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Run]:
    """A probe and its fine-tuning."""
    runs = tmp_path_factory.mktemp("runs")
    probe = probe_of(runs)
    return probe, tuned(runs, probe)


@pytest.mark.slow
def test_it_begins_with_the_probes_weights_and_ends_with_others(made: tuple[Run, Run]) -> None:
    probe, run = made
    first, last, theirs = (
        run.checkpoint().part("wise_ft/"),
        run.checkpoint().part("ema/"),
        probe.checkpoint().result(),
    )
    assert all(torch.equal(first[name], value) for name, value in theirs.items())
    moved = {name for name, value in last.items() if not torch.equal(value, first[name])}
    still = [f"net.{name}." for name, _ in groups_of(load_classifier(run).net)[:2]]
    assert not any(name.startswith(tuple(still)) or "running_" in name for name in moved)
    assert {"net.head.weight", "net.head.bias"} < moved
    assert any(name.startswith("net.body.") for name in moved)


def test_the_first_weights_are_the_probes_where_batch_norms_move_too(made: tuple[Run, Run]) -> None:
    probe, _ = made
    run = tuned(probe.path.parent, probe, recipe=FINE.changed(freeze="none", epochs=0.5))
    first, theirs = run.checkpoint().part("wise_ft/"), probe.checkpoint().result()
    assert all(torch.equal(first[name], value) for name, value in theirs.items())
    moved = {name for name, value in run.checkpoint().part("ema/").items() if not torch.equal(value, first[name])}
    assert any("running_" in name for name in moved)


def test_the_most_accurate_point_counts_and_is_recorded(made: tuple[Run, Run]) -> None:
    probe, run = made
    checkpoint = run.checkpoint()
    chosen = Interpolation.from_dict(checkpoint.meta["interpolation"])
    assert [each.alpha for each in chosen.points] == [0, 0.25, 0.5, 0.75, 1]
    best = min(chosen.points, key=lambda each: (-each.val_accuracy, each.val_loss))
    assert chosen.alpha == best.alpha
    assert chosen.points[0].val_loss == pytest.approx(probe.history()[-1]["val_loss"], abs=1e-4)
    last = run.history()[-1]
    assert (last["val_loss"], last["val_accuracy"], last["alpha"]) == (best.val_loss, best.val_accuracy, best.alpha)
    result = interpolated(checkpoint.part("wise_ft/"), checkpoint.part("ema/"), chosen.alpha)
    assert all(torch.equal(value, result[name]) for name, value in checkpoint.result().items())
    logits = predict_logits(load_classifier(run), data().images, run.split.val)
    losses = torch.nn.functional.cross_entropy(torch.from_numpy(logits), torch.from_numpy(data().labels[run.split.val]))
    assert float(losses) == pytest.approx(best.val_loss, abs=1e-5)


def test_at_its_ends_an_interpolation_is_one_of_the_two_and_counts_are_copied() -> None:
    first = {"a": torch.rand(7), "n": torch.tensor(3)}
    last = {"a": torch.rand(7), "n": torch.tensor(8)}
    for alpha, theirs in ((0.0, first), (1.0, last)):
        assert torch.equal(interpolated(first, last, alpha)["a"], theirs["a"])
    half = interpolated(first, last, 0.5)
    torch.testing.assert_close(half["a"], (first["a"] + last["a"]) / 2)
    assert int(half["n"]) == 8
    with pytest.raises(ValueError, match="same network"):
        interpolated(first, {"a": torch.rand(7)}, 0.5)


@pytest.mark.slow
def test_killed_after_any_step_and_before_the_choice_it_ends_in_the_same_bytes(tmp_path: Path) -> None:
    probe = probe_of(tmp_path)
    whole = tuned(tmp_path, probe)
    n_steps = int(whole.checkpoint().meta["n_steps"])
    for stop in (2, n_steps):
        run = Run.create(whole.experiment, whole.split, tmp_path)
        with closing(train(run, data())) as events:  # type: ignore[type-var]
            for event in events:
                if isinstance(event, Progress) and event.step == stop:
                    break
        finish(run, data())
        assert contents(run) == contents(whole)
    run = Run.create(whole.experiment, whole.split, tmp_path)
    for event in train(run, data()):
        if isinstance(event, Note) and "validation gives" in event.text:
            break  # killed when it was chosen and not yet written: as a process would be, without the generator's end
    list(train(Run(run.path), data()))
    assert contents(run) == contents(whole)


@pytest.mark.slow
def test_a_run_of_the_same_name_goes_on(tmp_path: Path) -> None:
    probe = probe_of(tmp_path)
    task = FineTuning(probe, data(), recipe=FINE)
    with closing(fine_tune(task, tmp_path, name="mine", save_every=1)) as events:
        for event in events:
            if isinstance(event, Progress) and event.step == 2:
                break
    assert Run(tmp_path / "mine").status()[0] == "stopped"
    run = end(fine_tune(task, tmp_path, name="mine"))
    assert run.status()[0] == "complete"
    assert (
        contents(run)["checkpoint-00000006.safetensors"]
        == contents(tuned(tmp_path, probe))["checkpoint-00000006.safetensors"]
    )


def test_a_refit_takes_the_place_that_was_chosen(made: tuple[Run, Run]) -> None:
    _, run = made
    again = refit(run, run.path.parent)
    assert again.experiment.alpha == run.checkpoint().meta["interpolation"]["alpha"]
    assert (again.experiment.recipe.start, again.experiment.recipe.head) == (None, "probe")
    list(train(again, data()))
    assert again.checkpoint().meta["interpolation"] == {"alpha": again.experiment.alpha, "points": []}
    head, theirs = (each.checkpoint().part("wise_ft/")["net.head.weight"] for each in (again, run))
    assert not torch.equal(head, theirs)  # the probe, too, is fitted on all rows
    assert Experiment.from_dict(again.experiment.to_dict()) == again.experiment


def test_without_validation_rows_it_lies_in_the_middle(tmp_path: Path) -> None:
    probe = probe_of(tmp_path, val_fraction=0.0)
    assert tuned(tmp_path, probe).checkpoint().meta["interpolation"]["alpha"] == 0.5


def test_trained_further_it_starts_from_what_counts(made: tuple[Run, Run]) -> None:
    _, run = made
    longer = extend(run, 3, run.path.parent)
    list(train(longer, data()))
    first = longer.checkpoint().part("wise_ft/")
    assert all(torch.equal(first[name], value) for name, value in run.checkpoint().result().items())


def test_rates_fall_with_depth(made: tuple[Run, Run]) -> None:
    _, run = made
    state = State(run.experiment, data(), run.split, "cpu")
    rate = {id(p): group["initial_lr"] for group in state.optimizer.param_groups for p in group["params"]}
    groups = groups_of(state.classifier.net)
    for place, (_, module) in enumerate(groups):
        found = [rate[id(p)] for p in module.parameters() if p.requires_grad]
        assert found == pytest.approx([0.01 * 0.8 ** (len(groups) - place)] * len(found))
        assert bool(found) == (place >= 2)
    assert {rate[id(p)] for p in state.classifier.net.head.parameters()} == {0.01}  # type: ignore[union-attr]
    plain = make_optimizer(state.classifier, run.experiment.recipe)
    assert {group["initial_lr"] for group in plain.param_groups} == {0.01}


def test_frozen_layers_build_no_graph(made: tuple[Run, Run]) -> None:
    _, run = made
    state = State(run.experiment, data(), run.split, "cpu")
    state.set_training_mode()
    graphs: dict[str, bool] = {}
    for name, module in groups_of(state.classifier.net):
        module.register_forward_hook(lambda _m, _i, out, name=name: graphs.update({name: out.requires_grad}))
    state.classifier(torch.rand(2, 3, 32, 32))
    assert list(graphs.values()) == [False, False] + [True] * (len(graphs) - 2)
    norms = [module for module in state.classifier.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert norms
    assert not any(norm.training for norm in norms)


def test_crops_are_cut_from_whole_pictures_and_the_middle_is_validated() -> None:
    dataset = data()
    images = np.zeros_like(dataset.images)
    images[:, 4:36, 4:36] = 200  # the middle; what is around it is black
    dataset = replace(dataset, images=images)
    split = make_split(dataset, val_fraction=0.25)
    black = {}
    for prepare in ("middle(32)", "resize(40) | middle(32)"):
        state = State(Experiment("made", FINE.changed(prepare=prepare, head="keep")), dataset, split, "cpu")
        cut, _ = batch_of(state, torch.arange(16), 0)
        assert cut.shape == (16, 3, 32, 32)
        black[prepare] = float((cut < 0.1).float().mean())
        assert float(state.images.take(torch.arange(4)).float().min()) == 200
    assert 0.05 < black["middle(32)"] == black["resize(40) | middle(32)"] < 0.5
    plain = FINE.changed(prepare="middle(32)", augment="random_resized_crop", head="keep")
    state = State(Experiment("made", plain), dataset, split, "cpu")
    assert float(batch_of(state, torch.arange(16), 0)[0].min()) > 0.7


def test_minutes_become_steps_and_the_choice_is_counted(made: tuple[Run, Run], monkeypatch: pytest.MonkeyPatch) -> None:
    probe, run = made
    clock = itertools.count()
    monkeypatch.setattr("pocketlens.training.budget.time.perf_counter", lambda: float(next(clock)))
    long = FINE.changed(epochs=1000.0)
    planned = plan_fine_tuning(FineTuning(probe, data(), 1.0, long), run.path.parent)
    # a step and a validation take a second: 55 s for 3 steps and 1 validation an epoch, and 4 validations at the end
    assert planned.n_steps == int(3000 * (55.2 - 4) / 4000)
    assert planned.minutes == 1.0


@pytest.mark.slow
def test_the_command_makes_the_probe_once_and_says_what_it_chose(tmp_path: Path) -> None:
    options = {
        name: getattr(FINE, name) for name in ("model", "prepare", "augment", "freeze", "batch_size", "epochs", "lr")
    }
    options = {
        **options,
        "normalize": "standardize",
        "prepare": "resize(10) | middle(8)",
        "runs": tmp_path,
        "rows": 200,
    }
    options["augment"] = CROPS.replace("32", "8")
    first = pl.train("digits", recipe="finetune", verbose=False, **options)
    assert first.run.experiment.recipe.start in [path.name for path in tmp_path.iterdir()]
    assert first.run.experiment.recipe.head == "keep"
    n_runs = len(list(tmp_path.iterdir()))
    second = pl.train("digits", recipe="finetune", verbose=False, **options)
    assert len(list(tmp_path.iterdir())) == n_runs + 1  # the probe was there
    assert second.run.checkpoint().weights_hash() == first.run.checkpoint().weights_hash()
    with refused("is too short: the probe alone took", "continues from there"):
        pl.train("digits", recipe="finetune", verbose=False, minutes=1e-5, **{**options, "rows": 100})
    with refused("--model must be that of the run to start from", BODY, "or leave out --start"):
        start = first.run.experiment.recipe.start
        pl.train(
            "digits", recipe="finetune", verbose=False, start=start, **{**options, "model": "timm(name='test_vit')"}
        )


def test_a_probe_that_cannot_be_fitted_or_was_stopped_leaves_nothing_behind(tmp_path: Path) -> None:
    changes = {"prepare": "none", "augment": "none", "normalize": "standardize", "freeze": "statistics"}

    def asked(model: str) -> TrainRequest:
        options = {"runs": tmp_path, "rows": 40, "recipe": "finetune", "model": model, **changes}
        return build(TrainRequest, {"dataset": "digits"}, options)

    with refused("head=probe needs a model whose head is one linear layer"):
        finish_work(training(asked("vgg(depth=11, width=0.125, dense=16)")))
    assert list(tmp_path.iterdir()) == []
    events = training(asked("mlp(hidden=(8, 8))"))
    while not isinstance(next(events), RunStarted):
        pass
    next(events)
    said = [events.throw(Stop(2))]
    with pytest.raises(StopIteration) as ended:
        next(events)
    assert "the same command continues" in str(said)
    assert (ended.value.value.runs, ended.value.value.signal) == ((), 2)
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_started_from_is_refused_in_one_line(tmp_path: Path) -> None:
    probe = probe_of(tmp_path)
    other = replace(data(), classes=("a", "b", "c", "z"))
    with refused("must have the classes of the data", "leave out --start"):
        plan_fine_tuning(FineTuning(probe, other, recipe=FINE), tmp_path)
    unfinished = new_run(tmp_path, probe_recipe(FINE), data())
    with suppress(Exception):
        unfinished.set_status("stopped")
    with refused("must have a readable checkpoint"):
        plan_fine_tuning(FineTuning(unfinished, data(), recipe=FINE), tmp_path)
    moved = Run.create(
        replace(probe.experiment, label="moved"), make_split(data(), val_fraction=0.25, seed=5), tmp_path
    )
    moved.save_checkpoint(probe.checkpoint())
    moved.set_status("complete")
    from pocketlens.training.fine_tune import check_probe

    with refused("of the rows that validate here", "--val-fraction 0.25"):
        check_probe(moved, moved.checkpoint(), data(), probe.split)
    with refused("size must be that of the prepared images, 32 x 32 px, got 24", "size=32"):
        State(Experiment("made", FINE.changed(augment="random_resized_crop(size=24)")), data(), probe.split, "cpu")
    with refused("keep must be last with wise_ft"):
        FINE.changed(keep="best")
    for wrong in ("statistic", "statistics | groups(2)", "groups(0) | statistics"):
        with refused("freeze must be none, body, statistics"):
            FINE.changed(freeze=wrong)


def test_without_a_probes_run_it_fits_the_same_probe_itself(made: tuple[Run, Run], tmp_path: Path) -> None:
    _, run = made
    alone = new_run(tmp_path, FINE, data())
    said = [event.text for event in finish(alone, data()) if isinstance(event, Note)]
    assert any("the head is fitted with C" in text for text in said)
    assert alone.checkpoint().weights_hash() == run.checkpoint().weights_hash()


def test_only_a_probe_of_the_same_rows_is_taken(tmp_path: Path) -> None:
    probe = probe_of(tmp_path)
    wanted = probe.experiment
    assert (found := find_probe(wanted, probe.split, tmp_path)) is not None
    assert found.id == probe.id
    assert find_probe(wanted, make_split(data(), val_fraction=0.25, seed=3), tmp_path) is None
    assert find_probe(replace(wanted, data="made(size=9)"), probe.split, tmp_path) is None
    assert find_probe(replace(wanted, data_fingerprint="other"), probe.split, tmp_path) is None
    probe.set_status("stopped")
    assert find_probe(wanted, probe.split, tmp_path) is None


@pytest.mark.parametrize("value", [{"alpha": 2.0, "points": []}, {"alpha": 0.5}, [], {"alpha": "x", "points": []}])
def test_a_damaged_choice_is_refused(made: tuple[Run, Run], value: Any) -> None:
    _, run = made
    checkpoint = run.checkpoint()
    with refused("interpolation is damaged"):
        Checkpoint(checkpoint.tensors, {**checkpoint.meta, "interpolation": value}).result()


@pytest.mark.slow
def test_a_fine_tuned_lite0_as_onnx_gives_the_same_probabilities(tmp_path: Path) -> None:
    """The whole way with real weights: photos of 256 px, crops of 224, three steps, the file beside the classifier."""
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    from pocketlens.inference.export import CheckImages, export
    from pocketlens.inference.predict import compute_logits, open_predictor
    from pocketlens.scoring.metrics import log_probabilities

    generator = np.random.default_rng(0)
    small = generator.integers(0, 255, (24, 9, 9, 3)).astype(np.float32)  # smooth pictures, as photos are
    images = torch.nn.functional.interpolate(
        torch.from_numpy(small).permute(0, 3, 1, 2), (256, 256), mode="bicubic", align_corners=False
    )
    pixels = images.clamp(0, 255).permute(0, 2, 3, 1).numpy().astype(np.uint8)
    dataset = replace(made_data(24), images=pixels, hashes=hash_images(pixels))
    recipe = read_recipe("finetune").changed(batch_size=6, epochs=1.0, optimizer="adamw | layer_decay(factor=0.8)")
    probe = probe_of(tmp_path, dataset, recipe)
    run = tuned(tmp_path, probe, dataset, recipe=recipe)
    predictor = open_predictor(str(run.path), tmp_path)
    path = tmp_path / "model.onnx"
    exported = finish_work(export(predictor, CheckImages(pixels, "made pictures"), path, "onnx"))
    assert exported.probability_difference < 1e-4
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits"], {"images": pixels})
    shares = [np.exp(log_probabilities(each)) for each in (logits, compute_logits(predictor, pixels, "cpu"))]
    assert np.abs(shares[0] - shares[1]).max() < 1e-4
    before, after = (predict_logits(load_classifier(each), pixels) for each in (probe, run))
    assert np.abs(before - after).max() > 1e-3
