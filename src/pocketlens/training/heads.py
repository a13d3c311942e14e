"""Heads that take the place of a network's own: scikit-learn models fitted on its features, and appended linear layers.

Random forests, logistic regressions and nearest neighbours are fitted by scikit-learn. Their parameters are stored as
tensors beside the network's weights, and torch evaluates them. So a network with such a head is a classifier like any
other, and its file holds numbers and no code.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pocketlens.draws import stream
from pocketlens.errors import PocketlensError
from pocketlens.events import Step, Work

MAX_FEATURES = 1024  # of the audit, and of heads that were fitted when all had this limit
LOGISTIC_STEPS = 300  # L-BFGS iterations of a logistic regression, at most
Floats = NDArray[np.float32]
Labels = NDArray[np.int64]


@contextmanager
def watch_head(net: nn.Module, layer: str = "head") -> Iterator[list[Tensor]]:
    """A list to which every forward pass appends the input of the network's head, or of another layer.

    Raises:
        PocketlensError: the network, one of a person's own, has no such layer.
    """
    inputs: list[Tensor] = []

    def keep(_module: Any, given: tuple[Tensor, ...]) -> None:
        inputs.append(given[0])

    try:
        watched = net.get_submodule(layer)
    except AttributeError:
        raise PocketlensError(
            f"the model has no layer {layer!r}, whose inputs are its features: give its last layer that name."
        ) from None
    handle = watched.register_forward_pre_hook(keep)
    try:
        yield inputs
    finally:
        handle.remove()


def flatten_features(features: Tensor, limit: int | None = None) -> Tensor:
    """Features (B, ...) as (B, D) float32; maps (B, D, H, W) are averaged over H and W.

    Where D is above `limit`, neighbouring features are averaged, so that D is the limit.
    """
    flat = features.flatten(2).mean(2) if features.ndim == 4 else features.flatten(1)
    flat = flat.float()
    if limit is not None and flat.shape[1] > limit:
        flat = torch.nn.functional.adaptive_avg_pool1d(flat[:, None], limit)[:, 0]
    return flat


def last_layer(net: nn.Module) -> str:
    """The name of the last linear layer of a head that has several layers; otherwise `head`."""
    inside = [name for name, module in net.get_submodule("head").named_modules() if isinstance(module, nn.Linear)]
    return f"head.{inside[-1]}" if inside and inside[-1] else "head"


class OnFeatures(nn.Module):
    """A network and a head on its features, which are the input of its own head or of another layer."""

    def __init__(self, body: nn.Module, layer: str, head: FeatureHead, limit: int | None = None) -> None:
        super().__init__()
        self.limit = limit
        self.body = body
        self.layer = layer
        self.head = head

    def forward(self, x: Tensor) -> Tensor:
        """Normalised images (B, C, H, W) to logits (B, K)."""
        with watch_head(self.body, self.layer) as inputs:
            self.body(x)
        logits: Tensor = self.head(flatten_features(inputs.pop(), self.limit))
        return logits


class FeatureHead(nn.Module):
    """A fitted scikit-learn classifier as tensors: features (B, D) float32 to logits (B, K)."""

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        super().__init__()
        for name, value in tensors.items():
            self.register_buffer(name, value)


class Logistic(FeatureHead):
    """Multinomial logistic regression on standardised features."""

    mean: Tensor
    std: Tensor
    weight: Tensor
    bias: Tensor

    def forward(self, features: Tensor) -> Tensor:
        """(B, D) to (B, K)."""
        logits: Tensor = (features - self.mean) / self.std @ self.weight.T + self.bias
        return logits


class Neighbours(FeatureHead):
    """The k nearest training images in the space of standardised features, each with one vote."""

    mean: Tensor
    std: Tensor
    points: Tensor
    labels: Tensor
    votes: Tensor

    def forward(self, features: Tensor) -> Tensor:
        """(B, D) to (B, K)."""
        n_nearest, n_classes = (int(n) for n in self.votes)
        standard = (features - self.mean) / self.std
        distances = (self.points**2).sum(1) - 2 * standard @ self.points.T  # (B, N), less |standard|^2 in each row
        nearest = distances.topk(n_nearest, largest=False).indices  # (B, k)
        return _vote(self.labels[nearest], n_classes)


class Forest(FeatureHead):
    """Trees grown until their leaves are pure, each with one vote (Breiman 2001)."""

    feature: Tensor
    threshold: Tensor
    left: Tensor
    right: Tensor
    labels: Tensor
    roots: Tensor
    limits: Tensor

    def forward(self, features: Tensor) -> Tensor:
        """(B, D) to (B, K)."""
        depth, n_classes = (int(n) for n in self.limits)
        node = self.roots.expand(len(features), -1).long()  # (B, T)
        for _ in range(depth):
            goes_left = features.gather(1, self.feature[node].long()) <= self.threshold[node]
            node = torch.where(goes_left, self.left[node], self.right[node]).long()  # a leaf's branches lead to itself
        return _vote(self.labels[node].long(), n_classes)


_TREES_PER_STEP = 4  # trees between two steps of progress, at least
HEADS: dict[str, type[FeatureHead]] = {"logistic": Logistic, "knn": Neighbours, "forest": Forest}
_DTYPES = {"labels": torch.int64, "votes": torch.int64, "limits": torch.int64}
_DTYPES |= dict.fromkeys(("feature", "left", "right", "roots"), torch.int32)


def blank_head(kind: str, shapes: Mapping[str, Sequence[int]]) -> FeatureHead:
    """A head whose tensors have these shapes and hold zeros, to load a state dict into."""
    blank = {name: torch.zeros(tuple(shape), dtype=_DTYPES.get(name, torch.float32)) for name, shape in shapes.items()}
    return HEADS[kind](blank)


def fit_logistic(features: Floats, labels: Labels, n_classes: int, *, strength: float = 1.0) -> Logistic:
    """A logistic regression; `strength` is scikit-learn's C, the inverse of the penalty's strength."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    mean, std = _scale(features)
    present = np.unique(labels)
    weight, bias = np.zeros((n_classes, features.shape[1])), np.full(n_classes, -20.0)
    if len(present) == 1:
        bias[present] = 0.0
    else:
        model = LogisticRegression(C=strength, max_iter=LOGISTIC_STEPS)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # stopping early regularises, too
            model.fit((features - mean) / std, labels)
        two = len(present) == 2  # scikit-learn keeps one row for two classes
        weight[present] = np.stack([-model.coef_[0] / 2, model.coef_[0] / 2]) if two else model.coef_
        bias[present] = [-model.intercept_[0] / 2, model.intercept_[0] / 2] if two else model.intercept_
        absent = np.setdiff1d(np.arange(n_classes), present)
        bias[absent] = bias[present].min() - 20.0
    return Logistic(_tensors(mean=mean, std=std, weight=weight.astype(np.float32), bias=bias.astype(np.float32)))


