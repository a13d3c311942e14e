"""Reduce on plateau: the rate falls when validation has not improved for some epochs. torch's ReduceLROnPlateau.

A schedule that looks back is `name(history, *, options) -> factor`: a function of the records of the epochs so far,
which every checkpoint holds. A refit, which has no validation rows, replays the factors of its source.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from pocketlens.errors import PocketlensError, check_range, check_whole


def plateau(
    history: Sequence[dict[str, Any]],
    *,
    watch: str = "loss",
    patience: int = 5,
    gamma: float = 0.1,
    threshold: float = 1e-4,
    cooldown: int = 0,
    end: float = 0.0,
) -> float:
    """The factor of the next epoch: multiplied by `gamma`, not below `end`, after more than `patience` bad epochs.

    An epoch is good when its validation `loss` (or `accuracy`) is better than the best so far by the share
    `threshold` of it. The `cooldown` epochs behind a fall are not counted as bad.

    Raises:
        PocketlensError: an option is not allowed.
    """
    if watch not in ("loss", "accuracy"):
        raise PocketlensError(f"plateau: watch must be 'loss' or 'accuracy', got {watch!r}.")
    for name, least, value in (("patience", 0, patience), ("cooldown", 0, cooldown)):
        check_whole("plateau", name, value, least, 1_000_000)
    for name, share in (("gamma", gamma), ("threshold", threshold), ("end", end)):
        check_range("plateau", name, share, 0, 1)
    sign = 1 if watch == "accuracy" else -1
    factor, best, bad, waits = 1.0, -math.inf, 0, 0
    for record in history:
        value = record[f"val_{watch}"]
        known = value is not None and math.isfinite(value)
        if known and sign * value > best + threshold * (0.0 if math.isinf(best) else abs(best)):
            best, bad = sign * value, 0
        else:
            bad += 1
        if waits > 0:
            waits, bad = waits - 1, 0
        if bad > patience:
            factor, waits, bad = max(factor * gamma, end), cooldown, 0
    return factor
