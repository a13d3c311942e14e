"""Precision: fp32 or bf16, whichever trains a recipe faster here, from throwaway steps at every image size.

A choice is made once, before a run, and stands in its recipe. GPUs with bf16 arithmetic take bf16, processors without
it fp32, and so do trainings that are over within a minute; in all other cases both are measured in turns.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pocketlens.components import parse_one, resolve
from pocketlens.errors import PocketlensError
from pocketlens.recipe import Recipe, n_views
from pocketlens.training.device import has_bf16
from pocketlens.training.device_images import prepared_shape
from pocketlens.training.freeze import freeze
from pocketlens.training.state import Plan, Stage, make_plan

LEAST_WORK = 1e13  # FLOP of a training that is worth the measuring: about a minute on two cores
LEAST_GAIN = 1.05  # bf16 is taken where it is that many times as fast, so that noise does not decide
PASS_WORK = 5e10  # FLOP of a measured pass, from which follows how many images it has
FEWEST = 8  # images of a measured pass
ROUNDS = 3  # measured passes of each precision at each size, in turns, after one that warms up
CLEAR = 1.5  # times as fast, or as slow: seen in the first round at a size, it is measured no further

Shape = tuple[int, int, int]  # (height, width, channels)


@dataclass(frozen=True)
class Measured:
    """Median seconds of processor time that an image takes, forward and backward, at `size` px, in each precision."""

    size: int
    fp32: float
    bf16: float

    @property
    def gain(self) -> float:
        """How many times as fast bf16 is."""
        return self.fp32 / self.bf16


@dataclass(frozen=True)
class PrecisionChoice:
    """The precision that a training gets.

    Attributes:
        name: "fp32" or "bf16".
        why: in words, where nothing was measured; "" where that needs no word.
        measured: by image size, in the order of the training.
        gain: how many times as fast bf16 is over all its steps; None where nothing was measured.
    """

    name: str
    why: str = ""
    measured: tuple[Measured, ...] = field(default=())
    gain: float | None = None

    def __str__(self) -> str:
        if self.gain is None:
            return f"precision {self.name}{self.why and ': '}{self.why}"
        sizes = ", ".join(f"{each.size} px {each.gain:.2f}" for each in self.measured)
        if self.name == "bf16":
            return f"precision bf16, measured {self.gain:.2f} times as fast as fp32 ({sizes})"
        return f"precision fp32; bf16 was measured {self.gain:.2f} times as fast ({sizes})"


def choose_precision(recipe: Recipe, shape: Shape, n_classes: int, n_train: int, device: str) -> PrecisionChoice:
    """The faster precision for a recipe on `n_train` images of `shape`, as the data set has them.

    Measured are forward and backward passes of random images through a network with random weights; all else of a step
    takes as long in both precisions. A network that cannot be computed in bf16 gets fp32.

    Raises:
        PocketlensError: the model cannot take such images.
    """
    if device.startswith("cuda") and has_bf16(device):
        return PrecisionChoice("bf16", "GPUs compute it fastest")
    if not has_bf16(device) or recipe.is_probe:
        return PrecisionChoice("fp32")
    prepared = prepared_shape(recipe.prepare, shape)
    plan = make_plan(recipe, n_train, prepared, None)
    with torch.random.fork_rng(devices=[]):
        try:
            net = _network(recipe, prepared, n_classes)
            works = _works(recipe, net, plan.stages, prepared)
        except PocketlensError:
            raise
        except Exception:  # one of one's own may fail with any; what is wrong is said where the recipe is tried
            return PrecisionChoice("fp32")
        shares = _shares(plan)
        n_images = plan.n_rows / plan.steps_per_epoch * plan.n_steps
        if n_images * sum(share * work for share, work in zip(shares, works, strict=True)) < LEAST_WORK:
            return PrecisionChoice("fp32")
        measured = []
        try:
            for stage, work in zip(plan.stages, works, strict=True):
                n = max(1, min(recipe.batch_size, n_train, max(FEWEST, round(PASS_WORK / work))))
                measured.append(_measure(net, n, stage, prepared[2]))
        except PocketlensError:
            raise
        except Exception as error:
            why = next(iter(str(error).splitlines()), type(error).__name__)
            return PrecisionChoice("fp32", f"{recipe.model} cannot be computed in bf16 ({why})")
    return choice_from(measured, shares)


def choice_from(measured: list[Measured], shares: list[float]) -> PrecisionChoice:
    """The choice that follows from what was measured at each size, and the share of steps with that size."""
    fp32 = sum(share * each.fp32 for share, each in zip(shares, measured, strict=True))
    bf16 = sum(share * each.bf16 for share, each in zip(shares, measured, strict=True))
    gain = fp32 / bf16
    return PrecisionChoice("bf16" if gain >= LEAST_GAIN else "fp32", "", tuple(measured), gain)


def _shares(plan: Plan) -> list[float]:
    """The share of the steps at each size."""
    ends = [0, *(stage.end for stage in plan.stages)]
    return [(end - begun) / plan.n_steps for begun, end in itertools.pairwise(ends)]


def _works(recipe: Recipe, net: nn.Module, stages: Sequence[Stage], shape: Shape) -> list[float]:
    """FLOP of an image at each size, forward and backward, in all its views: of convolutions and linear layers."""
    counts: list[int] = []

    def note(layer: nn.Module, _inputs: object, outputs: Tensor) -> None:
        weight = layer.weight
        assert isinstance(weight, Tensor)
        counts.append(outputs[0].numel() * weight[0].numel())

    layers = [layer for layer in net.modules() if isinstance(layer, (nn.Conv2d, nn.Linear))]
    hooks = [layer.register_forward_hook(note) for layer in layers]
    with torch.inference_mode():
        net.eval()(torch.zeros(1, shape[2], *shape[:2]))
    for hook in hooks:
        hook.remove()
    net.train()
    areas = [size[0] * size[1] / (shape[0] * shape[1]) for size, _ in stages]
    return [max(1.0, 6.0 * sum(counts) * area * n_views(recipe.loss)) for area in areas]


def _network(recipe: Recipe, shape: Shape, n_classes: int) -> nn.Module:
    part = parse_one(recipe.model, "models")
    net: nn.Module = resolve(part, "models")(shape, n_classes, **dict(part.options))
    freeze(net, recipe.freeze)
    return net.to(memory_format=torch.channels_last).train()


def _measure(net: nn.Module, n: int, stage: Stage, channels: int) -> Measured:
    """Both precisions in turns at one size."""
    images = torch.randn(n, channels, *stage.size).contiguous(memory_format=torch.channels_last)
    passes: dict[str, Callable[[], None]] = {
        "fp32": lambda: _one_pass(net, images, False),
        "bf16": lambda: _one_pass(net, images, True),
    }
    seconds: dict[str, list[float]] = {"fp32": [], "bf16": []}
    for number in range(ROUNDS + 1):
        for name, one_pass in passes.items():
            began = time.process_time()  # of all threads: other work on the machine counts for little
            one_pass()
            if number:
                seconds[name].append((time.process_time() - began) / n)
        if number and not 1 / CLEAR < seconds["fp32"][0] / seconds["bf16"][0] < CLEAR:
            break
    return Measured(min(stage.size), statistics.median(seconds["fp32"]), statistics.median(seconds["bf16"]))


def _one_pass(net: nn.Module, images: Tensor, low: bool) -> None:
    with torch.autocast("cpu", torch.bfloat16, enabled=low):
        logits = net(images)
    logits = logits.float()
    if not logits.requires_grad:
        raise PocketlensError("nothing of the network is trained; choose another --freeze.")
    F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.int64)).backward()  # type: ignore[no-untyped-call]
    net.zero_grad(set_to_none=True)
