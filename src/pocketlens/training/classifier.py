"""Classifier: the network with its normalisation, its classes and its preparation; what a run trains and keeps."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pocketlens.components import option, parse_one, resolve
from pocketlens.data.dataset import Dataset, Images
from pocketlens.draws import stream
from pocketlens.errors import PocketlensError
from pocketlens.models._data_init import InitFromData
from pocketlens.own_code import bind, records_in, require_bound
from pocketlens.recipe import Experiment
from pocketlens.training.device_images import DeviceImages, channel_statistics
from pocketlens.training.fused import fused, run_in_batches
from pocketlens.training.heads import MAX_FEATURES, AppendedHead, OnFeatures, blank_head, flatten_features, watch_head
from pocketlens.training.model_facts import ModelFacts, not_a_classifier

if TYPE_CHECKING:
    from pocketlens.training.checkpoint import Checkpoint
    from pocketlens.training.run import Run

BATCH = 500  # images per forward pass in evaluation
PIXELS = BATCH * 96 * 96  # of them together, at most: memory stays bounded for large images
INIT_IMAGES = 5000  # training images that a model's `init_from_data` receives, at most


class Classifier(nn.Module):
    """Maps images in 0..1 to logits.

    Attributes:
        facts: everything except the weights that is needed to build it again.
        shape: (height, width, channels) of the prepared images, which `forward` takes.
        image_shape: (height, width, channels) before `prepare`.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, facts: ModelFacts) -> None:
        super().__init__()
        self.facts = facts
        self.classes, self.superclasses, self.superclass_of = facts.classes, facts.superclasses, facts.superclass_of
        self.shape, self.image_shape, self.prepare = facts.shape, facts.image_shape, facts.prepare
        part = parse_one(facts.model, "models")
        require_bound(facts.code, facts.model, facts.prepare)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(stream(facts.seed, "init") % 2**63)
            try:
                self.net = self._net(resolve(part, "models"), dict(part.options))
            except PocketlensError:
                raise
            except Exception as error:
                if not part.file and not isinstance(error, (TypeError, ValueError, RuntimeError)):
                    raise
                raise PocketlensError(f"{facts.model}: cannot be built for {self.shape} images: {error}.") from None
        self.register_buffer("mean", torch.tensor(facts.mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(facts.std).view(1, -1, 1, 1))

    def _net(self, model: Callable[..., nn.Module], options: dict[str, Any]) -> nn.Module:
        """The model, with each appended head on the outputs of what is below it, and the feature head last."""
        head = self.facts.feature_head
        outputs = [*self.facts.appended, head.outputs if head else len(self.classes)]
        net = model(self.shape, outputs[0], **options)
        for below, above in itertools.pairwise(outputs):
            net = AppendedHead(net, below, above)
        return OnFeatures(net, head.layer, blank_head(head.kind, head.shapes), head.limit) if head else net

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) float32 in 0..1 to logits (B, K)."""
        logits: Tensor = self.net((images - self.mean) / self.std)
        return logits


def new_classifier(
    experiment: Experiment, dataset: Dataset, images: DeviceImages, train: NDArray[np.int64], *, fresh: bool = True
) -> Classifier:
    """A classifier before training: normalisation fitted on the training rows, weights from the seed.

    With `fresh=False` the caller loads a checkpoint's weights next, so `init_from_data` is not called.
    """
    recipe = experiment.recipe
    channels = images.shape[2]
    mean, std = [0.0] * channels, [1.0] * channels
    if recipe.normalize == "standardize":
        mean, std = channel_statistics(images, train)
    elif recipe.normalize == "body":
        from pocketlens.models.timm import pretrained_statistics

        part = parse_one(recipe.model, "models")
        statistics = pretrained_statistics(option(part, "models", "name"), channels)
        mean, std = list(statistics.mean), list(statistics.std)
    elif recipe.normalize == "none":
        std = [1 / 255] * channels
    facts = ModelFacts(
        model=recipe.model,
        prepare=recipe.prepare,
        shape=images.shape,
        image_shape=dataset.shape,
        classes=dataset.classes,
        superclasses=dataset.superclasses,
        superclass_of=dataset.superclass_of,
        levels=dataset.levels,
        mean=tuple(mean),
        std=tuple(std),
        seed=experiment.seed,
        appended=experiment.start_outputs,
        code=records_in(recipe.model, recipe.prepare),
        fit=dataset.fit,
    )
    classifier = Classifier(facts)
    if fresh and isinstance(classifier.net, InitFromData):
        sample = train[np.linspace(0, len(train) - 1, min(INIT_IMAGES, len(train))).astype(np.int64)]
        batch = to_float(images.take(torch.from_numpy(sample))).cpu()
        classifier.net.init_from_data((batch - classifier.mean) / classifier.std)
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
        PocketlensError: the checkpoint does not describe a classifier, or its weights do not fit the model. The shapes
            are compared before the model is allocated, so a description of a huge model costs no memory.
    """
    facts, weights = ModelFacts.of(checkpoint, name), checkpoint.result()
    bind(facts.code, name)
    try:
        problem = _misfit(facts, weights)
        if problem:
            raise PocketlensError(f"{name}: the weights do not fit {facts.model}: {problem}.")
        classifier = Classifier(facts)
        classifier.load_state_dict(weights)
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise not_a_classifier(name, error) from None
    return classifier.eval().to(memory_format=torch.channels_last)


