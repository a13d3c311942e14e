"""Classifier: the network with its normalisation, its classes and its preparation; what a run trains and keeps."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pocketlens.components import parse_one, resolve
from pocketlens.data.dataset import Dataset, Images
from pocketlens.draws import stream
from pocketlens.errors import PocketlensError
from pocketlens.recipe import Experiment
from pocketlens.training.heads import JUDGES, Appended, OnFeatures, blank_judge, flatten_features, watch_head
from pocketlens.training.rows import Rows, apply_operations, channel_statistics, operations

if TYPE_CHECKING:
    from pocketlens.training.checkpoint import Checkpoint
    from pocketlens.training.run import Run

BATCH = 500  # images that are judged at once
SEEN = 5000  # training images that are shown to a model's `see`
MOST_OUTPUTS = 100_000  # of a net on which a head was put
MOST = 4096  # px, the longest side of an image that a model takes


class Classifier(nn.Module):
    """Images in 0..1 to logits.

    Attributes:
        facts: what must be stored beside the weights to build it again: model text, shape, classes, prepare, ...
    """

    mean: Tensor
    std: Tensor

    def __init__(self, facts: dict[str, Any]) -> None:
        super().__init__()
        self.facts = facts
        self.classes: tuple[str, ...] = tuple(facts["classes"])
        self.superclasses = None if facts["superclasses"] is None else tuple(facts["superclasses"])
        self.superclass_of = None if facts["superclass_of"] is None else tuple(facts["superclass_of"])
        self.shape: tuple[int, int, int] = tuple(facts["shape"])
        # (height, width, channels) before `prepare`; where it was not noted, images come in prepared
        self.image_shape: tuple[int, int, int] = tuple(facts.get("image_shape", facts["shape"]))
        self.prepare: str = facts["prepare"]
        part = parse_one(facts["model"], "models")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(stream(facts["seed"], "init") % 2**63)
            try:
                self.net = self._net(resolve(part, "models"), dict(part.options))
            except PocketlensError:
                raise
            except (TypeError, ValueError, RuntimeError) as error:
                raise PocketlensError(f"{facts['model']}: cannot be built for {self.shape} images: {error}.") from None
        self.register_buffer("mean", torch.tensor(facts["mean"]).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(facts["std"]).view(1, -1, 1, 1))

    def _net(self, model: Callable[..., nn.Module], options: dict[str, Any]) -> nn.Module:
        """The model; where heads were appended, each on the outputs of what is below it; last a judge of features."""
        judge = self.facts.get("judge")
        outputs = [*self.facts.get("appended", []), judge["outputs"] if judge else len(self.classes)]
        net = model(self.shape, outputs[0], **options)
        for below, above in itertools.pairwise(outputs):
            net = Appended(net, below, above)
        return OnFeatures(net, judge["layer"], blank_judge(judge["kind"], judge["shapes"])) if judge else net

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) float32 in 0..1 to logits (B, K)."""
        logits: Tensor = self.net((images - self.mean) / self.std)
        return logits


def new_classifier(
    experiment: Experiment, dataset: Dataset, rows: Rows, train: NDArray[np.int64], *, fresh: bool = True
) -> Classifier:
    """A classifier before training: normalisation fitted on the training rows, weights from the seed.

    Where it is not `fresh`, a checkpoint's weights come next, and the model is shown no images and reads no file.
    """
    recipe = experiment.recipe
    channels = rows.shape[2]
    mean, std = [0.0] * channels, [1.0] * channels
    if recipe.normalize == "standardize":
        mean, std = channel_statistics(rows, train)
    elif recipe.normalize == "none":
        std = [1 / 255] * channels
    facts = {
        "model": recipe.model,
        "prepare": recipe.prepare,
        "shape": list(rows.shape),
        "image_shape": list(dataset.shape),
        "classes": list(dataset.classes),
        "superclasses": None if dataset.superclasses is None else list(dataset.superclasses),
        "superclass_of": None if dataset.superclass_of is None else list(dataset.superclass_of),
        "levels": None if dataset.levels is None else list(dataset.levels),
        "mean": mean,
        "std": std,
        "seed": experiment.seed,
    }
    if experiment.start_outputs:
        facts["appended"] = list(experiment.start_outputs)
    classifier = Classifier(facts)
    see = getattr(classifier.net, "see", None)
    if see is not None and fresh:
        sample = train[np.linspace(0, len(train) - 1, min(SEEN, len(train))).astype(np.int64)]
        images = to_float(rows.take(torch.from_numpy(sample))).cpu()
        see((images - classifier.mean) / classifier.std)
    return classifier


def load_classifier(run: Run) -> Classifier:
    """The run's result: its classifier with the weights that count, in eval mode on the CPU.

    Raises:
        PocketlensError: the run has no checkpoint, or its weights do not fit its model.
    """
    return build_classifier(run.checkpoint(), f"run {run.id}")


def build_classifier(checkpoint: Checkpoint, name: str) -> Classifier:
    """The classifier that a checkpoint describes, with its weights, in eval mode on the CPU; `name` is for errors.

    Raises:
        PocketlensError: the weights do not fit the model. It is not built then, however large it would be.
    """
    weights = checkpoint.result()
    try:
        facts = checkpoint.meta["classifier"]
        _check_facts(facts)
        problem = _misfit(facts, weights)
        if problem:
            raise PocketlensError(f"{name}: the weights do not fit {facts['model']}: {problem}.")
        classifier = Classifier(facts)
        classifier.load_state_dict(weights)
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        why = " ".join(str(error).split())[:200]
        raise PocketlensError(
            f"{name}: its checkpoint does not describe a classifier ({type(error).__name__}: {why})."
        ) from None
    return classifier.eval().to(memory_format=torch.channels_last)


