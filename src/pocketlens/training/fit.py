"""fit: the training loop. It has no callbacks; the body of the caller's `for` loop takes their place.

    state = State(experiment, dataset, split, device="cpu")
    for event in fit(state):
        if isinstance(event, Epoch): print(event.record)

It yields after every step, so the caller can save, stop or show something at any step. Test rows are not among its
parameters and cannot be reached from them.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pocketlens.draws import Draws, balanced_order, order, stream
from pocketlens.errors import PocketlensError
from pocketlens.events import Epoch, Progress
from pocketlens.operations.resize import resize
from pocketlens.scoring.metrics import own_log_probability
from pocketlens.scoring.predictions import IN_MEMORY, Mistakes, merged, surest_mistakes
from pocketlens.training.classifier import Classifier, logit_blocks, predict_logits, to_float
from pocketlens.training.state import PendingLoss, State


class Diverged(Exception):
    """The loss or the weights are not finite; the message names the step and its learning rate."""


@dataclass(frozen=True, eq=False)
class Validation:
    """What the validation rows say of a classifier.

    Attributes:
        loss: the mean cross-entropy.
        right: which rows are right, (N,) bool.
        logits: (N, K) float32; None where they take too much memory to be kept.
        surest: the mistakes with the highest probability of the wrong class; their rows are places in 0..N-1.
    """

    loss: float
    right: NDArray[np.bool_]
    logits: NDArray[np.float32] | None
    surest: Mistakes

    @property
    def accuracy(self) -> float:
        """The share of rows that are right."""
        return float(self.right.mean())


def fit(state: State) -> Iterator[Progress | Epoch]:
    """Trains from the current step of `state` to its last one, and updates `state`.

    A loss that is not finite ends the training. On a CPU it is checked before the step changes the weights. On CUDA no
    step waits for the GPU: a loss is checked during the next step, or before the state is saved. By then the weights in
    memory include the bad step, and only the last checkpoint is still good.

    Raises:
        Diverged: the loss of a step is not finite, or an epoch ends with weights that are not finite.
    """
    plan, recipe = state.plan, state.experiment.recipe
    net = state.ranks.wrap(state.classifier)
    epoch_order: Tensor | None = None
    while True:
        if state.n_seen and (state.step % plan.steps_per_epoch == 0 or state.step == state.last_step):
            yield _end_epoch(state)
        if state.step >= state.last_step:
            return

        epoch, index = divmod(state.step, plan.steps_per_epoch)
        if epoch_order is None or index == 0:
            epoch_order = _order(state, epoch)
        picked = epoch_order[plan.batch(index)]  # (B,) int64, virtual rows
        images, targets = _batch(state, picked, epoch)  # (V * b, C, H, W), (b, K) float32: this rank's b of B
        factor = state.lr_factor(state.step)
        for group in state.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor

        if state.step == 0:
            for modifier in state.modifiers.values():
                modifier.before_training()
        state.set_training_mode()
        gradients = partial(_gradients, state, net, picked, images, targets)
        loss, logits = gradients()
        for modifier in state.modifiers.values():
            modifier.before_step(state.step, gradients)
        state.optimizer.step()
        state.step += 1
        for modifier in state.modifiers.values():
            modifier.after_step(state.step)

        state.loss_sum += loss.double() * len(picked)
        state.n_right += state.ranks.sum((logits.argmax(1) == targets.argmax(1)).sum())
        state.n_seen += len(picked)
        yield Progress(
            step=state.step,
            n_steps=state.last_step,
            epoch=state.step / plan.steps_per_epoch,
            lr=recipe.lr * factor,
            size=min(images.shape[2:]),
            n_images=len(picked),
            loss_tensor=loss,
        )


def _order(state: State, epoch: int) -> Tensor:
    """(N,) int64: the virtual rows of an epoch, in the order in which they are trained on."""
    seed, rows = state.experiment.seed, state.virtual_rows
    if state.experiment.recipe.sampling == "balanced":
        return balanced_order(state.labels[state.train_rows][rows % len(state.train_rows)], seed, epoch)
    return order(rows, seed, epoch)


def _gradients(state: State, net: nn.Module, picked: Tensor, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Puts a batch's gradients into the parameters; returns its mean loss and the logits (b, K) of its first view.

    Dropout depends only on the seed, the step and the rank, so a second call within a step draws the same masks. Each
    image is weighted by its class; one with a mixed target, by the mix of the classes' weights.
    """
    ranks = state.ranks
    dropout = f"dropout/{state.step}" + ("" if ranks.is_first else f"/{ranks.rank}")
    with torch.random.fork_rng(devices=_cuda_devices(state.device)):
        torch.manual_seed(stream(state.experiment.seed, dropout) % 2**63)
        with torch.autocast(state.device_type, torch.bfloat16, enabled=state.precision == "bf16"):
            logits = net(images)  # (V * b, K)
    logits = logits.float()
    views = logits.view(state.n_views, len(targets), -1)
    losses = state.loss(logits if state.n_views == 1 else views, targets)  # (b,)
    if state.class_weights is not None:
        losses = losses * (targets @ state.class_weights)
    loss = ranks.weighted(losses.mean(), len(picked))
    whole = ranks.mean(loss.detach())
    _check_loss(state, whole, picked)
    state.optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    return whole, views[0].detach()


