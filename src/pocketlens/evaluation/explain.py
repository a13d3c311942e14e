"""Explanations of a network: maps of its first layer, its filters, deep features.

Everything is read through hooks, so it works for any model with feature maps (B, C, H, W); for models without them (an
MLP, a transformer on patches) the functions return nothing. Class activation maps: see inference/class_activation.py.

Sources: Zeiler, Fergus 2014, arXiv 1311.2901 (maps and filters); van der Maaten, Hinton 2008, "Visualizing data using
t-SNE", JMLR 9.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pocketlens.evaluation.projection import tsne
from pocketlens.inference.class_activation import is_map, tensor_of, watch_layers
from pocketlens.scoring.metrics import Floats
from pocketlens.training.classifier import Classifier

MAX_CHANNELS = 64  # shown of a layer


@dataclass(frozen=True, eq=False)
class Maps:
    """The output of one step of the first layer: the step's name, and (B, C, H, W) float32 maps."""

    name: str
    maps: NDArray[np.float32]


def first_maps(classifier: Classifier, images: Tensor) -> list[Maps]:
    """The maps of the first convolution: its output, after normalisation, and as the input of the next layer.

    The last ones include the activation, whether it is a layer or a function, and pooling before the next convolution.
    Empty for a network without a convolution.
    """
    with torch.no_grad(), watch_layers(classifier) as passes:
        classifier.eval()(images)
    leaves = [each for each in passes if each.is_leaf]
    start = next((place for place, each in enumerate(leaves) if each.is_convolution), None)
    if start is None:
        return []
    found = [Maps(f"after the first convolution ({leaves[start].name})", _maps(leaves[start].given))]
    for each in leaves[start + 1 :]:
        if is_map(each.given) and "Norm" in type(each.module).__name__ and len(found) == 1:
            found.append(Maps(f"after normalisation ({each.name})", _maps(each.given)))
        elif any(True for _ in each.module.parameters()):  # the next layer with weights
            if is_map(each.taken):
                found.append(Maps(f"after activation, as {each.name} takes it", _maps(each.taken)))
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


def deep_features(classifier: Classifier, images: Tensor, batch_size: int = 250) -> NDArray[np.float32] | None:
    """(N, D) float32: the input of the last linear layer; None where the network has none."""
    pieces = []
    for start in range(0, len(images), batch_size):
        with torch.no_grad(), watch_layers(classifier) as passes:
            classifier.eval()(images[start : start + batch_size])
        linear = [each for each in passes if isinstance(each.module, nn.Linear)]
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


def _maps(tensor: Tensor | None) -> NDArray[np.float32]:
    return np.asarray(tensor_of(tensor).detach().float().cpu().numpy()[:, :MAX_CHANNELS], np.float32)
