"""export: what is written judges real sizes and other sizes as the model does, or is not written."""

from __future__ import annotations

import hashlib
import io
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from made_images import random_images, refused
from made_predictors import made_predictor, strict
from made_trainings import PLAIN, finish, made_data, new_run
from test_cli import FAST, json_of

from pocketlens.cli import main
from pocketlens.components import names
from pocketlens.data.fit import FITS, fit_picture
from pocketlens.events import finish as finish_work
from pocketlens.inference import export as module
from pocketlens.inference.export import CheckImages, Exported, ExportFailed, export, formats, images_of_data
from pocketlens.inference.export.graph import fit_pixels
from pocketlens.inference.predict import Predictor, compute_logits, open_predictor
from pocketlens.scoring.metrics import log_probabilities

TINY = {  # a small option of every family, for 32 px
    "cnn": "cnn(channels=(8, 16), pooling='average', batch_norm='after')",
    "coatnet": "coatnet(blocks=(1, 1, 1, 1, 1), channels=(8, 8, 16, 32, 32), strides=(1, 1, 2, 2, 2))",
    "densenet": "densenet(blocks=(2, 2), growth=4)",
    "efficientnet": "efficientnet",
    "lens": "lens(width=0.1)",
    "resnet": "resnet(depth=20)",
    "resnext": "resnext(groups=2, group_width=2)",
    "vgg": "vgg(depth=11)",
    "wide_resnet": "wide_resnet(depth=10, width=1)",
}


def exported(predictor: Predictor, path: Path, format: str = "onnx", n: int = 12) -> Exported:
    checked = CheckImages(random_images(n, predictor.classifier.image_shape), "real images")
    return finish_work(export(predictor, checked, path, format))


