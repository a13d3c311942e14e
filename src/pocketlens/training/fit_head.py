"""fit_head: a random forest, a logistic regression or nearest neighbours on a trained network's features, as a run.

The result is a run folder like any other: its classifier is the network with the fitted head in place of its own, its
validation scores are stored, and its test rows are opened only by `open_test`, on the record.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from pocketlens.errors import NotEnoughMemory, PocketlensError
from pocketlens.events import Step, Work
from pocketlens.files import RUNS, write_json
from pocketlens.training.classifier import Classifier, extract_features
from pocketlens.training.device import environment
from pocketlens.training.feature_network import head_checkpoint, open_network
from pocketlens.training.features import compute_features
from pocketlens.training.heads import (
    HEADS,
    FeatureHead,
    Floats,
    Labels,
    fit_forest,
    fit_knn,
    fit_logistic,
    forest_seed,
    last_layer,
)
from pocketlens.training.model_facts import FeatureHeadFacts
from pocketlens.training.run import Run
from pocketlens.training.validation_scores import complete, leave_scores

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pocketlens.data.dataset import Dataset
    from pocketlens.data.split import Split
    from pocketlens.recipe import Experiment

CHUNK = 2000  # rows between two steps of progress
DEFAULTS = {"forest": 200.0, "logistic": 1.0, "knn": 15.0}


@dataclass(frozen=True)
class HeadSpec:
    """What to fit on the features.

    Attributes:
        kind: forest, logistic or knn.
        size: the number of trees of a forest, C (inverse strength of the penalty) of a logistic regression, or the
            number of neighbours.
        layer: which features: "head" for the input of the network's head, "last" for the input of the last layer of a
            head that has several.
    """

    kind: str
    size: float
    layer: str = "head"

    def __post_init__(self) -> None:
        if self.kind not in HEADS:
            raise PocketlensError(f"the head to fit must be one of {', '.join(HEADS)}, got {self.kind!r}.")
        if self.layer not in ("head", "last"):
            raise PocketlensError(f"the layer of the features must be head or last, got {self.layer!r}.")
        whole = self.kind == "logistic" or self.size == int(self.size)
        if not (0 < self.size < 1e6 and whole):
            what = {"forest": "trees", "logistic": "C", "knn": "k"}[self.kind]
            raise PocketlensError(f"{what} must be above 0{'' if what == 'C' else ' and whole'}, got {self.size:g}.")

    def __str__(self) -> str:
        option = {"forest": "trees", "logistic": "C", "knn": "k"}[self.kind]
        return f"{self.kind}({option}={self.size:g}{', layer=last' if self.layer == 'last' else ''})"


def fit_head(
    experiment: Experiment,
    dataset: Dataset,
    split: Split,
    spec: HeadSpec,
    *,
    runs: Path = RUNS,
    device: str = "cpu",
) -> Generator[Step, None, Run]:
    """Fits a head on the features of the run `experiment.recipe.start`, scores it, and returns the new run.

    Where the recipe has no start, the features are those of its model with its pretrained weights.

    The features are those of the training rows, prepared as the recipe says, without augmentation.

    Raises:
        PocketlensError: the source does not take such images, or was itself fitted on features.
    """
    experiment = replace(experiment, features_of=str(spec), n_steps=0)
    opened = open_network(experiment, dataset, split, runs)
    start, network = opened.experiment, opened.network
    run = Run.create(start, split, runs)
    with run.lock():
        run.set_status("running")
        write_json(run.file("environment.json"), environment(device))
        began, layer = time.perf_counter(), last_layer(network.net) if spec.layer == "last" else "head"
        if start.recipe.start is None:
            store = yield from compute_features(
                network, dataset, split.train, device=device, precision=start.recipe.precision
            )
            features = store.take(split.train)
        else:
            features = yield from _extract(network, dataset, split.train, layer, device)
        labels = dataset.labels[split.train]
        head = yield from _fit(features, labels, len(dataset.classes), spec, experiment.seed)
        yield Step(f"fitting {spec}", 1, 1)
        shapes = {name: tuple(value.shape) for name, value in head.named_buffers()}
        head_facts = FeatureHeadFacts(spec.kind, layer, len(network.classes), shapes, limit=None)
        run.save_checkpoint(head_checkpoint(head, head_facts, network, dataset, experiment.seed))
        run.add_timing({"epoch": 1, "seconds": time.perf_counter() - began, "images_per_second": None})
        try:
            leave_scores(run, dataset, device)
        except NotEnoughMemory:
            complete(run)
            raise
        complete(run)
    return run


def _extract(network: Classifier, dataset: Dataset, train: NDArray[np.int64], layer: str, device: str) -> Work[Floats]:
    """(N, D) float32: the inputs of a layer for the training rows."""
    pieces: list[Floats] = []
    for start in range(0, len(train), CHUNK):
        rows = train[start : start + CHUNK]
        pieces.append(extract_features(network, dataset.images, rows, device=device, layer=layer, limit=None)[1])
        yield Step("features of training rows", min(start + CHUNK, len(train)), len(train))
    return np.concatenate(pieces)


def _fit(features: Floats, labels: Labels, n_classes: int, spec: HeadSpec, seed: int) -> Work[FeatureHead]:
    if spec.kind == "logistic":
        return fit_logistic(features, labels, n_classes, strength=spec.size)
    if spec.kind == "knn":
        return fit_knn(features, labels, n_classes, k=int(spec.size))
    number, jobs = forest_seed(seed), torch.get_num_threads()
    return (yield from fit_forest(features, labels, n_classes, trees=int(spec.size), seed=number, jobs=jobs))