def _batch(state: State, picked: Tensor, epoch: int) -> tuple[Tensor, Tensor]:
    """The augmented images (V * b, C, H, W) and the targets (b, K) of this rank's part of some virtual rows.

    Where the loss compares V views, they differ only in the last augmentation, which the first view goes without. All
    ranks augment the whole batch, because some augmentations mix its images.
    """
    n_train, recipe = len(state.train_rows), state.experiment.recipe
    rows = state.train_rows[picked % n_train]
    refreshed = epoch // recipe.refresh if recipe.refresh else 0
    draws = Draws(
        state.experiment.seed, rows, picked // n_train, refreshed, progress=state.step / state.plan.n_steps
    )  # fmt: skip
    images = to_float(state.pictures.take(rows))
    targets = torch.nn.functional.one_hot(state.labels[rows], len(state.classifier.classes)).float()
    n_shared = len(state.augmentations) - (state.n_views > 1)
    for place, (name, augment, options) in enumerate(state.augmentations[:n_shared]):
        images, targets = augment(images, targets, draws.named(f"{place}/{name}"), **options)
    if state.n_views > 1:
        name, augment, options = state.augmentations[-1]
        others = [draws.named(f"{n_shared}/{name}/view {view}") for view in range(1, state.n_views)]
        images = torch.cat([images, *(augment(images, targets, drawn, **options)[0] for drawn in others)])
    if state.ranks.n > 1:
        part = state.ranks.part(len(picked))
        images = torch.cat([view[part] for view in images.chunk(state.n_views)])
        targets = targets[part]
    images = resize(images, size=state.plan.size(state.step))
    return images.contiguous(memory_format=torch.channels_last), targets