def ask_onnx(path: Path, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    logits, probabilities = session.run(["logits", "probabilities"], {"images": images})
    return logits, probabilities


@pytest.mark.parametrize(
    ("model", "format"),
    [("lens", "onnx"), ("resnet", "onnx"), ("cnn", "onnx"), ("lens", "torchscript"), ("lens", "safetensors")],
)
def test_the_file_agrees_with_the_model(model: str, format: str, tmp_path: Path) -> None:
    predictor = made_predictor(TINY[model], shape=[32, 32, 3])
    found = exported(predictor, tmp_path / "model", format)
    data = (tmp_path / "model").read_bytes()
    assert (found.n_bytes, found.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert found.n_checked == 12
    assert found.logit_difference < 1e-4
    assert found.probability_difference < 1e-5
    assert found.n_changed == 0
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.slow
@pytest.mark.parametrize("model", [name for name in names("models") if name not in ("lens", "resnet", "cnn", "timm")])
def test_every_family_can_be_exported_to_onnx(model: str, tmp_path: Path) -> None:
    found = exported(made_predictor(TINY.get(model, model), shape=[32, 32, 3]), tmp_path / "model")
    assert found.probability_difference < 1e-4


@pytest.mark.parametrize("fit", FITS)
def test_any_batch_and_any_size_in_onnx_and_torchscript(fit: str, tmp_path: Path) -> None:
    predictor = made_predictor("cnn(channels=(8,))", shape=[12, 16, 3], prepare="sharpen(2)", fit=fit)
    exported(predictor, tmp_path / "a.onnx")
    exported(predictor, tmp_path / "a.pt", "torchscript")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        script = torch.jit.load(tmp_path / "a.pt")
    for n, height, width in ((1, 12, 16), (7, 12, 16), (3, 40, 31), (2, 5, 90), (1, 1, 1), (1, 300, 7)):
        images = random_images(n, (height, width, 3))
        wanted = compute_logits(predictor, np.stack([fit_picture(image, 12, 16, fit) for image in images]), "cpu")
        probabilities = np.exp(log_probabilities(wanted / 1.7))
        with torch.inference_mode():
            answers = ask_onnx(tmp_path / "a.onnx", images), script(torch.from_numpy(images))
        for logits, shares in answers:
            assert np.abs(np.asarray(logits) - wanted).max() < 1e-4
            assert np.abs(np.asarray(shares) - probabilities).max() < 1e-5


@pytest.mark.parametrize(
    "prepare",
    ["resize(24)", "resize((20, 9)) | sharpen(0.5)", "resize((26, 12), filter='bicubic') | middle(9)"],
)
def test_preparation_is_inside(prepare: str, tmp_path: Path) -> None:
    shape = {"resize(24)": [24, 24, 1], "resize((20, 9)) | sharpen(0.5)": [20, 9, 1]}.get(prepare, [9, 9, 1])
    predictor = made_predictor("mlp(hidden=(8,))", shape=shape, image_shape=[31, 17, 1], prepare=prepare)
    found = exported(predictor, tmp_path / "a.onnx")
    assert found.probability_difference < 1e-5
    assert found.tolerance == module.TOLERANCE_PREPARED
    assert exported(predictor, tmp_path / "a.pt", "torchscript").probability_difference < 1e-3


SIZES = ((12, 16), (12, 40), (90, 16), (5, 5), (1, 1), (1, 700), (333, 64), (64, 333), (128, 128))


@pytest.mark.parametrize("fit", FITS)
def test_resizing_in_the_graph_is_that_of_the_decoder_to_the_bit(fit: str, tmp_path: Path) -> None:
    import onnxruntime

    class Fit(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return fit_pixels(images.permute(0, 3, 1, 2), 12, 16, fit)

    path = tmp_path / "fit.onnx"
    names = {"images": {0: "n", 1: "height", 2: "width"}}
    with formats._quiet():
        torch.onnx.export(
            Fit(), (torch.zeros(2, 15, 21, 3, dtype=torch.uint8),), path, input_names=["images"],
            dynamic_axes=names, opset_version=18, dynamo=False,
        )  # fmt: skip
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for size in SIZES:
        images = random_images(3, (*size, 3))
        wanted = np.stack([fit_picture(image, 12, 16, fit) for image in images]).transpose(0, 3, 1, 2)
        assert np.array_equal(Fit()(torch.from_numpy(images)).numpy(), wanted), size
        assert np.array_equal(session.run(None, {"images": images})[0], wanted), size


def test_what_the_file_says_about_itself(tmp_path: Path) -> None:
    import onnx

    predictor = made_predictor(classes=["ant", "bee", '"<b>', "d"])
    exported(predictor, tmp_path / "a.onnx")
    exported(predictor, tmp_path / "a.pt", "torchscript")
    properties = {item.key: item.value for item in onnx.load(tmp_path / "a.onnx").metadata_props}
    extra = {"pocketlens.json": ""}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.load(io.BytesIO((tmp_path / "a.pt").read_bytes()), _extra_files=extra)
    exported(predictor, tmp_path / "a.safetensors", "safetensors")
    again = open_predictor(tmp_path / "a.safetensors")
    assert again.temperature == predictor.temperature
    for text in (properties["pocketlens"], extra["pocketlens.json"]):
        value = json.loads(text)
        assert value["classifier"] == predictor.classifier.facts.to_dict() == again.classifier.facts.to_dict()
        assert value["familiarity"] is None
        assert value["temperature"].items() >= {"value": 1.7, "n": 100, "run": "made", "known": True}.items()


def test_the_threshold_of_unfamiliar_pictures_is_in_the_file(tmp_path: Path) -> None:
    predictor = strict(made_predictor(), -2.5)
    exported(predictor, tmp_path / "a.safetensors", "safetensors")
    assert open_predictor(tmp_path / "a.safetensors").familiarity == predictor.familiarity
    assert formats.describe(predictor)["familiarity"]["threshold"] == -2.5
    assert json.loads(json.dumps(formats.describe(strict(predictor, None))))["familiarity"]["threshold"] is None


def test_a_file_that_does_not_agree_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = made_predictor()
    monkeypatch.setattr(module, "write_format", lambda *_: formats.write_format(made_predictor(seed=1), "onnx"))
    with pytest.raises(ExportFailed, match="must agree with the model"):
        exported(predictor, tmp_path / "a.onnx")
    assert not list(tmp_path.iterdir())


def test_logits_count_where_a_temperature_hides_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = made_predictor(temperature=1e6)

    def shifted(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        logits = compute_logits(predictor, images, "cpu") + 0.01
        return logits, predictor.probabilities(logits)

    monkeypatch.setattr(module, "load_format", lambda *_: shifted)
    with pytest.raises(ExportFailed, match=r"logits by up to 0\.01"):
        exported(predictor, tmp_path / "a.onnx")


def test_a_file_that_gives_nan_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nan = np.full((12, 4), np.nan, np.float32)
    monkeypatch.setattr(module, "load_format", lambda *_: lambda images: (nan, nan))
    with pytest.raises(ExportFailed, match="nan"):
        exported(made_predictor(), tmp_path / "a.onnx")
    assert not list(tmp_path.iterdir())


def test_a_model_that_cannot_be_written_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> bytes:
        raise RuntimeError("no\nsymbolic")

    monkeypatch.setattr(formats, "_onnx", fails)
    with pytest.raises(ExportFailed, match="cannot be written as onnx: no symbolic"):
        exported(made_predictor(), tmp_path / "a.onnx")


def test_an_absent_package_and_an_unknown_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with refused("onnx, torchscript, safetensors", "'onx'"):
        exported(made_predictor(), tmp_path / "a", "onx")
    monkeypatch.setattr(formats.importlib.util, "find_spec", lambda _: None)
    with refused('pip install "pocketlens[onnx]"'):
        exported(made_predictor(), tmp_path / "a")


def test_rows_to_check_are_validation_rows_of_the_runs_data(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    assert np.array_equal(images_of_data(run, made_data()).images, made_data().images[run.split.val])
    assert len(images_of_data(new_run(tmp_path, val_fraction=0.0), made_data()).images) == 64
    with refused(run.id, "is not the data of run", "it has 32 development images, the run has 64"):
        images_of_data(run, made_data(32))


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", "digits", *FAST, "--label", "mine"]) == 0
    capsys.readouterr()
    found = json_of(["export", "mine", "--format", "onnx", "--json"], capsys)
    assert found["n_checked"] > 100
    assert Path(found["path"]).parent.name == "export"
    stored = json.loads(Path(found["path"] + ".json").read_text(encoding="utf-8"))
    assert stored["sha256"] == found["sha256"]
    assert stored["logit_difference"] == found["logit_difference"]
    assert main(["export", "mine", "--format", "safetensors", "--out", "a.safetensors"]) == 0
    out = capsys.readouterr().out
    assert "0 predicted classes differ" in out
    assert "next: pocketlens predict a.safetensors" in out
    for argv in (["--out", "a.pt"], ["--out", "absent/a.onnx"], ["--format", "tflite"]):
        assert main(["export", "mine", *argv]) == 2
    capsys.readouterr()
    monkeypatch.setattr(module, "TOLERANCE", -1.0)
    assert main(["export", "mine", "--out", "b.onnx"]) == 3
    assert capsys.readouterr().err.count("\n") == 1
    assert not Path("b.onnx").exists()


def test_an_export_of_a_run_predicts_as_the_run(tmp_path: Path) -> None:
    run = new_run(tmp_path, PLAIN)
    finish(run)
    predictor = open_predictor(run)
    images = made_data().images
    finish_work(export(predictor, CheckImages(images, "real images"), tmp_path / "a.safetensors", "safetensors"))
    again = open_predictor(tmp_path / "a.safetensors")
    assert np.array_equal(compute_logits(again, images, "cpu"), compute_logits(predictor, images, "cpu"))
