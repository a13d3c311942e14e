"""The formats: for each, a function that writes a model's bytes, and one that loads them again to predict images."""

from __future__ import annotations

import importlib.util
import io
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pocketlens.data.dataset import Images
from pocketlens.errors import PocketlensError
from pocketlens.files import to_json
from pocketlens.inference.export.graph import Exportable
from pocketlens.inference.predict import Predictor
from pocketlens.scoring.metrics import log_probabilities
from pocketlens.training.checkpoint import Checkpoint, checkpoint_bytes, read_checkpoint
from pocketlens.training.classifier import build_classifier, predict_logits

SUFFIX_OF = {"onnx": ".onnx", "torchscript": ".pt", "safetensors": ".safetensors"}
ExportedModel = Callable[[Images], tuple[NDArray[np.float32], NDArray[np.float32]]]  # logits and probabilities, (N, K)


def check_format(format: str) -> None:
    """Makes sure that a format exists and its packages are installed.

    Raises:
        PocketlensError: it does not, or they are not.
    """
    if format not in SUFFIX_OF:
        raise PocketlensError(f"the format must be {', '.join(SUFFIX_OF)}, got {format!r}.")
    absent = [name for name in ("onnx", "onnxruntime") if format == "onnx" and importlib.util.find_spec(name) is None]
    if absent:
        raise PocketlensError(f'{" and ".join(absent)} must be installed for this: pip install "pocketlens[onnx]"')


def write_format(predictor: Predictor, format: str) -> bytes:
    """The bytes of a model's file in a format."""
    return {"onnx": _onnx, "torchscript": _torchscript, "safetensors": _safetensors}[format](predictor)


def load_format(data: bytes, format: str) -> ExportedModel:
    """A function that predicts images, (N, H, W, C) uint8, with what `write_format` returned."""
    loaders = {"onnx": _load_onnx, "torchscript": _load_torchscript, "safetensors": _load_safetensors}
    return loaders[format](data)


def describe(predictor: Predictor) -> dict[str, Any]:
    """The description of a model that every exported file holds beside the weights."""
    classifier = predictor.classifier
    return {
        "name": predictor.name,
        "classifier": classifier.facts.to_dict(),
        "temperature": None if predictor.temperature is None else asdict(predictor.temperature),
        "familiarity": None if predictor.familiarity is None else predictor.familiarity.to_dict(),
        "input": "images: uint8 (N, height, width, channels), any height and width",
        "output": "logits and probabilities: float32 (N, classes)",
    }


def _onnx(predictor: Predictor) -> bytes:
    """With torch's older exporter: it takes seconds, the newer one up to minutes, and it handles all our models."""
    import onnx

    names = {"images": {0: "n", 1: "height", 2: "width"}, "logits": {0: "n"}, "probabilities": {0: "n"}}
    with _quiet(), torch.no_grad(), tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        torch.onnx.export(
            Exportable(predictor).eval(),
            (_example(predictor),),
            path,
            input_names=["images"],
            output_names=["logits", "probabilities"],
            dynamic_axes=names,
            opset_version=18,
            dynamo=False,
        )
        model = onnx.load(path)
    model.producer_name = "pocketlens"
    onnx.helper.set_model_props(model, {"pocketlens": to_json(describe(predictor))})
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString()
    return data


def _torchscript(predictor: Predictor) -> bytes:
    buffer = io.BytesIO()
    with _quiet(), torch.no_grad():
        traced = torch.jit.trace(Exportable(predictor).eval(), (_example(predictor),), check_trace=False)  # type: ignore[no-untyped-call]
        torch.jit.save(traced, buffer, _extra_files={"pocketlens.json": to_json(describe(predictor)).encode()})
    return buffer.getvalue()


def _safetensors(predictor: Predictor) -> bytes:
    weights = {f"weights/{name}": value for name, value in predictor.classifier.state_dict().items()}
    return checkpoint_bytes(Checkpoint(weights, describe(predictor)))


def _example(predictor: Predictor) -> Tensor:
    """Two images of another size than the model's, so that tracing does not turn sizes into constants."""
    height, width, channels = predictor.classifier.image_shape
    return torch.zeros(2, height + 3, width + 5, channels, dtype=torch.uint8)


def _load_onnx(data: bytes) -> ExportedModel:
    import onnxruntime

    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])

    def predict(images: Images) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        logits, probabilities = session.run(["logits", "probabilities"], {"images": images})
        return logits, probabilities

    return predict


def _load_torchscript(data: bytes) -> ExportedModel:
    with _quiet():
        model = torch.jit.load(io.BytesIO(data), map_location="cpu")  # type: ignore[no-untyped-call]

    def predict(images: Images) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        with torch.inference_mode():
            logits, probabilities = model(torch.from_numpy(images))
        return logits.numpy(), probabilities.numpy()

    return predict


def _load_safetensors(data: bytes) -> ExportedModel:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        path.write_bytes(data)
        checkpoint = read_checkpoint(path)
    classifier, temperature = build_classifier(checkpoint, "the export"), checkpoint.meta["temperature"]
    scale = 1.0 if temperature is None else temperature["value"]

    def predict(images: Images) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        logits = predict_logits(classifier, images)
        return logits, np.exp(log_probabilities(logits / scale)).astype(np.float32)

    return predict


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppresses torch's warnings about tracing and the older exporter; `export` checks the result itself."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)  # type: ignore[attr-defined]  # sizes become constants
        warnings.filterwarnings("ignore", category=UserWarning, module=r"torch\.onnx")
        warnings.filterwarnings("ignore", r"Constant folding - Only steps=1", UserWarning)
        warnings.filterwarnings("ignore", r"You are using the legacy TorchScript-based ONNX export", DeprecationWarning)
        warnings.filterwarnings("ignore", r"The feature will be removed", DeprecationWarning, r"torch\.")
        warnings.filterwarnings("ignore", r"`torch\.jit\.\w+` is deprecated", FutureWarning)
        warnings.filterwarnings("ignore", r"`torch\.jit\.\w+` is deprecated", DeprecationWarning)
        yield
