"""Runs `auto` end to end: reads the data, opens or resumes a session, and runs its phases."""

from __future__ import annotations

import math
import time
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from pocketlens.data.split import make_split
from pocketlens.datasets import Aim, component, load
from pocketlens.errors import PocketlensError
from pocketlens.events import Stage
from pocketlens.pipeline.options import AutoOptions
from pocketlens.pipeline.phases import AutoEvents, run_phases
from pocketlens.pipeline.session import AutoSession, find_unfinished, load_as_before, open_session
from pocketlens.pipeline.state import AutoRequest, AutoState
from pocketlens.pipeline.task import Task
from pocketlens.recipe import usual_recipe
from pocketlens.scoring.ledger import openings
from pocketlens.studies.process import Limits

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
    began, minutes, text, data = time.monotonic(), float(options.minutes), options.dataset, options.data
    if not 0 < minutes < math.inf:
        raise PocketlensError(f"minutes must be above 0, got {minutes:g}.")
    unit = "minute" if minutes == 1 else "minutes"
    yield Stage("auto", (f"{minutes:g} {unit} for {text}; reading the data, then measuring this machine",))
    named = str(component(text))
    unfinished = find_unfinished(named, minutes, options.test, options.runs)
    loaded = None if unfinished is None else load_as_before(unfinished, data)
    dataset, sealed = loaded or load(text, data, aim=Aim(minutes=minutes, device=device))
    split = replace(make_split(dataset), n_test=len(sealed))
    limits = Limits(device, torch.get_num_threads(), data=None if data is None else data.resolve())
    fresh = AutoState(
        request=AutoRequest(named, minutes, options.test, dataset.fingerprint, dataset.hold_out, options.body),
        base=usual_recipe(len(split.train), dataset.shape[2]).recipe,
        opens=len(sealed) > 0 and (options.test or not openings(sealed)),
        loading=round(time.monotonic() - began, 2),
        data=dataset.text,
    )
    with open_session(fresh, options.runs, began) as session:
        phases = run_phases(Task(session, dataset, sealed, split, options.runs, limits))
        return (yield from _with_clock(session, phases))


def _with_clock(session: AutoSession, phases: AutoEvents) -> AutoEvents:
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
