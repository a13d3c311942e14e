"""Random forest, logistic regression or nearest neighbours on what a trained network sees: fitted, and left as a run.

The result is a run folder like any other: its classifier is the network with the fitted part in its head's place, its
validation scores are stored, and its test rows are opened by the one door (`open_test`), on the record.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pocketlens.data.dataset import Dataset
from pocketlens.data.split import Split
from pocketlens.draws import stream
from pocketlens.errors import PocketlensError
from pocketlens.events import Step, Work
from pocketlens.files import RUNS, write_json
from pocketlens.recipe import Experiment
from pocketlens.training.checkpoint import Checkpoint
from pocketlens.training.classifier import Classifier, load_classifier, see
from pocketlens.training.device import environment
from pocketlens.training.heads import JUDGES, Floats, Judge, Labels, fit_forest, fit_knn, fit_logistic, last_layer
from pocketlens.training.rows import Rows
from pocketlens.training.run import Run
from pocketlens.training.train import leave_scores
from pocketlens.training.warm_start import with_source

CHUNK = 2000  # rows between two steps of progress


@dataclass(frozen=True)
class Judging:
    """What is put on the features.

    Attributes:
        kind: forest, logistic or knn.
        size: trees of a forest, C of a regression (inverse strength of its penalty), neighbours.
        layer: "head", what the head sees; or "last", what the last layer of a head of several layers sees.
    """

    kind: str
    size: float
    layer: str = "head"

    def __post_init__(self) -> None:
        if self.kind not in JUDGES:
            raise PocketlensError(f"what stands on features must be {', '.join(JUDGES)}, got {self.kind!r}.")
        if self.layer not in ("head", "last"):
            raise PocketlensError(f"the layer of features must be head or last, got {self.layer!r}.")
        whole = self.kind == "logistic" or self.size == int(self.size)
        if not (0 < self.size < 1e6 and whole):
            what = {"forest": "trees", "logistic": "C", "knn": "k"}[self.kind]
            raise PocketlensError(f"{what} must be above 0{'' if what == 'C' else ' and whole'}, got {self.size:g}.")

    def __str__(self) -> str:
        option = {"forest": "trees", "logistic": "C", "knn": "k"}[self.kind]
        return f"{self.kind}({option}={self.size:g}{', layer=last' if self.layer == 'last' else ''})"


DEFAULTS = {"forest": 200.0, "logistic": 1.0, "knn": 15.0}


def judge_features(
    asked: Experiment, data: tuple[Dataset, Split], judging: Judging, *, runs: Path = RUNS, device: str = "cpu"
) -> Generator[Step, None, Run]:
    """Fits it on the training rows' features of the run `asked.recipe.start`, scores it, and gives the new run.

    No augmentation and no gradient is used; the images are prepared as the recipe says.

    Raises:
        PocketlensError: the source cannot see such images, or is itself fitted on features.
    """
    dataset, split = data
    asked = replace(asked, features_of=str(judging), n_steps=0)
    source = Run.open(asked.recipe.start or "", runs)
    rows = Rows(dataset.images, asked.recipe.prepare, device)
    body = _body(source, dataset, rows, asked.recipe.prepare)
    run = Run.create(with_source(asked, runs), split, runs)
    with run.lock():
        run.set_status("running")
        write_json(run.file("environment.json"), environment(device))
        began, layer = time.perf_counter(), last_layer(body.net) if judging.layer == "last" else "head"
        features: list[Floats] = []
        for start in range(0, len(split.train), CHUNK):
            features.append(see(body, rows, split.train[start : start + CHUNK], device=device, layer=layer)[1])
            yield Step("features of training rows", min(start + CHUNK, len(split.train)), len(split.train))
        seen, labels = np.concatenate(features), dataset.labels[split.train]
        judge = yield from _fit(seen, labels, len(dataset.classes), judging, asked.seed)
        yield Step(f"fitting {judging}", 1, 1)
        facts = {**_facts_of(dataset, body), "seed": asked.seed, "judge": _facts_of_judge(body, judging, judge, layer)}
        run.save_checkpoint(_checkpoint(facts, body, judge))
        run.add_timing({"epoch": 1, "seconds": time.perf_counter() - began, "images_per_second": None})
        leave_scores(run, dataset, device)
        run.set_status("complete")
    return run


def _body(source: Run, dataset: Dataset, rows: Rows, prepare: str) -> Classifier:
    """The source's classifier for images of the new size."""
    given = load_classifier(source)
    shape = tuple(rows.shape)
    if given.facts.get("judge"):
        raise PocketlensError(f"run {source.id} was fitted on features; give the run whose features they are.")
    if shape[2] != given.shape[2]:
        raise PocketlensError(f"run {source.id} takes {given.shape[2]} channels, these images have {shape[2]}.")
    facts = {**given.facts, "prepare": prepare, "shape": list(shape), "image_shape": list(dataset.shape)}
    height, width, _ = given.shape
    try:
        body = Classifier(facts)
        body.load_state_dict(given.state_dict())
    except RuntimeError:
        raise PocketlensError(
            f"{facts['model']} of run {source.id} takes images of {height} x {width} px alone, these are {shape[0]} x "
            f"{shape[1]}; give --prepare 'resize({min(height, width)})'."
        ) from None
    return body.eval()


def _fit(features: Floats, labels: Labels, n_classes: int, judging: Judging, seed: int) -> Work[Judge]:
    if judging.kind == "logistic":
        return fit_logistic(features, labels, n_classes, strength=judging.size)
    if judging.kind == "knn":
        return fit_knn(features, labels, n_classes, k=int(judging.size))
    number, jobs = stream(seed, "forest"), torch.get_num_threads()
    return (yield from fit_forest(features, labels, n_classes, trees=int(judging.size), seed=number, jobs=jobs))


def _facts_of(dataset: Dataset, body: Classifier) -> dict[str, Any]:
    return {
        **body.facts,
        "classes": list(dataset.classes),
        "superclasses": None if dataset.superclasses is None else list(dataset.superclasses),
        "superclass_of": None if dataset.superclass_of is None else list(dataset.superclass_of),
        "levels": None if dataset.levels is None else list(dataset.levels),
        "mean": body.mean.flatten().tolist(),
        "std": body.std.flatten().tolist(),
    }


def _facts_of_judge(body: Classifier, judging: Judging, judge: Judge, layer: str) -> dict[str, Any]:
    shapes = {name: list(value.shape) for name, value in judge.named_buffers()}
    return {"kind": judging.kind, "layer": layer, "outputs": len(body.classes), "shapes": shapes}


def _checkpoint(facts: dict[str, Any], body: Classifier, judge: Judge) -> Checkpoint:
    tensors = {f"weights/net.body.{name}": value for name, value in body.net.state_dict().items()}
    tensors |= {f"weights/net.head.{name}": value for name, value in judge.state_dict().items()}
    tensors |= {"weights/mean": body.mean, "weights/std": body.std}
    meta = {"step": 0, "n_steps": 0, "n_seen": 0, "bad_epochs": 0, "history": [], "classifier": facts}
    return Checkpoint({name: value.detach().cpu().clone() for name, value in tensors.items()}, meta)
