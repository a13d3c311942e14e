"""Processes for tests, forked from one that has imported everything, so that each of them costs milliseconds."""

from __future__ import annotations

import multiprocessing
import os
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from typing import Any

PATIENCE = 300.0  # seconds after which a child that says nothing is taken for hung; machines may be busy

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(
    [
        "pocketlens.training.train",
        "pocketlens.cli",
        "pocketlens.data.sources.cache",
        *(f"pocketlens.models.{name}" for name in ("lens", "mlp", "lenet")),
        *(f"pocketlens.augment.{name}" for name in ("flip", "crop", "cutmix", "cutout", "mixup")),
        *(f"pocketlens.optimizers.{name}" for name in ("muon", "sgd", "adam", "adamw")),
        *(f"pocketlens.schedules.{name}" for name in ("triangle", "constant", "cosine", "step")),
        "pocketlens.losses.cross_entropy",
        "torch._dynamo",  # torch.optim imports it with its first optimizer
        "pocketlens.datasets.npz",
        "safetensors.numpy",
        "pytest",
    ]
)


@contextmanager
def child(function: Callable[..., None], *args: Any) -> Iterator[tuple[ForkServerProcess, Connection]]:
    """A process that runs `function(pipe, *args)` and our end of its pipe; it is killed when the block ends."""
    ours, theirs = _context.Pipe()
    process = _context.Process(target=_enter, args=(function, theirs, dict(os.environ), args))
    process.start()
    theirs.close()
    try:
        yield process, ours
    finally:
        process.kill()
        process.join()
        process.close()
        ours.close()


def call(function: Callable[..., Any], *args: Any) -> Any:
    """What `function(*args)` gives in a process of its own."""
    with child(_answer, function, args) as (_, pipe):
        return receive(pipe)


def receive(pipe: Connection) -> Any:
    """The next thing that the child sends.

    Raises:
        AssertionError: it raised an exception, died, or said nothing for long.
    """
    assert pipe.poll(PATIENCE), "the child process hangs"
    try:
        said = pipe.recv()
    except EOFError:
        raise AssertionError("the child process died without a word") from None
    assert not isinstance(said, BaseException), said.args[0]
    return said


def _answer(pipe: Connection, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
    pipe.send(function(*args))


def _enter(function: Callable[..., None], pipe: Connection, environment: dict[str, str], args: tuple[Any, ...]) -> None:
    import torch

    os.environ.update(environment)
    torch.set_num_threads(1)
    try:
        function(pipe, *args)
    except Exception:
        pipe.send(RuntimeError(traceback.format_exc()))
        raise SystemExit(1) from None
