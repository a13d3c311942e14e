"""How fine-tunings are judged whose interpolation with the probe (alpha) is chosen on the rows that judge them.

What is chosen by its score on some rows looks better on them than it is. So an image counts as right where it is right
at the alpha that the other images choose: those of the other folds or, without folds, those of the other half.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pocketlens.files import read_json
from pocketlens.training.interpolation import Interpolation
from pocketlens.training.run import Run

Right = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Curve:
    """What a fine-tuning has right at each alpha.

    Attributes:
        alphas: (A,), ascending.
        right: (A, N) bool, on its N validation rows.
        losses: (A,), mean cross-entropy on them.
    """

    alphas: NDArray[np.float64]
    right: Right
    losses: NDArray[np.float64]


def read_curve(run: Run) -> Curve | None:
    """The curve of a fine-tuning; None where it chose no alpha, or did so in a version that kept no rows."""
    path = run.file("interpolation.json")
    points = Interpolation.from_dict(read_json(path)).points if path.exists() else ()
    if not points or not all(point.right for point in points):
        return None
    n = len(run.split.val)
    return Curve(
        np.array([point.alpha for point in points]),
        np.stack([point.right_of(n) for point in points]),
        np.array([point.val_loss for point in points]),
    )


def best_alpha(curves: list[Curve]) -> float:
    """The alpha with the most right images over all curves; of equal ones that with the smallest loss."""
    return float(curves[0].alphas[_best(curves)])


def right_by_others(curves: list[Curve]) -> list[Right]:
    """For each curve, (N,) bool: which images are right at the alpha that the others choose."""
    if len(curves) > 1:
        return [curve.right[_best([other for other in curves if other is not curve])] for curve in curves]
    (curve,) = curves
    right = curve.right[-1].copy()
    for half in (0, 1):
        other = curve.right[:, 1 - half :: 2]
        if other.size:
            right[half::2] = curve.right[_best([Curve(curve.alphas, other, curve.losses)]), half::2]
    return [right]


def _best(curves: list[Curve]) -> int:
    n_right = sum(curve.right.sum(1) for curve in curves)
    loss = sum(curve.losses * curve.right.shape[1] for curve in curves)
    return int(np.lexsort((loss, -np.asarray(n_right)))[0])
