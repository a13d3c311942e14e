"""One trial in a process of its own, and what became of it: whatever happens to it costs only itself.

On Linux the process comes from a server that has imported torch and done nothing else (multiprocessing's forkserver),
so that it begins at once; elsewhere it is a new interpreter. It reads the data itself, trains its run folder to the
end, and dies with the process that started it. Its cause of death is read from its exit code, its run folder and its
log.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass
from importlib.util import find_spec
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

from pocketlens.errors import PocketlensError
from pocketlens.training.run import Run

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

_PRELOADED = [
    "pocketlens.training.train",
    "pocketlens.datasets",
    "pocketlens.models.lens",
    "pocketlens.models.cnn",
    "pocketlens.optimizers.muon",
    "safetensors.numpy",
    "safetensors.torch",
    "torch._dynamo",  # torch.optim imports it with its first optimizer
]
_MEMORY_WORDS = ("out of memory", "can't allocate memory", "cannot allocate memory", "memoryerror", "bad_alloc")
ON_NODE = "on node "  # begins the line of a log that says where a trial runs
_THREAD_WORDS = ("thread creation failed", "can't start new thread")  # where there is no memory for a stack
_OWN_WORDS = ("memory limit: ", ON_NODE)  # lines of a log that tell no cause
GRACE = 60.0  # seconds in which a trial that is told to stop writes its checkpoint
ORPHANED = 30.0  # seconds in which a process whose watcher was killed has let go of its run
_STOP = b"stop"  # what the leash says to a trial that is to write a checkpoint and end
_WATCH_EVERY = 0.2  # seconds between two measurements of a trial's memory, where the system limits none


@dataclass(frozen=True)
class Limits:
    """What a trial may use."""

    device: str = "cpu"
    threads: int | None = None
    seconds: float | None = None  # after which it is taken for hung
    memory: int | None = None  # bytes beyond what a process has that has imported torch: of address space on Linux
    data: Path | None = None  # where data is looked for first
    folder: Path | None = None  # from which relative paths of data are meant; None: from where the process began


@dataclass(frozen=True)
class Ending:
    """What has become of a trial: one of store.ENDED, or "stopped" where it may go on; with its reason."""

    status: str
    reason: str = ""


class TrialProcess:
    """The process of a trial, from its start."""

    def __init__(self, run: Run, limits: Limits, gpu: str | None = None) -> None:
        """`gpu` is the one that it sees, as CUDA names it; None leaves it those that we see."""
        context = multiprocessing.get_context("forkserver" if _has_forkserver() else "spawn")
        if _has_forkserver():
            context.set_forkserver_preload(_PRELOADED)
        self.run, self.limits, self.began, self.n_lost = run, limits, time.monotonic(), 0
        theirs, self._leash = context.Pipe(duplex=False)  # says when to stop; its end tells that we are gone
        environment = {**os.environ, **({} if gpu is None else {"CUDA_VISIBLE_DEVICES": gpu})}
        arguments = (run.path.resolve(), limits, theirs, environment)
        self._process: BaseProcess = context.Process(target=_work, args=arguments)  # type: ignore[attr-defined]
        self._process.start()
        theirs.close()
        self._told_to_stop = False

    @property
    def seconds(self) -> float:
        """Since its start."""
        return time.monotonic() - self.began

    def wait(self, seconds: float) -> Ending | None:
        """What has become of it, or None while it works."""
        self._process.join(seconds)
        if self._process.exitcode is not None:
            return read_ending(self.run, self._process.exitcode)
        limit = self.limits.seconds
        if limit is not None and self.seconds > limit and not self._told_to_stop:
            self._process.kill()
            self._process.join()
            return Ending("hangs", f"it took longer than {limit:.0f} s and was ended")
        return None

    def ask_to_stop(self) -> None:
        """Tells it to write a checkpoint and end; `stop` waits for that."""
        self._told_to_stop = True
        with contextlib.suppress(OSError):  # it has ended
            self._leash.send_bytes(_STOP)

    def stop(self) -> Ending:
        """Lets it write a checkpoint and end."""
        if not self._told_to_stop:
            self.ask_to_stop()
        self._process.join(GRACE)
        self._process.kill()
        self._process.join()
        ending = read_ending(self.run, self._process.exitcode or 0)
        return ending if ending.status in ("complete", "diverged") else Ending("stopped")

    def close(self) -> None:
        """Ends the process, if it still lives, and frees what it held."""
        self._process.kill()
        self._process.join()
        self._process.close()
        self._leash.close()


def read_ending(run: Run, code: int) -> Ending:
    """The cause of a trial's end, from its exit code (negative: a signal), its run folder and its log."""
    try:
        status, reason = run.status()
    except PocketlensError as error:
        return Ending("no result", str(error))
    if status == "complete" and code == 0:
        return Ending("complete")
    if status == "diverged":
        return Ending(status, reason)
    last = _last_words(run)
    said = f"{reason} {last}".lower()
    if any(words in said for words in _MEMORY_WORDS) or (_is_limited(run) and _has_no_stack(said)):
        return Ending("out of memory", reason if status == "failed" else last)
    if code < 0:
        name = signal.Signals(-code).name
        by_whom = " (by a person, or by the system for want of memory)" if name == "SIGKILL" else ""
        return Ending("killed", f"by {name}{by_whom}")
    if status == "failed":
        return Ending("failed", reason)
    if status == "stopped":
        return Ending("killed", "by a signal that let it save itself")
    if code == 0:
        return Ending("no result", "its process ended without a word")
    return Ending("failed", last or f"its process ended with exit code {code}")


