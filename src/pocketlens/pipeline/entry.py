"""Opens the task of a session of `auto`: its data, and the session itself, a new one or one that goes on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch

from pocketlens.data.split import make_split
from pocketlens.datasets import Aim, load
from pocketlens.pipeline.fold_data import require_closed_folds, session_text, share_of
from pocketlens.pipeline.options import AutoOptions
from pocketlens.pipeline.session import find_unfinished, load_as_before, open_session
from pocketlens.pipeline.state import AutoRequest, AutoState
from pocketlens.pipeline.task import Task
from pocketlens.recipe import usual_recipe
from pocketlens.scoring.ledger import openings
from pocketlens.studies.process import Limits


@contextmanager
def open_task(options: AutoOptions, device: str, began: float) -> Iterator[Task]:
    """The task of a session with its data: of an unfinished session with the same request, or of a new one.

    With folds, the data is that of `session_text`, and the final training gets all development rows.

    Args:
        options: what was asked for.
        device: where to compute.
        began: the monotonic time since when the work has been going on.

    Raises:
        PocketlensError: the data set cannot be read, the runs cannot be written, or its folds were opened before.
    """
    minutes, data = float(options.minutes), options.data
    named = session_text(options)
    unfinished = find_unfinished(named, minutes, options.test, options.runs, seed=options.seed)
    loaded = None if unfinished is None else load_as_before(unfinished, data)
    dataset, sealed = loaded or load(named, data, aim=Aim(minutes=share_of(minutes, options.folds), device=device))
    if options.folds is not None and loaded is None:
        require_closed_folds(dataset, options)
    split = replace(make_split(dataset, seed=options.seed), n_test=len(sealed))
    opens = options.folds is not None or (len(sealed) > 0 and (options.test or not openings(sealed)))
    fresh = AutoState(
        request=AutoRequest(
            named, minutes, options.test, dataset.fingerprint, dataset.hold_out, options.body, options.seed
        ),
        base=usual_recipe(len(split.train), dataset.shape[2]).recipe,
        opens=opens,
        loading=round(time.monotonic() - began, 2),
        data=dataset.text,
    )
    limits = Limits(device, torch.get_num_threads(), data=None if data is None else data.resolve())
    with open_session(fresh, options.runs, began) as session:
        yield Task(session, dataset, sealed, split, options.runs, limits)
