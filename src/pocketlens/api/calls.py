"""Calls from Python: a work is shown while it runs, and Ctrl-C stops it as it stops the command."""

from __future__ import annotations

from pocketlens.display.progress import follow
from pocketlens.display.screen import Screen
from pocketlens.events import Events, Result


def run_call(events: Events[Result], *, verbose: bool = True) -> Result:
    """Runs a work to its end and gives its result; `verbose` shows its progress on standard output.

    Raises:
        KeyboardInterrupt: it was stopped and has no result.
    """
    followed = follow(events, Screen(is_mute=not verbose))
    if followed.result is None and followed.signal is not None:
        raise KeyboardInterrupt
    return followed.result  # type: ignore[return-value]
