"""Parameter groups with their peak learning rates."""

from __future__ import annotations

from typing import Any

Groups = list[dict[str, Any]]


def with_rates(groups: Groups, lr: float) -> Groups:
    """The groups with lr and initial_lr set to `lr` times each group's lr_scale."""
    return [{**group, "lr": lr * group["lr_scale"], "initial_lr": lr * group["lr_scale"]} for group in groups]
