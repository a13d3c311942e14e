"""Ranks: the processes that train one model together, each on its part of every batch (DistributedDataParallel).

`torchrun --nproc-per-node 2 -m pocketlens train …` starts them. All ranks hold the data, augment the same batch alike,
and take their part of it by rows; DistributedDataParallel (Li et al. 2020, arXiv:2006.15704) averages their gradients.
So every rank makes the same steps, and only the first one writes. A training alone is the rank 0 of 1.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from pocketlens.errors import PocketlensError

if TYPE_CHECKING:
    from torch import Tensor, nn

T = TypeVar("T")


@dataclass(frozen=True)
class Ranks:
    """Which of the processes this one is, and how many there are."""

    rank: int = 0
    n: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this is the one that writes."""
        return self.rank == 0

    def part(self, n_rows: int) -> slice:
        """Which rows of a batch are this rank's; the parts' sizes differ by at most one."""
        return slice(self.rank * n_rows // self.n, (self.rank + 1) * n_rows // self.n)

    def wrap(self, net: nn.Module) -> nn.Module:
        """The net whose backward pass leaves in every rank the mean over the ranks of their gradients."""
        if self.n == 1:
            return net
        from torch.nn.parallel import DistributedDataParallel

        return DistributedDataParallel(net)

    def weighted(self, loss: Tensor, n_rows: int) -> Tensor:
        """The mean loss of this rank's part of `n_rows`, so that the mean of it over the ranks is that of all rows."""
        part = self.part(n_rows)
        return loss if self.n == 1 else loss * ((part.stop - part.start) * self.n / n_rows)

    def mean(self, value: Tensor) -> Tensor:
        """The mean of a tensor over all ranks, in each of them; all ranks call it together."""
        return value if self.n == 1 else self.sum(value) / self.n

    def sum(self, value: Tensor) -> Tensor:
        """The sum of a tensor over all ranks, in each of them; all ranks call it together."""
        if self.n == 1:
            return value
        import torch

        total = value.detach().clone()
        torch.distributed.all_reduce(total)
        return total

    def highest(self, number: int | None) -> int | None:
        """The highest number that one of the ranks has, or None where none has any; all ranks call it together."""
        if self.n == 1:
            return number
        import torch

        found = torch.tensor(-1 if number is None else number, device=_device())
        torch.distributed.all_reduce(found, torch.distributed.ReduceOp.MAX)
        return None if int(found) < 0 else int(found)

    def wait(self) -> None:
        """Until all ranks have come here."""
        self.from_first(None)

    def from_first(self, value: T) -> T:
        """What the first rank has, in each of them; all ranks call it together."""
        if self.n == 1:
            return value
        import torch

        told = [value]
        torch.distributed.broadcast_object_list(told, src=0)
        return told[0]

    def check_equal(self, net: nn.Module) -> None:
        """Makes sure that all ranks hold the same weights, as they do where all their processors compute alike.

        Raises:
            PocketlensError: they do not.
        """
        if self.n == 1:
            return
        import torch

        sums = [parameter.detach().double().sum() for parameter in net.parameters()]
        mine = torch.nan_to_num(torch.stack(sums).to(_device()))  # (parameters,) float64
        low, high = mine.clone(), mine.clone()
        torch.distributed.all_reduce(low, torch.distributed.ReduceOp.MIN)
        torch.distributed.all_reduce(high, torch.distributed.ReduceOp.MAX)
        if not torch.equal(low, high):
            raise PocketlensError(
                "the processes of this training no longer have the same weights; all of them must have the same "
                "kind of processor and the same software."
            )


ALONE = Ranks()
_LOST_WORDS = ("connection closed by peer", "connection reset", "gloo", "nccl", "timed out")


def asked_ranks(environment: Mapping[str, str]) -> Ranks:
    """Which rank torchrun has started this process as; alone where torchrun has not started it."""
    if "TORCHELASTIC_RUN_ID" not in environment:
        return ALONE
    return Ranks(int(environment["RANK"]), int(environment["WORLD_SIZE"]))


@contextmanager
def joined(ranks: Ranks, device: str) -> Iterator[str]:
    """This process as one of the group of ranks until the block ends; gives the device that is its own.

    Raises:
        PocketlensError: there are fewer GPUs than processes, or another process of the group has ended.
    """
    if ranks.n == 1:
        yield device
        return
    import torch

    if device not in ("cpu", "cuda"):
        raise PocketlensError(f"torchrun trains on cpu or cuda, not on {device}.")
    if device == "cuda":
        local, count = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if local >= count:
            raise PocketlensError(f"torchrun needs a GPU for each process of a machine; there are {count} here.")
        device = f"cuda:{local}"
        torch.cuda.set_device(device)
    torch.distributed.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    try:
        yield device
    except (RuntimeError, torch.distributed.DistError) as error:
        if not _is_lost(error):
            raise
        raise PocketlensError("another process of this training has ended; its output says why.") from None
    finally:
        torch.distributed.destroy_process_group()


def _is_lost(error: BaseException) -> bool:
    return any(words in str(error).lower() for words in _LOST_WORDS)


def _device() -> str:
    import torch

    return "cuda" if torch.distributed.get_backend() == "nccl" else "cpu"
