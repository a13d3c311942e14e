"""Classifier: the network with its normalisation, its classes and its preparation; what a run trains and keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pocketlens.dataset import Dataset, Images
from pocketlens.draws import stream
from pocketlens.errors import PocketlensError
from pocketlens.recipe import Recipe
from pocketlens.rows import Rows, channel_statistics
from pocketlens.spec import parse_one, resolve

if TYPE_CHECKING:
    from pocketlens.run import Run

SEEN = 5000  # training images that are shown to a model's `see`


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
        self.prepare: str = facts["prepare"]
        part = parse_one(facts["model"], "models")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(stream(facts["seed"], "init") % 2**63)
            try:
                self.net = resolve(part, "models")(self.shape, len(self.classes), **dict(part.options))
            except PocketlensError:
                raise
            except (TypeError, ValueError, RuntimeError) as error:
                raise PocketlensError(f"{facts['model']}: cannot be built for {self.shape} images: {error}.") from None
        self.register_buffer("mean", torch.tensor(facts["mean"]).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(facts["std"]).view(1, -1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) float32 in 0..1 to logits (B, K)."""
        logits: Tensor = self.net((images - self.mean) / self.std)
        return logits


def new_classifier(recipe: Recipe, dataset: Dataset, rows: Rows, train: NDArray[np.int64], seed: int) -> Classifier:
    """A classifier before training: normalisation fitted on the training rows, weights from the seed."""
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
        "classes": list(dataset.classes),
        "superclasses": None if dataset.superclasses is None else list(dataset.superclasses),
        "superclass_of": None if dataset.superclass_of is None else list(dataset.superclass_of),
        "levels": None if dataset.levels is None else list(dataset.levels),
        "mean": mean,
        "std": std,
        "seed": seed,
    }
    classifier = Classifier(facts)
    see = getattr(classifier.net, "see", None)
    if see is not None:
        sample = train[np.linspace(0, len(train) - 1, min(SEEN, len(train))).astype(np.int64)]
        images = to_float(rows.take(torch.from_numpy(sample))).cpu()
        see((images - classifier.mean) / classifier.std)
    return classifier


def load_classifier(run: Run) -> Classifier:
    """The run's result: its classifier with the weights that count, in eval mode on the CPU.

    Raises:
        PocketlensError: the run has no checkpoint, or its weights do not fit its model.
    """
    checkpoint = run.checkpoint()
    try:
        classifier = Classifier(checkpoint.meta["classifier"])
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise PocketlensError(f"run {run.id}: its checkpoint does not describe a classifier ({error!r}).") from None
    try:
        classifier.load_state_dict(checkpoint.result())
    except RuntimeError as error:
        first = str(error).split("\n")[1].strip() if "\n" in str(error) else str(error)
        raise PocketlensError(f"run {run.id}: the weights do not fit {run.experiment.recipe.model}: {first}") from None
    return classifier.eval().to(memory_format=torch.channels_last)


def predict_logits(
    classifier: Classifier,
    images: Images | Rows,
    rows: NDArray[np.int64] | None = None,
    *,
    device: str = "cpu",
    batch_size: int = 500,
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


def to_float(batch: Tensor) -> Tensor:
    """(B, H, W, C) uint8 to (B, C, H, W) float32 in 0..1, channels last in memory."""
    return batch.permute(0, 3, 1, 2).float() / 255
