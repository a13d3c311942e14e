"""Runs `auto` end to end: reads the data, opens or resumes a session, and runs its phases."""

from __future__ import annotations

import math
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import torch

from pocketlens.data.split import make_split
from pocketlens.datasets import Aim, component, load
from pocketlens.errors import PocketlensError
from pocketlens.events import Stage
from pocketlens.pipeline.phases import AutoEvents, run_phases
from pocketlens.pipeline.result import AutoResult
from pocketlens.pipeline.session import AutoSession, find_unfinished, load_as_before, open_session
from pocketlens.pipeline.state import AutoRequest, AutoState
from pocketlens.pipeline.task import Task
from pocketlens.recipe import usual_recipe
from pocketlens.scoring.ledger import openings
from pocketlens.studies.process import Limits


def run_auto(
    text: str,
    *,
    minutes: float = 30.0,
    data: Path | None = None,
    runs: Path = Path("pocketlens-runs"),
    device: str = "cpu",
    open_again: bool = False,
    body: str = "auto",
) -> AutoEvents:
    """Trains the best classifier for a data set within a time limit, end to end, as a generator.

    Yields a Stage for each phase, and the steps of trainings and other long work in between; returns an AutoResult. An
    unfinished session with the same data, minutes and `open_again` is resumed. If the generator is closed or the
    process is killed, the same call resumes later.

    Args:
        text: the component text or path of the data set.
        minutes: the time limit for everything.
        data: the folder where data is looked for first.
        runs: the folder of runs, in which the session lies below `autos`.
        device: "cpu" or "cuda".
        body: the pretrained body that is tried beside training from scratch, by its name in timm; auto, or none.
        open_again: open the test set even if it has been opened before; otherwise it then stays closed.

    Raises:
        PocketlensError: `minutes` is not above 0, the data set cannot be read, or the runs cannot be written.
    """
    began = time.monotonic()
    if not 0 < minutes < math.inf:
        raise PocketlensError(f"minutes must be above 0, got {minutes:g}.")
    unit = "minute" if minutes == 1 else "minutes"
    yield Stage("auto", (f"{minutes:g} {unit} for {text}; reading the data, then measuring this machine",))
    named = str(component(text))
    unfinished = find_unfinished(named, float(minutes), open_again, runs)
    loaded = None if unfinished is None else load_as_before(unfinished, data)
    dataset, sealed = loaded or load(text, data, aim=Aim(minutes=minutes, device=device))
    split = replace(make_split(dataset), n_test=len(sealed))
    limits = Limits(device, torch.get_num_threads(), data=None if data is None else data.resolve())
    fresh = AutoState(
        request=AutoRequest(named, float(minutes), open_again, dataset.fingerprint, dataset.hold_out, body),
        base=usual_recipe(len(split.train), dataset.shape[2]).recipe,
        opens=len(sealed) > 0 and (open_again or not openings(sealed)),
        loading=round(time.monotonic() - began, 2),
        data=dataset.text,
    )
    with open_session(fresh, runs, began) as session:
        phases = run_phases(Task(session, dataset, sealed, split, runs, limits))
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
