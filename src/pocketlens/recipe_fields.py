"""What the fields of a recipe may hold: types, ranges, words, and what its field `freeze` says."""

from __future__ import annotations

import dataclasses
import math
import re
from typing import Any

from pocketlens.errors import PocketlensError


def frozen_groups(freeze: str) -> int | None:
    """The n of `groups(n)`; None for every other text."""
    found = re.fullmatch(r"groups\((\d{1,6})\)", frozen_layers(freeze))
    return int(found.group(1)) if found else None


def frozen_layers(freeze: str) -> str:
    """What `freeze` says about layers: none, body or groups(n)."""
    if freeze.strip() == "statistics":
        return "none"
    return re.sub(r"\s*\|\s*statistics\s*$", "", freeze)


def keeps_statistics(freeze: str) -> bool:
    """Whether `freeze` says that batch norms keep their statistics while their layers train."""
    return freeze.strip() == "statistics" or frozen_layers(freeze) != freeze


def check_types(recipe: Any) -> None:
    """A whole number may stand for a float; nothing else is changed.

    Raises:
        PocketlensError: a field has another type than its annotation says.
    """
    for spec in dataclasses.fields(recipe):
        value = getattr(recipe, spec.name)
        kinds = {part.strip() for part in str(spec.type).split("|")}
        kind = type(value).__name__ if value is not None else "None"
        if kind == "int" and "float" in kinds:
            object.__setattr__(recipe, spec.name, float(value))
        elif kind not in kinds:
            raise PocketlensError(f"{spec.name} must be {spec.type}, got {value!r}.")


def check_values(recipe: Any) -> None:
    """Raises a PocketlensError where a number is out of range or a word is none of those that the field allows."""

    def must(holds: bool, name: str, what: str) -> None:
        if not holds:
            raise PocketlensError(f"{name} must be {what}, got {getattr(recipe, name)!r}.")

    for name in ("lr", "epochs"):
        value = getattr(recipe, name)
        must(0 < value <= 1e30, name, "a number above 0 that float32 can hold")
    for name in ("weight_decay", "body_lr_scale"):
        value = getattr(recipe, name)
        must(math.isfinite(value) and value >= 0, name, "a number, 0 or more")
    must(recipe.batch_size >= 1, "batch_size", "1 or more")
    must(recipe.replicate >= 0, "replicate", "0 or more")
    must(recipe.refresh >= 0, "refresh", "0 or more")
    must(recipe.patience is None or recipe.patience >= 1, "patience", "1 or more, or none")
    allowed = {
        "normalize": ("standardize", "body", "minmax", "none"),
        "class_weight": ("none", "balanced"),
        "sampling": ("none", "balanced"),
        "decay_on": ("weights", "head", "all", "none"),
        "keep": ("last", "best"),
        "head": ("keep", "new", "append", "probe"),
        "precision": ("fp32", "bf16"),
    }
    for name, values in allowed.items():
        must(getattr(recipe, name) in values, name, " or ".join(values))
    layers = frozen_layers(recipe.freeze)
    must(
        layers in ("none", "body") or bool(frozen_groups(layers)),
        "freeze",
        "none, body, statistics, groups(n) with n from 1 on, or groups(n) | statistics",
    )
    must(recipe.head != "append" or recipe.start is not None, "start", "a run if head is append")
