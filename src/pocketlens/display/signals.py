"""SIGINT and SIGTERM set a flag that the loop reads between two steps; a second Ctrl-C within a second ends at once."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

# On Windows Ctrl-Break stands for SIGTERM, which no other program can send there.
CAUGHT = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGBREAK") if hasattr(signal, name))


@contextlib.contextmanager
def stop_on_signals(*, in_haste: bool = True) -> Iterator[Callable[[], int | None]]:
    """Within it, the function that it gives tells which signal has come, or None.

    The handler itself only writes the number down. Python calls it between two instructions of the main thread, which
    may be seconds later while torch computes; so a thread listens for the second Ctrl-C at the wake-up socket (Windows
    allows no pipe there). Not `in_haste`, a second one is like the first: torchrun passes each on, so that every Ctrl-C
    comes twice.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None  # only the main thread may listen to signals
        return
    came: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        came.append(number)

    read_end, write_end = socket.socketpair()
    write_end.setblocking(False)
    before = {number: signal.signal(number, note) for number in CAUGHT}
    wakeup_before = signal.set_wakeup_fd(write_end.fileno(), warn_on_full_buffer=False)
    listener = threading.Thread(target=_exit_on_second, args=(read_end, in_haste), daemon=True)
    listener.start()
    try:
        yield lambda: came[0] if came else None
    finally:
        signal.set_wakeup_fd(wakeup_before)
        for number, handler in before.items():
            signal.signal(number, handler)
        write_end.close()  # the listener hears that and returns
        listener.join(timeout=1)


def _exit_on_second(read_end: socket.socket, in_haste: bool) -> None:
    last = -1e9
    with read_end:
        while numbers := read_end.recv(1):
            if numbers[0] != signal.SIGINT or not in_haste:
                continue
            now = time.monotonic()
            if now - last < 1.0:
                if sys.stdout.isatty():
                    os.write(1, b"\x1b[?25h\n")  # the progress bar had hidden the cursor
                os.write(2, b"pocketlens: stopped at once; the last checkpoint is whole\n")
                os._exit(130)
            last = now
