"""State: a training between two steps: all that the loop changes, and all that a checkpoint holds.

Plan: the steps, batches and image sizes of an experiment, which are a pure function of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pocketlens.components import parse_one, parse_pipe, resolve
from pocketlens.errors import PocketlensError
from pocketlens.recipe import Experiment, Recipe, looks_back, n_views, parse_optimizer, parse_sizes
from pocketlens.text import counted
from pocketlens.training.checkpoint import Checkpoint
from pocketlens.training.classifier import Classifier, new_classifier
from pocketlens.training.device import check_device, keep_freed_memory, precision_here, use_deterministic_kernels
from pocketlens.training.device_images import DeviceImages
from pocketlens.training.freeze import depths_of, fixed_modules, freeze
from pocketlens.training.interpolation import Interpolation, interpolated
from pocketlens.training.ranks import ALONE, Ranks
from pocketlens.training.whole_pictures import check_crops, training_prepare

if TYPE_CHECKING:
    from pocketlens.data.dataset import Dataset
    from pocketlens.data.split import Split
    from pocketlens.optimizers._modifier import Modifier
    from pocketlens.scoring.predictions import Mistakes

SMALLEST = 8  # px: no stage trains on smaller images


class Stage(NamedTuple):
    """Steps with images of one size, (height, width) in px, and the step at which they end."""

    size: tuple[int, int]
    end: int


@dataclass(frozen=True)
class Plan:
    """Steps, batches and image sizes of a training.

    An epoch's rows are split into the smallest number of batches of at most `batch_size`. Their sizes differ by at most
    one: no row is dropped, and no small batch is left at the end.
    """

    n_rows: int  # training rows with their replicated copies
    steps_per_epoch: int
    n_steps: int
    stages: tuple[Stage, ...]

    @property
    def n_epochs(self) -> int:
        """The number of epochs, counting a partial one at the end."""
        return -(-self.n_steps // self.steps_per_epoch)

    def batch(self, index: int) -> slice:
        """The positions, in an epoch's order of rows, of its batch `index`."""
        return slice(
            index * self.n_rows // self.steps_per_epoch, (index + 1) * self.n_rows // self.steps_per_epoch
        )  # fmt: skip

    def size(self, step: int) -> tuple[int, int]:
        """(height, width) in px of the images in a step."""
        return next(size for size, end in self.stages if step < end)


