"""Contracts that every component of a folder keeps; a new file is tested by lying there."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from pocketlens.components import names, resolve
from pocketlens.components import parse_one as parse
from pocketlens.draws import Draws
from pocketlens.errors import PocketlensError
from pocketlens.models._data_init import InitFromData
from pocketlens.recipe import is_modifier, looks_back, n_views


def load(name: str, room: str):  # type: ignore[no-untyped-def]
    return resolve(parse(name, room), room)


def batch(n: int = 12, side: int = 16) -> tuple[Tensor, Tensor, Draws]:
    images = torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(0))
    targets = torch.eye(5)[torch.arange(n) % 5]
    rows = torch.arange(n) * 7 + 3
    return images, targets, Draws(1, rows, torch.zeros_like(rows), epoch=2, progress=0.1)


@pytest.mark.parametrize("name", names("augment"))
def test_augmentations_keep_shape_range_and_targets(name: str) -> None:
    images, targets, draws = batch()
    kept = images.clone(), targets.clone()
    out, out_targets = load(name, "augment")(images, targets, draws.named(name))
    assert out.shape == images.shape
    assert out.dtype == torch.float32
    assert float(out.min()) >= 0
    assert float(out.max()) <= 1
    torch.testing.assert_close(out_targets.sum(1), torch.ones(len(out)))
    assert torch.equal(images, kept[0])
    assert torch.equal(targets, kept[1])
    assert not torch.equal(out, images)


@pytest.mark.parametrize("name", names("augment"))
def test_augmentations_are_functions_of_the_draws_alone(name: str) -> None:
    images, targets, draws = batch()
    augment = load(name, "augment")
    first = augment(images, targets, draws.named(name))
    torch.manual_seed(99)
    second = augment(images, targets, draws.named(name))
    assert torch.equal(first[0], second[0])
    other = Draws(2, draws.rows, draws.copies, draws.epoch, draws.progress)
    assert not torch.equal(first[0], augment(images, targets, other.named(name))[0])


@pytest.mark.parametrize("name", [name for name in names("augment") if name not in ("mixup", "cutmix", "fmix")])
def test_an_image_gets_the_same_augmentation_in_any_batch(name: str) -> None:
    images, targets, draws = batch()
    augment = load(name, "augment")
    whole, _ = augment(images, targets, draws.named(name))
    some = torch.tensor([5, 2, 9])
    part = Draws(draws.seed, draws.rows[some], draws.copies[some], draws.epoch, draws.progress)
    assert torch.equal(augment(images[some], targets[some], part.named(name))[0], whole[some])


def test_flip_alternates_between_epochs() -> None:
    images, targets, draws = batch()
    flip = load("flip", "augment")
    even = flip(images, targets, draws)[0]
    odd = flip(images, targets, Draws(draws.seed, draws.rows, draws.copies, epoch=3))[0]
    assert torch.equal(even.flip(-1), odd)


def test_crop_shifts_by_at_most_pad_and_uses_every_shift() -> None:
    n = 400
    image = torch.arange(64.0).view(1, 1, 8, 8).expand(n, 3, 8, 8) / 64
    rows = torch.arange(n)
    crop = load("crop", "augment")
    out, _ = crop(image, torch.ones(n, 1), Draws(0, rows, rows * 0, 0), pad=2, mode="zero")
    centre = out[:, 0, 4, 4] * 64
    shifts = {(int(value) // 8 - 4, int(value) % 8 - 4) for value in centre.round()}
    assert shifts == {(y, x) for y in range(-2, 3) for x in range(-2, 3)}
    with pytest.raises(PocketlensError, match="pad must be below"):
        crop(image, torch.ones(n, 1), Draws(0, rows, rows * 0, 0), pad=8)


def test_cutout_paints_one_square() -> None:
    images, targets, draws = batch(side=32)
    out, _ = load("cutout", "augment")(images, targets, draws, size=8, fill=0.25)
    painted = (out == 0.25).all(1)
    assert 16 <= int(painted[0].sum()) <= 64
    assert torch.equal(torch.where(painted[:, None], images, out), images)


def test_mixup_mixes_images_and_targets_by_the_same_share() -> None:
    n = 2000
    images = torch.arange(n, dtype=torch.float32).view(n, 1, 1, 1).expand(n, 1, 2, 2) / n
    targets = torch.zeros(n, 2)
    targets[:, 0] = torch.arange(n) / n
    targets[:, 1] = 1 - targets[:, 0]
    rows = torch.arange(n)
    out, mixed = load("mixup", "augment")(images, targets, Draws(0, rows, rows * 0, 0), alpha=1.0)
    torch.testing.assert_close(out[:, 0, 0, 0], mixed[:, 0])
    assert float((out - images).abs().mean()) > 0.05


def test_mixing_shares_follow_the_beta_distribution() -> None:
    from scipy.stats import kstest

    from pocketlens.augment._mixing import own_share

    rows = torch.arange(20_000)
    for alpha, most in ((0.2, 0.03), (1.0, 0.015), (4.0, 0.015)):  # near 1, float32 is coarse for alpha 0.2
        shares = own_share(Draws(3, rows, rows * 0, 0), alpha, 1.0).numpy()
        assert kstest(shares, "beta", args=(alpha, alpha)).statistic < most
    halved = own_share(Draws(3, rows, rows * 0, 0), 1.0, 0.5)
    assert 0.48 < float((halved == 1).float().mean()) < 0.52


def test_cutmix_targets_follow_the_pasted_area() -> None:
    n = 300
    rows = torch.arange(n)
    images = (rows % 2).float().view(n, 1, 1, 1).expand(n, 1, 16, 16)
    targets = torch.eye(2)[rows % 2]
    out, mixed = load("cutmix", "augment")(images, targets, Draws(0, rows, rows * 0, 0))
    torch.testing.assert_close(out.mean((1, 2, 3)), mixed[:, 1])
    late = Draws(0, rows, rows * 0, 0, progress=0.9)
    assert torch.equal(load("cutmix", "augment")(images, targets, late, until=0.88)[0], images)


@pytest.mark.parametrize("name", names("models"))
@pytest.mark.parametrize("shape", [(8, 8, 1), (16, 21, 3)])
def test_models_give_logits_and_gradients(name: str, shape: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    model = load(name, "models")(shape, 7)
    images = torch.randn(4, shape[2], *shape[:2])
    if isinstance(model, InitFromData):
        model.init_from_data(torch.randn(50, shape[2], *shape[:2]))
    logits = model(images)
    assert logits.shape == (4, 7)
    logits.square().sum().backward()
    for parameter_name, parameter in model.named_parameters():
        assert parameter.requires_grad == (parameter.grad is not None), parameter_name
    assert any(parameter_name.startswith("head.") for parameter_name, _ in model.named_parameters())


def test_parameter_counts_of_known_models() -> None:
    def count(text: str, shape: tuple[int, int, int], n_classes: int) -> int:
        part = parse(text, "models")
        model = resolve(part, "models")(shape, n_classes, **dict(part.options))
        return sum(parameter.numel() for parameter in model.parameters())

    assert count("resnet(depth=18)", (32, 32, 3), 100) == 11_220_132
    assert count("resnet(depth=34)", (32, 32, 3), 100) == 21_328_292
    assert count("resnet(depth=50)", (32, 32, 3), 100) == 23_705_252
    assert count("mlp", (32, 32, 3), 100) == 3072 * 1024 + 1024 + 1024 * 100 + 100
    assert count("lenet", (32, 32, 1), 10) == 61_706
    assert count("lens", (32, 32, 3), 100) == 8_608_312
    assert count("lens(widths=(64, 256, 768))", (32, 32, 3), 100) == 8_608_312
    # stem 312; each group a c_in x c, two c x c, all 3 x 3, and three shifts and scales; head 512 x 100
    wide = 312 + sum(9 * (a * c + 2 * c * c) + 6 * c for a, c in ((24, 128), (128, 384), (384, 512))) + 51_200
    assert count("lens(widths=(128, 384, 512), full=True)", (32, 32, 3), 100) == wide


def test_lens_starts_as_the_identity_and_refuses_tiny_images() -> None:
    model = load("lens", "models")((32, 32, 3), 10)
    conv = model.groups[2].conv_a
    assert torch.equal(conv.weight[0, :, 1, 1], torch.eye(conv.in_channels)[0])
    with pytest.raises(PocketlensError, match="at least 8 px"):
        load("lens", "models")((7, 9, 3), 10)


@pytest.mark.parametrize("name", [name for name in names("schedules") if not looks_back(name)])
def test_schedules_stay_between_zero_and_one(name: str) -> None:
    schedule = load(name, "schedules")
    for n_steps in (1, 2, 7, 100):
        factors = [schedule(step, n_steps, 5.0) for step in range(n_steps)]
        assert all(0 <= factor <= 1 for factor in factors), (n_steps, factors)
        assert factors[0] > 0


def test_schedules_have_their_shapes() -> None:
    triangle, cosine, step = (load(name, "schedules") for name in ("triangle", "cosine", "step"))
    assert np.argmax([triangle(i, 100, 10) for i in range(100)]) in (24, 25)
    assert triangle(99, 100, 10) == pytest.approx(1 / 75)
    assert cosine(50, 100, 10) == pytest.approx(0.5)
    assert step(99, 100, 10, every=5, gamma=0.5) == 0.5
    assert step(49, 100, 10, every=5, gamma=0.5) == 1.0


@pytest.mark.parametrize("name", names("losses"))
def test_losses_give_one_number_for_each_image(name: str) -> None:
    shape = (6, 4) if n_views(name) == 1 else (n_views(name), 6, 4)
    logits, targets = torch.randn(shape), torch.eye(4)[torch.tensor([0, 1, 2, 3, 0, 1])]
    values = load(name, "losses")(logits, targets)
    assert values.shape == (6,)
    assert values.dtype == torch.float32


def test_cross_entropy_equals_torchs() -> None:
    logits, labels = torch.randn(6, 4), torch.tensor([0, 1, 2, 3, 0, 1])
    for smoothing in (0.0, 0.25):
        ours = load("cross_entropy", "losses")(logits, torch.eye(4)[labels], smoothing=smoothing)
        reference = torch.nn.functional.cross_entropy(logits, labels, label_smoothing=smoothing, reduction="none")
        torch.testing.assert_close(ours, reference)


@pytest.mark.parametrize("name", [name for name in names("schedules") if looks_back(name)])
def test_schedules_that_look_back_begin_at_the_peak_and_never_rise(name: str) -> None:
    schedule = load(name, "schedules")
    history = [{"val_loss": 1.0, "val_accuracy": 0.5}] * 30
    factors = [schedule(history[:n]) for n in range(31)]
    assert factors[0] == 1
    assert all(0 <= after <= before for before, after in pairwise(factors))
    assert history == [{"val_loss": 1.0, "val_accuracy": 0.5}] * 30


@pytest.mark.parametrize("name", [name for name in names("optimizers") if is_modifier(name)])
def test_modifiers_leave_a_training_that_works_and_say_all_that_they_remember(name: str) -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8), torch.nn.Linear(8, 2))
    optimizer, modifier = torch.optim.SGD(model.parameters(), lr=0.1), load(name, "optimizers")(model)
    x = torch.randn(32, 4)
    y = (x[:, 0] > 0).long()
    losses = []

    def gradients() -> None:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(x), y)
        loss.backward()
        losses.append(float(loss.detach()))

    remembered = {key: value.data_ptr() for key, value in modifier.memory.items()}
    for step in range(40):
        gradients()
        modifier.before_step(step, gradients)
        optimizer.step()
        modifier.after_step(step + 1)
    assert losses[-1] < 0.9 * losses[0]
    assert set(remembered) <= set(model.state_dict())
    assert {key: value.data_ptr() for key, value in modifier.memory.items()} == remembered  # filled in place


@pytest.mark.parametrize("name", [name for name in names("optimizers") if not is_modifier(name)])
def test_optimizers_reduce_a_loss_and_hold_their_peak_rates(name: str) -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.Flatten(), torch.nn.Linear(16, 2))
    groups = [{"params": list(model.parameters()), "weight_decay": 0.0, "lr_scale": 0.5}]
    rate = {"muon": 0.05, "sgd": 0.1, "adagrad": 0.1, "adadelta": 20.0}.get(name, 0.01)
    optimizer = load(name, "optimizers")(groups, rate)
    assert {group["initial_lr"] for group in optimizer.param_groups} >= {rate * 0.5}
    x, y = torch.randn(32, 1, 4, 4), torch.arange(32) % 2
    losses = []
    for _ in range(60):
        for group in optimizer.param_groups:
            group["lr"] = min(group["initial_lr"], 20.0 if name == "adadelta" else 0.05)
        loss = torch.nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize("name", names("operations"))
def test_operations_keep_the_range(name: str) -> None:
    images = torch.rand(3, 3, 240, 260)  # large enough for the part that a body sees
    out = load(name, "operations")(images)
    assert out.ndim == 4
    assert out.shape[:2] == (3, 3)


@pytest.mark.parametrize("filter", ["bilinear", "bicubic"])
def test_resize_equals_pillows_antialiased_filters(filter: str) -> None:
    from PIL import Image

    pixels = np.random.default_rng(0).integers(80, 176, (32, 32, 3), np.uint8)  # Pillow cuts off between the axes
    reference = np.asarray(Image.fromarray(pixels).resize((20, 20), Image.Resampling[filter.upper()]))
    images = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255
    ours = load("resize", "operations")(images, size=20, filter=filter)
    assert np.abs(ours[0].permute(1, 2, 0).numpy() * 255 - reference).max() <= 1.5


def test_the_middle_is_cut_out_of_the_middle() -> None:
    images = torch.arange(5 * 7).float().view(1, 1, 5, 7)
    assert load("middle", "operations")(images, size=3).flatten().tolist() == [9, 10, 11, 16, 17, 18, 23, 24, 25]
