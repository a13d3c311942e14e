"""timm's bodies: weights from a file or the hub, grey images, the small stem, and what can go wrong."""

from __future__ import annotations

import os
import pickle
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from made_models import build
from made_trainings import PLAIN, made_data, new_run
from safetensors.torch import save_file
from torch import nn

from pocketlens.errors import PocketlensError
from pocketlens.training.classifier import load_classifier

library = pytest.importorskip("timm")
IMAGES = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def donor(name: str = "test_resnet", **options: Any) -> nn.Module:
    torch.manual_seed(7)
    model: nn.Module = library.create_model(name, num_classes=1000, **options)
    for key, value in model.state_dict().items():
        if "running_mean" in key:
            value.normal_(0, 0.1)
    return model.eval()


def saved(path: Path, model: nn.Module) -> str:
    tensors = {key: value.contiguous() for key, value in model.state_dict().items()}
    save_file(tensors, path) if path.suffix == ".safetensors" else torch.save({"state_dict": tensors}, path)
    return str(path)


@pytest.mark.parametrize("ending", ["safetensors", "pt"])
def test_a_file_of_weights_gives_timms_features(ending: str, tmp_path: Path) -> None:
    theirs = donor()
    file = saved(tmp_path / f"weights.{ending}", theirs)
    model: Any = build(f"timm(name='test_resnet', weights={file!r})").eval()
    before = torch.get_rng_state()
    model.init_from_data(IMAGES)
    assert torch.equal(torch.get_rng_state(), before)
    with torch.no_grad():
        expected = theirs.forward_head(theirs.forward_features(IMAGES), pre_logits=True)  # type: ignore[operator]
        torch.testing.assert_close(model.body(IMAGES), expected)


def test_a_transformer_takes_its_weights_at_another_size_and_patch(tmp_path: Path) -> None:
    file = saved(tmp_path / "vit.safetensors", donor("test_vit"))
    model: Any = build(f"timm(name='test_vit', weights={file!r}, stem='small')", (32, 32, 3), 10)
    assert model.sizes == {"img_size": (32, 32), "patch_size": 4}
    before = model.body.state_dict()["blocks.0.attn.qkv.weight"].clone()
    model.init_from_data(IMAGES)
    after = model.body.state_dict()["blocks.0.attn.qkv.weight"]
    assert not torch.equal(before, after)
    assert torch.equal(after, donor("test_vit").state_dict()["blocks.0.attn.qkv.weight"])
    assert model(IMAGES).shape == (3, 10)


def test_grey_images_see_the_sum_of_the_colour_filters(tmp_path: Path) -> None:
    theirs = donor()
    file = saved(tmp_path / "weights.safetensors", theirs)
    model: Any = build(f"timm(name='test_resnet', weights={file!r})", (32, 32, 1), 5)
    model.init_from_data(IMAGES[:, :1])
    first = theirs.pretrained_cfg["first_conv"] + ".weight"  # type: ignore[index, operator]
    torch.testing.assert_close(
        model.body.state_dict()[first], theirs.state_dict()[first].sum(1, keepdim=True), rtol=1e-5, atol=1e-6
    )


def test_the_small_stem_keeps_the_size_and_the_sums_of_filters(tmp_path: Path) -> None:
    small: Any = build("timm(name='resnet10t', stem='small')", (32, 32, 3), 5)
    assert [conv.stride for conv in small.body.conv1 if isinstance(conv, nn.Conv2d)] == [(1, 1)] * 3
    assert isinstance(small.body.maxpool, nn.Identity)
    with torch.device("meta"):
        wide = library.create_model("resnet18", num_classes=0)
        model: Any = build("timm(stem='small')", (32, 32, 3), 5)
        assert model.body.layer1(model.body.conv1(IMAGES.to("meta"))).shape == (3, 64, 32, 32)
        assert wide.conv1.kernel_size == (7, 7)
    from pocketlens.models.timm import _fitted

    filters = torch.randn(64, 3, 7, 7)
    shrunk = _fitted(filters, torch.empty(64, 3, 3, 3))
    assert shrunk.shape == (64, 3, 3, 3)
    torch.testing.assert_close(_fitted(torch.ones(1, 1, 6, 6), torch.empty(1, 1, 3, 3)).sum(), torch.tensor(36.0))