def make_plan(recipe: Recipe, n_train: int, shape: tuple[int, int, int], n_steps: int | None) -> Plan:
    """The plan for `n_train` rows of images of `shape`; `n_steps=None` takes it from `recipe.epochs`."""
    n_rows = n_train * (recipe.replicate + 1)
    steps_per_epoch = -(-n_rows // recipe.batch_size)
    total = n_steps or max(1, round(recipe.epochs * steps_per_epoch))
    stages = []
    for size, until, relative in parse_sizes(recipe.sizes):
        side = size / 100 * min(shape[:2]) if relative else size
        scale = max(side, SMALLEST) / min(shape[:2])
        if min(shape[:2]) < SMALLEST and relative:
            scale = 1.0
        stages.append(Stage((round(shape[0] * scale), round(shape[1] * scale)), round(until * total)))
    return Plan(n_rows, steps_per_epoch, total, tuple(stages))


@dataclass(frozen=True, eq=False)
class PendingLoss:
    """The loss of a step on its way from a GPU to the host, with what an error message says about that step."""

    value: Tensor  # () float32 on the CPU; holds the loss once `copied` is done
    copied: torch.cuda.Event | None  # None where the loss was on the CPU all along
    step: int  # counted from 1
    lr: float
    picked: Tensor  # (B,) int64: the step's virtual rows

    def wait(self) -> float:
        """The loss; waits until it has arrived."""
        if self.copied is not None:
            self.copied.synchronize()
        return float(self.value)


class State:
    """A training between two steps.

    Attributes:
        precision: of the steps: the recipe's, or fp32 where a run goes on on a device without bf16.
        step: the number of finished steps.
        images: the prepared images by row number, which validation sees.
        pictures: those that are augmented for training; the same, or with what is around the middle of them.
        history: one record per finished epoch.
        best: with `keep="best"`, the weights of the best epoch so far.
        val_logits: (N, K) float32 logits of the validation rows by the weights that count, as of the last finished
            epoch; None where they have not been computed since the state was made.
        surest: the worst mistakes on the validation rows as of the last finished epoch, by places among these; None
            where they were not found since the state was made.
        interpolation: with `wise_ft`, where the result lies between first and last weights, once that was chosen.
        checks_late: whether a loss is checked one step later, so that a step does not wait for the device.
        pending_loss: with `checks_late`, the last loss, which has not been checked yet.
    """

    def __init__(
        self,
        experiment: Experiment,
        dataset: Dataset,
        split: Split,
        device: str,
        *,
        fresh: bool = True,
        ranks: Ranks = ALONE,
    ) -> None:
        """The state before step 0; with `fresh=False`, one whose weights `restore` loads from a checkpoint.

        Raises:
            PocketlensError: the recipe does not fit the data or the device.
        """
        recipe = experiment.recipe
        self.precision = precision_here(device, recipe.precision)
        check_device(device, recipe.precision if fresh else self.precision)
        use_deterministic_kernels(device)
        _check_rows(experiment, split)
        keep_freed_memory()
        self.experiment, self.device, self.ranks = experiment, device, ranks
        self.device_type = device.split(":")[0]
        before = training_prepare(recipe)  # with another one, all images would be in memory twice
        limit = None if before == recipe.prepare else 0.0
        self.images = DeviceImages(dataset.images, recipe.prepare, device, limit=limit)
        check_crops(recipe, self.images.shape)
        self.pictures = self.images
        if before != recipe.prepare:
            self.pictures = DeviceImages(dataset.images, before, device, limit=0.0 if device == "cpu" else None)
        self.plan = make_plan(recipe, len(split.train), self.images.shape, experiment.n_steps)
        _check_parts(self.plan, ranks)
        self.last_step = min(self.plan.n_steps, experiment.stop_step or self.plan.n_steps)
        self.train_rows = torch.from_numpy(split.train).to(device)
        self.val_rows = split.val
        self.labels = torch.from_numpy(dataset.labels).to(device)
        self.val_labels = dataset.labels[split.val]
        self.virtual_rows = torch.arange(self.plan.n_rows, device=device)
        self.class_weights = _class_weights(recipe, dataset, split, device)
        self.classifier = new_classifier(experiment, dataset, self.images, split.train, fresh=fresh)
        self.classifier.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        freeze(self.classifier.net, recipe.freeze)
        self.modifiers = make_modifiers(self.classifier, recipe)
        self.optimizer = make_optimizer(self.classifier, recipe, self.modifiers.values())
        self.schedule, self.looks_back = _bound(recipe.schedule, "schedules"), looks_back(recipe.schedule)
        self.loss, self.n_views = _bound(recipe.loss, "losses"), n_views(recipe.loss)
        self.augmentations = [
            (part.name, resolve(part, "augment"), dict(part.options)) for part in parse_pipe(recipe.augment, "augment")
        ]
        self.step = self.n_seen = self.bad_epochs = 0
        self.loss_sum = torch.zeros((), dtype=torch.float64, device=device if self.device_type != "mps" else "cpu")
        self.n_right = torch.zeros((), dtype=torch.int64, device=device)
        self.history: list[dict[str, Any]] = []
        self.best: dict[str, Tensor] | None = None
        self.val_logits: NDArray[np.float32] | None = None
        self.surest: Mistakes | None = None
        self.interpolation: Interpolation | None = None
        self.checks_late = self.device_type == "cuda"
        self.pending_loss: PendingLoss | None = None

    def set_training_mode(self) -> None:
        """Puts the network into training mode; what is frozen stays in eval mode, which keeps its batch norms fixed."""
        self.classifier.train()
        for part in fixed_modules(self.classifier.net, self.experiment.recipe.freeze):
            part.eval()

    def lr_factor(self, step: int) -> float:
        """The factor on the peak learning rates in a step of this epoch or of an earlier one."""
        plan, factors = self.plan, self.experiment.factors
        epoch = step // plan.steps_per_epoch
        if factors is not None:
            return factors[min(epoch, len(factors) - 1)]
        if self.looks_back:
            return float(self.schedule(self.history[:epoch]))
        return float(self.schedule(step, plan.n_steps, plan.steps_per_epoch))

    def result(self) -> dict[str, Tensor]:
        """The weights that count now: the classifier's, or the slow weights or averages that a modifier keeps.

        Once an interpolation was chosen, they lie between the first weights and these.
        """
        memories = {name: modifier.memory for name, modifier in self.modifiers.items()}
        last = {**self.classifier.state_dict(), **memories.get("lookahead", {}), **memories.get("ema", {})}
        if self.interpolation is None:
            return last
        return interpolated(memories["wise_ft"], last, self.interpolation.alpha)

    def checkpoint(self) -> Checkpoint:
        """Everything that `restore` needs to continue the training."""
        tensors = {f"weights/{name}": value for name, value in self.classifier.state_dict().items()}
        tensors |= {f"best/{name}": value for name, value in (self.best or {}).items()}
        for name, parameter in self.classifier.named_parameters():
            for key, value in self.optimizer.state.get(parameter, {}).items():
                if value is not None:
                    tensors[f"optimizer/{name}/{key}"] = torch.as_tensor(value)
        for name, modifier in self.modifiers.items():
            tensors |= {f"{name}/{key}": value for key, value in modifier.memory.items()}
        tensors |= {"sums/loss": self.loss_sum, "sums/right": self.n_right}
        meta = {
            "step": self.step,
            "n_steps": self.plan.n_steps,
            "n_seen": self.n_seen,
            "bad_epochs": self.bad_epochs,
            "history": list(self.history),
            "classifier": self.classifier.facts.to_dict(),
        }
        if self.interpolation is not None:
            meta["interpolation"] = self.interpolation.to_dict()
        return Checkpoint({name: value.detach().clone() for name, value in tensors.items()}, meta)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Loads a checkpoint of the same experiment.

        Raises:
            PocketlensError: the checkpoint is of another model, or is incomplete.
        """
        meta = checkpoint.meta
        try:
            if meta["n_steps"] != self.plan.n_steps:
                raise ValueError(
                    f"it is of a training of {counted(meta['n_steps'], 'step')}, this one has {self.plan.n_steps}"
                )
            self.classifier.load_state_dict(checkpoint.part("weights/"))
            self._restore_optimizer(checkpoint.part("optimizer/"))
            self._restore_modifiers(checkpoint)
            self.loss_sum.copy_(checkpoint.tensors["sums/loss"])
            self.n_right.copy_(checkpoint.tensors["sums/right"])
            self.step, self.n_seen, self.bad_epochs = (int(meta[key]) for key in ("step", "n_seen", "bad_epochs"))
            self.history = [dict(record) for record in meta["history"]]
            chosen = meta.get("interpolation")
            self.interpolation = None if chosen is None else Interpolation.from_dict(chosen)
        except (RuntimeError, KeyError, TypeError, ValueError) as error:
            why = f"{error} is absent" if isinstance(error, KeyError) else str(error).splitlines()[-1].strip()
            raise PocketlensError(f"the checkpoint does not fit the run: {why}") from None
        self.best = {name: value.to(self.device) for name, value in checkpoint.part("best/").items()} or None

    def _restore_optimizer(self, saved: dict[str, Tensor]) -> None:
        for name, parameter in self.classifier.named_parameters():
            prefix = f"{name}/"
            state = {key[len(prefix) :]: value for key, value in saved.items() if key.startswith(prefix)}
            for key, value in state.items():
                if value.ndim and value.shape != parameter.shape:
                    raise ValueError(f"optimizer/{name}/{key} is {tuple(value.shape)}, not {tuple(parameter.shape)}")
            if state:
                self.optimizer.state[parameter] = {key: _like(value, parameter) for key, value in state.items()}

    def _restore_modifiers(self, checkpoint: Checkpoint) -> None:
        for name, modifier in self.modifiers.items():
            saved = checkpoint.part(f"{name}/")
            if saved.keys() != modifier.memory.keys():
                raise ValueError(f"the tensors of {name} are incomplete")
            for key, value in modifier.memory.items():
                if saved[key].shape != value.shape:
                    raise ValueError(f"{name}/{key} is {tuple(saved[key].shape)}, not {tuple(value.shape)}")
                value.copy_(saved[key])

    def is_finite(self) -> bool:
        """Whether the last loss and all weights are finite numbers."""
        if self.pending_loss is not None and not math.isfinite(self.pending_loss.wait()):
            return False
        return all(bool(value.isfinite().all()) for value in self.classifier.state_dict().values())


def make_optimizer(classifier: Classifier, recipe: Recipe, modifiers: Iterable[Modifier] = ()) -> torch.optim.Optimizer:
    """The optimizer of all trainable parameters, in groups by weight decay and learning rate."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    depths = depths_of(classifier.net)
    for name, parameter in classifier.net.named_parameters():
        if parameter.requires_grad:
            in_head = name.startswith("head.")
            is_weight = parameter.ndim > 1 and "bias" not in name.rpartition(".")[2]  # a table of biases is a bias
            decays = {"all": True, "none": False, "head": in_head and is_weight, "weights": is_weight}[recipe.decay_on]
            scale = 1.0 if in_head else recipe.body_lr_scale
            for modifier in modifiers:
                scale *= modifier.lr_scale(0 if in_head else depths[id(parameter)])
            key = (recipe.weight_decay if decays else 0.0, scale)
            groups.setdefault(key, []).append(parameter)
    if not groups:
        raise PocketlensError(f"{recipe.model} with freeze={recipe.freeze!r} leaves nothing to train.")
    part, *_ = parse_optimizer(recipe.optimizer)
    listed = [{"params": ps, "weight_decay": decay, "lr_scale": scale} for (decay, scale), ps in groups.items()]
    optimizer: torch.optim.Optimizer = resolve(part, "optimizers")(listed, recipe.lr, **dict(part.options))
    for group in optimizer.param_groups:  # one of one's own may leave the peak rates to us
        group.setdefault("initial_lr", recipe.lr * group.get("lr_scale", 1.0))
    return optimizer


def make_modifiers(classifier: Classifier, recipe: Recipe) -> dict[str, Modifier]:
    """The modifiers of the optimizer's steps, such as sam and ema, by name and in the order of the recipe."""
    _, *parts = parse_optimizer(recipe.optimizer)
    return {part.name: resolve(part, "optimizers")(classifier, **dict(part.options)) for part in parts}


def _bound(text: str, room: str) -> Callable[..., Any]:
    part = parse_one(text, room)
    return partial(resolve(part, room), **dict(part.options))


def _like(value: Tensor, parameter: Tensor) -> Tensor:
    # The strides that the optimizer would have chosen, so that the same kernels run after a resume.
    if value.shape == parameter.shape:
        return torch.empty_like(parameter).copy_(value)
    return value.clone()


def _check_rows(experiment: Experiment, split: Split) -> None:
    schedule = experiment.recipe.schedule
    if len(split.train) == 0:
        raise PocketlensError("there must be at least one training row; the split leaves none.")
    if len(split.val) == 0 and experiment.factors is None and looks_back(schedule):
        raise PocketlensError(
            f"schedule {schedule} follows the validation scores and needs validation rows; "
            "give a --val-fraction above 0, or another --schedule."
        )


def _check_parts(plan: Plan, ranks: Ranks) -> None:
    least = plan.n_rows // plan.steps_per_epoch
    if least < ranks.n:
        raise PocketlensError(
            f"batches of {counted(least, 'image')} cannot be split over {counted(ranks.n, 'process')}; give "
            "a larger --batch-size."
        )


def _class_weights(recipe: Recipe, dataset: Dataset, split: Split, device: str) -> Tensor | None:
    """(K,) float32: training rows / (classes that have some * training rows of the class), so that their mean is 1."""
    if recipe.class_weight == "none":
        return None
    counts = np.bincount(dataset.labels[split.train], minlength=len(dataset.classes))
    weights = len(split.train) / (np.count_nonzero(counts) * np.maximum(counts, 1))
    return torch.from_numpy(weights).float().to(device)
