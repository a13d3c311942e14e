"""Pairs of photos that a pretrained body sees alike: candidates for duplicates with another crop, light or angle.

Features are centred and half whitened along their principal axes. A pair is seen alike if its cosine distance is at
most half of that to the fourth neighbour of either image: in a folder of one kind of photo all are near each other. Of
the pairs that the alignment then does not contradict, hardly more than before are no copies (docs/look.md).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pocketlens.audit.candidates import Candidates
from pocketlens.audit.nearest import within
from pocketlens.events import Step, Work

_AXES = 128
_PARTNERS = 4
_FEWEST = 20  # images; of fewer, the fourth neighbour is no measure of what is usual
_CLOSE = 0.5  # of the distance to the fourth neighbour
_SCALES = (-0.35, 0.0, 0.35)  # logarithms, from which each alignment starts


@dataclass(frozen=True, eq=False)
class SeenAlike(Candidates):
    """Pairs that are aligned from several scales; `views` is the place of the scale, and more where it is mirrored."""

    @property
    def start(self) -> Tensor:
        """(M, 4) float32, where to start the alignment: logarithms of the scales in x and y, shifts in x and y."""
        scale = torch.tensor(_SCALES)[self.views.long() % len(_SCALES)]
        return torch.stack([scale, scale, torch.zeros_like(scale), torch.zeros_like(scale)], 1)

    @property
    def mirrored(self) -> Tensor:
        """(M,) bool, whether the second image has to be mirrored."""
        return self.views >= len(_SCALES)


def find_seen_alike(features: NDArray[np.float32]) -> Work[SeenAlike]:
    """The pairs that are seen alike, each plain and mirrored, and from several scales; none among few images.

    Args:
        features: (N, D) float32 of a pretrained body.
    """
    if len(features) < _FEWEST:
        return _candidates(np.zeros((0, 2), np.int64), np.zeros(0, np.float32))
    n, unit = len(features), torch.from_numpy(_half_whitened(features))
    nearest = yield from within(unit, _PARTNERS, n, Step("finding photos that the pretrained body sees alike", 0, 0))
    distances = (1 - nearest.similarity).numpy()
    fourth = distances[:, -1]
    first, second = np.repeat(np.arange(n), _PARTNERS), nearest.rows.numpy().reshape(-1)
    left = distances.reshape(-1)
    alike = left <= _CLOSE * np.minimum(fourth[first], fourth[second])
    pairs = np.sort(np.stack([first[alike], second[alike]], axis=1), axis=1)
    pairs, places = np.unique(pairs, axis=0, return_index=True)
    return _candidates(pairs, left[alike][places])


def _half_whitened(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N, <= _AXES) float32 of length 1."""
    centred = (features - features.mean(axis=0, dtype=np.float64)).astype(np.float64)
    values, vectors = np.linalg.eigh(centred.T @ centred / len(centred))
    axes = centred @ (vectors[:, -_AXES:] / (values[-_AXES:].clip(0) + 1e-6) ** 0.25)
    unit: NDArray[np.float32] = (axes / np.linalg.norm(axes, axis=1, keepdims=True).clip(1e-12)).astype(np.float32)
    return unit


def _candidates(pairs: NDArray[np.int64], distances: NDArray[np.float32]) -> SeenAlike:
    """Every pair as often as there are ways to start its alignment."""
    n_ways = 2 * len(_SCALES)
    first, second = (torch.from_numpy(np.repeat(pairs[:, side], n_ways).astype(np.int32)) for side in (0, 1))
    ways = (torch.arange(len(first)) % n_ways).to(torch.uint8)
    return SeenAlike(first, second, torch.from_numpy(1 - np.repeat(distances, n_ways)), ways)
