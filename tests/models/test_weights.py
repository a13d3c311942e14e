"""Bodies that others trained: VGG's convolutions and timm's nets from made files of the same format, frozen or not.

The files are small nets with random weights; ImageNet's own weights are never read here.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from made_images import refused
from made_models import build
from made_trainings import PLAIN, finish, made_data, new_run
from safetensors.torch import save_file

from pocketlens.events import Progress
from pocketlens.models._weights import read_weights
from pocketlens.training.classifier import load_classifier
from pocketlens.training.model_summary import layer_table, totals
from pocketlens.training.train import train

REPORT_D = (
    "vgg(depth=19, batch_norm=False, until=(4, 4), gather='flatten', dense=(512, 256), dense_norm=(True, False), "
    "dropout=(0.3, 0.4))"
)
SMALL = "vgg(depth=11, width=0.0625, until=(2, 1), gather='flatten', batch_norm=False"
pytest.importorskip("timm")


def made_vgg(path: Path) -> dict[str, torch.Tensor]:
    """A whole small VGG-11 as torchvision names it, with its head of three dense layers."""
    torch.manual_seed(3)
    tensors = dict(build("vgg(depth=11, width=0.0625, batch_norm=False)").features.state_dict())
    named = {f"features.{name}": value for name, value in tensors.items()}
    named |= {"classifier.0.weight": torch.zeros(8, 8), "classifier.0.bias": torch.zeros(8)}
    save_file(named, path) if path.suffix == ".safetensors" else torch.save(named, path)
    return named


@pytest.mark.parametrize("ending", ["safetensors", "pth"])
def test_the_cut_body_takes_its_convolutions_and_is_frozen(ending: str, tmp_path: Path) -> None:
    file = tmp_path / f"vgg11.{ending}"
    theirs = made_vgg(file)
    recipe = PLAIN.changed(model=f"{SMALL}, dense=8, weights={str(file)!r})", freeze="body", epochs=1.0)
    run = new_run(tmp_path / "runs", recipe)
    events = train(run, made_data())
    for event in events:
        if isinstance(event, Progress):
            break
    events.close()  # type: ignore[attr-defined]
    file.unlink()  # it has been read
    finish(run)
    mine = load_classifier(run).net.state_dict()
    convolutions = [name for name in mine if name.startswith("features.")]
    assert convolutions == ["features.0.weight", "features.0.bias", "features.3.weight", "features.3.bias"]
    for name in convolutions:
        assert torch.equal(mine[name], theirs[name])
    assert not torch.equal(mine["head.0.weight"], torch.zeros_like(mine["head.0.weight"]))


def test_files_that_are_not_a_vggs_are_refused(tmp_path: Path) -> None:
    def seen(text: str, channels: int = 3) -> None:
        build(text, (32, 32, channels)).init_from_data(torch.zeros(1, channels, 32, 32))  # type: ignore[operator]

    file = tmp_path / "vgg.safetensors"
    made_vgg(file)
    with refused("must hold features.0.weight of shape (4, 1, 3, 3); it is of shape (4, 3, 3, 3)"):
        seen(f"{SMALL}, weights={str(file)!r})", 1)
    with refused("features.0.weight of shape (8, 3, 3, 3); it is of shape (4, 3, 3, 3)"):
        seen(f"vgg(depth=11, width=0.125, batch_norm=False, weights={str(file)!r})")
    with refused("must hold features.1.weight of shape (4,); it is absent"):
        seen(f"vgg(depth=11, width=0.0625, weights={str(file)!r})")
    with refused("give either pretrained=True or weights='FILE', not both"):
        build(f"vgg(pretrained=True, weights={str(file)!r})")
    with refused("weights must be a file, 'absent' is not one"):
        read_weights(Path("absent"), "vgg")
    shutil.copy(Path(__file__), tmp_path / "text.pth")
    with refused("must be a file of weights (safetensors or torch)"):
        read_weights(tmp_path / "text.pth", "vgg")


@pytest.mark.parametrize(("side", "trained"), [(96, 37_907_300), (32, 512 * 16 * 100 + 100)])
def test_report_ds_heads_train_as_many_numbers_as_it_says(side: int, trained: int) -> None:
    text = REPORT_D if side == 96 else "vgg(depth=19, batch_norm=False, until=(4, 4), gather='flatten')"
    layers = layer_table(text, (side, side, 3), 100)
    body = totals(layer for layer in layers if layer.name.startswith("features"))
    assert body["n_parameters"] == 10_585_152  # and 1,024 statistics of the head's batch norm are the 10,586,176 of D
    assert totals(layers)["n_parameters"] - body["n_parameters"] == trained


def test_a_body_of_timm_from_a_file_is_frozen_by_groups(tmp_path: Path) -> None:
    import timm

    torch.manual_seed(5)
    theirs = timm.create_model("test_resnet", num_classes=1000)
    file = tmp_path / "timm.safetensors"
    save_file({name: value.contiguous() for name, value in theirs.state_dict().items()}, file)
    recipe = PLAIN.changed(
        model=f"timm(name='test_resnet', stem='small', weights={str(file)!r})", freeze="groups(3)", epochs=1.0
    )
    run = new_run(tmp_path / "runs", recipe)
    finish(run)
    mine: Any = load_classifier(run).net.body.state_dict()
    still = {name for name, value in theirs.state_dict().items() if name in mine and torch.equal(mine[name], value)}
    frozen = {name for name in mine if name.startswith(("conv1", "bn1", "layer1.0"))}
    assert frozen - still <= {"conv1.weight"}  # shrunk to the small stem, unless it was small
    assert "layer4.0.conv1.weight" not in still
