"""Randomness as a pure function: a draw depends on (seed, name, row, copy, epoch) and on nothing else.

So an image gets the same augmentation whatever the batch size, the order, the device or the number of times a run
was killed. The generator is a counter hash: splitmix64's finaliser (Steele, Lea, Flood 2014, "Fast splittable
pseudorandom number generators") over the mixed key, computed in int64 arithmetic that wraps alike on CPU and CUDA.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # `stream` is used where torch is not loaded, which takes seconds
    from torch import Tensor

_GAMMA = -7046029254386353131  # 0x9E3779B97F4A7C15 as int64
_MULTIPLY_1 = -4658895280553007687  # 0xBF58476D1CE4E5B9
_MULTIPLY_2 = -7723592293110705685  # 0x94D049BB133111EB


def stream(seed: int, name: str) -> int:
    """A named stream of a seed: a signed 64-bit number from (seed, name), by BLAKE2b."""
    digest = hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)


@dataclass(frozen=True)
class Draws:
    """The randomness of one batch; each augmentation takes its own named draws from it.

    Attributes:
        seed: the experiment's seed.
        rows: the row number of each image, (B,) int64.
        copies: which replicated copy of its image each row is, (B,) int64; 0 is the original.
        epoch: the epoch, counted from 0 and divided by the recipe's `refresh`.
        progress: how much of the training is done, 0..1.
        name: the augmentation that draws; `named` sets it.
    """

    seed: int
    rows: Tensor
    copies: Tensor
    epoch: int
    progress: float = 0.0
    name: str = ""

    def named(self, name: str) -> Draws:
        """The same draws under another name, so that two augmentations never share a number."""
        return replace(self, name=f"{self.name}/{name}")

    def uniform(self, what: str, n: int = 1) -> Tensor:
        """(B, n) float32, uniform in [0, 1), anew in every epoch."""
        return _unit(self._bits(what, n, self.epoch))

    def fixed(self, what: str, n: int = 1) -> Tensor:
        """(B, n) float32, uniform in [0, 1), the same in every epoch of the run."""
        return _unit(self._bits(what, n, 0))

    def integers(self, what: str, low: int, high: int, n: int = 1) -> Tensor:
        """(B, n) int64, uniform in low..high, both included."""
        return low + (self.uniform(what, n) * (high - low + 1)).long().clamp_(max=high - low)

    def partners(self, what: str) -> Tensor:
        """(B,) int64: a random permutation of the batch, for methods that mix images."""
        return self._bits(what, 1, self.epoch)[:, 0].argsort(stable=True)

    def shared(self, what: str) -> float:
        """One number in [0, 1) for the whole batch, from its first row."""
        return float(self.uniform(what)[0, 0])

    def _bits(self, what: str, n: int, epoch: int) -> Tensor:
        import torch

        key = stream(self.seed, f"{self.name}/{what}")
        x = hash64(self.rows, key)
        x = hash64(x ^ self.copies, epoch)
        counter = torch.arange(n, device=x.device)
        return hash64(x[:, None] + counter[None, :] * _GAMMA, n)  # (B, n) int64


def order(rows: Tensor, seed: int, epoch: int) -> Tensor:
    """The order of training in one epoch: a permutation of range(len(rows)), (N,) int64, on the rows' device."""
    return hash64(rows, stream(seed, f"order/{epoch}")).argsort(stable=True)


def balanced_order(labels: Tensor, seed: int, epoch: int) -> Tensor:
    """Places of `labels` (N,), in the order of training: N of them, as many of each class as of any other, or one less.

    A class's rows come in random order, and again in another one when all had their turn. A place that comes for the
    c-th time is given as place + c * N, so that the augmentations draw anew for it. (N,) int64, on the labels' device.
    """
    import torch

    n, counts = len(labels), torch.bincount(labels)
    classes = counts.nonzero()[:, 0]
    ordered, ends = torch.argsort(labels, stable=True), counts.cumsum(0).tolist()  # in one pass for all classes
    chosen = []
    for number, label in enumerate(classes.tolist()):
        members = ordered[ends[label] - int(counts[label]) : ends[label]]
        quota = n // len(classes) + ((number + epoch) % len(classes) < n % len(classes))  # the rest goes round
        turns = range(-(-quota // len(members)))
        keys = [stream(seed, f"balanced/{epoch}/{turn}") for turn in turns]
        again = [members[torch.argsort(hash64(members, key), stable=True)] + turn * n for turn, key in enumerate(keys)]
        chosen.append(torch.cat(again)[:quota] if again else members[:0])
    picked = torch.cat(chosen)
    return picked[torch.argsort(hash64(picked, stream(seed, f"balanced/{epoch}")), stable=True)]


def hash64(x: Tensor, key: int) -> Tensor:
    """splitmix64's finaliser over x + key, element by element; int64 in, int64 out."""
    x = x + _wrap(key * _GAMMA + _GAMMA)
    x = (x ^ _shift(x, 30)) * _MULTIPLY_1
    x = (x ^ _shift(x, 27)) * _MULTIPLY_2
    return x ^ _shift(x, 31)


def _wrap(value: int) -> int:
    return (value + 2**63) % 2**64 - 2**63


def _shift(x: Tensor, bits: int) -> Tensor:
    return (x >> bits) & ((1 << (64 - bits)) - 1)  # logical, not arithmetic


def _unit(bits: Tensor) -> Tensor:
    return _shift(bits, 40).float() * 2.0**-24  # 24 bits are exact in float32
