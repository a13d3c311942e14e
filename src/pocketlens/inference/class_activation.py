"""Class activation maps (Grad-CAM): where in an image a network finds evidence for a class.

Everything is read through hooks, so it works for any model with feature maps (B, C, H, W), pretrained bodies too; for
models without them (an MLP, a transformer on patches) there is no map. Class activation is taken from the last feature
map of at least 4 x 4 px: for images of 32 px the very last one is often only 1 to 3 px wide.

Source: Selvaraju et al. 2017, "Grad-CAM", arXiv 1610.02391.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pocketlens.scoring.metrics import Counts
from pocketlens.training.classifier import Classifier, to_float
from pocketlens.training.device_images import DeviceImages

MIN_SIDE = 4  # px of a feature map for class activation
_ORANGE = np.array([230.0, 100.0, 0.0])


@dataclass(frozen=True, eq=False)
class Activation:
    """Class activation maps.

    Attributes:
        layer: the layer whose feature maps they are computed from.
        size: (height, width) of those maps in px.
        heat: for each of the classes that were asked about, (B, H, W) float32 in 0..1 at the images' size; 0 throughout
            where nothing in an image is evidence for its class.
    """

    layer: str
    size: tuple[int, int]
    heat: tuple[NDArray[np.float32], ...]


@dataclass(frozen=True, eq=False)
class LayerPass:
    """One module's forward pass: its input and its output, where these are tensors."""

    name: str
    module: nn.Module
    taken: Tensor | None
    given: Tensor | None

    @property
    def is_leaf(self) -> bool:
        """Whether the module has none inside."""
        return next(self.module.children(), None) is None

    @property
    def is_convolution(self) -> bool:
        """Whether it gives maps and has filters."""
        weight = getattr(self.module, "weight", None)
        return is_map(self.given) and isinstance(weight, Tensor) and weight.dim() == 4


def prepared_images(classifier: Classifier, images: NDArray[np.uint8], device: str = "cpu") -> Tensor:
    """(B, C, H, W) float32 in 0..1 of images (B, H, W, C) uint8, prepared as in training."""
    rows = DeviceImages(images, classifier.prepare, device, limit=0)
    return to_float(rows.take(torch.arange(len(images))))


def class_activation(classifier: Classifier, images: Tensor, classes: Sequence[Counts]) -> Activation | None:
    """Grad-CAM of images (B, C, H, W) for each of `classes`, (B,) int64; the images' device computes.

    None where the network has no feature maps of at least 4 x 4 px, cuts the image into patches and then computes on
    tokens (B, N, C), or ends in a head through which no gradient comes, as nearest neighbours and forests are.
    """
    images = images.detach().requires_grad_()
    with torch.enable_grad(), watch_layers(classifier) as passes:
        logits = classifier.eval().to(images.device)(images)
    maps = [each for each in passes if is_map(each.given) and each.name.startswith("net.")]
    tokens = any(each.given is not None and each.given.dim() == 3 for each in passes)
    convolutions = sum(each.is_convolution for each in passes if each.is_leaf)
    large = [each for each in maps if min(tensor_of(each.given).shape[2:]) >= MIN_SIDE]
    if not large or not convolutions or (tokens and convolutions == 1) or not logits.requires_grad:
        return None
    layer, given = large[-1], tensor_of(large[-1].given)
    found = []
    for wanted in classes:
        score = logits.gather(1, torch.from_numpy(wanted).to(logits.device)[:, None]).sum()
        (slope,) = torch.autograd.grad(score, given, retain_graph=True, allow_unused=True)
        if slope is None:
            return None
        heat = torch.relu((slope.mean((2, 3), keepdim=True) * given).sum(1, keepdim=True))  # (B, 1, h, w)
        heat = nn.functional.interpolate(heat, size=images.shape[2:], mode="bilinear", align_corners=False)[:, 0]
        heat = heat / heat.amax((1, 2), keepdim=True).clamp_min(1e-12)
        found.append(heat.detach().float().cpu().numpy())
    return Activation(layer.name, (given.shape[2], given.shape[3]), tuple(found))


def has_class_activation(classifier: Classifier, device: str = "cpu") -> bool:
    """Whether the network has class activation maps; it is tried with a blank image."""
    height, width, channels = classifier.shape
    try:
        blank = torch.zeros(1, channels, height, width, device=device)
        return class_activation(classifier, blank, [np.zeros(1, np.int64)]) is not None
    except (RuntimeError, NotImplementedError):  # a part of it has no gradient
        return False


def overlay(image: NDArray[np.uint8], heat: NDArray[np.float32]) -> NDArray[np.uint8]:
    """(H, W, 3) uint8: the image in grey, with orange where the heat (H, W) in 0..1 is."""
    grey = image.mean(axis=2, keepdims=True).repeat(3, axis=2)
    share = 0.75 * heat[..., None]
    return np.asarray(np.rint((1 - share) * grey + share * _ORANGE), np.uint8)


@contextmanager
def watch_layers(classifier: Classifier) -> Iterator[list[LayerPass]]:
    """A list to which every module's forward pass is appended when it ends."""
    passes: list[LayerPass] = []
    handles = []
    for name, module in classifier.named_modules():

        def note(module: nn.Module, taken: Any, given: Any, name: str = name) -> None:
            first = taken[0] if taken and isinstance(taken[0], Tensor) else None
            passes.append(LayerPass(name, module, first, given if isinstance(given, Tensor) else None))

        handles.append(module.register_forward_hook(note))
    try:
        yield passes
    finally:
        for handle in handles:
            handle.remove()


def is_map(tensor: Tensor | None) -> bool:
    """Whether a tensor holds maps (B, C, H, W) of more than one px."""
    return tensor is not None and tensor.dim() == 4 and min(tensor.shape[2:]) > 1


def tensor_of(tensor: Tensor | None) -> Tensor:
    """The tensor, which is there."""
    assert tensor is not None
    return tensor