def _check_facts(facts: dict[str, Any]) -> None:
    """Raises a ValueError where a checkpoint, which may come from anywhere, asks for what no training writes."""
    classes, levels = facts["classes"], facts["levels"]
    shape, image_shape = facts["shape"], facts.get("image_shape", facts["shape"])
    if not (isinstance(classes, list) and classes and all(isinstance(name, str) for name in classes)):
        raise ValueError("classes must be a list of names")
    for sizes in (shape, image_shape):
        whole = isinstance(sizes, list) and len(sizes) == 3 and all(type(size) is int for size in sizes)
        if not whole or not all(1 <= size <= MOST for size in sizes[:2]) or sizes[2] not in (1, 3):
            raise ValueError(f"an image's shape must be three whole numbers, at most {MOST} x {MOST} x 3")
    appended = facts.get("appended", [])
    if not isinstance(appended, list) or not all(type(n) is int and 1 <= n <= MOST_OUTPUTS for n in appended):
        raise ValueError(f"appended must be numbers of outputs, from 1 to {MOST_OUTPUTS:,}")
    _check_judge(facts.get("judge"))
    if levels is not None and not all(math.isfinite(level) for level in (levels[0], levels[1])):
        raise ValueError("levels must be two numbers")
    blank = torch.empty((1, *image_shape), dtype=torch.uint8, device="meta")  # has a shape and no pixels
    if list(apply_operations(operations(facts["prepare"]), blank).shape[1:]) != shape:
        raise ValueError(f"{facts['prepare']} must make images of {shape} from {image_shape}")


def _check_judge(judge: Any) -> None:
    if judge is None:
        return
    sizes = [judge["outputs"], *(n for shape in judge["shapes"].values() for n in shape)]
    if judge["kind"] not in JUDGES or not isinstance(judge["layer"], str):
        raise ValueError(f"judge must be one of {', '.join(JUDGES)} on a layer")
    if not all(type(n) is int and 0 < n < 2**40 for n in sizes):
        raise ValueError("a judge's shapes must be whole numbers above 0")


def _misfit(facts: dict[str, Any], weights: dict[str, Tensor]) -> str | None:
    """The first tensor that is absent, unknown, or of another shape or kind than the model's."""
    try:
        with torch.device("meta"):  # builds the shapes without their memory
            wanted = Classifier(facts).state_dict()
    except PocketlensError:
        return None  # building it really says what is wrong, or works
    for name in sorted(wanted.keys() | weights.keys()):
        if name not in weights or name not in wanted:
            return f"{name} is {'absent' if name in wanted else 'unknown'}"
        here, there = weights[name], wanted[name]
        if here.shape != there.shape:
            return f"{name} must be of shape {tuple(there.shape)}, it is {tuple(here.shape)}"
        if here.is_floating_point() != there.is_floating_point():
            return f"{name} must be of type {there.dtype}, it is {here.dtype}"
    return None


def predict_logits(
    classifier: Classifier,
    images: Images | Rows,
    rows: NDArray[np.int64] | None = None,
    *,
    device: str = "cpu",
    batch_size: int = BATCH,
) -> NDArray[np.float32]:
    """(N, K) float32 logits of images (N, H, W, C) uint8, or of some rows of them, in eval mode."""
    source = images if isinstance(images, Rows) else Rows(images, classifier.prepare, device, limit=0)
    if rows is None:
        assert not isinstance(images, Rows)
        rows = np.arange(len(images), dtype=np.int64)
    result = np.empty((len(rows), len(classifier.classes)), np.float32)
    was_training = classifier.training
    classifier.eval().to(device)
    with torch.inference_mode():
        for start in range(0, len(rows), batch_size):
            batch = to_float(source.take(torch.from_numpy(rows[start : start + batch_size])))
            result[start : start + batch_size] = classifier(batch).float().cpu().numpy()
    classifier.train(was_training)
    return result


def see(
    classifier: Classifier,
    source: Images | Rows,
    rows: NDArray[np.int64] | None = None,
    *,
    device: str = "cpu",
    layer: str = "head",
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Logits (N, K) and features (N, D) of images or of some rows, float32; features are what the head sees.

    `layer` names another layer, such as the last one of a head that has several.
    """
    taken = source if isinstance(source, Rows) else Rows(source, classifier.prepare, device, limit=0)
    if rows is None:
        assert not isinstance(source, Rows)
        rows = np.arange(len(source), dtype=np.int64)
    logits: list[NDArray[np.float32]] = []
    features: list[NDArray[np.float32]] = []
    with watch_head(classifier.net, layer) as inputs, torch.inference_mode():
        classifier.eval().to(device)
        for start in range(0, len(rows), BATCH):
            batch = to_float(taken.take(torch.from_numpy(rows[start : start + BATCH])))
            logits.append(classifier(batch).float().cpu().numpy())
            features.append(flatten_features(inputs.pop()).cpu().numpy())
    if not features:
        return np.zeros((0, len(classifier.classes)), np.float32), np.zeros((0, 1), np.float32)
    return np.concatenate(logits), np.concatenate(features)


def to_float(batch: Tensor) -> Tensor:
    """(B, H, W, C) uint8 to (B, C, H, W) float32 in 0..1, channels last in memory."""
    return batch.permute(0, 3, 1, 2).float() / 255
