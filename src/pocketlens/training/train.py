"""train: fit + Run. Trains a run from its newest checkpoint to its end, saves it, and scores it.

`refit` makes a run of a finished one's recipe on training and validation rows; `extend`, one that trains it further.
"""

from __future__ import annotations

import errno
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pocketlens.data.dataset import Dataset
from pocketlens.data.split import Split
from pocketlens.errors import PocketlensError
from pocketlens.events import Epoch, Note, Progress
from pocketlens.files import RUNS, write_json
from pocketlens.recipe import Experiment, looks_back
from pocketlens.scoring.predictions import Predictions
from pocketlens.scoring.scores import score
from pocketlens.training.checkpoint import Checkpoint
from pocketlens.training.classifier import load_classifier, predict_logits
from pocketlens.training.device import environment
from pocketlens.training.fit import Diverged, check_sizes, check_weights, fit
from pocketlens.training.ranks import ALONE, Ranks
from pocketlens.training.run import Run, store
from pocketlens.training.state import SMALLEST, State, make_plan
from pocketlens.training.warm_start import WarmStart, open_source, reuse_source, start_from, warm_start, with_source

Event = Note | Progress | Epoch
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def train(
    run: Run,
    dataset: Dataset,
    *,
    device: str = "cpu",
    save_every: int | None = None,
    ranks: Ranks = ALONE,
    source: WarmStart | None = None,
) -> Iterator[Event]:
    """Trains a run to its end, from its newest checkpoint where it has one; the same call resumes a run.

    A checkpoint is written after every epoch and every `save_every` steps, and when the caller breaks out of the loop.
    With several ranks, all of them make this call; those after the first pass a WatchedRun, which writes nothing.

    Args:
        run: the run.
        dataset: the data that the run was made with.
        device: where to compute.
        save_every: steps between two checkpoints within an epoch; None saves only at the end of an epoch.
        ranks: the processes that train together.
        source: the run's warm start, where the caller has opened it already; without it, it is opened here.

    Raises:
        PocketlensError: the data is not the run's, the recipe does not fit, the folder is in use or full, the warm
            start's source is gone or has changed, or the loss was not finite.
    """
    if run.experiment.features_of:
        raise PocketlensError(f"run {run.id} was fitted on features and cannot be trained further; fit another head.")
    run.require_code()
    with run.lock():
        yield from _prepare_to_train(run, dataset, device, ranks)
        source = _source(run, source)
        state = State(run.experiment, dataset, run.split, device, fresh=not run.checkpoint_files(), ranks=ranks)
        yield from _load_weights(run, state, source)
        check_sizes(state)
        _check_disk(run, state)
        run.set_status("running")
        try:
            yield from _steps(run, state, save_every)
            if ranks.is_first:
                leave_scores(run, dataset, device, state.val_logits)
        except GeneratorExit:
            _save_now(run, state)
            _note_end(run, "stopped", f"after step {state.step} of {state.last_step}")
            raise
        except KeyboardInterrupt:  # in the middle of a step, which is not saved
            _note_end(run, "stopped", "in the middle of a step; resume continues from the last checkpoint")
            raise
        except Diverged as error:
            _note_end(run, "diverged", str(error))
            raise PocketlensError(f"run {run.id} diverged: {error}.") from None
        except torch.OutOfMemoryError:
            _note_end(run, "failed", "out of memory")
            raise PocketlensError(
                f"run {run.id}: the device is out of memory; the last checkpoint is kept. Try a smaller --batch-size."
            ) from None
        except Exception as error:
            _note_end(run, "failed", str(error) if isinstance(error, PocketlensError) else repr(error))
            raise
        run.set_status("complete")
        ranks.wait()


def _steps(run: Run, state: State, save_every: int | None) -> Iterator[Event]:
    began, n_images = time.perf_counter(), 0
    patience = state.experiment.recipe.patience
    exhausted = patience is not None and state.bad_epochs >= patience  # it was killed after its last epoch
    for event in () if exhausted else fit(state):
        yield event
        if isinstance(event, Progress):
            n_images += event.n_images
            if save_every and event.step % save_every == 0:
                yield from _save(run, state)
            continue
        seconds = time.perf_counter() - began
        timing = {"epoch": event.number, "seconds": seconds, "images_per_second": n_images / seconds}
        yield from _save(run, state, timing)
        began, n_images = time.perf_counter(), 0
        if patience is not None and event.bad_epochs >= patience:
            yield Note(f"stopped early: no better validation score for {event.bad_epochs} epochs")
            break
    _save_now(run, state)


