"""One trial in a process of its own, and its outcome: a trial that fails affects no other trial.

On Linux the process comes from a server that has imported torch and done nothing else (multiprocessing's forkserver),
so it starts at once; elsewhere it is a new interpreter. It reads the data itself, trains its run folder to the end, and
dies with the process that started it. The cause of its end is read from its exit code, its run folder and its log.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

from pocketlens.errors import MEMORY_WORDS, PocketlensError
from pocketlens.own_code import CodeFile, name_again, named
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
ON_NODE = "on node "  # prefix of the log line that says where a trial runs
_THREAD_WORDS = ("thread creation failed", "can't start new thread")  # there is no memory for a stack
_OWN_LINES = ("memory limit: ", ON_NODE)  # prefixes of log lines that explain no failure
GRACE = 60.0  # seconds in which a trial that is asked to stop writes its checkpoint
ORPHANED = 30.0  # seconds in which a process whose parent was killed has released its run
_STOP = b"stop"  # sent through the leash to a trial that is to write a checkpoint and end
_WATCH_EVERY = 0.2  # seconds between two measurements of a trial's memory, where the system limits none


@dataclass(frozen=True)
class Limits:
    """What a trial may use."""

    device: str = "cpu"
    threads: int | None = None
    seconds: float | None = None  # after which it counts as hung
    memory: int | None = None  # bytes beyond those of a process that has imported torch; on Linux of address space
    data: Path | None = None  # the first folder that is searched for data
    folder: Path | None = None  # against which relative paths of data are resolved; None: the working directory
    code: tuple[CodeFile, ...] = field(default_factory=named)  # the files of one's own whose code may run


@dataclass(frozen=True)
class Outcome:
    """How a trial has ended: one of store.ENDED, or "stopped" where it can be continued; with the reason."""

    status: str
    reason: str = ""


class TrialProcess:
    """The process of a trial, which starts with this object."""

    def __init__(self, run: Run, limits: Limits, gpu: str | None = None) -> None:
        """`gpu` is the only one that the process sees, as CUDA names it; None: all that this process sees."""
        context = multiprocessing.get_context("forkserver" if _has_forkserver() else "spawn")
        if _has_forkserver():
            context.set_forkserver_preload(_PRELOADED)
        self.run, self.limits, self.began, self.n_lost = run, limits, time.monotonic(), 0
        theirs, self._leash = context.Pipe(duplex=False)  # says when to stop; closed when this process dies
        environment = {**os.environ, **({} if gpu is None else {"CUDA_VISIBLE_DEVICES": gpu})}
        arguments = (run.path.resolve(), limits, theirs, environment)
        self._process: BaseProcess = context.Process(target=_work, args=arguments)  # type: ignore[attr-defined]
        with _main_hidden():
            self._process.start()
        theirs.close()
        self._is_stopping = False

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self.began

    def wait(self, seconds: float) -> Outcome | None:
        """The outcome, or None while the trial is running; waits at most so many seconds."""
        self._process.join(seconds)
        if self._process.exitcode is not None:
            return read_outcome(self.run, self._process.exitcode)
        limit = self.limits.seconds
        if limit is not None and self.seconds > limit and not self._is_stopping:
            self._process.kill()
            self._process.join()
            return Outcome("hangs", f"it took longer than {limit:.0f} s and was ended")
        return None

    def ask_to_stop(self) -> None:
        """Asks the trial to write a checkpoint and end; `stop` waits for that."""
        self._is_stopping = True
        with contextlib.suppress(OSError):  # it has ended
            self._leash.send_bytes(_STOP)

    def stop(self) -> Outcome:
        """Lets the trial write a checkpoint and end."""
        if not self._is_stopping:
            self.ask_to_stop()
        self._process.join(GRACE)
        self._process.kill()
        self._process.join()
        outcome = read_outcome(self.run, self._process.exitcode or 0)
        return outcome if outcome.status in ("complete", "diverged") else Outcome("stopped")

    def close(self) -> None:
        """Ends the process if it is still running, and frees its resources."""
        self._process.kill()
        self._process.join()
        self._process.close()
        self._leash.close()


def read_outcome(run: Run, code: int) -> Outcome:
    """The outcome of a trial, from its exit code (negative: a signal), its run folder and its log."""
    try:
        status, reason = run.status()
    except PocketlensError as error:
        return Outcome("no result", str(error))
    if status == "complete" and code == 0:
        return Outcome("out of memory", reason) if reason else Outcome("complete")  # it is trained and has no scores
    if status == "diverged":
        return Outcome(status, reason)
    last = _last_line(run)
    said = f"{reason} {last}".lower()
    if any(words in said for words in MEMORY_WORDS) or (_is_limited(run) and _has_no_stack(said)):
        return Outcome("out of memory", reason if status == "failed" else last)
    if code < 0:
        name = signal.Signals(-code).name
        by_whom = " (by a person, or by the system because memory ran out)" if name == "SIGKILL" else ""
        return Outcome("killed", f"by {name}{by_whom}")
    if status == "failed":
        return Outcome("failed", reason)
    if status == "stopped":
        return Outcome("killed", "by a signal, after saving a checkpoint")
    if code == 0:
        return Outcome("no result", "its process ended unexpectedly")
    return Outcome("failed", last or f"its process ended with exit code {code}")


@contextlib.contextmanager
def _main_hidden() -> Iterator[None]:
    """While a process starts, hides which program this one runs: the new process would run it again.

    A script needs no `if __name__ == "__main__":` therefore; what a trial runs is named in its run folder.
    """
    main = vars(sys.modules["__main__"])
    hidden = {str(name): main.pop(name) for name in ("__file__", "__spec__") if name in main}
    main["__spec__"] = None
    try:
        yield
    finally:
        main.update(hidden)


def _has_forkserver() -> bool:
    """Whether processes can be forked from a server; on macOS what torch has loaded does not survive a fork."""
    return sys.platform == "linux" and hasattr(os, "fork") and "forkserver" in multiprocessing.get_all_start_methods()


def _is_limited(run: Run) -> bool:
    """Whether its process has logged a memory limit."""
    return "memory limit" in _log(run)


def _has_no_stack(said: str) -> bool:
    return any(words in said for words in _THREAD_WORDS)


def _log(run: Run) -> str:
    path = run.file("trial.log")
    return path.read_text(encoding="utf-8", errors="replace")[-20_000:] if path.exists() else ""


def _last_line(run: Run) -> str:
    lines = [line.strip() for line in _log(run).splitlines() if line.strip() and not line.startswith(_OWN_LINES)]
    return lines[-1][:300] if lines else ""


# ---- in the child


def _work(path: Path, limits: Limits, leash: Connection, environment: dict[str, str]) -> None:
    os.environ.update(environment)
    if hasattr(os, "setsid"):
        with contextlib.suppress(OSError):
            os.setsid()  # Ctrl-C in the terminal reaches the parent alone, which then stops the trial
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

    from pocketlens.training.run_data import data_if_moved, load_of
    from pocketlens.training.train import train

    name_again(limits.code)
    if limits.folder is not None:
        os.chdir(limits.folder)
    if limits.threads is not None:
        torch.set_num_threads(limits.threads)
    dataset, _ = load_of(run, data_if_moved(run, limits.data))
    deadline = time.monotonic() + ORPHANED
    while run.is_locked() and time.monotonic() < deadline:
        time.sleep(0.05)
    events = train(run, dataset, device=limits.device)
    for _ in events:
        if stopped.is_set():
            events.close()  # type: ignore[attr-defined] # a generator, which saves its state
            break


def _listen(leash: Connection, stopped: threading.Event) -> None:
    """Hears that the trial is to stop; dies with the process at the other end."""
    with contextlib.suppress(EOFError, OSError):
        while leash.recv_bytes() == _STOP:
            stopped.set()
    os._exit(1)  # every file that is there is whole, and the next process continues from it


def _limit_memory(size: int) -> None:
    """Linux refuses memory beyond the limit; elsewhere a thread watches what the process has, and ends it."""
    import psutil
    import torch  # noqa: F401 - the limit is for what comes on top of it

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
    print(f"out of memory: it used {used / 1e6:.0f} MB, above its limit of {limit / 1e6:.0f} MB", flush=True)
    os._exit(1)
