"""Which precision a training gets where that is left open, what is said, and what becomes of it when a run goes on."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from made_images import refused
from made_trainings import PLAIN, finish, made_data, new_run

import pocketlens as pl
from pocketlens.api.requests import RecipeRequest
from pocketlens.cli import main
from pocketlens.data.split import make_split
from pocketlens.events import Note, Progress
from pocketlens.recipe import Experiment, Recipe
from pocketlens.studies.overrides import named_in_precision, read_variant
from pocketlens.training import device, precision
from pocketlens.training.precision import Measured, PrecisionChoice, choice_from, choose_precision
from pocketlens.training.state import State
from pocketlens.training.train import train

train_module = import_module("pocketlens.training.train")
TINY = Recipe(model="lens(width=0.125)", sizes="67%:0.5 100%", batch_size=16, epochs=2.0)


def chosen(recipe: Recipe, where: str = "cpu") -> PrecisionChoice:
    return choose_precision(recipe, (12, 12, 3), 4, 64, where)


@pytest.fixture
def with_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "has_bf16", lambda _device: True)
    monkeypatch.setattr(device, "has_bf16", lambda _device: True)


@pytest.fixture
def without_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "has_bf16", lambda _device: False)
    monkeypatch.setattr(device, "has_bf16", lambda _device: False)


# ---- the choice


@pytest.mark.parametrize(
    ("fp32", "bf16", "name"), [(2.0, 1.0, "bf16"), (1.06, 1.0, "bf16"), (1.04, 1.0, "fp32"), (1.0, 1.0, "fp32")]
)
def test_bf16_must_win_by_a_margin(fp32: float, bf16: float, name: str) -> None:
    choice = choice_from([Measured(32, fp32, bf16)], [1.0])
    assert (choice.name, choice.gain) == (name, pytest.approx(fp32 / bf16))


def test_sizes_count_by_their_share_of_the_steps() -> None:
    slow, fast = Measured(20, 1.0, 2.0), Measured(32, 2.0, 1.0)
    assert choice_from([slow, fast], [0.1, 0.9]).name == "bf16"
    choice = choice_from([slow, fast], [0.9, 0.1])
    assert choice.name == "fp32"
    assert str(choice) == "precision fp32; bf16 was measured 0.58 times as fast (20 px 0.50, 32 px 2.00)"


@pytest.mark.usefixtures("without_bf16")
def test_without_bf16_nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "_measure", lambda *_args: pytest.fail("it was measured"))
    assert chosen(TINY.changed(epochs=1e9)) == PrecisionChoice("fp32")


@pytest.mark.usefixtures("with_bf16")
def test_little_work_is_not_measured_and_a_gpu_takes_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "_measure", lambda *_args: pytest.fail("it was measured"))
    assert chosen(TINY) == PrecisionChoice("fp32")
    assert chosen(TINY.changed(head="probe", freeze="body", epochs=1e9)).name == "fp32"
    assert chosen(TINY, "cuda").name == "bf16"


@pytest.mark.usefixtures("with_bf16")
def test_both_are_measured_at_every_size_and_the_global_generator_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "LEAST_WORK", 0.0)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    choice = chosen(TINY)
    assert [each.size for each in choice.measured] == [8, 12]
    assert all(each.fp32 > 0 and each.bf16 > 0 for each in choice.measured)
    assert choice.name in ("fp32", "bf16")
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.usefixtures("with_bf16")
def test_a_network_without_bf16_gets_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_args: Any) -> Measured:
        raise NotImplementedError('"it" not implemented for BFloat16')

    monkeypatch.setattr(precision, "LEAST_WORK", 0.0)
    monkeypatch.setattr(precision, "_measure", fails)
    choice = chosen(TINY)
    assert choice.name == "fp32"
    assert "cannot be computed in bf16" in str(choice)


@pytest.mark.usefixtures("with_bf16")
def test_a_broken_network_of_ones_own_is_no_traceback_here(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_args: Any) -> Any:
        raise AttributeError

    monkeypatch.setattr(precision, "_network", fails)
    assert chosen(TINY) == PrecisionChoice("fp32")


# ---- where it is left open


@pytest.mark.parametrize(
    ("recipe", "changes", "is_open"),
    [
        (None, {}, True),
        (None, {"lr": 0.1}, True),
        ("small", {}, True),
        ("wide", {}, False),  # it says bf16
        ("wide", {"precision": "auto"}, True),
        (None, {"precision": "auto"}, True),
        (None, {"precision": "fp32"}, False),
        (Recipe(), {}, False),
        (Recipe(), {"precision": "auto"}, True),
    ],
)
def test_a_recipe_in_full_keeps_its_precision(recipe: Any, changes: dict[str, Any], is_open: bool) -> None:
    request = RecipeRequest(recipe, changes)
    assert request.auto_precision == is_open
    assert request.changed().precision in ("fp32", "bf16")


def test_a_recipes_file_keeps_its_precision(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(Recipe().to_dict()))
    assert not RecipeRequest(str(path)).auto_precision


def test_named_recipes_of_a_study_take_the_precision_of_its_base() -> None:
    base = Recipe(precision="bf16")
    texts = ("small", "small; lr=0.1", "small; precision=fp32", "lr=0.1", "base")
    found = [named_in_precision(read_variant(text, base), "bf16").recipe.precision for text in texts]
    assert found == ["bf16", "bf16", "fp32", "bf16", "bf16"]


def test_the_precision_is_said_and_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    choice = choice_from([Measured(8, 2.0, 1.0)], [1.0])
    monkeypatch.setattr(precision, "choose_precision", lambda *_args: choice)
    monkeypatch.setattr(device, "has_bf16", lambda _device: True)  # torch computes it on any processor, if slowly
    words = ["--model", "mlp(hidden=(4,))", "--optimizer", "sgd", "--epochs", "1", "--threads", "1", "--runs"]
    assert main(["train", "digits", "--device", "cpu", *words, str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert said.count("precision bf16, measured 2.00 times as fast as fp32 (8 px 2.00)") == 1
    first = pl.Run.open("last", tmp_path)
    assert first.experiment.recipe.precision == "bf16"
    assert first.experiment.recipe.id in said
    assert main(["train", "digits", "--device", "cpu", "--precision", "fp32", *words, str(tmp_path)]) == 0
    assert pl.Run.open("last", tmp_path).experiment.recipe.precision == "fp32"
    assert "precision bf16" not in capsys.readouterr().out


# ---- a run that goes on elsewhere


def test_a_run_in_bf16_goes_on_without_it_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "has_bf16", lambda _device: True)
    run = new_run(tmp_path, PLAIN.changed(precision="bf16"))
    for event in train(run, made_data(), save_every=1):
        if isinstance(event, Progress) and event.step == 3:
            break
    monkeypatch.setattr(device, "has_bf16", lambda _device: False)
    said = [event.text for event in finish(run) if isinstance(event, Note)]
    assert said[0] == (
        "not bit-identical to an uninterrupted run because of precision bf16 -> fp32 (cpu has no bf16 arithmetic)"
    )
    assert run.status()[0] == "complete"
    assert run.experiment.recipe.precision == "bf16"


@pytest.mark.usefixtures("without_bf16")
def test_a_new_run_in_bf16_needs_it() -> None:
    data = made_data()
    with refused("precision bf16 needs hardware with bf16 arithmetic, cpu has none; use fp32: --precision fp32"):
        State(Experiment("made", PLAIN.changed(precision="bf16")), data, make_split(data), "cpu")


# ---- starting up


def test_optimizers_and_pages_do_not_load_what_they_do_not_need() -> None:
    import subprocess
    import sys

    page = "import sys, pocketlens.report; assert not {'torch', 'scipy.stats'} & set(sys.modules)"
    optimizer = (
        "import torch; from pocketlens.training.device import prepare_machine; prepare_machine('cpu')\n"
        "from pocketlens.optimizers.muon import muon; weight = torch.nn.Parameter(torch.ones(2, 2, 1, 1))\n"
        "made = muon([{'params': [weight], 'weight_decay': 0.0, 'lr_scale': 1.0}], 0.1)\n"
        "weight.sum().backward(); made.step(); made.zero_grad(); assert 'torch._dynamo' not in sys.modules"
    )
    result = subprocess.run([sys.executable, "-c", f"{page}\n{optimizer}"], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
