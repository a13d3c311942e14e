"""One cycle: half a cosine up to the peak, half a cosine down. Smith and Topin 2018, arXiv:1708.07120.

With the default options it is torch's OneCycleLR with its defaults (whose name for `warmup` is pct_start, for `start`
1 / div_factor, and for `end` 1 / (div_factor * final_div_factor)).
"""

from __future__ import annotations

import math

from pocketlens.errors import check_range


def onecycle(
    step: int,
    n_steps: int,
    steps_per_epoch: float,
    *,
    warmup: float = 0.3,
    start: float = 0.04,
    end: float = 4e-6,
) -> float:
    """From `start` to 1 over the fraction `warmup` of the steps, then down to `end` in the last step."""
    for name, value in (("warmup", warmup), ("start", start), ("end", end)):
        check_range("onecycle", name, value, 0, 1)
    peak, last = max(0.0, warmup * n_steps - 1), n_steps - 1
    if step < peak:
        return _between(start, 1.0, step / peak)
    return _between(1.0, end, (step - peak) / (last - peak)) if peak < last else 1.0


def _between(a: float, b: float, fraction: float) -> float:
    return b + (a - b) * 0.5 * (1 + math.cos(math.pi * fraction))
