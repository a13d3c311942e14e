"""Where trials run: the interface of an executor, and the executor that starts processes on this machine.

The other executor is `cluster.py`. The scheduler in `pool.py` knows nothing but `Executor` and `TrialHandle`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Protocol

from pocketlens.studies.process import Limits, Outcome, TrialProcess
from pocketlens.training.run import Run
from pocketlens.training.tracking import Tracker


class TrialHandle(Protocol):
    """A trial that has been started."""

    n_lost: int  # how often the machine on which it ran was lost

    @property
    def seconds(self) -> float:
        """Since the start."""

    def wait(self, seconds: float) -> Outcome | None:
        """The outcome, or None while the trial is running; waits at most so many seconds."""

    def ask_to_stop(self) -> None:
        """Asks the trial to write a checkpoint and end; `stop` waits for that."""

    def stop(self) -> Outcome:
        """Lets the trial write a checkpoint and end."""

    def close(self) -> None:
        """Ends the trial if it is still running, and frees its resources."""


class Executor(Protocol):
    """Something that runs trials."""

    def start(self, run: Run, limits: Limits, slot: int) -> TrialHandle:
        """Starts or continues a trial. `slot` is the lowest number that no other running trial has."""


class LocalExecutor:
    """Runs trials as processes of this machine, each with a GPU of its own where there are several."""

    def start(self, run: Run, limits: Limits, slot: int) -> TrialHandle:
        """A process that sees the GPU of its slot alone, where trials use GPUs and there are several."""
        if not limits.device.startswith("cuda"):
            return TrialProcess(run, limits)
        import torch

        return TrialProcess(run, limits, gpu_of(slot, visible_gpus(os.environ, torch.cuda.device_count())))


LOCAL = LocalExecutor()


def visible_gpus(environment: Mapping[str, str], count: int) -> tuple[str, ...]:
    """The GPUs that may be used, as CUDA_VISIBLE_DEVICES names them: those that it lists, else all `count` of them."""
    listed = environment.get("CUDA_VISIBLE_DEVICES")
    names = [str(number) for number in range(count)] if listed is None else listed.split(",")
    return tuple(name.strip() for name in names[:count])


def gpu_of(slot: int, gpus: tuple[str, ...]) -> str | None:
    """The GPU of a slot, assigned in turn; None where there is at most one."""
    return gpus[slot % len(gpus)] if len(gpus) > 1 else None


def free_slot(taken: Set[int]) -> int:
    """The lowest number that is not taken."""
    return next(number for number in range(len(taken) + 1) if number not in taken)


@dataclass(frozen=True)
class Resources:
    """What trials are run with."""

    limits: Limits  # of each
    jobs: int  # at the same time
    executor: Executor
    tracker: Tracker | None = None
