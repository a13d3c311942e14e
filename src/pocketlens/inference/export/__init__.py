"""export: a trained model as one file for other programs, including resizing and normalisation, checked on real images.

ONNX and TorchScript files take uint8 images (N, H, W, C) of any height and width, resize them as `predict` does (crop,
stretch or pad), prepare and normalise them, and return `logits` and calibrated `probabilities`, (N, K) float32. Images
of the size that the model was trained with are not resized. Decoding files (EXIF orientation, transparency on white,
16-bit levels) is up to the caller. A safetensors file holds the weights and the description, and `predict` can read it
again.

A file is only written if its predictions agree with the model's: on images of the data, or where that is gone on the
pictures that the run keeps.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketlens.data.dataset import Dataset, Images
from pocketlens.errors import ExportFailed, PocketlensError
from pocketlens.events import Step, Work
from pocketlens.files import write_bytes
from pocketlens.inference.export.formats import SUFFIX_OF, check_format, describe, load_format, write_format
from pocketlens.inference.predict import Predictor
from pocketlens.scoring.predictions import PICTURES, read_mistakes, read_pictures
from pocketlens.text import counted
from pocketlens.training.classifier import predict_logits
from pocketlens.training.run import Run
from pocketlens.training.run_data import require_same
from pocketlens.training.validation_scores import chosen_rows

__all__ = [
    "SUFFIX_OF",
    "CheckImages",
    "ExportFailed",
    "Exported",
    "check_format",
    "describe",
    "export",
    "images_of_data",
    "images_without_data",
]

N_CHECKED = 1000
N_NOISE = 16
TOLERANCE = 1e-3  # the largest difference of a probability, and of a logit as a share of the largest logit
TOLERANCE_PREPARED = 0.02  # where `prepare` rounds: a value halfway between two levels may be rounded either way
CHUNK = 100


@dataclass(frozen=True)
class Exported:
    """A file that was written, and how much its predictions differ from the model's.

    Attributes:
        n_checked: images that both predicted.
        logit_difference, probability_difference: the largest absolute differences over them.
        n_changed: images whose most likely class differs.
        tolerance: the largest probability difference that is allowed, and logit difference as a share of the largest.
        checked_on: what the images are.
    """

    path: Path
    format: str
    n_bytes: int
    sha256: str
    n_checked: int
    logit_difference: float
    probability_difference: float
    n_changed: int
    tolerance: float
    checked_on: str = "real images"


def export(predictor: Predictor, checked: CheckImages, path: Path, format: str) -> Work[Exported]:
    """Writes the model to `path` if its predictions for the images `checked`, before `prepare`, stay the same.

    Raises:
        PocketlensError: the format is unknown, or its packages are not installed.
        ExportFailed: the model cannot be written in this format, or the predictions differ.
    """
    check_format(format)
    yield Step(f"writing {format}", 0, 1)
    try:
        data = write_format(predictor, format)
    except PocketlensError:
        raise
    except Exception as error:  # exporters raise exceptions of any kind
        why = " ".join(str(error).split())[:300]
        raise ExportFailed(f"{predictor.classifier.facts.model} cannot be written as {format}: {why}") from error
    yield Step(f"writing {format}", 1, 1)
    exported = yield from _checked(predictor, checked, data, path, format)
    write_bytes(path, data)
    return exported


@dataclass(frozen=True, eq=False)
class CheckImages:
    """(N, H, W, C) uint8 images on which an export is checked, and what they are, such as "real images"."""

    images: Images
    what: str


def images_of_data(run: Run, dataset: Dataset) -> CheckImages:
    """Up to 1,000 images of the run's data: validation rows, or training rows where there are none.

    Raises:
        PocketlensError: the data set is not the run's.
    """
    require_same(run, dataset)
    return CheckImages(dataset.images[chosen_rows(run, N_CHECKED)], "real images")


def images_without_data(run: Run, predictor: Predictor) -> CheckImages:
    """The pictures that the run keeps; of a run that keeps none, noise.

    Raises:
        PocketlensError: the run's pictures cannot be read.
    """
    shape = tuple(predictor.classifier.image_shape)
    for name in (PICTURES, "mistakes-test.safetensors"):
        path = run.file(name)
        images = None if not path.exists() else _images_in(path)
        if images is not None and len(images) and images.shape[1:] == shape:
            kind = "picture" if len(images) == 1 else "pictures"
            return CheckImages(images[:N_CHECKED], f"{kind} that the run keeps")
    generator = np.random.default_rng(0)
    noise = generator.integers(0, 256, (N_NOISE, *shape), dtype=np.uint8)
    return CheckImages(noise, "images of noise")


def _images_in(path: Path) -> Images | None:
    return read_pictures(path).images if path.name == PICTURES else read_mistakes(path).images


def _checked(predictor: Predictor, checked: CheckImages, data: bytes, path: Path, format: str) -> Work[Exported]:
    images = checked.images
    exported = load_format(data, format)
    logit_difference = probability_difference = largest = 0.0
    n_changed = 0
    for start in range(0, len(images), CHUNK):
        batch = np.ascontiguousarray(images[start : start + CHUNK])
        ours, (logits, probabilities) = predict_logits(predictor.classifier, batch), exported(batch)
        logit_difference = _worst(logit_difference, ours, logits)
        probability_difference = _worst(probability_difference, predictor.probabilities(ours), probabilities)
        largest = max(largest, float(np.abs(ours).max()))
        n_changed += int((ours.argmax(1) != logits.argmax(1)).sum())
        yield Step("checking the file against the model", min(start + CHUNK, len(images)), len(images))
    tolerance = TOLERANCE if predictor.classifier.prepare in ("", "none") else TOLERANCE_PREPARED
    if not (probability_difference <= tolerance and logit_difference <= tolerance * max(1.0, largest)):
        raise ExportFailed(
            f"the {format} file must agree with the model; on {counted(len(images), 'image')} probabilities "
            "differ by up to "
            f"{probability_difference:.2g} (allowed: {tolerance:g}) and logits by up to {logit_difference:.2g} "
            f"(allowed: that fraction of the largest logit, {largest:.3g}). It was not written."
        )
    return Exported(
        path=path,
        format=format,
        n_bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        n_checked=len(images),
        checked_on=checked.what,
        logit_difference=logit_difference,
        probability_difference=probability_difference,
        n_changed=n_changed,
        tolerance=tolerance,
    )


def _worst(before: float, ours: NDArray[Any], theirs: NDArray[Any]) -> float:
    return float(np.maximum(before, np.abs(ours - theirs).max()))  # np.maximum keeps a NaN
