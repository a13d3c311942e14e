"""Explanations of a network: maps of its first layer, its filters, class activation maps (Grad-CAM), deep features.

Everything is read through hooks, so it works for any model with feature maps (B, C, H, W); for models without them (an
MLP, a transformer on patches) the functions return nothing. Class activation is taken from the last feature map of at
least 4 x 4 px: for images of 32 px the very last one is often only 1 to 3 px wide.

Sources: Zeiler, Fergus 2014, arXiv 1311.2901 (maps and filters); Selvaraju et al. 2017, "Grad-CAM", arXiv 1610.02391;
van der Maaten, Hinton 2008, "Visualizing data using t-SNE", JMLR 9.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pocketlens.evaluation.projection import tsne
from pocketlens.scoring.metrics import Counts, Floats
from pocketlens.training.classifier import Classifier, to_float
from pocketlens.training.device_images import DeviceImages

MIN_SIDE = 4  # px of a feature map for class activation
MAX_CHANNELS = 64  # shown of a layer


@dataclass(frozen=True, eq=False)
class Maps:
    """The output of one step of the first layer: the step's name, and (B, C, H, W) float32 maps."""

    name: str
    maps: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Activation:
    """Class activation maps.

    Attributes:
        layer: the layer whose feature maps they are computed from.
        size: (height, width) of those maps in px.
        predicted, true: for the predicted and the true class, (B, H, W) float32 in 0..1 at the images' size.
    """

    layer: str
    size: tuple[int, int]
    predicted: NDArray[np.float32]
    true: NDArray[np.float32]


@dataclass(frozen=True)
class _Event:
    """One module's forward pass: its input and its output, where these are tensors."""

    name: str
    module: nn.Module
    taken: Tensor | None
    given: Tensor | None

    @property
    def is_leaf(self) -> bool:
        return next(self.module.children(), None) is None


def prepared_images(classifier: Classifier, images: NDArray[np.uint8]) -> Tensor:
    """(B, C, H, W) float32 in 0..1 of images (B, H, W, C) uint8, prepared as in training."""
    rows = DeviceImages(images, classifier.prepare, "cpu", limit=0)
    return to_float(rows.take(torch.arange(len(images))))


def first_maps(classifier: Classifier, images: Tensor) -> list[Maps]:
    """The maps of the first convolution: its output, after normalisation, and as the input of the next layer.

    The last ones include the activation, whether it is a layer or a function, and pooling before the next convolution.
    Empty for a network without a convolution.
    """
    with torch.no_grad(), _watched(classifier) as events:
        classifier.eval()(images)
    leaves = [event for event in events if event.is_leaf]
    start = next((place for place, event in enumerate(leaves) if _is_convolution(event)), None)
    if start is None:
        return []
    found = [Maps(f"after the first convolution ({leaves[start].name})", _maps(leaves[start].given))]
    for event in leaves[start + 1 :]:
        if _is_map(event.given) and "Norm" in type(event.module).__name__ and len(found) == 1:
            found.append(Maps(f"after normalisation ({event.name})", _maps(event.given)))
        elif any(True for _ in event.module.parameters()):  # the next layer with weights
            if _is_map(event.taken):
                found.append(Maps(f"after activation, as {event.name} takes it", _maps(event.taken)))
            break
    return found


def first_filters(classifier: Classifier) -> NDArray[np.float32] | None:
    """(N, H, W, C) float32: up to 64 filters of the first convolution, each rescaled to 0..1.

    None where no convolution takes the image's channels.
    """
    for module in classifier.net.modules():
        weight = getattr(module, "weight", None)
        if isinstance(weight, Tensor) and weight.dim() == 4:
            filters = weight.detach().float().cpu().numpy()[:MAX_CHANNELS].transpose(0, 2, 3, 1)
            if filters.shape[3] not in (1, 3) or max(filters.shape[1:3]) < 2:
                return None
            low, high = (edge(filters, axis=(1, 2, 3), keepdims=True) for edge in (np.min, np.max))
            return np.asarray((filters - low) / np.maximum(high - low, 1e-9), np.float32)
    return None