def refit(run: Run, runs: Path = RUNS) -> Run:
    """A new run, not yet trained, of the same recipe and schedule on training and validation rows, to the chosen epoch.

    A schedule that follows the validation scores is replayed, epoch by epoch.

    Raises:
        PocketlensError: the run is not complete, or has no validation rows.
    """
    status, reason = run.status()
    if status != "complete":
        raise PocketlensError(
            f"run {run.id} must be complete before it is refitted, it is {status} {reason}".rstrip() + "."
        )
    if run.experiment.features_of:
        raise PocketlensError(f"run {run.id} was fitted on features; fit it again on all rows with --val-fraction 0.")
    old = run.split
    if len(old.val) == 0:
        raise PocketlensError(f"run {run.id} trained on all rows already; test it with: pocketlens test {run.id}")
    rows = np.sort(np.concatenate([old.train, old.val]))
    meta = run.checkpoint().meta
    experiment = run.experiment
    best = [record["step"] for record in meta["history"] if record["best"]]
    chosen = max(best) if best and experiment.recipe.keep == "best" else meta["step"]
    before, after = (_steps_per_epoch(experiment, n_rows) for n_rows in (len(old.train), len(rows)))
    factor = after / before  # the same number of epochs
    steps = round(meta["n_steps"] * factor)
    refitted = replace(
        experiment,
        val_fraction=0.0,
        n_steps=steps,
        stop_step=None if chosen == meta["n_steps"] else max(1, round(chosen * factor)),
        factors=_recorded_factors(run) if looks_back(experiment.recipe.schedule) else None,
        made_by=f"refit of {run.id}",
    )
    if refitted.recipe.start is not None:  # `runs` may be another folder than the run's
        start = Run.open(refitted.recipe.start, run.path.parent).path.resolve()
        refitted = replace(refitted, recipe=refitted.recipe.changed(start=str(start)))
    refitted = with_source(refitted, runs)
    return Run.create(refitted, Split(rows, rows[:0], old.seed, 0.0), runs, corrections=run.corrections())


def _recorded_factors(run: Run) -> tuple[float, ...]:
    """The factor on the peak learning rates in each epoch; a refit has no validation scores to compute it from."""
    return tuple(float(record["factor"]) for record in run.history())


def _steps_per_epoch(experiment: Experiment, n_rows: int) -> int:
    return make_plan(experiment.recipe, n_rows, (SMALLEST, SMALLEST, 1), None).steps_per_epoch


def _prepare_to_train(run: Run, dataset: Dataset, device: str, ranks: Ranks) -> Iterator[Event]:
    _check_data(run, dataset)
    here = environment(device, ranks.n)
    before = ranks.from_first(run.environment)
    changed = [f"{key} {before[key]} -> {here[key]}" for key in here if key in before and before[key] != here[key]]
    if changed:
        yield Note(f"not bit-identical to an uninterrupted run because of {', '.join(changed)}")
    if not before and ranks.is_first:
        write_json(run.file("environment.json"), here)


def _check_data(run: Run, dataset: Dataset) -> None:
    wanted, given = run.experiment.data_fingerprint, dataset.fingerprint
    n_rows = len(run.split.train) + len(run.split.val)
    if (wanted and wanted != given) or n_rows > len(dataset):
        raise PocketlensError(
            f"run {run.id} was made with {n_rows} rows of {run.experiment.data} ({wanted or 'no fingerprint'}), the "
            f"data now is {given}: {len(dataset)} rows, {len(dataset.classes)} classes; give the data of the run."
        )


def _load_weights(run: Run, state: State, source: WarmStart | None) -> Iterator[Event]:
    """Loads the newest checkpoint into the state, or the weights of the warm start before the first step."""
    for text in run.set_aside_broken():
        yield Note(text)
    state.ranks.wait()
    if run.checkpoint_files():
        checkpoint = run.checkpoint()
        state.restore(checkpoint)
        run.settle(checkpoint)
        if state.step:
            yield Note(f"continues after step {state.step} of {state.last_step}")
        return
    if source is not None:
        match = warm_start(state.classifier, source.checkpoint, state.experiment.recipe, source.id)
        yield Note(f"starts from {source.id} (weights {state.experiment.start_weights}): {match}")


