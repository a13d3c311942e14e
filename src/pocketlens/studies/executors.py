"""Where trials run: in processes of this machine, each with a GPU of its own where there are several.

`cluster.py` is the other place. What runs studies knows no more of a place than what `Place` and `Worker` say.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Protocol

from pocketlens.studies.process import Ending, Limits, TrialProcess
from pocketlens.training.run import Run
from pocketlens.training.tracking import Tracker


class Worker(Protocol):
    """A trial at work."""

    n_lost: int  # how often the machine on which it worked was lost

    @property
    def seconds(self) -> float:
        """Since its start."""

    def wait(self, seconds: float) -> Ending | None:
        """What has become of it, or None while it works."""

    def ask_to_stop(self) -> None:
        """Tells it to write a checkpoint and end; `stop` waits for that."""

    def stop(self) -> Ending:
        """Lets it write a checkpoint and end."""

    def close(self) -> None:
        """Ends it, if it still works, and frees what it held."""


class Place(Protocol):
    """Where trials run."""

    def start(self, run: Run, limits: Limits, slot: int) -> Worker:
        """Begins or goes on with a trial; no other trial at work has the number `slot`, which is as low as can be."""


class ThisMachine:
    """Processes of this machine."""

    def start(self, run: Run, limits: Limits, slot: int) -> Worker:
        """A process with the GPU of its slot, where trials use GPUs and there are several."""
        if not limits.device.startswith("cuda"):
            return TrialProcess(run, limits)
        import torch

        return TrialProcess(run, limits, gpu_of(slot, visible_gpus(os.environ, torch.cuda.device_count())))


HERE = ThisMachine()


def visible_gpus(environment: Mapping[str, str], count: int) -> tuple[str, ...]:
    """The GPUs that may be used, as CUDA_VISIBLE_DEVICES names them: those that it lists, else all `count` of them."""
    listed = environment.get("CUDA_VISIBLE_DEVICES")
    names = [str(number) for number in range(count)] if listed is None else listed.split(",")
    return tuple(name.strip() for name in names[:count])


def gpu_of(slot: int, gpus: tuple[str, ...]) -> str | None:
    """The GPU of a slot, each in turn; None where there is no choice."""
    return gpus[slot % len(gpus)] if len(gpus) > 1 else None


def free_slot(taken: Set[int]) -> int:
    """The lowest number that is not taken."""
    return next(number for number in range(len(taken) + 1) if number not in taken)


@dataclass(frozen=True)
class Means:
    """With what trials are run."""

    limits: Limits
    jobs: int  # at the same time
    place: Place
    tracker: Tracker | None = None
