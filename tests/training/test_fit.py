"""Plan, Rows, State and the loop, on tiny data."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from pocketlens.data.dataset import Dataset, hash_images
from pocketlens.data.split import make_split
from pocketlens.errors import PocketlensError
from pocketlens.events import Epoch, Progress
from pocketlens.recipe import Experiment, Recipe
from pocketlens.training import device_images
from pocketlens.training.device_images import DeviceImages, channel_statistics
from pocketlens.training.fit import check_sizes, fit
from pocketlens.training.state import State, make_plan
from pocketlens.training.warm_start import match_weights

TINY = Recipe(
    model="mlp(hidden=(16,))", sizes="100%", optimizer="sgd", lr=0.05, batch_size=16, epochs=3.0, augment="none"
)


def data(n: int = 60, side: int = 8, channels: int = 1) -> Dataset:
    generator = np.random.default_rng(0)
    labels = np.arange(n, dtype=np.int64) % 3
    images = generator.integers(0, 100, (n, side, side, channels)).astype(np.uint8)
    images[np.arange(n), labels] += 120  # one bright row tells the class
    return Dataset("made", images, labels, ("a", "b", "c"), hash_images(images))


def state(recipe: Recipe = TINY, **changes: object) -> State:
    dataset = data()
    experiment = Experiment("made", recipe.changed(**changes), seed=1)
    return State(experiment, dataset, make_split(dataset, val_fraction=0.2), "cpu")


def run_through(made: State) -> list[Epoch]:
    return [event for event in fit(made) if isinstance(event, Epoch)]


def test_an_epoch_is_cut_into_batches_of_nearly_equal_size() -> None:
    plan = make_plan(TINY, 49, (8, 8, 1), None)  # 49 = 3 * 16 + 1
    sizes = [len(range(49)[plan.batch(index)]) for index in range(plan.steps_per_epoch)]
    assert sizes == [12, 12, 12, 13]
    assert plan.n_steps == 12


def test_fractions_of_epochs_become_whole_steps() -> None:
    plan = make_plan(TINY.changed(epochs=2.5), 48, (8, 8, 1), None)
    assert (plan.steps_per_epoch, plan.n_steps, plan.n_epochs) == (3, 8, 3)
    made = state(epochs=2.5)
    epochs = run_through(made)
    assert [epoch.record["step"] for epoch in epochs] == [3, 6, 8]
    assert epochs[-1].number == epochs[-1].n_epochs == 3


def test_sizes_rise_by_stage_and_never_fall_below_8_px() -> None:
    plan = make_plan(Recipe(), 50_000, (32, 32, 3), None)
    assert [size for size, _ in plan.stages] == [(20, 20), (24, 24), (32, 32)]
    assert [plan.size(step)[0] for step in (0, 65, 66, 219, 220, 440)] == [20, 20, 24, 24, 32, 32]
    assert {size for size, _ in make_plan(Recipe(), 1000, (8, 8, 1), None).stages} == {(8, 8)}


def test_loss_falls_and_history_is_whole() -> None:
    epochs = run_through(state())
    assert [epoch.record["epoch"] for epoch in epochs] == [1, 2, 3]
    assert epochs[-1].record["train_loss"] < epochs[0].record["train_loss"]
    assert all(epoch.record["val_accuracy"] is not None for epoch in epochs)


def test_every_row_is_seen_once_in_an_epoch() -> None:
    made = state(replicate=1)
    seen = [event.n_images for event in fit(made) if isinstance(event, Progress)]
    assert sum(seen) == 3 * 2 * len(made.train_rows)


def test_no_validation_rows_means_none() -> None:
    dataset = data()
    made = State(Experiment("made", TINY), dataset, make_split(dataset, val_fraction=0.0), "cpu")
    records = [epoch.record for epoch in run_through(made)]
    assert {record["val_accuracy"] for record in records} == {None}
    assert not any(record["best"] for record in records)


def test_keep_best_holds_the_weights_of_the_best_epoch() -> None:
    made = state(keep="best", epochs=4.0)
    best: dict[str, torch.Tensor] = {}
    for event in fit(made):
        if isinstance(event, Epoch) and event.record["best"]:
            best = {name: value.clone() for name, value in made.classifier.state_dict().items()}
    result = made.checkpoint().result()
    assert all(torch.equal(result[name], value) for name, value in best.items())


def test_frozen_body_does_not_move() -> None:
    made = state(freeze="body", model="lens(width=0.125)", optimizer="sgd")
    before = {name: value.clone() for name, value in made.classifier.state_dict().items()}
    run_through(made)
    moved = {name for name, value in made.classifier.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {"net.head.weight"}


def test_what_fits_is_told_by_name_and_shape() -> None:
    first, second = state(), state(model="mlp(hidden=(16,), batch_norm=True)")
    fit = match_weights(second.classifier.state_dict(), first.checkpoint().result(), "new")
    assert "net.body.1.weight" in fit.taken
    assert ("net.head.weight", "new") in fit.left
    assert ("net.body.2.weight", "missing there") in fit.left
    assert fit.unused == ()


def test_a_model_that_cannot_take_a_size_is_found_before_the_first_step() -> None:
    with pytest.raises(PocketlensError, match="cannot take images of 12 x 12 px"):
        check_sizes(state(sizes="12:0.5 100%"))


def test_rows_are_the_same_resident_or_mapped(tmp_path) -> None:  # type: ignore[no-untyped-def]
    images = data(300, 12, 3).images
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    some = torch.tensor([7, 250, 3, 3, 299])
    for prepare in ("none", "resize(size=8)"):
        resident, streamed = DeviceImages(images, prepare, "cpu"), DeviceImages(mapped, prepare, "cpu", limit=0)
        assert resident.resident
        assert not streamed.resident
        assert torch.equal(resident.take(some), streamed.take(some))
        assert resident.shape == streamed.shape


def test_large_maps_are_not_copied(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    images = data(300, 12, 3).images
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    monkeypatch.setattr(device_images, "MAPPED", 1000)
    source = DeviceImages(mapped, "none", "cpu")
    assert source._all is not None
    assert source._all.data_ptr() == mapped.ctypes.data
    some = torch.tensor([7, 250, 3, 3, 299])
    assert torch.equal(source.take(some), torch.from_numpy(images)[some])


def test_mapped_training_equals_resident_training() -> None:
    first, second = state(augment="flip | crop(pad=1)"), state(augment="flip | crop(pad=1)")
    second.images = DeviceImages(data().images, "none", "cpu", limit=0)
    run_through(first)
    run_through(second)
    assert first.checkpoint().weights_hash() == second.checkpoint().weights_hash()


def test_normalisation_is_fitted_on_training_rows_alone() -> None:
    dataset = data(90, 8, 3)
    rows = np.arange(0, 90, 2)
    mean, deviation = channel_statistics(DeviceImages(dataset.images, "none", "cpu"), rows)
    pixels = dataset.images[rows].reshape(-1, 3) / 255
    np.testing.assert_allclose(mean, pixels.mean(0), rtol=1e-6)
    np.testing.assert_allclose(deviation, pixels.std(0), rtol=1e-6)


def test_weight_decay_falls_on_what_the_recipe_says() -> None:
    def decayed(decay_on: str) -> set[str]:
        made = state(model="lens(width=0.125)", decay_on=decay_on, optimizer="sgd")
        chosen = {id(p) for group in made.optimizer.param_groups if group["weight_decay"] for p in group["params"]}
        return {name for name, p in made.classifier.net.named_parameters() if id(p) in chosen}

    assert decayed("none") == set()
    assert decayed("head") == {"head.weight"}
    assert "groups.0.norm.bias" not in decayed("weights")
    assert "groups.0.conv_a.weight" in decayed("weights")
    assert "groups.0.norm.bias" in decayed("all")


def test_body_learns_at_its_own_rate() -> None:
    made = state(body_lr_scale=0.1, optimizer="sgd")
    rates = sorted({group["initial_lr"] for group in made.optimizer.param_groups})
    assert rates == pytest.approx([0.005, 0.05])


def test_a_stop_step_ends_before_the_schedule_does() -> None:
    dataset = data()
    experiment = replace(Experiment("made", TINY), stop_step=5)
    made = State(experiment, dataset, make_split(dataset, val_fraction=0.2), "cpu")
    epochs = run_through(made)
    assert made.step == 5
    assert epochs[-1].record["step"] == 5
    assert epochs[-1].n_epochs == 2