def _misfit(facts: ModelFacts, weights: dict[str, Tensor]) -> str | None:
    """The first tensor that is absent, unknown, or of another shape or kind than the model's."""
    try:
        with torch.device("meta"):  # builds the shapes without their memory
            wanted = Classifier(facts).state_dict()
    except PocketlensError:
        return None  # building the model for real succeeds, or raises the error to show
    for name in sorted(wanted.keys() | weights.keys()):
        if name not in weights or name not in wanted:
            return f"{name} is {'missing' if name in wanted else 'unknown'}"
        here, there = weights[name], wanted[name]
        if here.shape != there.shape:
            return f"{name} must be of shape {tuple(there.shape)}, it is {tuple(here.shape)}"
        if here.is_floating_point() != there.is_floating_point():
            return f"{name} must be of type {there.dtype}, it is {here.dtype}"
    return None


def predict_logits(
    classifier: Classifier,
    images: Images | DeviceImages,
    rows: NDArray[np.int64] | None = None,
    *,
    device: str = "cpu",
    batch_size: int = BATCH,
) -> NDArray[np.float32]:
    """(N, K) float32 logits of images (N, H, W, C) uint8, or of some rows of them, in eval mode."""
    rows = _rows(images, rows)
    result, start = np.empty((len(rows), len(classifier.classes)), np.float32), 0
    for block in logit_blocks(classifier, images, rows, device=device, batch_size=batch_size):
        result[start : start + len(block)] = block
        start += len(block)
    return result


def logit_blocks(
    classifier: Classifier,
    images: Images | DeviceImages,
    rows: NDArray[np.int64],
    *,
    device: str = "cpu",
    batch_size: int = BATCH,
) -> Iterator[NDArray[np.float32]]:
    """The logits of `predict_logits` batch by batch, (n, K) each, so that they need not all be in memory."""
    source, was_training = _source(classifier, images, device), classifier.training
    forward = _forward(classifier.eval().to(device), device)
    batch_size = min(batch_size, max(1, PIXELS // (classifier.shape[0] * classifier.shape[1])))
    for start in range(0, len(rows), batch_size):
        with torch.inference_mode():
            batch = to_float(source.take(torch.from_numpy(rows[start : start + batch_size])))
            logits = forward(batch).float().cpu().numpy()
        yield logits
    classifier.train(was_training)


def _forward(classifier: Classifier, device: str) -> Callable[[Tensor], Tensor]:
    """Images (B, C, H, W) in 0..1 to logits: the classifier, or for a body of timm on a CPU a faster equal of it."""
    if not device.startswith("cpu") or parse_one(classifier.facts.model, "models").name != "timm":
        return classifier
    net = fused(classifier.net, classifier.shape)
    return lambda images: run_in_batches(net, (images - classifier.mean) / classifier.std)


def extract_features(
    classifier: Classifier,
    images: Images | DeviceImages,
    rows: NDArray[np.int64] | None = None,
    *,
    device: str = "cpu",
    layer: str = "head",
    limit: int | None = MAX_FEATURES,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Logits (N, K) and features (N, D), float32, of images (N, H, W, C) uint8 or of some rows of them.

    Features are the input of the module `layer`: by default the head, or for instance the last layer of a deep head.
    Where there are more than `limit`, neighbours are averaged.
    """
    source, rows = _source(classifier, images, device), _rows(images, rows)
    logits: list[NDArray[np.float32]] = []
    features: list[NDArray[np.float32]] = []
    with watch_head(classifier.net, layer) as inputs, torch.inference_mode():
        classifier.eval().to(device)
        for start in range(0, len(rows), BATCH):
            batch = to_float(source.take(torch.from_numpy(rows[start : start + BATCH])))
            logits.append(classifier(batch).float().cpu().numpy())
            features.append(flatten_features(inputs.pop(), limit).cpu().numpy())
    if not features:
        return np.zeros((0, len(classifier.classes)), np.float32), np.zeros((0, 1), np.float32)
    return np.concatenate(logits), np.concatenate(features)


def _source(classifier: Classifier, images: Images | DeviceImages, device: str) -> DeviceImages:
    """Images that are read and prepared batch by batch."""
    return images if isinstance(images, DeviceImages) else DeviceImages(images, classifier.prepare, device, limit=0)


def _rows(images: Images | DeviceImages, rows: NDArray[np.int64] | None) -> NDArray[np.int64]:
    """The rows that were asked for; of plain images all where none were."""
    if rows is not None:
        return rows
    assert not isinstance(images, DeviceImages)
    return np.arange(len(images), dtype=np.int64)


def to_float(batch: Tensor) -> Tensor:
    """(B, H, W, C) uint8 to (B, C, H, W) float32 in 0..1, channels last in memory."""
    return batch.permute(0, 3, 1, 2).float() / 255
