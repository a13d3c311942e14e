"""The page of explanations: what a network sees in some images, and how it lays out the validation images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pocketlens.data.dataset import Dataset
from pocketlens.draws import stream
from pocketlens.errors import PocketlensError
from pocketlens.evaluation.explain import (
    class_activation,
    deep_features,
    first_filters,
    first_maps,
    prepared_images,
    project,
)
from pocketlens.events import Step, Work
from pocketlens.files import write_text
from pocketlens.report.figures import Figure, chart, finished
from pocketlens.report.pictures import encode_image
from pocketlens.report.shell import placed, render_page
from pocketlens.scoring.metrics import log_probabilities
from pocketlens.scoring.predictions import read_predictions, worst_mistakes
from pocketlens.training.classifier import Classifier, load_classifier, predict_logits

if TYPE_CHECKING:
    from pocketlens.training.run import Run

N_POINTS = 1000  # validation images on the maps of deep features
MOST_ROWS = 64
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#7f7f7f", "#b3a100")
_MARKERS = ("o", "s", "^")
_SIGNS = ("●", "■", "▲")


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
class Key:
    """One group of points on the maps of deep features: its name, colour and sign."""

    name: str
    colour: str
    sign: str


@dataclass(frozen=True)
class _Explanations:
    """The images with their pictures, and a sentence on where the class activation maps were read."""

    images: list[Explained]
    layer: str


@dataclass(frozen=True)
class _FeatureMaps:
    """The deep features in two dimensions: the charts and their key; or a note on why there are none."""

    figures: list[Figure]
    keys: list[Key]
    note: str = ""


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
    features = _features(classifier, run, dataset)
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
    heat = class_activation(classifier, images, labels)
    inputs = np.rint(images.detach().permute(0, 2, 3, 1).numpy() * 255).astype(np.uint8)
    validation = set(run.split.val.tolist())
    explained = []
    for index, row in enumerate(rows.tolist()):
        true, predicted = int(labels[index]), int(logits[index].argmax())
        shown = [Picture(encode_image(inputs[index]), "the input of the network")]
        if heat is not None:
            evidence = overlay(inputs[index], heat.predicted[index])
            shown.append(Picture(encode_image(evidence), "evidence for the predicted class"))
            if predicted != true:
                evidence = overlay(inputs[index], heat.true[index])
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


def overlay(image: NDArray[np.uint8], heat: NDArray[np.float32]) -> NDArray[np.uint8]:
    """(H, W, 3) uint8: the image in grey, with orange where the heat (H, W) in 0..1 is."""
    grey = image.mean(axis=2, keepdims=True).repeat(3, axis=2)
    share = 0.75 * heat[..., None]
    return np.asarray(np.rint((1 - share) * grey + share * np.array([230.0, 100.0, 0.0])), np.uint8)


def _features(classifier: Classifier, run: Run, dataset: Dataset) -> _FeatureMaps:
    """PCA and t-SNE of validation images (of training images where there are none)."""
    rows = run.split.val if len(run.split.val) else run.split.train
    order = np.random.default_rng(stream(0, "feature maps") % 2**63).permutation(len(rows))[:N_POINTS]
    rows = np.sort(rows[order])
    features = deep_features(classifier, prepared_images(classifier, np.ascontiguousarray(dataset.images[rows])))
    if features is None or len(rows) < 4:
        note = f"{run.experiment.recipe.model} does not end in a linear layer, so it has no deep features."
        return _FeatureMaps([], [], note)
    labels, names = dataset.labels[rows], dataset.classes
    if len(names) > len(_COLOURS) * len(_MARKERS):
        if dataset.superclasses is None or dataset.superclass_of is None or len(dataset.superclasses) > 24:
            labels, names = np.zeros(len(rows), np.int64), ("all classes: too many for a colour each",)
        else:
            labels, names = np.asarray(dataset.superclass_of)[labels], dataset.superclasses
    found = project(features)
    part = "validation" if len(run.split.val) else "training"
    held = f"the first two explain {100 * found.shares[0]:.1f} and {100 * found.shares[1]:.1f} % of the variance"
    about = f"{len(rows):,} {part} images by their {features.shape[1]} deep features"
    figures = [
        _scatter("pca", "Principal components", found.components, labels, f"{about}: principal components; {held}."),
        _scatter(
            "tsne",
            "t-SNE",
            found.tsne,
            labels,
            f"{about}: t-SNE of the first 50 components; only small distances are meaningful.",
        ),
    ]
    keys = [
        Key(name, _COLOURS[place % len(_COLOURS)], _SIGNS[place // len(_COLOURS)])
        for place, name in enumerate(names)
        if (labels == place).any()
    ]
    return _FeatureMaps(figures, keys)


def _scatter(name: str, title: str, points: Any, labels: NDArray[np.int64], caption: str) -> Figure:
    with chart(name, title, "1st", "2nd") as axes:
        for place in np.unique(labels):
            own = points[labels == place]
            marker, colour = _MARKERS[place // len(_COLOURS)], _COLOURS[place % len(_COLOURS)]
            axes.plot(own[:, 0], own[:, 1], marker, color=colour, markersize=2.5, linestyle="", alpha=0.8)
        return finished(axes, caption)


def _stretched(maps: NDArray[np.float32]) -> NDArray[np.float32]:
    """(C, H, W) maps, each from 0 at its least to 1 at its greatest."""
    low, high = maps.min(axis=(1, 2), keepdims=True), maps.max(axis=(1, 2), keepdims=True)
    return np.asarray((maps - low) / np.maximum(high - low, 1e-9), np.float32)


def _to_bytes(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.asarray(np.rint(255 * np.clip(values, 0, 1)), np.uint8)
