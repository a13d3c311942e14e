"""train: fit + Run. Trains a run from its newest checkpoint to its end, saves it, and scores it.

`refit` makes a run of a finished one's recipe on training and validation rows; `extend`, one that trains it further.
"""

from __future__ import annotations

import errno
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pocketlens.errors import PocketlensError, is_out_of_memory
from pocketlens.events import Epoch, Note, Progress, Step
from pocketlens.files import write_json
from pocketlens.training.choose_interpolation import choose_interpolation, must_choose
from pocketlens.training.device import environment, precision_here
from pocketlens.training.fit import Diverged, check_sizes, check_weights, fit
from pocketlens.training.ranks import ALONE, Ranks
from pocketlens.training.run import Run
from pocketlens.training.state import State
from pocketlens.training.validation_scores import complete, leave_latest, leave_scores_if_they_fit
from pocketlens.training.warm_start import WarmStart, open_source, reuse_source, warm_start

if TYPE_CHECKING:
    from pocketlens.data.dataset import Dataset
    from pocketlens.training.checkpoint import Checkpoint

Event = Note | Progress | Epoch | Step
_NO_MEMORY = "out of memory on {}; the last checkpoint is kept. Try a smaller --batch-size or a smaller --model."
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
    _refuse_features(run, ranks)
    with run.lock():
        yield from _prepare_to_train(run, dataset, device, ranks)
        source = _source(run, source)
        if run.experiment.recipe.is_probe:
            return (yield from _fit_probe(run, dataset, device, source))
        state = State(run.experiment, dataset, run.split, device, fresh=not run.checkpoint_files(), ranks=ranks)
        yield from _load_weights(run, state, dataset, source)
        _check_state(run, state)
        run.set_status("running")
        try:
            yield from _steps(run, state, dataset, save_every)
            if ranks.is_first:
                yield from leave_scores_if_they_fit(run, dataset, device, state.val_logits)
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
        except Exception as error:
            if is_out_of_memory(error):
                _note_end(run, "failed", "out of memory")
                raise PocketlensError(f"run {run.id}: {_NO_MEMORY.format(device)}") from None
            _note_end(run, "failed", str(error) if isinstance(error, PocketlensError) else repr(error))
            raise
        complete(run)
        ranks.wait()


def _refuse_features(run: Run, ranks: Ranks) -> None:
    if run.experiment.features_of:
        raise PocketlensError(f"run {run.id} is fitted on features and cannot be trained; use pocketlens features.")
    if run.experiment.recipe.head == "probe" and ranks.n > 1:
        raise PocketlensError("head=probe is fitted by one process; run pocketlens train without torchrun.")


def _fit_probe(run: Run, dataset: Dataset, device: str, source: WarmStart | None) -> Iterator[Event]:
    from pocketlens.training.probe import train_probe

    events = train_probe(run, dataset, device, source)
    first = next(events)  # what is refused before the first features are there leaves the run new, as it was
    run.set_status("running")
    try:
        yield first
        yield from events
    except (GeneratorExit, KeyboardInterrupt):
        _note_end(run, "stopped", "while computing features; resume continues with those already computed")
        raise
    except Exception as error:
        _note_end(run, "failed", str(error) if isinstance(error, PocketlensError) else repr(error))
        raise
    complete(run)


def _steps(run: Run, state: State, dataset: Dataset, save_every: int | None) -> Iterator[Event]:
    began, n_images = time.perf_counter(), 0
    patience = state.experiment.recipe.patience
    exhausted = patience is not None and state.bad_epochs >= patience  # it was killed after its last epoch
    for event in () if exhausted else fit(state):
        if isinstance(event, Epoch):
            _leave_latest(run, state, dataset)  # before any checkpoint of it: who resumes from that has the same file
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
            yield Note(f"stopped early: epochs without a better validation score: {event.bad_epochs}")
            break
    if must_choose(state):
        chosen = choose_interpolation(state)
        if state.ranks.is_first:
            write_json(run.file("interpolation.json"), chosen.to_dict())
        yield Note(str(chosen))
    _save_now(run, state)