def _end_epoch(state: State) -> Epoch:
    check_weights(state)
    recipe, plan, last = state.experiment.recipe, state.plan, state.step - 1
    number = last // plan.steps_per_epoch + 1
    state.ranks.check_equal(state.classifier)
    found = validate(state) if state.ranks.is_first else None
    val_loss, val_accuracy = state.ranks.from_first((None, None) if found is None else (found.loss, found.accuracy))
    record = {
        "epoch": number,
        "step": state.step,
        "lr": recipe.lr * state.lr_factor(last),
        "size": min(plan.size(last)),
        "train_loss": float(state.loss_sum) / state.n_seen,
        "train_accuracy": int(state.n_right) / state.n_seen,
        "val_loss": val_loss,
        "val_accuracy": val_accuracy,
        "best": False,
    }
    if state.looks_back:
        record["factor"] = state.lr_factor(last)  # for a refit to replay
    if val_accuracy is not None and val_loss is not None and math.isfinite(val_loss):
        known = [old["val_accuracy"] for old in state.history if old["best"]]
        record["best"] = not known or val_accuracy > max(known)
    state.bad_epochs = 0 if record["best"] or val_accuracy is None else state.bad_epochs + 1
    if record["best"] and recipe.keep == "best":
        state.best = {name: value.detach().clone() for name, value in state.result().items()}
    if found is not None and (record["best"] or state.best is None):  # else those of the best epoch stay
        state.val_logits = found.logits
    state.surest = None if found is None else found.surest
    state.history.append(record)
    state.loss_sum.zero_()
    state.n_right.zero_()
    state.n_seen = 0
    return Epoch(number, -(-state.last_step // plan.steps_per_epoch), record, state.bad_epochs, recipe.patience)


def validate(state: State) -> Validation | None:
    """Scores the validation rows at full size, without label smoothing; None where there are no such rows.

    The weights are those that count: slow weights or averages, where the optimizer has any.
    """
    if not len(state.val_rows):
        return None
    classifier = state.classifier
    if any(modifier.memory for modifier in state.modifiers.values()):
        classifier = copy.deepcopy(classifier)
        classifier.load_state_dict(state.result())
    return score_validation(state, classifier)


def score_validation(state: State, classifier: Classifier) -> Validation:
    """Scores a classifier on the validation rows, of which there is at least one."""
    labels, rows, device = state.val_labels, state.val_rows, state.device
    if 4 * len(rows) * len(classifier.classes) <= IN_MEMORY:
        return rate(predict_logits(classifier, state.images, rows, device=device), labels)
    losses, right, start = np.empty(len(rows)), np.empty(len(rows), bool), 0
    surest = []
    for block in logit_blocks(classifier, state.images, rows, device=device):
        part = slice(start, start + len(block))
        losses[part], right[part] = _losses(block, labels[part]), block.argmax(1) == labels[part]
        surest.append(surest_mistakes(block, labels[part], start))
        start += len(block)
    return Validation(float(losses.mean()), right, None, merged(surest))


def rate(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> Validation:
    """Loss and accuracy of logits (N, K) of images with these labels (N,)."""
    right = logits.argmax(1) == labels
    return Validation(float(_losses(logits, labels).mean()), right, logits, surest_mistakes(logits, labels))


def _losses(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore", over="ignore"):  # infinite logits give a loss that is never the best
        return -own_log_probability(logits, labels)


def _check_loss(state: State, loss: Tensor, picked: Tensor) -> None:
    """Raises Diverged where the loss () is not finite; with `state.checks_late`, checks the loss before it instead."""
    before = state.pending_loss
    value = loss.to("cpu", non_blocking=loss.is_cuda)
    copied = None
    if loss.is_cuda:
        copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
        copied.record(torch.cuda.current_stream(loss.device))
    now = PendingLoss(value, copied, state.step + 1, state.optimizer.param_groups[0]["lr"], picked)
    if state.checks_late:
        state.pending_loss = now
        _require_finite(state, before)
    else:
        _require_finite(state, now)


def _require_finite(state: State, pending: PendingLoss | None) -> None:
    if pending is None or math.isfinite(loss := pending.wait()):
        return
    rows = state.train_rows[pending.picked % len(state.train_rows)][:5].tolist()
    late = "; this was detected one step later, so the last checkpoint is kept" if state.checks_late else ""
    raise Diverged(
        f"the loss is {loss} in step {pending.step} at lr {pending.lr:.4g} (rows {rows} and others){late}; "
        f"try a smaller --lr than {state.experiment.recipe.lr:g}"
    )


def check_weights(state: State) -> None:
    """Makes sure that the state can be saved: a step with a finite loss may still break the weights.

    Raises:
        Diverged: the last loss or some weights are not finite.
    """
    _require_finite(state, state.pending_loss)
    if not state.is_finite():
        raise Diverged(
            f"weights are not finite after step {state.step} at lr {state.optimizer.param_groups[0]['lr']:.4g}; "
            f"try a smaller --lr than {state.experiment.recipe.lr:g}"
        )


def check_sizes(state: State) -> None:
    """Runs the model on two blank images of every size before the first step, and on a single one where one is a batch.

    Raises:
        PocketlensError: the model cannot take one of the sizes, or cannot train on a single image.
    """
    recipe, channels = state.experiment.recipe, state.images.shape[2]
    for size in sorted({stage.size for stage in state.plan.stages}):
        try:
            with torch.inference_mode():
                state.classifier.eval()(torch.zeros(2, channels, *size, device=state.device))
        except (RuntimeError, ValueError) as error:
            why = str(error).split("\n")[0]
            raise PocketlensError(
                f"{recipe.model} cannot take images of {size[0]} x {size[1]} px ({why}); "
                f"choose others with --sizes (100% alone trains at full size) or --prepare 'resize(32)'."
            ) from None
    if state.plan.n_rows // state.plan.steps_per_epoch // state.ranks.n == 1:
        _check_single(state)


def _check_single(state: State) -> None:
    """Refuses a model that cannot train on a single image: batch norm cannot normalise one value."""
    trial = copy.deepcopy(state.classifier).train()
    try:
        with torch.no_grad():
            for size in sorted({stage.size for stage in state.plan.stages}):
                trial(torch.zeros(1, state.images.shape[2], *size, device=state.device))
    except ValueError as error:
        raise PocketlensError(
            f"{state.experiment.recipe.model} cannot train on batches of a single image ({error}); "
            f"give a larger --batch-size, or more training images than {state.plan.n_rows}."
        ) from None


def _cuda_devices(device: str) -> list[int]:
    return [torch.cuda.current_device()] if device.startswith("cuda") else []
