"""export: a trained model as one file for other programs, including resizing and normalisation, checked on real images.

ONNX and TorchScript files take uint8 images (N, H, W, C) of any height and width, resize them as `predict` does (crop,
stretch or pad), prepare and normalise them, and return `logits` and calibrated `probabilities`, (N, K) float32. Images
of the size that the model was trained with are not resized. Decoding files (EXIF orientation, transparency on white,
16-bit levels) is up to the caller. A safetensors file holds the weights and the description, and `predict` can read it
again.

A file is only written if its predictions for real images agree with the model's.
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
from pocketlens.training.classifier import predict_logits
from pocketlens.training.run import Run

__all__ = ["SUFFIX_OF", "ExportFailed", "Exported", "check_format", "checked_rows", "describe", "export"]

N_CHECKED = 1000
TOLERANCE = 1e-3  # the largest difference of a probability, and of a logit as a share of the largest logit
TOLERANCE_PREPARED = 0.02  # where `prepare` rounds: a value halfway between two levels may be rounded either way
CHUNK = 100


@dataclass(frozen=True)
class Exported:
    """A file that was written, and how much its predictions differ from the model's.

    Attributes:
        n_checked: real images that both predicted.
        logit_difference, probability_difference: the largest absolute differences over them.
        n_changed: images whose most likely class differs.
        tolerance: the largest probability difference that is allowed, and logit difference as a share of the largest.
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


def export(predictor: Predictor, images: Images, path: Path, format: str) -> Work[Exported]:
    """Writes the model to `path` if its predictions for `images`, (N, H, W, C) uint8 before `prepare`, stay the same.

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
    exported = yield from _checked(predictor, images, data, path, format)
    write_bytes(path, data)
    return exported


def checked_rows(run: Run, dataset: Dataset) -> NDArray[np.int64]:
    """Up to 1,000 rows to check an export on: validation rows, or training rows where there are none.

    Raises:
        PocketlensError: the data set is not the run's.
    """
    wanted = run.experiment.data_fingerprint
    if wanted and wanted != dataset.fingerprint:
        raise PocketlensError(f"the data must be that of run {run.id} ({wanted}), it is {dataset.fingerprint}.")
    rows = run.split.val if len(run.split.val) else run.split.train
    return rows[np.linspace(0, len(rows) - 1, min(N_CHECKED, len(rows))).astype(np.int64)]


def _checked(predictor: Predictor, images: Images, data: bytes, path: Path, format: str) -> Work[Exported]:
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
            f"the {format} file must agree with the model; on {len(images):,} images probabilities differ by up to "
            f"{probability_difference:.2g} (allowed: {tolerance:g}) and logits by up to {logit_difference:.2g} "
            f"(allowed: that fraction of the largest logit, {largest:.3g}). It was not written."
        )
    return Exported(
        path=path,
        format=format,
        n_bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        n_checked=len(images),
        logit_difference=logit_difference,
        probability_difference=probability_difference,
        n_changed=n_changed,
        tolerance=tolerance,
    )


def _worst(before: float, ours: NDArray[Any], theirs: NDArray[Any]) -> float:
    return float(np.maximum(before, np.abs(ours - theirs).max()))  # np.maximum keeps a NaN
