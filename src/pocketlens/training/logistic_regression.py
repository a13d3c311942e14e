"""Multinomial logistic regressions with an L2 penalty, on several sets of rows of the same features at once.

Leaving out one fold after the other gives five regressions on nearly the same rows, so all of them are one
minimisation: one matrix product serves all folds. It runs in the principal axes of the features, and each axis is
divided by the root of the curvature that it has there, c * variance + penalty, where c is the mean of p (1 - p); with
the largest c that there can be it would be the bound of Böhning 1992, "Multinomial logistic regression algorithm". In
these coordinates all directions are about equally steep, and L-BFGS ends after some ten iterations where it takes
hundreds in those of the features. Rotations and scales change neither the minimum nor the penalty, which is that of
scikit-learn on the centred features of each set of rows, divided by one number, their root mean variance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pocketlens.scoring.row_blocks import by_rows

_STEPS = 200  # L-BFGS iterations at most
_CHUNK = 2048  # rows at a time: their logits stay in the processor's cache
_CHUNK_NUMBERS = 2**24  # logits at a time, where there are many classes: 64 MB
_CORRECTIONS, _HISTORY = 10, 2**31  # earlier gradients that L-BFGS keeps at most, and the bytes of all
_SMALLEST = 1e-9  # axes with a smaller part of the largest variance are rounding
_LEAST_CURVATURE = 1e-6
Floats = NDArray[np.float32]
Labels = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Axes:
    """Features in their principal axes, of which there are at most as many as rows.

    Attributes:
        mean: (D,) float32 of the features.
        directions: (D, R) float32, orthonormal columns.
        values: (N, R + 1) float32: (features - mean) @ directions, and a column of ones for the bias.
        variances: (R + 1,) float64 of the columns of `values`; that of the ones is their mean square, 1.
    """

    mean: Floats
    directions: Tensor
    values: Tensor
    variances: Tensor


def principal_axes(features: Floats) -> Axes:
    """The axes of features (N, D) float32, from the smaller of the two products with their transpose."""
    n, width = features.shape
    mean = features.mean(0)
    centred = torch.from_numpy(features - mean)
    if n > width:
        variances, directions = _eigen(centred.T @ centred / n)
        directions = directions.float()
        values = centred @ directions
    else:
        exact = centred.double()
        variances, rows = _eigen(exact @ exact.T / n)
        scales = (variances * n).sqrt()
        values = (rows * scales).float()
        directions = (exact.T @ (rows / scales)).float()
    one = torch.ones(n, 1)
    return Axes(mean, directions, torch.cat([values, one], 1), torch.cat([variances, one[:1, 0].double()]))


@dataclass(frozen=True, eq=False)
class _Loss:
    """The sum of the mean losses of all regressions, and its gradient, (R + 1, F, K) float64."""

    value: float
    gradient: Tensor


@dataclass(frozen=True, eq=False)
class Regressions:
    """F regressions on the same features, each on some of the rows.

    Attributes:
        axes: the features of all N rows.
        labels: (N,) int64, from 0 to K - 1.
        shares: (N, F) float32: 1 / n where a regression is fitted on the row, n being the number of its rows, else 0.
        present: (F, K) bool: the classes that a regression has rows of; the others have probability 0.
        penalties: (F,) float64: of the squared weights for C = 1, on the scale of the mean loss.
    """

    axes: Axes
    labels: Tensor
    shares: Tensor
    present: Tensor
    penalties: Tensor

    def start(self) -> Tensor:
        """(R + 1, F, K) float64: weights of zero."""
        return torch.zeros(self.axes.values.shape[1], *self.present.shape, dtype=torch.float64)

    def fit(self, strength: float, start: Tensor, curvature: float, tolerance: float) -> Tensor:
        """The weights (R + 1, F, K) float64 with the penalty 1 / `strength`; the last row is the bias.

        Args:
            strength: scikit-learn's C.
            start: weights to begin with, (R + 1, F, K) float64.
            curvature: about the mean of p (1 - p) over rows and classes at the minimum; it decides the speed alone.
            tolerance: it ends where one iteration lowers the objective by less than this part of it.
        """
        from scipy.optimize import minimize

        penalty = (self.penalties / strength).expand(len(start), -1).clone()
        penalty[-1] = 0  # of the bias
        steep = max(curvature, _LEAST_CURVATURE) * self.axes.variances[:, None] + penalty
        scale, penalty = steep.rsqrt()[:, :, None], penalty[:, :, None]

        def objective(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
            weights = torch.from_numpy(flat).view_as(start) * scale
            loss = self._loss(weights)
            value = loss.value + 0.5 * float((penalty * weights**2).sum())
            return value, ((loss.gradient + penalty * weights) * scale).flatten().numpy()

        kept = min(_CORRECTIONS, max(3, _HISTORY // (2 * 8 * start.numel())))
        options = {"maxiter": _STEPS, "ftol": tolerance, "gtol": 1e-7, "maxcor": kept}
        found = minimize(objective, (start / scale).flatten().numpy(), jac=True, method="L-BFGS-B", options=options)
        weights: Tensor = torch.from_numpy(found.x).view_as(start) * scale
        return weights

    def logits(self, weights: Tensor, number: int, rows: NDArray[np.bool_] | slice = slice(None)) -> Floats:
        """(n, K) float32 of the chosen rows by regression `number`; classes that it has no rows of get -inf."""
        values = self.axes.values[torch.from_numpy(rows) if isinstance(rows, np.ndarray) else rows]
        made = values @ weights[:, number].float()
        made[:, ~self.present[number]] = -torch.inf
        logits: Floats = made.numpy()
        return logits

    def _loss(self, weights: Tensor) -> _Loss:
        n_axes, n_fits, n_classes = weights.shape
        flat, loss = weights.float().view(n_axes, -1), 0.0
        gradient = torch.zeros_like(flat)
        absent = torch.where(self.present, 0.0, -torch.inf)
        chunk = min(_CHUNK, max(1, _CHUNK_NUMBERS // (n_fits * n_classes)))
        for first in range(0, len(self.labels), chunk):
            part = slice(first, first + chunk)
            values, labels, shares = self.axes.values[part], self.labels[part], self.shares[part]
            logs = ((values @ flat).view(-1, n_fits, n_classes) + absent).log_softmax(2)
            own = labels[:, None, None].expand(-1, n_fits, 1)
            loss -= float(torch.where(shares > 0, logs.gather(2, own)[:, :, 0] * shares, 0.0).sum(dtype=torch.float64))
            slope = logs.exp_().scatter_add_(2, own, -torch.ones(own.shape)).mul_(shares[:, :, None])
            gradient += values.T @ slope.view(len(values), -1)
        return _Loss(loss, gradient.view_as(weights).double())


def regressions(axes: Axes, labels: Labels, n_classes: int, fitted: NDArray[np.bool_]) -> Regressions:
    """Those on the rows `fitted` (N, F), each of which has at least one row."""
    counts = fitted.sum(0)
    present = np.stack([np.bincount(labels[rows], minlength=n_classes) > 0 for rows in fitted.T])
    moments = [_spread(axes, rows) for rows in fitted.T]
    twice = np.where(present.sum(1) == 2, 2.0, 1.0)  # scikit-learn penalises two classes as the difference of the two
    return Regressions(
        axes,
        torch.from_numpy(labels),
        torch.from_numpy((fitted / counts).astype(np.float32)),
        torch.from_numpy(present),
        torch.from_numpy(np.array(moments) * twice / counts),
    )


def mean_curvature(logits: Floats) -> float:
    """The mean of p (1 - p) over the rows and the K - 1 free classes of logits (N, K)."""
    left = by_rows(lambda some: 1 - torch.from_numpy(some).softmax(1).square().sum(1).numpy(), logits)
    mean: float = left.mean().item()
    return mean / max(1, int(logits.shape[1]) - 1)


def _spread(axes: Axes, rows: NDArray[np.bool_]) -> float:
    """The mean variance of the D features over some rows; rotations keep the sum of the variances."""
    values = axes.values[torch.from_numpy(rows), :-1]
    away = float((values - values.mean(0)).square().sum(1).mean(dtype=torch.float64))
    return away / max(1, len(axes.mean)) or 1.0


def _eigen(product: Tensor) -> tuple[Tensor, Tensor]:
    """The eigenvalues of a symmetric matrix that are not rounding, and their vectors as columns, float64."""
    values, vectors = torch.linalg.eigh(product.double())
    kept = values > max(float(values[-1]) * _SMALLEST, 0)
    return values[kept], vectors[:, kept]