def class_activation(classifier: Classifier, images: Tensor, labels: Counts) -> Activation | None:
    """Grad-CAM for the predicted and the true class; None where the network has no feature maps of at least 4 x 4 px.

    It is also None for a network that only cuts the image into patches and then computes on tokens (B, N, C).
    """
    with torch.enable_grad(), _watched(classifier) as events:
        logits = classifier.eval()(images.requires_grad_())
    maps = [event for event in events if _is_map(event.given) and event.name.startswith("net.")]
    tokens = any(event.given is not None and event.given.dim() == 3 for event in events)
    convolutions = sum(_is_convolution(event) for event in events if event.is_leaf)
    large = [event for event in maps if min(_of(event.given).shape[2:]) >= MIN_SIDE]
    if not large or not convolutions or (tokens and convolutions == 1):
        return None
    layer = large[-1]
    given = _of(layer.given)
    found = []
    for classes in (logits.argmax(dim=1), torch.from_numpy(labels)):
        score = logits.gather(1, classes[:, None]).sum()
        (slope,) = torch.autograd.grad(score, given, retain_graph=True)
        heat = torch.relu((slope.mean((2, 3), keepdim=True) * given).sum(1, keepdim=True))  # (B, 1, h, w)
        heat = nn.functional.interpolate(heat, size=images.shape[2:], mode="bilinear", align_corners=False)[:, 0]
        heat = heat / heat.amax((1, 2), keepdim=True).clamp_min(1e-12)
        found.append(heat.detach().numpy().astype(np.float32))
    return Activation(layer.name, (given.shape[2], given.shape[3]), found[0], found[1])


def deep_features(classifier: Classifier, images: Tensor, batch_size: int = 250) -> NDArray[np.float32] | None:
    """(N, D) float32: the input of the last linear layer; None where the network has none."""
    pieces = []
    for start in range(0, len(images), batch_size):
        with torch.no_grad(), _watched(classifier) as events:
            classifier.eval()(images[start : start + batch_size])
        linear = [event for event in events if isinstance(event.module, nn.Linear)]
        if not linear or linear[-1].taken is None:
            return None
        pieces.append(linear[-1].taken.flatten(1).float().numpy())
    return np.concatenate(pieces)


@dataclass(frozen=True, eq=False)
class Projection:
    """Features in two dimensions.

    Attributes:
        components: (N, 2) float64, the first two principal components.
        shares: of the variance that they explain.
        tsne: (N, 2) float64, t-SNE of the first 50 principal components.
    """

    components: Floats
    shares: tuple[float, float]
    tsne: Floats


def project(features: NDArray[np.float32], seed: int = 0) -> Projection:
    """Features (N, D) in two dimensions: PCA and t-SNE."""
    from sklearn.decomposition import PCA

    n, width = features.shape
    pca = PCA(n_components=min(50, n, width), svd_solver="full")
    components = pca.fit_transform(features.astype(np.float64))
    if components.shape[1] < 2:
        components = np.pad(components, ((0, 0), (0, 2 - components.shape[1])))
    shares = np.pad(pca.explained_variance_ratio_, (0, 2))
    return Projection(components[:, :2], (float(shares[0]), float(shares[1])), tsne(components, seed))


@contextmanager
def _watched(classifier: Classifier) -> Iterator[list[_Event]]:
    """A list to which every module's forward pass is appended when it ends."""
    events: list[_Event] = []
    handles = []
    for name, module in classifier.named_modules():

        def note(module: nn.Module, taken: Any, given: Any, name: str = name) -> None:
            first = taken[0] if taken and isinstance(taken[0], Tensor) else None
            events.append(_Event(name, module, first, given if isinstance(given, Tensor) else None))

        handles.append(module.register_forward_hook(note))
    try:
        yield events
    finally:
        for handle in handles:
            handle.remove()


def _is_map(tensor: Tensor | None) -> bool:
    return tensor is not None and tensor.dim() == 4 and min(tensor.shape[2:]) > 1


def _is_convolution(event: _Event) -> bool:
    weight = getattr(event.module, "weight", None)
    return _is_map(event.given) and isinstance(weight, Tensor) and weight.dim() == 4


def _of(tensor: Tensor | None) -> Tensor:
    assert tensor is not None
    return tensor


def _maps(tensor: Tensor | None) -> NDArray[np.float32]:
    return np.asarray(_of(tensor).detach().float().cpu().numpy()[:, :MAX_CHANNELS], np.float32)
