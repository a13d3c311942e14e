"""AutoAugment, RandAugment, TrivialAugment and AugMix: tables, magnitudes and operations against torchvision's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from pictures import made_pictures, real_pictures
from scipy.stats import kstest
from torch import Tensor

from pocketlens.augment import _policy, augmix, autoaugment, randaugment, trivialaugment
from pocketlens.draws import Draws

THEIR_NAMES = {
    "Identity": "identity", "ShearX": "shear_x", "ShearY": "shear_y", "TranslateX": "translate_x",
    "TranslateY": "translate_y", "Rotate": "rotate", "Brightness": "brightness", "Color": "colour",
    "Contrast": "contrast", "Sharpness": "sharpness", "Posterize": "posterize", "Solarize": "solarize",
    "AutoContrast": "autocontrast", "Equalize": "equalize", "Invert": "invert",
}  # fmt: skip
MANY = 20_000
SIZE = (32, 32)
Calls = list[tuple[Tensor, Tensor]]


def draws_of(n: int) -> Draws:
    rows = torch.arange(n)
    return Draws(3, rows, torch.zeros_like(rows), epoch=0)


def recorded(monkeypatch: pytest.MonkeyPatch, module: Any, n_images: int = MANY, **options: Any) -> Calls:
    """The operations and magnitudes that a policy asks for, instead of their results."""
    calls: Calls = []

    def record(images: Tensor, operation: Tensor, magnitude: Tensor, **_: Any) -> Tensor:
        calls.extend(zip(operation.unbind(1), magnitude.unbind(1), strict=True))
        return images

    monkeypatch.setattr(module, "execute", record)
    function = getattr(module, module.__name__.split(".")[-1])
    function(
        torch.zeros(1, 1, *SIZE).expand(n_images, -1, -1, -1), torch.ones(n_images, 1), draws_of(n_images), **options
    )
    return calls


def index(name: str) -> int:
    return _policy.OPERATIONS.index(name)


def their_magnitudes(space: dict[str, Any], name: str, n_levels: int) -> tuple[list[float], bool]:
    """torchvision's magnitudes of an operation, and whether they have a random sign."""
    of_levels, is_signed = space[name]
    values = of_levels(n_levels, *SIZE)
    values = [0.0] * n_levels if values is None else values.tolist()
    if name.startswith("Translate"):
        values = [float(int(value + 1e-4)) for value in values]  # 16 is 15.999998 there
    return values, is_signed


@pytest.mark.parametrize("policy", ["cifar10", "imagenet", "svhn"])
def test_autoaugment_has_torchvisions_tables_chances_and_magnitudes(
    monkeypatch: pytest.MonkeyPatch, policy: str
) -> None:
    transforms = pytest.importorskip("torchvision.transforms.v2")
    theirs = transforms.AutoAugment(transforms.AutoAugmentPolicy(policy))
    operations, chances, levels = autoaugment._tables(policy)
    pair = draws_of(MANY).integers("pair", 0, 24)[:, 0]
    assert (pair.bincount() / MANY - 0.04).abs().max() < 0.006
    for step, (operation, magnitude) in enumerate(recorded(monkeypatch, autoaugment, policy=policy)):
        for place, both in enumerate(theirs._policies):
            name, chance, level = both[step]
            assert int(operations[place, step]) == index(THEIR_NAMES[name])
            assert float(chances[place, step]) == pytest.approx(chance)
            assert round(float(levels[place, step]) * 9) == (level or 0)
            rows = pair == place
            applied = rows & (operation == index(THEIR_NAMES[name]))
            assert abs(float(applied.sum() / rows.sum()) - chance) < 0.06
            assert set(operation[rows].tolist()) <= {index(THEIR_NAMES[name]), index("identity")}
            values, is_signed = their_magnitudes(theirs._AUGMENTATION_SPACE, name, 10)
            drawn = magnitude[applied]
            assert torch.allclose(drawn.abs(), torch.tensor(float(values[level or 0])).abs(), atol=1e-5)
            if is_signed and len(drawn) and drawn.abs().max() > 0:
                assert 0.3 < float((drawn < 0).float().mean()) < 0.7
            else:
                assert bool((drawn >= 0).all())