def fit_knn(features: Floats, labels: Labels, n_classes: int, *, k: int = 15) -> Neighbours:
    """A k-nearest-neighbours classifier, which stores the training features."""
    mean, std = _scale(features)
    votes = np.array([min(k, len(labels)), n_classes], np.int64)
    return Neighbours(_tensors(mean=mean, std=std, points=(features - mean) / std, labels=labels, votes=votes))


def forest_seed(seed: int) -> int:
    """The seed of a forest's trees, from that of the experiment."""
    return stream(seed, "forest")


def fit_forest(
    features: Floats, labels: Labels, n_classes: int, *, trees: int = 200, seed: int = 0, jobs: int = 1
) -> Work[Forest]:
    """A random forest with scikit-learn's default settings, a pure function of its arguments.

    With a hundred classes a tree takes seconds, so the trees are grown a few at a time, to report progress; the forest
    equals one that is fitted in a single call.
    """
    from sklearn.ensemble import RandomForestClassifier

    forest = RandomForestClassifier(random_state=seed % 2**32, n_jobs=jobs, warm_start=True)
    at_a_time = max(_TREES_PER_STEP, 2 * jobs)
    for n in (*range(at_a_time, trees, at_a_time), trees):
        forest.set_params(n_estimators=n).fit(features, labels)
        yield Step("growing trees", n, trees)
    grown = [tree.tree_ for tree in forest.estimators_]
    starts = np.cumsum([0, *(tree.node_count for tree in grown)])[:-1]
    parts: dict[str, list[NDArray[Any]]] = {name: [] for name in ("feature", "threshold", "left", "right", "labels")}
    for tree, start in zip(grown, starts, strict=True):
        here = np.arange(tree.node_count)
        leaf = tree.children_left < 0
        parts["feature"].append(np.where(leaf, 0, tree.feature))
        parts["threshold"].append(_round_down(tree.threshold))
        for side, children in (("left", tree.children_left), ("right", tree.children_right)):
            parts[side].append(start + np.where(leaf, here, children))
        parts["labels"].append(forest.classes_[tree.value[:, 0].argmax(1)])
    whole = {name: np.concatenate(values) for name, values in parts.items()}
    integers = {name: whole[name].astype(np.int32) for name in ("feature", "left", "right")}
    limits = np.array([max(tree.max_depth for tree in grown), n_classes], np.int64)
    labelled = whole["labels"].astype(np.int64)
    return Forest(
        _tensors(
            **integers, threshold=whole["threshold"], labels=labelled, roots=starts.astype(np.int32), limits=limits
        )
    )


def _vote(labels: Tensor, n_classes: int) -> Tensor:
    """Log-probabilities (B, n_classes) from votes (B, V), smoothed by one vote that is split among all classes."""
    votes = torch.zeros(len(labels), n_classes, device=labels.device)
    votes.scatter_add_(1, labels, torch.ones_like(labels, dtype=votes.dtype))
    return torch.log((votes + 1 / n_classes) / (labels.shape[1] + 1))


def _scale(features: Floats) -> tuple[Floats, Floats]:
    mean, std = features.mean(0), features.std(0)
    return mean, np.where(std > 1e-6, std, 1).astype(np.float32)


def _round_down(thresholds: NDArray[np.float64]) -> Floats:
    """Thresholds as float32, rounded so that each splits float32 features as its float64 value does."""
    rounded = thresholds.astype(np.float32)
    return np.where(rounded > thresholds, np.nextafter(rounded, np.float32(-np.inf)), rounded)


def _tensors(**arrays: NDArray[Any]) -> dict[str, Tensor]:
    return {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in arrays.items()}


class AppendedHead(nn.Module):
    """A whole network, and a new linear layer on its outputs as the head."""

    def __init__(self, body: nn.Module, n_outputs: int, n_classes: int) -> None:
        super().__init__()
        self.body = body
        self.head = nn.Linear(n_outputs, n_classes)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to logits (B, n_classes)."""
        logits: Tensor = self.head(self.body(x))
        return logits
