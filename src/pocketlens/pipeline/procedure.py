"""Runs `auto` end to end: reads the data, opens or resumes a session, and runs its phases."""

from __future__ import annotations

import math
import time
from contextlib import closing
from typing import TYPE_CHECKING

from pocketlens.errors import PocketlensError
from pocketlens.events import Stage
from pocketlens.pipeline.entry import open_task
from pocketlens.pipeline.options import AutoOptions
from pocketlens.pipeline.phases import AutoEvents, run_phases
from pocketlens.pipeline.session import AutoSession
from pocketlens.text import counted

if TYPE_CHECKING:
    from pocketlens.pipeline.result import AutoResult


def run_auto(options: AutoOptions, device: str = "cpu") -> AutoEvents:
    """Trains the best classifier for a data set within a time limit, end to end, as a generator.

    Yields a Stage for each phase, and the steps of trainings and other long work in between; returns an AutoResult. An
    unfinished session with the same data, minutes, body and `test` is resumed. If the generator is closed or the
    process is killed, the same call resumes later.

    Raises:
        PocketlensError: `minutes` is not above 0, the data set cannot be read, or the runs cannot be written.
    """
    began = time.monotonic()
    yield opening_stage(options)
    with open_task(options, device, began) as task:
        return (yield from with_clock(task.session, run_phases(task)))


def opening_stage(options: AutoOptions) -> Stage:
    """The first line.

    Raises:
        PocketlensError: `minutes` is not above 0.
    """
    minutes = float(options.minutes)
    if not 0 < minutes < math.inf:
        raise PocketlensError(f"minutes must be above 0, got {minutes:g}.")
    line = f"{counted(minutes, 'minute')} for {options.dataset}; reading the data, then measuring this machine"
    return Stage("auto", (line,))


def with_clock(session: AutoSession, phases: AutoEvents) -> AutoEvents:
    """Passes events on and saves the session's clock in between."""
    with closing(phases):
        while True:
            try:
                event = next(phases)
            except StopIteration as end:
                result: AutoResult = end.value
                return result
            session.save_clock()
            yield event
