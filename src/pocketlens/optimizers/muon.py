"""Muon: momentum whose update is orthogonalised, for convolution filters; Nesterov SGD for all other parameters.

Source: Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks"; the renormalised filters are
from Jordan 2024, arXiv:2404.00498. The Newton-Schulz polynomial is evaluated on the small Gram matrix, which needs
half the products of the textbook form on wide filter banks and gives the same result up to rounding.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pocketlens.errors import check_below_1, check_range, check_whole
from pocketlens.optimizers._groups import Groups, with_rates

COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def muon(
    groups: Groups,
    lr: float,
    *,
    momentum: float = 0.6,
    steps: int = 3,
    rest_lr: float = 1.38,
    rest_momentum: float = 0.9,
) -> torch.optim.Optimizer:
    """Muon at rate `lr` for all filter banks (4-D parameters), Nesterov SGD at rate `rest_lr` for everything else.

    Filter banks are renormalised before every step, so weight decay would not change what they compute: it applies to
    the rest alone. `steps` is the number of Newton-Schulz iterations.
    """
    check_below_1("muon", momentum=momentum, rest_momentum=rest_momentum)
    check_whole("muon", "steps", steps, 1, 100)
    check_range("muon", "rest_lr", rest_lr, 0, 1e30)
    filters = [{**g, "params": [p for p in g["params"] if p.ndim == 4], "filters": True} for g in groups]
    rest = [{**g, "params": [p for p in g["params"] if p.ndim != 4], "filters": False} for g in groups]
    banks = with_rates([g for g in filters if g["params"]], lr)
    others = with_rates([g for g in rest if g["params"]], rest_lr)
    options = {"momentum": momentum, "rest_momentum": rest_momentum, "steps": steps}
    return Muon(banks + others, {"lr": lr, **options})


class Muon(torch.optim.Optimizer):
    """Groups with `filters` take Muon steps, the others Nesterov SGD steps."""

    def __init__(self, groups: Groups, defaults: dict[str, Any]) -> None:
        super().__init__(groups, defaults)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # noqa: ARG002
        """One step for every parameter that has a gradient."""
        for group in self.param_groups:
            momentum = group["momentum"] if group["filters"] else group["rest_momentum"]
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                gradient = parameter.grad
                if group["weight_decay"] and not group["filters"]:
                    gradient = gradient.add(parameter, alpha=group["weight_decay"])
                state = self.state[parameter]
                if "momentum" not in state:
                    state["momentum"] = torch.zeros_like(parameter)
                average = state["momentum"].mul_(momentum).add_(gradient)
                update = gradient.add(average, alpha=momentum)  # Nesterov
                if group["filters"]:
                    parameter.mul_(len(parameter) ** 0.5 / parameter.norm().clamp(min=1e-12))
                    update = _orthogonal_filters(update, group["steps"])
                parameter.sub_(update, alpha=group["lr"])


def _orthogonal_filters(update: Tensor, steps: int) -> Tensor:
    # Channels last and the natural order are the same matrix up to a permutation of columns; take the one that lies
    # in memory, because a copy of the largest banks costs as much as a product.
    matrix = update.permute(0, 2, 3, 1).reshape(len(update), -1)  # (out, k * k * in) float32
    out, c_in, height, width = update.shape
    return orthogonalize(matrix, steps).view(out, height, width, c_in).permute(0, 3, 1, 2)


def orthogonalize(matrix: Tensor, steps: int, eps: float = 1e-7) -> Tensor:
    """The matrix with its singular values brought near 1 by `steps` quintic Newton-Schulz iterations.

    One iteration maps X to (a + b A + c A^2) X with A = X X'. All iterates are polynomials in the first Gram matrix
    times X, and they commute: so the polynomials are multiplied up on the small side and X is touched twice only.
    """
    if len(matrix) > matrix.shape[1]:
        return orthogonalize(matrix.T, steps, eps).T
    a, b, c = COEFFICIENTS
    x: Tensor = matrix / (matrix.norm() + eps)
    gram = x @ x.T  # (m, m) float32, symmetric like all that follow
    whole: Tensor | None = None
    for step in range(steps):
        factor = b * gram + c * gram @ gram
        factor.diagonal().add_(a)
        whole = factor if whole is None else whole @ factor
        if step < steps - 1:
            gram = factor @ gram @ factor
    if whole is None:
        return x
    result: Tensor = whole @ x
    return result