@pytest.mark.parametrize("name", ["randaugment", "trivialaugment"])
def test_free_policies_draw_all_operations_alike_at_torchvisions_magnitudes(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    transforms = pytest.importorskip("torchvision.transforms.v2")
    if name == "randaugment":
        calls, theirs = recorded(monkeypatch, randaugment, m=13), transforms.RandAugment()
    else:
        calls, theirs = recorded(monkeypatch, trivialaugment), transforms.TrivialAugmentWide()
    assert len(calls) == (2 if name == "randaugment" else 1)
    for operation, magnitude in calls:
        assert (operation.bincount(minlength=15)[:14] / MANY - 1 / 14).abs().max() < 0.006
        for their_name in theirs._AUGMENTATION_SPACE:
            values, is_signed = their_magnitudes(theirs._AUGMENTATION_SPACE, their_name, 31)
            expected = [values[13]] if name == "randaugment" else values
            drawn = magnitude[operation == index(THEIR_NAMES[their_name])]
            wanted = {round(abs(value), 4) for value in expected}
            assert {round(abs(value), 4) for value in drawn.tolist()} == wanted, their_name
            if is_signed:
                assert 0.4 < float((drawn > 0).float().mean()) < 0.6
            else:
                assert bool((drawn >= 0).all())


def test_randaugment_does_as_many_operations_as_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = recorded(monkeypatch, randaugment, 500, n=5, m=0)
    assert len(calls) == 5


def test_augmix_draws_the_papers_operations_levels_and_depths(monkeypatch: pytest.MonkeyPatch) -> None:
    of_chains = recorded(monkeypatch, augmix, 3000, severity=5)  # the steps of the first chain, of the second, ..
    assert len(of_chains) == 3 * 3
    calls = [tuple(torch.cat(parts) for parts in zip(*of_chains[step::3], strict=True)) for step in range(3)]
    n = 3000 * 3
    active = [operation != index("identity") for operation, _ in calls]
    for step, share in enumerate((1, 2 / 3, 1 / 3)):  # depths 1, 2 and 3 alike
        assert abs(float(active[step].float().mean()) - share) < 0.02
        assert not bool((active[step] & ~active[max(step - 1, 0)]).any())
    operation, magnitude = calls[0]
    counts = operation.bincount(minlength=15)
    assert {_policy.OPERATIONS[place] for place in counts.nonzero()[:, 0].tolist()} == set(augmix.CHOICE)
    assert (counts[counts > 0] / n - 1 / 9).abs().max() < 0.012

    def of(name: str) -> np.ndarray:
        return magnitude[operation == index(name)].numpy()

    # level 0.1 .. 5 of 10
    assert kstest(np.abs(of("shear_x")), "uniform", args=(0.003, 0.147)).pvalue > 0.01
    assert kstest(of("solarize"), "uniform", args=(0.5, 0.49)).pvalue > 0.01
    assert set(np.abs(of("rotate"))) == set(range(15))  # int(0.3 .. 15)
    assert set(np.abs(of("translate_x"))) == set(range(6))  # int(0.1 .. 5.33)
    assert set(of("posterize")) <= {4.0, 3.0, 2.0}  # 4 - int(0.04 .. 2)
    assert abs(float((of("posterize") == 4).mean()) - 2.4 / 4.9) < 0.05
    fixed = recorded(monkeypatch, augmix, 100, depth=2, width=4)
    assert len(fixed) == 2 * 4
    assert all(len(operation) == 100 and bool((operation != 0).all()) for operation, _ in fixed)


def test_augmix_mixes_with_dirichlet_and_beta_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    n = 5000
    shares = augmix._dirichlet(draws_of(n), 2.0, 3)
    torch.testing.assert_close(shares.sum(1), torch.ones(n))
    for share in shares.unbind(1):
        assert kstest(share.numpy(), "beta", args=(2, 4)).pvalue > 0.01
    monkeypatch.setattr(augmix, "execute", lambda images, *_, **__: torch.zeros_like(images))
    out, _ = augmix.augmix(torch.ones(n, 1, 2, 2), torch.ones(n, 1), draws_of(n))
    assert kstest(out[:, 0, 0, 0].numpy(), "uniform").pvalue > 0.01  # 1 - Beta(1, 1)


@pytest.fixture(params=["real", "made"], scope="module")
def images(request: pytest.FixtureRequest) -> Tensor:
    pictures = made_pictures(12) if request.param == "made" else real_pictures(12)
    if pictures is None:
        pytest.skip("needs the parquet files of CIFAR-100: set POCKETLENS_DATA")
    return pictures


@pytest.mark.parametrize("their_name", list(THEIR_NAMES))
@pytest.mark.parametrize("bilinear", [False, True])
def test_each_operation_does_what_torchvisions_policy_does(images: Tensor, their_name: str, bilinear: bool) -> None:
    transforms = pytest.importorskip("torchvision.transforms.v2")
    theirs = transforms.TrivialAugmentWide(interpolation="bilinear" if bilinear else "nearest")
    n, name = len(images), THEIR_NAMES[their_name]
    magnitude = torch.linspace(-0.8, 0.8, n)
    if name.startswith("translate"):
        magnitude = torch.arange(n) * 5.0 - 25
    elif name == "rotate":
        magnitude = torch.linspace(-120, 110, n) + 0.3
    elif name == "posterize":
        magnitude = torch.arange(n) % 7 + 2.0
    elif name == "solarize":
        magnitude = (torch.arange(n) * 20 + 0.5) / 255
    levels = (images * 255).round().byte()
    reference = torch.stack(
        [
            theirs._apply_image_or_video_transform(
                image, their_name, float(by), interpolation=theirs.interpolation, fill=theirs._fill
            )
            for image, by in zip(levels, magnitude, strict=True)
        ]
    )
    ours = _policy.execute(images, torch.full((n, 1), index(name)), magnitude[:, None], fill=0.0, bilinear=bilinear)
    # theirs are whole levels, rounded or cut off, and so is the picture with which they blend
    tolerance = 2.0 if name in ("colour", "contrast", "sharpness") else 1.01
    off = (ours * 255 - reference.float()).abs() > tolerance
    # a place exactly between two pixels may go to either
    most = 0.01 if name.startswith(("shear", "rotate")) and not bilinear else 0.0
    assert float(off.float().mean()) <= most


def test_each_image_of_a_mixed_batch_gets_its_own_operation(images: Tensor) -> None:
    operation = (torch.arange(len(images))[:, None] * 7 + torch.arange(2)) % 15
    magnitude = torch.where(operation == index("posterize"), 3.0, 0.3)
    mixed = _policy.execute(images, operation, magnitude, fill=0.0)
    for row in range(len(images)):
        alone = _policy.execute(images[row : row + 1], operation[row : row + 1], magnitude[row : row + 1], fill=0.0)
        assert torch.equal(mixed[row : row + 1], alone)
