"""The page of explanations: what a network sees in some images, and how it lays out the validation images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pocketlens.data.dataset import Dataset
from pocketlens.errors import PocketlensError
from pocketlens.evaluation.explain import first_filters, first_maps
from pocketlens.events import Step, Work
from pocketlens.files import write_text
from pocketlens.inference.class_activation import class_activation, overlay, prepared_images
from pocketlens.report.pictures import encode_image
from pocketlens.report.run.feature_maps import read_feature_maps
from pocketlens.report.shell import placed, render_page
from pocketlens.scoring.metrics import log_probabilities
from pocketlens.scoring.predictions import read_predictions, worst_mistakes
from pocketlens.training.classifier import Classifier, load_classifier, predict_logits

if TYPE_CHECKING:
    from pocketlens.training.run import Run

MOST_ROWS = 64


class Picture(NamedTuple):
    """A picture as a data URI, what it shows, and whether it is a sheet of maps."""

    uri: str
    caption: str
    is_sheet: bool = False


@dataclass(frozen=True)
class Explained:
    """One image: what it is, what it was taken for, and its pictures."""

    row: int
    part: str
    true: str
    predicted: str
    probability: float
    pictures: tuple[Picture, ...]


@dataclass(frozen=True)
class _Explanations:
    """The images with their pictures, and a sentence on where the class activation maps were read."""

    images: list[Explained]
    layer: str


def write_explanations(run: Run, dataset: Dataset, rows: Sequence[int] | None = None, worst: int = 8) -> Work[Path]:
    """Writes explain.html into the run's folder and gives its path.

    Args:
        dataset: the development rows of the run.
        rows: row numbers of development images; without them the `worst` mistakes on validation.

    Raises:
        PocketlensError: there is no such row, or there are no validation mistakes to choose from.
    """
    chosen = _choose(run, dataset, rows, worst)
    classifier = load_classifier(run)
    yield Step("explaining", 0, 3)
    explanations = _explain(classifier, run, dataset, chosen)
    yield Step("explaining", 1, 3)
    filters = first_filters(classifier)
    features = read_feature_maps(classifier, run, dataset)
    yield Step("explaining", 2, 3)
    values: dict[str, Any] = {
        "run": run.id,
        "data": run.experiment.data,
        "label": run.experiment.label,
        "model": run.experiment.recipe.model,
        "explained": explanations.images,
        "layer": explanations.layer,
        "small": max(dataset.shape[:2]) < 64,
        "filters": None if filters is None else encode_image(sheet(_to_bytes(filters), 16), 4096),
        "n_filters": 0 if filters is None else len(filters),
        "figures": placed(features.figures, run.id),
        "keys": features.keys,
        "note": features.note,
    }
    path = run.file("explain.html")
    write_text(path, render_page("explanations.html.j2", (), values))
    yield Step("explaining", 3, 3)
    return path


def sheet(images: NDArray[np.uint8], columns: int = 8, gap: int = 1) -> NDArray[np.uint8]:
    """Images (N, H, W, C) side by side in one, with a white gap between them."""
    n, height, width, channels = images.shape
    columns = min(columns, n)
    rows = -(-n // columns)
    grid = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, channels), 255, np.uint8)
    for index, image in enumerate(images):
        top, left = index // columns * (height + gap), index % columns * (width + gap)
        grid[top : top + height, left : left + width] = image
    return grid


def _choose(run: Run, dataset: Dataset, rows: Sequence[int] | None, worst: int) -> NDArray[np.int64]:
    if rows is not None:
        wrong = [row for row in rows if not 0 <= row < len(dataset)]
        if wrong or not rows or len(rows) > MOST_ROWS:
            raise PocketlensError(
                f"rows must be 1 to {MOST_ROWS} development rows from 0 to {len(dataset) - 1}, got "
                f"{', '.join(map(str, wrong[:5])) or len(rows)}."
            )
        return np.array(rows, np.int64)
    path = run.file("predictions-val.safetensors")
    found = worst_mistakes(read_predictions(path), min(worst, MOST_ROWS)).rows if path.exists() else np.empty(0)
    if not len(found):
        what = "mistakes on validation rows" if len(run.split.val) else "validation rows"
        raise PocketlensError(f"run {run.id} has no {what}; name images with --rows 0,1.")
    return np.asarray(found, np.int64)


def _explain(classifier: Classifier, run: Run, dataset: Dataset, rows: NDArray[np.int64]) -> _Explanations:
    pictures = np.ascontiguousarray(dataset.images[rows])
    labels = dataset.labels[rows]
    images = prepared_images(classifier, pictures)
    logits = predict_logits(classifier, pictures)
    probabilities = np.exp(log_probabilities(logits)).max(axis=1)
    maps = first_maps(classifier, images)
    heat = class_activation(classifier, images, [logits.argmax(axis=1), labels])
    inputs = np.rint(images.detach().permute(0, 2, 3, 1).numpy() * 255).astype(np.uint8)
    validation = set(run.split.val.tolist())
    explained = []
    for index, row in enumerate(rows.tolist()):
        true, predicted = int(labels[index]), int(logits[index].argmax())
        shown = [Picture(encode_image(inputs[index]), "the input of the network")]
        if heat is not None:
            evidence = overlay(inputs[index], heat.heat[0][index])
            shown.append(Picture(encode_image(evidence), "evidence for the predicted class"))
            if predicted != true:
                evidence = overlay(inputs[index], heat.heat[1][index])
                shown.append(Picture(encode_image(evidence), "evidence for the true class"))
        for step in maps:
            grid = sheet(_to_bytes(_stretched(step.maps[index])[..., None]))
            height, width = step.maps.shape[2:]
            caption = f"{step.name}: {step.maps.shape[1]} maps of {height} x {width} px"
            shown.append(Picture(encode_image(grid, 4096), caption, is_sheet=True))
        part = "validation" if row in validation else "training"
        names = (dataset.classes[true], classifier.classes[predicted])
        explained.append(Explained(row, part, *names, float(probabilities[index]), tuple(shown)))
    if heat is None:
        return _Explanations(explained, f"{run.experiment.recipe.model} has no feature maps of at least 4 x 4 px.")
    layer = f"Class activation maps (Grad-CAM) are taken at {heat.layer}, of {heat.size[0]} x {heat.size[1]} px."
    return _Explanations(explained, layer)


def _stretched(maps: NDArray[np.float32]) -> NDArray[np.float32]:
    """(C, H, W) maps, each from 0 at its least to 1 at its greatest."""
    low, high = maps.min(axis=(1, 2), keepdims=True), maps.max(axis=(1, 2), keepdims=True)
    return np.asarray((maps - low) / np.maximum(high - low, 1e-9), np.float32)


def _to_bytes(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.asarray(np.rint(255 * np.clip(values, 0, 1)), np.uint8)
