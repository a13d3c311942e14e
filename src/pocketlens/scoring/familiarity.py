"""Pictures that resemble nothing in training, told by the energy of their logits.

A classifier names one of its classes for any picture. The energy, minus the log-sum-exp of the logits, is high where it
prefers no class (Liu, Wang, Owens, Li 2020, "Energy-based out-of-distribution detection", arXiv 2010.03759). The mean
of the logits is taken off first: it changes no probability, so training leaves it free, and with it a network on a
pretrained body called noise familiar. The threshold is the energy that a stated share of new images like the validation
images stays below: one of the n validation energies, so it takes n >= share / (1 - share) of them. A share of 99 %
means that 1 % of familiar pictures are marked too. docs/calibration.md has what it finds and what it misses.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketlens.scoring.metrics import Floats, least_rows
from pocketlens.scoring.row_blocks import by_rows
from pocketlens.text import counted

SHARE = 0.99
UNLIKE = "unlike anything in training"


@dataclass(frozen=True)
class Familiarity:
    """From which energy on a picture is unlike the images of training.

    Attributes:
        threshold: None where the validation rows are too few for the share.
        share: of new images like the validation images that are below it.
        n: validation rows.
    """

    threshold: float | None
    share: float
    n: int

    def is_unfamiliar(self, logits: NDArray[Any]) -> bool | None:
        """Whether the picture with the logits (K,) is unlike the images of training; None where nothing tells."""
        return None if self.threshold is None else bool(energies(logits[None])[0] > self.threshold)

    def remarks(self, logits: NDArray[Any]) -> tuple[str, ...]:
        """The same in words; nothing where the picture is familiar, or nothing tells."""
        return (UNLIKE,) if self.is_unfamiliar(logits) else ()

    def said(self) -> str:
        """What a mark means, or why there is none."""
        images = counted(self.n, "validation image")
        if self.threshold is None:
            return (
                f"pictures {UNLIKE} are not marked: {images} {'is' if self.n == 1 else 'are'} too few, "
                f"{least_rows(self.share)} are needed"
            )
        return f"marked as {UNLIKE}: pictures with a higher energy than {100 * self.share:g} % of {images}"

    def to_dict(self) -> dict[str, Any]:
        """What an exported file holds."""
        return {"score": "energy: the mean of the logits minus their log-sum-exp", **asdict(self)}

    @staticmethod
    def from_dict(value: dict[str, Any]) -> Familiarity:
        """The reverse of `to_dict`; raises KeyError, TypeError or ValueError where it cannot be that."""
        threshold, share = value["threshold"], float(value["share"])
        found = Familiarity(None if threshold is None else float(threshold), share, int(value["n"]))
        if not 0 < share < 1 or (found.threshold is not None and not math.isfinite(found.threshold)):
            raise ValueError("a share within 0..1 and a finite threshold")
        return found


def energies(logits: NDArray[Any]) -> Floats:
    """(N,) float64 of logits (N, K); higher is less familiar."""
    return by_rows(_energies, logits)


def _energies(logits: NDArray[Any]) -> Floats:
    from scipy.special import logsumexp

    exact = logits.astype(np.float64)
    return np.asarray(exact.mean(axis=1) - logsumexp(exact, axis=1))


def fit_familiarity(logits: NDArray[Any], share: float = SHARE) -> Familiarity:
    """The threshold that a share of new images stays below, by the logits (N, K) of validation rows."""
    n = len(logits)
    if n < least_rows(share):
        return Familiarity(None, share, n)
    place = math.ceil((n + 1) * share - 1e-9)
    return Familiarity(float(np.sort(energies(logits))[place - 1]), share, n)