def _source(run: Run, given: WarmStart | None) -> WarmStart | None:
    """The warm start of a run before its first step; None for any other run.

    Raises:
        PocketlensError: the source is gone, or has other weights than when the run was made.
    """
    experiment = run.experiment
    start = experiment.recipe.start
    if run.checkpoint_files() or start is None:
        return None
    if given is not None:
        return reuse_source(given, experiment)
    try:
        Run.open(start, run.path.parent)
    except PocketlensError:
        raise PocketlensError(
            f"run {run.id} has trained nothing yet and starts from {start}, which is gone: put that run's folder back, "
            "or make a new run."
        ) from None
    return open_source(experiment, run.path.parent)


def _save(run: Run, state: State, timing: dict[str, Any] | None = None) -> Iterator[Event]:
    check_weights(state)
    try:
        run.save_checkpoint(state.checkpoint())
        if timing is not None:
            run.add_timing(timing)
    except OSError as error:
        if error.errno not in _FULL:
            raise
        yield Note(f"the checkpoint after step {state.step} could not be written ({error.strerror}); training goes on")


def _save_now(run: Run, state: State) -> None:
    """Writes the state, unless it is written already; weights that are not finite are never written."""
    checkpoint = state.checkpoint()
    try:
        if _is_written(run, checkpoint):
            run.settle(checkpoint)
        elif state.is_finite():
            run.save_checkpoint(checkpoint)
    except OSError as error:
        raise PocketlensError(
            f"run {run.id}: step {state.step} could not be written to {run.path} ({error.strerror}); the checkpoint "
            f"before it is kept: make room and continue with pocketlens resume {run.id}."
        ) from None


def _is_written(run: Run, now: Checkpoint) -> bool:
    try:
        written = run.checkpoint().meta
    except PocketlensError:
        return False
    return all(written[key] == now.meta[key] for key in ("step", "n_seen"))


def _note_end(run: Run, status: str, reason: str) -> None:
    with suppress(OSError):  # a full disk must not hide why the training ended
        run.set_status(status, reason)


def _check_disk(run: Run, state: State) -> None:
    size = sum(value.numel() * value.element_size() for value in state.classifier.state_dict().values())
    size *= 3 + len(state.modifiers)
    need, free = 3 * size + 100_000_000, shutil.disk_usage(run.path).free
    if free < need:
        raise PocketlensError(
            f"{run.path} must have room for three checkpoints ({need / 1e6:.0f} MB), {free / 1e6:.0f} MB are free."
        )


def leave_scores(run: Run, dataset: Dataset, device: str, logits: NDArray[np.float32] | None = None) -> None:
    """Stores the run's predictions and scores on its validation rows, where it has any.

    `logits` (N, K) are those of the weights that count, where they are known; otherwise they are computed.
    """
    rows = run.split.val
    if not len(rows):
        return
    if logits is None:
        logits = predict_logits(load_classifier(run), dataset.images, rows, device=device)
    predictions = Predictions("val", rows, dataset.labels[rows], logits)
    store(run, predictions, score(predictions, dataset.classes, dataset.superclasses, dataset.superclass_of))


def extend(run: Run, epochs: float, runs: Path = RUNS) -> Run:
    """A new run, not yet trained, that trains a finished one further until both have trained for `epochs` in total.

    Raises:
        PocketlensError: the run is not complete, or has trained for that long already.
    """
    status = run.status()[0]
    if status != "complete":
        raise PocketlensError(f"run {run.id} must be complete to be trained further, it is {status}; resume it first.")
    checkpoint, experiment = run.checkpoint(), run.experiment
    plan = make_plan(experiment.recipe, len(run.split.train), (SMALLEST, SMALLEST, 1), None)
    done = checkpoint.meta["step"] / plan.steps_per_epoch
    if epochs <= done:
        raise PocketlensError(f"run {run.id} has trained for {done:g} epochs; --epochs must be more, got {epochs:g}.")
    recipe = experiment.recipe.changed(start=str(run.path.resolve()), head="keep", epochs=round(epochs - done, 6))
    longer = replace(
        experiment,
        recipe=recipe,
        seed=experiment.seed + 1,
        n_steps=None,
        minutes=None,
        stop_step=None,
        factors=None,
        start_weights="",  # of this run's own source, where it had one
        start_outputs=(),
        label="",
        made_by=f"resume of {run.id}, to {epochs:g} epochs",
    )
    longer = start_from(run, checkpoint, longer, runs).experiment
    return Run.create(longer, run.split, runs, corrections=run.corrections())
