"""Every family learns: 64 images of CIFAR-100 by heart, and 256 images through the real loop without a warning."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch
from made_models import build, one_of_each_family
from made_trainings import PLAIN, made_data, new_run
from torch import Tensor, nn

from pocketlens.models._data_init import InitFromData
from pocketlens.training.train import train

STEPS = 200  # at most, of all 64 images at once


@pytest.fixture(scope="module")
def sixty_four(data_folder: Path) -> tuple[Tensor, Tensor]:
    """64 training images of CIFAR-100 at 16 x 16 px, standardised, and their fine labels."""
    from pocketlens.datasets import load

    dataset, _ = load("cifar100", data_folder)
    images = torch.from_numpy(dataset.images[:64].copy()).permute(0, 3, 1, 2).float()
    images = nn.functional.avg_pool2d(images, 2)  # (64, 3, 16, 16)
    return (images - images.mean()) / images.std(), torch.from_numpy(dataset.labels[:64].copy())


@pytest.mark.slow
@pytest.mark.parametrize("text", one_of_each_family())
def test_every_family_overfits_64_images(text: str, sixty_four: tuple[Tensor, Tensor]) -> None:
    images, labels = sixty_four
    torch.manual_seed(0)
    model = build(text, (16, 16, 3), 100)
    if isinstance(model, InitFromData):
        model.init_from_data(images)
    for module in model.modules():  # what keeps a model from learning by heart is not under test
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=3e-3)
    for step in range(STEPS):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model.train()(images), labels).backward()
        optimizer.step()
        if step % 10 == 9:
            with torch.no_grad():
                right = (model.eval()(images).argmax(1) == labels).float().mean().item()
            if right == 1.0:
                return
    raise AssertionError(f"{right:.0%} after {STEPS} steps")


@pytest.mark.slow
@pytest.mark.parametrize("text", one_of_each_family())
def test_every_family_trains_on_256_images_without_a_warning(text: str, tmp_path: Path) -> None:
    data = made_data(256, (16, 16, 3))
    recipe = PLAIN.changed(model=text, batch_size=64, epochs=1.0, lr=0.01, augment="flip | crop(pad=1)")
    run = new_run(tmp_path, recipe, data)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        list(train(run, data))
    assert run.status()[0] == "complete"
