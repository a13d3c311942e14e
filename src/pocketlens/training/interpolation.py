"""Interpolation: a result between the first and the last weights of a training, chosen on validation rows.

Source: Wortsman et al. 2021, "Robust fine-tuning of zero-shot models", arXiv:2109.01903 (WiSE-FT). A recipe asks for it
with the modifier `wise_ft`. The choice stands in the checkpoint's metadata, and the weights follow from it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

FIRST = "wise_ft/"  # before the names of the first weights in a checkpoint


@dataclass(frozen=True)
class Point:
    """Alpha, and what the weights there give on the validation rows.

    Attributes:
        alpha: 0..1.
        val_loss: mean cross-entropy.
        val_accuracy: 0..1.
        right: which validation rows are right, as packed bits in hexadecimal; empty in runs of before.
    """

    alpha: float
    val_loss: float
    val_accuracy: float
    right: str = ""

    def right_of(self, n: int) -> NDArray[np.bool_]:
        """(n,) bool: which of the `n` validation rows are right."""
        return np.unpackbits(np.frombuffer(bytes.fromhex(self.right), np.uint8), count=n).astype(bool)


def packed(right: NDArray[np.bool_]) -> str:
    """The reverse of `Point.right_of`."""
    return np.packbits(right).tobytes().hex()


@dataclass(frozen=True)
class Interpolation:
    """What was chosen: 0 is the first weights, 1 the last ones; and what was tried, alpha ascending.

    `points` is empty where there were no validation rows to choose by.
    """

    alpha: float
    points: tuple[Point, ...] = ()

    def __str__(self) -> str:
        if not self.points:
            return f"the result lies between the first and the last weights, at alpha {self.alpha:g}"
        tried = ", ".join(f"{each.alpha:g}: {each.val_accuracy:.2%} (loss {each.val_loss:.4f})" for each in self.points)
        return f"between the first weights (alpha 0) and the last (1), validation gives {tried}; chosen: {self.alpha:g}"

    def to_dict(self) -> dict[str, Any]:
        """What a checkpoint's metadata holds under the key `interpolation`."""
        return {"alpha": self.alpha, "points": [asdict(each) for each in self.points]}

    @staticmethod
    def from_dict(value: Any) -> Interpolation:
        """The reverse of `to_dict`.

        Raises:
            KeyError, TypeError, ValueError: the value is not what `to_dict` writes.
        """
        points = tuple(
            Point(
                float(each["alpha"]), float(each["val_loss"]), float(each["val_accuracy"]), str(each.get("right", ""))
            )
            for each in value["points"]
        )
        alpha = float(value["alpha"])
        if not 0 <= alpha <= 1:
            raise ValueError(f"alpha must be 0 to 1, got {alpha}")
        return Interpolation(alpha, points)


def interpolated(first: dict[str, Tensor], last: dict[str, Tensor], alpha: float) -> dict[str, Tensor]:
    """(1 - alpha) first + alpha last, tensor by tensor; at 0 and 1 exactly one of the two. Counts are those of `last`.

    Raises:
        ValueError: they do not have the same tensors.
    """
    if first.keys() != last.keys() or any(first[name].shape != value.shape for name, value in last.items()):
        raise ValueError("the first and the last weights must be of the same network")
    return {
        name: first[name].lerp(value, alpha) if value.is_floating_point() else value for name, value in last.items()
    }