def test_the_head_may_have_dense_layers() -> None:
    model: Any = build("timm(name='test_resnet', dense=(8, 6), dense_norm=(True, False), dropout=(0.3, 0.4))")
    kinds = [type(layer).__name__ for layer in model.head]
    assert kinds == ["Linear", "ReLU", "BatchNorm1d", "Dropout", "Linear", "ReLU", "Dropout", "Linear"]
    assert [layer.p for layer in model.head if isinstance(layer, nn.Dropout)] == [0.3, 0.4]
    assert model.dropout.p == 0.0
    features = model.eval().body(IMAGES)
    torch.testing.assert_close(model(IMAGES), model.head(features))
    plain: Any = build("timm(name='test_resnet', dropout=0.2)")
    assert isinstance(plain.head, nn.Linear)
    assert plain.dropout.p == 0.2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("name='resnet81'", "timm: there is no model named 'resnet81'. Did you mean 'resnet"),
        ("name='hf-hub:some/body'", "there is no model"),
        (
            "name='levit_128s', stem='small'",
            "levit_128s takes one image size and cannot have a small stem; use stem='own'",
        ),
        ("name='test_vit', weights='a', pretrained=True", "give either pretrained=True or weights='FILE'"),
        ("stem='tiny'", "timm: there is no stem 'tiny'"),
        ("dropout=2.0", "timm: dropout must be from 0"),
        ("dense=(8, 0)", "timm: dense must be whole numbers from 1 on"),
        ("dense=(8, 4), dropout=(0.1, 0.2, 0.3)", "timm: dropout must be one value or 2 of them"),
        ("dense_norm=(True,)", "timm: dense_norm must be one value or 0 of them"),
    ],
)
def test_mistakes_are_one_line(options: str, message: str) -> None:
    with pytest.raises(PocketlensError, match=r".") as caught:
        build(f"timm({options})")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


class Evil:
    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.canary),)


@pytest.mark.parametrize("kind", ["absent", "text", "pickle", "other model", "half", "no tensors"])
def test_a_bad_file_of_weights_is_refused_in_one_line(kind: str, tmp_path: Path) -> None:
    file = tmp_path / ("weights.pt" if kind in ("pickle", "no tensors") else "weights.safetensors")
    canary = tmp_path / "canary"
    if kind == "text":
        file.write_text("hello")
    elif kind == "pickle":
        file.write_bytes(pickle.dumps(Evil(canary)))
    elif kind == "other model":
        saved(file, donor("test_efficientnet"))
    elif kind == "half":
        tensors = dict(list(donor().state_dict().items())[::2])
        save_file({key: value.contiguous() for key, value in tensors.items()}, file)
    elif kind == "no tensors":
        torch.save({"a": 1}, file)
    model: Any = build(f"timm(name='test_resnet', weights={str(file)!r})")
    with pytest.raises(PocketlensError, match=r"^timm: ") as caught:
        model.init_from_data(IMAGES)
    assert "\n" not in str(caught.value)
    assert not canary.exists()


def test_a_hub_that_cannot_be_reached_says_which_file_to_put_where(monkeypatch: pytest.MonkeyPatch) -> None:
    model: Any = build("timm(pretrained=True)")

    def unreachable(*_: Any, **__: Any) -> None:
        raise OSError("no network")

    monkeypatch.setattr("pocketlens.models._body_weights._answers", lambda _: True)
    monkeypatch.setattr(library, "create_model", unreachable)
    with pytest.raises(PocketlensError) as caught:
        model.init_from_data(IMAGES)
    assert "model.safetensors from https://huggingface.co/timm/resnet18" in str(caught.value)
    assert "give weights=" in str(caught.value)


def test_without_timm_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(PocketlensError, match=r'pip install "timm>='):
        build("timm")


def test_a_trained_model_needs_the_file_no_more(tmp_path: Path) -> None:
    from pocketlens.training.train import train

    file = saved(tmp_path / "weights.safetensors", donor())
    recipe = PLAIN.changed(model=f"timm(name='test_resnet', weights={file!r})", epochs=1.0, lr=1e-6)
    data = made_data(shape=(16, 16, 3))
    run = new_run(tmp_path / "runs", recipe, data)
    list(train(run, data))
    Path(file).unlink()
    weights = load_classifier(run).state_dict()["net.body.layer1.0.conv1.weight"]
    torch.testing.assert_close(weights, donor().state_dict()["layer1.0.conv1.weight"], rtol=1e-3, atol=1e-4)