def _has_forkserver() -> bool:
    """Whether processes can be forked from a server; on macOS what torch has loaded does not survive a fork."""
    return sys.platform == "linux" and hasattr(os, "fork") and "forkserver" in multiprocessing.get_all_start_methods()


def _is_limited(run: Run) -> bool:
    """Whether its process has written down that it had a memory limit."""
    return "memory limit" in _log(run)


def _has_no_stack(said: str) -> bool:
    return any(words in said for words in _THREAD_WORDS)


def _log(run: Run) -> str:
    path = run.file("trial.log")
    return path.read_text(encoding="utf-8", errors="replace")[-20_000:] if path.exists() else ""


def _last_words(run: Run) -> str:
    lines = [line.strip() for line in _log(run).splitlines() if line.strip() and not line.startswith(_OWN_WORDS)]
    return lines[-1][:300] if lines else ""


# ---- in the child


def _work(path: Path, limits: Limits, leash: Connection, environment: dict[str, str]) -> None:
    os.environ.update(environment)
    if hasattr(os, "setsid"):
        with contextlib.suppress(OSError):
            os.setsid()  # Ctrl-C in the terminal is for the one who started it, who then stops it
    log = os.open(path / "trial.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    sys.stdout = sys.stderr = os.fdopen(log, "w", buffering=1, encoding="utf-8", errors="backslashreplace")
    stopped = threading.Event()
    threading.Thread(target=_listen, args=(leash, stopped), daemon=True).start()
    if limits.memory is not None:
        _limit_memory(limits.memory)
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        _train(Run(path), limits, stopped)
    except PocketlensError as error:
        print(error, flush=True)
        sys.exit(1)


def _train(run: Run, limits: Limits, stopped: threading.Event) -> None:
    import torch

    from pocketlens.training.run_data import load_of
    from pocketlens.training.train import train

    if limits.folder is not None:
        os.chdir(limits.folder)
    if limits.threads is not None:
        torch.set_num_threads(limits.threads)
    dataset, _ = load_of(run, limits.data)
    deadline = time.monotonic() + ORPHANED
    while run.is_locked() and time.monotonic() < deadline:
        time.sleep(0.05)
    events = train(run, dataset, device=limits.device)
    for _ in events:
        if stopped.is_set():
            events.close()  # type: ignore[attr-defined] # a generator: it saves itself
            break


def _listen(leash: Connection, stopped: threading.Event) -> None:
    """Hears that the trial is to stop; dies with the process at the other end."""
    with contextlib.suppress(EOFError, OSError):
        while leash.recv_bytes() == _STOP:
            stopped.set()
    os._exit(1)  # what is written is whole, and the next process goes on from it


def _limit_memory(size: int) -> None:
    """Linux refuses memory beyond the limit; elsewhere a thread watches what the process has, and ends it."""
    import psutil

    used = psutil.Process().memory_info()
    if sys.platform == "linux" and find_spec("resource") is not None:
        import resource

        print(_limit_words(size, used.vms), flush=True)
        resource.setrlimit(resource.RLIMIT_AS, (used.vms + size, used.vms + size))
    else:
        print(_limit_words(size, used.rss), flush=True)
        threading.Thread(target=_watch_memory, args=(used.rss + size,), daemon=True).start()


def _limit_words(size: int, used: int) -> str:
    return f"memory limit: {size / 1e6:.0f} MB beyond the {used / 1e6:.0f} MB at the start"


def _watch_memory(limit: int) -> None:
    import psutil

    process = psutil.Process()
    while (used := process.memory_info().rss) <= limit:
        time.sleep(_WATCH_EVERY)
    print(f"out of memory: it had {used / 1e6:.0f} MB, more than the {limit / 1e6:.0f} MB that it may have", flush=True)
    os._exit(1)
