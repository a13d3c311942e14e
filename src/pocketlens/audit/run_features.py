"""The features that a finished run's model computes for images, and what computing them costs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.overrides import TorchFunctionMode

from pocketlens.components import parse_one
from pocketlens.data.dataset import Dataset, Images
from pocketlens.errors import PocketlensError
from pocketlens.events import Step, Work
from pocketlens.training.classifier import PIXELS, Classifier, extract_features, load_classifier, to_float
from pocketlens.training.device_images import DeviceImages
from pocketlens.training.fused import fused, run_in_batches
from pocketlens.training.heads import flatten_features, watch_head
from pocketlens.training.run import Run

BATCH = 250  # images that go through the network together, at most
WIDEST = 2048  # features of an image; where there are more, neighbours are averaged

Features = NDArray[np.float32]


def run_features(classifier: Classifier, dataset: Dataset, device: str) -> Work[Features]:
    """(N, D) float32 features of every image, by the classifier's own preparation."""
    rows, n = DeviceImages(dataset.images, classifier.prepare, device, limit=0), len(dataset)
    pieces = []
    for start in range(0, n, 2000):
        pieces.append(extract_features(classifier, rows, np.arange(start, min(start + 2000, n)), device=device)[1])
        yield Step("extracting features", min(start + 2000, n), n)
    return np.concatenate(pieces)


def feature_reader(classifier: Classifier) -> Callable[[Images], Features]:
    """A function from images (n, H, W, C) uint8, as they are in the data set, to features (n, D) float32, on the CPU.

    Features are what the head takes. The network of timm is a faster equal of its own (`training/fused.py`).
    """
    net = classifier.eval().net
    is_fused = parse_one(classifier.facts.model, "models").name == "timm"
    if is_fused:
        net = fused(net, classifier.shape)
    height, width, _ = classifier.shape
    size = min(BATCH, max(1, PIXELS // (height * width)))

    def read(images: Images) -> Features:
        rows, found = DeviceImages(images, classifier.prepare, "cpu", limit=0), []
        for start in range(0, len(images), size):
            numbers = torch.arange(start, min(start + size, len(images)))
            with torch.inference_mode(), watch_head(net) as inputs:
                batch = (to_float(rows.take(numbers)) - classifier.mean) / classifier.std
                run_in_batches(net, batch) if is_fused else net(batch)
                found.append(flatten_features(torch.cat(inputs)[: len(batch)], WIDEST).numpy())
        return np.concatenate(found)

    return read


def multiply_adds(classifier: Classifier) -> int:
    """Of convolutions, matrix products and attention, for one image."""
    height, width, channels = classifier.shape
    counter = _Counter()
    with torch.inference_mode(), counter:
        classifier.eval()(torch.zeros(1, channels, height, width))  # (B, C, H, W) float32
    return counter.n


class _Counter(TorchFunctionMode):
    """Counts multiply-adds; torch's own counter would first load its compiler, for a second."""

    def __init__(self) -> None:
        super().__init__()
        self.n = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = kwargs or {}
        result, name = func(*args, **given), getattr(func, "__name__", "")
        if name in _PRODUCTS and isinstance(result, Tensor):
            second = args[1] if len(args) > 1 else next(iter(given.values()))
            self.n += result.numel() * _PRODUCTS[name](args[0], second)
        return result


_PRODUCTS: dict[str, Callable[[Tensor, Tensor], int]] = {  # that each number of the result is the sum of
    "conv2d": lambda _, weight: weight[0].numel(),
    "linear": lambda _, weight: weight.shape[1],
    **dict.fromkeys(("matmul", "__matmul__", "mm", "bmm"), lambda first, _: first.shape[-1]),
    "scaled_dot_product_attention": lambda _, keys: 2 * keys.shape[-2],
}


def load_for(run: Run | None, dataset: Dataset) -> Classifier | None:
    """The classifier of a run, in eval mode; None where no run is named.

    Raises:
        PocketlensError: the run takes images of another size.
    """
    if run is None:
        return None

    classifier = load_classifier(run)
    shape = DeviceImages(dataset.images[:1], classifier.prepare, "cpu", limit=0).shape
    if shape != classifier.shape:
        raise PocketlensError(
            f"run {run.id} must take the images of this data set, which are {shape}; it takes {classifier.shape}: name "
            "another run, or omit --run."
        )
    return classifier
