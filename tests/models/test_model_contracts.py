"""What every model keeps: a head by its name, true counts, options that are checked, weights from the seed alone.

A new file in the folder is tested by lying there.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from made_models import build, small_models
from torch import Tensor, nn

import pocketlens
from pocketlens.components import names, signature
from pocketlens.errors import PocketlensError
from pocketlens.models._layers import PooledConv2d
from pocketlens.models.coatnet import RelativeAttention
from pocketlens.models.vit import Block as VitBlock
from pocketlens.training.classifier import Classifier
from pocketlens.training.model_facts import ModelFacts
from pocketlens.training.model_summary import layer_table, totals

MODELS = names("models")


@pytest.mark.parametrize("name", MODELS)
def test_the_last_linear_layer_is_the_head(name: str) -> None:
    with torch.device("meta"):
        head = build(name, (32, 32, 3), 7).head
        assert isinstance(head, (nn.Linear, nn.Sequential))
        last = head if isinstance(head, nn.Linear) else head[-1]
        assert isinstance(last, nn.Linear)
        assert last.out_features == 7


@pytest.mark.parametrize("text", small_models())
@pytest.mark.parametrize("shape", [(16, 16, 1), (20, 12, 4)])
def test_any_channels_and_shape_and_the_input_is_left_alone(text: str, shape: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    model = build(text, shape, 5)
    images = torch.randn(6, shape[2], *shape[:2])
    kept = images.clone()
    logits = model.train()(images)
    assert logits.shape == (6, 5)
    assert logits.dtype == torch.float32
    assert logits.isfinite().all()
    assert torch.equal(images, kept)
    logits.square().sum().backward()
    assert all((p.grad is not None) == p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("text", small_models())
def test_weights_come_from_the_seed_alone(text: str) -> None:
    value: dict[str, Any] = {"model": text, "prepare": "none", "shape": [16, 16, 3], "classes": [*"abcde"], "seed": 3}
    value |= {"superclasses": None, "superclass_of": None, "levels": None, "mean": [0.0] * 3, "std": [1.0] * 3}
    facts = ModelFacts.from_dict(value, "made")
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = Classifier(facts).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    second, other = Classifier(facts).state_dict(), Classifier(replace(facts, seed=4)).state_dict()
    assert all(torch.equal(value, second[key]) for key, value in first.items())
    assert any(not torch.equal(value, other[key]) for key, value in first.items())


def counted(model: nn.Module, image: Tensor) -> tuple[int, int]:
    """Multiply-adds of convolutions and linear layers, and those between queries, keys and values, by hooks."""
    layers, attention = [], []

    def note(module: nn.Module, given: tuple[Tensor, ...], out: Tensor) -> None:
        if isinstance(module, nn.Conv2d):
            pooled = 4 if isinstance(module, PooledConv2d) and min(given[0].shape[2:]) >= 2 else 1
            layers.append(out.numel() * pooled * module.weight[0].numel())
        elif isinstance(module, nn.Linear):
            layers.append(out.numel() * module.in_features)
        elif isinstance(module, RelativeAttention):  # (B, h, w, C); eight heads of 32
            attention.append(2 * (given[0].shape[1] * given[0].shape[2]) ** 2 * 256)
        elif isinstance(module, VitBlock):  # (B, N, D)
            attention.append(2 * given[0].shape[1] ** 2 * given[0].shape[2])

    for module in model.modules():
        module.register_forward_hook(note)
    with torch.no_grad():
        model.eval()(image)
    return sum(layers), sum(attention)


SMALL_AND_LARGE = [*small_models(), *(pytest.param(name, marks=pytest.mark.slow) for name in MODELS)]


@pytest.mark.parametrize("text", SMALL_AND_LARGE)
def test_the_table_agrees_with_the_tensors_and_with_a_count_by_hooks(text: str) -> None:
    table = layer_table(text, (32, 32, 3), 10)
    sums = totals(table)
    with torch.device("meta"):
        model = build(text, (32, 32, 3), 10)
        by_layer, between = counted(model, torch.zeros(1, 3, 32, 32))
    assert sums["n_parameters"] == sum(p.numel() for p in model.parameters())
    assert sums["n_trainable"] == sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert sums["n_frozen"] == sums["n_parameters"] - sums["n_trainable"]
    buffers = {key: value for key, value in model.named_buffers() if not key.endswith("num_batches_tracked")}
    assert sums["n_buffers"] == sum(value.numel() for value in buffers.values())
    assert sum(layer.multiply_adds for layer in table if layer.name != "(other)") == by_layer
    if between:
        assert sums["multiply_adds"] == by_layer + between
    assert next(layer for layer in reversed(table) if layer.name != "(other)").shape == (10,)


def test_buffers_are_the_statistics_of_batch_norm() -> None:
    (norm,) = (
        layer for layer in layer_table("cnn(channels=8, batch_norm='after')", (8, 8, 3), 2) if "Norm" in layer.kind
    )
    assert (norm.n_trainable, norm.n_frozen, norm.n_buffers) == (16, 0, 16)


BOUNDLESS = {("timm", "weights")}  # any text may be a path; it is looked for before the first step


def wrong_values(kind: str, default: Any) -> list[Any]:
    """Values that an option of such a type must refuse, whatever it is."""
    wrong: list[Any] = [{}, 1j]
    if "str" in kind:
        wrong += [f"{default}x", 3.25] if isinstance(default, str) else [3.25]
    else:
        wrong += ["text"]
    if "int" in kind or "float" in kind:
        bad = -99 if "int" in kind else -99.0
        wrong += [(bad,) * (len(default) if isinstance(default, tuple) else 1) if kind.startswith("tuple") else bad]
    if kind == "float":
        wrong += [float("inf")]
    return wrong


@pytest.mark.parametrize("name", MODELS)
def test_bad_options_are_one_line_that_names_the_option(name: str) -> None:
    known = signature("models", name)
    for (option, default), kind in zip(known.options, known.kinds, strict=True):
        values = wrong_values(kind, default) + ([2.0] if "drop" in option else [])
        for value in values:
            if (name, option) in BOUNDLESS and isinstance(value, str):
                continue
            shown = "1e999" if value == float("inf") else repr(value)
            with pytest.raises(PocketlensError) as caught, torch.device("meta"):
                build(f"{name}({option}={shown})", (8, 8, 3), 10)
            line = str(caught.value)
            assert "\n" not in line
            assert line.startswith((f"{name}: ", "models: ")), line
            assert option in line or "body" in line, line
            if isinstance(value, str) and isinstance(default, str) and option != "kinds":
                assert f"Did you mean {default!r}" in line, line
        misspelt = option[:-1] + ("z" if len(option) > 1 else "zz")
        with pytest.raises(PocketlensError, match=rf"{name} has no option '{misspelt}'\. Did you mean"):
            build(f"{name}({misspelt}=1)")


def test_an_option_is_found_wrong_before_the_data_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import pocketlens.datasets
    from pocketlens.cli import main

    def load(*_: Any) -> None:
        raise AssertionError("data was read")

    monkeypatch.setattr(pocketlens.datasets, "load", load)
    assert main(["train", "digits", "--model", "cnn(dropout=2)", "--runs", str(tmp_path)]) == 2
    assert "cnn: dropout must be from 0 to below 1, got 2" in capsys.readouterr().err


@pytest.mark.slow
def test_a_model_is_one_file_and_nothing_else(tmp_path: Path) -> None:
    import shutil

    source = Path(pocketlens.__file__ or "").parent
    shutil.copytree(source, tmp_path / "pocketlens", ignore=shutil.ignore_patterns("__pycache__"))
    guide = (source.parent.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
    code = guide.split("## Add a model")[1].split("```python\n")[1].split("```")[0]
    ast.parse(code)
    (tmp_path / "pocketlens/models/linear.py").write_text(code, encoding="utf-8")
    script = (
        "import sys; from pocketlens.cli import main; "
        "codes = [main(['list', 'models']), main(['train', 'digits', '--model', 'linear(dropout=0.1)', '--sizes', "
        "'100%', '--epochs', '2', '--recipe', 'small']), main(['train', 'digits', '--model', 'linera'])]; "
        "import pocketlens; print(codes, pocketlens.__file__)"
    )
    result = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        env=environment(tmp_path),
    )
    assert f"[0, 0, 2] {tmp_path}" in result.stdout, result.stdout + result.stderr
    assert "One linear layer on the pixels" in result.stdout
    assert "Did you mean 'linear'" in result.stderr


def environment(folder: Path) -> dict[str, str]:
    import os

    return {**os.environ, "PYTHONPATH": str(folder)}
