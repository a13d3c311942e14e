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

from pocketlens.errors import PocketlensError
from pocketlens.events import Step, Work
from pocketlens.files import RUNS, write_json
from pocketlens.training.checkpoint import Checkpoint
from pocketlens.training.classifier import Classifier, build_classifier, extract_features
from pocketlens.training.device import environment
from pocketlens.training.features import compute_features, new_body, prepared_shape
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
from pocketlens.training.model_facts import FeatureHeadFacts, ModelFacts, Shape
from pocketlens.training.run import Run
from pocketlens.training.validation_scores import leave_scores
from pocketlens.training.warm_start import start_from

if TYPE_CHECKING:
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
    experiment: Experiment, data: tuple[Dataset, Split], spec: HeadSpec, *, runs: Path = RUNS, device: str = "cpu"
) -> Generator[Step, None, Run]:
    """Fits a head on the features of the run `experiment.recipe.start`, scores it, and returns the new run.

    Where the recipe has no start, the features are those of its model with its pretrained weights.

    The features are those of the training rows, prepared as the recipe says, without augmentation.

    Raises:
        PocketlensError: the source does not take such images, or was itself fitted on features.
    """
    dataset, split = data
    experiment = replace(experiment, features_of=str(spec), n_steps=0)
    start, network = _source(experiment, data, runs)
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
            features = yield from _extract(network, data, layer, device)
        labels = dataset.labels[split.train]
        head = yield from _fit(features, labels, len(dataset.classes), spec, experiment.seed)
        yield Step(f"fitting {spec}", 1, 1)
        shapes = {name: tuple(value.shape) for name, value in head.named_buffers()}
        head_facts = FeatureHeadFacts(spec.kind, layer, len(network.classes), shapes, limit=None)
        run.save_checkpoint(_checkpoint(_facts(dataset, network, experiment.seed, head_facts), network, head))
        run.add_timing({"epoch": 1, "seconds": time.perf_counter() - began, "images_per_second": None})
        leave_scores(run, dataset, device)
        run.set_status("complete")
    return run


def _source(experiment: Experiment, data: tuple[Dataset, Split], runs: Path) -> tuple[Experiment, Classifier]:
    """The experiment with the hash of its source, and the network whose features are taken."""
    dataset, split = data
    if experiment.recipe.start is None:
        return experiment, new_body(experiment, dataset, split.train)
    source = Run.open(experiment.recipe.start, runs)
    checkpoint = source.checkpoint()
    shape = prepared_shape(dataset, experiment.recipe.prepare)
    network = _network(checkpoint, source.id, experiment.recipe.prepare, shape, dataset.shape)
    return start_from(source, checkpoint, experiment, runs).experiment, network


def _extract(network: Classifier, data: tuple[Dataset, Split], layer: str, device: str) -> Work[Floats]:
    """(N, D) float32: the inputs of a layer for the training rows."""
    dataset, split = data
    pieces: list[Floats] = []
    for start in range(0, len(split.train), CHUNK):
        rows = split.train[start : start + CHUNK]
        pieces.append(extract_features(network, dataset.images, rows, device=device, layer=layer, limit=None)[1])
        yield Step("features of training rows", min(start + CHUNK, len(split.train)), len(split.train))
    return np.concatenate(pieces)


def _network(checkpoint: Checkpoint, name: str, prepare: str, shape: Shape, image_shape: Shape) -> Classifier:
    """The source's classifier, built for images of `shape` after and `image_shape` before `prepare`."""
    source = build_classifier(checkpoint, f"run {name}")
    if source.facts.feature_head is not None:
        raise PocketlensError(
            f"run {name} is a classifier fitted on features; give the run that provides the features."
        )
    if shape[2] != source.shape[2]:
        raise PocketlensError(f"run {name} takes {source.shape[2]} channels, these images have {shape[2]}.")
    facts = replace(source.facts, prepare=prepare, shape=shape, image_shape=image_shape)
    height, width, _ = source.shape
    try:
        network = Classifier(facts)
        network.load_state_dict(source.state_dict())
    except RuntimeError:
        raise PocketlensError(
            f"{facts.model} of run {name} takes images of {height} x {width} px alone, these are {shape[0]} x "
            f"{shape[1]}; give --prepare 'resize({min(height, width)})'."
        ) from None
    return network.eval()


def _fit(features: Floats, labels: Labels, n_classes: int, spec: HeadSpec, seed: int) -> Work[FeatureHead]:
    if spec.kind == "logistic":
        return fit_logistic(features, labels, n_classes, strength=spec.size)
    if spec.kind == "knn":
        return fit_knn(features, labels, n_classes, k=int(spec.size))
    number, jobs = forest_seed(seed), torch.get_num_threads()
    return (yield from fit_forest(features, labels, n_classes, trees=int(spec.size), seed=number, jobs=jobs))


def _facts(dataset: Dataset, network: Classifier, seed: int, head: FeatureHeadFacts) -> ModelFacts:
    return replace(
        network.facts,
        classes=dataset.classes,
        superclasses=dataset.superclasses,
        superclass_of=dataset.superclass_of,
        levels=dataset.levels,
        mean=tuple(network.mean.flatten().tolist()),  # of the state dict, which need not be those of the facts
        std=tuple(network.std.flatten().tolist()),
        seed=seed,
        feature_head=head,
    )


def _checkpoint(facts: ModelFacts, network: Classifier, head: FeatureHead) -> Checkpoint:
    tensors = {f"weights/net.body.{name}": value for name, value in network.net.state_dict().items()}
    tensors |= {f"weights/net.head.{name}": value for name, value in head.state_dict().items()}
    tensors |= {"weights/mean": network.mean, "weights/std": network.std}
    meta = {"step": 0, "n_steps": 0, "n_seen": 0, "bad_epochs": 0, "history": [], "classifier": facts.to_dict()}
    return Checkpoint({name: value.detach().cpu().clone() for name, value in tensors.items()}, meta)