def _prepare_to_train(run: Run, dataset: Dataset, device: str, ranks: Ranks) -> Iterator[Event]:
    run.require_code()
    _check_data(run, dataset)
    here = environment(device, ranks.n)
    before = ranks.from_first(run.environment)
    changed = [f"{key} {before[key]} -> {here[key]}" for key in here if key in before and before[key] != here[key]]
    precision = run.experiment.recipe.precision
    if before and precision_here(device, precision) != precision:
        changed.append(f"precision {precision} -> fp32 ({device} has no bf16 arithmetic)")
    if changed:
        yield Note(f"not bit-identical to an uninterrupted run because of {', '.join(changed)}")
    if not before and ranks.is_first:
        write_json(run.file("environment.json"), here)


def _check_data(run: Run, dataset: Dataset) -> None:
    wanted, given = run.experiment.data_fingerprint, dataset.fingerprint
    n_rows = len(run.split.train) + len(run.split.val)
    if (wanted and wanted != given) or n_rows > len(dataset):
        raise PocketlensError(
            f"run {run.id} was made with rows of {run.experiment.data} ({n_rows}; {wanted or 'no fingerprint'}), the "
            f"data now is {given}: {len(dataset)} rows, {len(dataset.classes)} classes; give the data of the run."
        )


def _load_weights(run: Run, state: State, dataset: Dataset, source: WarmStart | None) -> Iterator[Event]:
    """Loads the newest checkpoint into the state, or the weights of the warm start and the probe before step 0."""
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
    recipe = state.experiment.recipe
    if recipe.starts_from_probe:
        from pocketlens.training.probe import fit_probe

        yield from fit_probe(state.classifier, dataset, run.split.train, state.device, recipe.precision)


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
            f"run {run.id} has no checkpoint yet and starts from {start}, which no longer exists: restore that run's "
            "folder, or make a new run."
        ) from None
    return open_source(experiment, run.path.parent)


def _leave_latest(run: Run, state: State, dataset: Dataset) -> None:
    if state.surest is None:
        return
    try:
        leave_latest(run, dataset, state.history[-1], state.surest)
    except OSError as error:  # where the disk is full, the checkpoint that follows says so
        if error.errno not in _FULL:
            raise


def _save(run: Run, state: State, timing: dict[str, Any] | None = None) -> Iterator[Event]:
    check_weights(state)
    try:
        run.save_checkpoint(state.checkpoint())
        if timing is not None:
            run.add_timing(timing)
    except OSError as error:
        if error.errno not in _FULL:
            raise
        yield Note(
            f"the checkpoint after step {state.step} could not be written ({error.strerror}); training continues"
        )


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
            f"before it is kept: free some space and continue with pocketlens resume {run.id}."
        ) from None


def _is_written(run: Run, now: Checkpoint) -> bool:
    try:
        written = run.checkpoint().meta
    except PocketlensError:
        return False
    return all(written.get(key) == now.meta.get(key) for key in ("step", "n_seen", "interpolation"))


def _note_end(run: Run, status: str, reason: str) -> None:
    with suppress(OSError):  # a full disk must not hide why the training ended
        run.set_status(status, reason)


def _check_state(run: Run, state: State) -> None:
    """Makes sure before the first step that the model takes all sizes, and that there is room for what will be kept."""
    check_sizes(state)
    size = sum(value.numel() * value.element_size() for value in state.classifier.state_dict().values())
    size *= 3 + len(state.modifiers)
    n_logits = len(state.val_rows) * len(state.classifier.classes)  # float32, in the file of predictions
    need, free = 3 * size + 4 * n_logits + 100_000_000, shutil.disk_usage(run.path).free
    if free < need:
        raise PocketlensError(
            f"{run.path} must have room for three checkpoints and the predictions ({need / 1e6:.0f} MB), "
            f"{free / 1e6:.0f} MB are free."
        )
