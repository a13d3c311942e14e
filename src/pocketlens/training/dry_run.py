"""Dry run: every component of a recipe on two blank images, to find wrong options before training starts.

What depends neither on the shape of the images nor on the number of classes is checked before any data is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from pocketlens.components import Component, parse_one, parse_pipe, resolve
from pocketlens.draws import Draws
from pocketlens.errors import PocketlensError
from pocketlens.recipe import Recipe, looks_back, n_views, parse_optimizer
from pocketlens.training.device_images import apply_operations, operations
from pocketlens.training.freeze import frozen_parts

Shape = tuple[int, int, int]  # (height, width, channels)
LARGE = (128, 128, 3)  # large enough for every augmentation
LARGER = (256, 256, 3)  # large enough for every model


def try_options(recipe: Recipe) -> None:
    """Builds the model and runs every other component except `prepare` once, on large blank images; reads no data.

    Raises:
        PocketlensError: a component rejects its options; the message names it.
    """
    for part in parse_pipe(recipe.prepare, "operations"):
        resolve(part, "operations")
    net = try_model(recipe.model)
    if recipe.head != "append":
        frozen_parts(net, recipe.freeze)
    _augment(recipe, torch.zeros(2, LARGE[2], *LARGE[:2]), 2)
    _loss(recipe, 2)
    _schedule(recipe)
    _optimizer(recipe, nn.Sequential(nn.Conv2d(1, 1, 1), nn.Linear(1, 1)))


def try_model(text: str) -> nn.Module:
    """Builds a model without allocating its weights, to check its options before data is read.

    Raises:
        PocketlensError: it rejects its options, whatever the images.
    """
    with torch.device("meta"):
        return _model(text, LARGER, 100)


def try_recipe(recipe: Recipe, shape: Shape, n_classes: int) -> int:
    """Builds every component for images of `shape`, runs each once, and returns the model's number of parameters.

    Raises:
        PocketlensError: a component rejects its options or such images; the message names it.
    """
    with _blamed(recipe.prepare):
        blank = apply_operations(
            operations(recipe.prepare), torch.zeros((2, *shape), dtype=torch.uint8)
        )  # (2, H, W, C)
    model = _model(recipe.model, (blank.shape[1], blank.shape[2], blank.shape[3]), n_classes)
    _augment(recipe, blank.permute(0, 3, 1, 2).float(), n_classes)
    _loss(recipe, n_classes)
    _schedule(recipe)
    _optimizer(recipe, model)
    return sum(parameter.numel() for parameter in model.parameters())


def _augment(recipe: Recipe, images: Tensor, n_classes: int) -> None:
    """`images` is (2, C, H, W) float32."""
    targets = torch.full((2, n_classes), 1 / n_classes)  # (2, K) float32
    for component in parse_pipe(recipe.augment, "augment"):
        draws = Draws(0, torch.arange(2), torch.zeros(2, dtype=torch.int64), 0).named(component.name)
        with _blamed(str(component)):
            images, targets = resolve(component, "augment")(images, targets, draws, **dict(component.options))


def _loss(recipe: Recipe, n_classes: int) -> None:
    loss, views = parse_one(recipe.loss, "losses"), n_views(recipe.loss)
    shape = (2, n_classes) if views == 1 else (max(views, 1), 2, n_classes)
    with _blamed(str(loss)):
        resolve(loss, "losses")(torch.zeros(shape), torch.full((2, n_classes), 1 / n_classes), **dict(loss.options))


def _schedule(recipe: Recipe) -> None:
    schedule = parse_one(recipe.schedule, "schedules")
    given = ([{"val_loss": 1.0, "val_accuracy": 0.5}],) if looks_back(recipe.schedule) else (0, 10, 5)
    with _blamed(str(schedule)):
        float(resolve(schedule, "schedules")(*given, **dict(schedule.options)))


def _optimizer(recipe: Recipe, model: nn.Module) -> None:
    optimizer, modifiers = parse_optimizer(recipe.optimizer)
    with _blamed(str(optimizer)):
        group = {"params": list(model.parameters()), "weight_decay": recipe.weight_decay, "lr_scale": 1.0}
        resolve(optimizer, "optimizers")([group], recipe.lr, **dict(optimizer.options))
    for modifier in modifiers:
        with _blamed(str(modifier)):
            resolve(modifier, "optimizers")(model, **dict(modifier.options))


def _model(text: str, shape: Shape, n_classes: int) -> nn.Module:
    component: Component = parse_one(text, "models")
    with _blamed(text):
        model: nn.Module = resolve(component, "models")(shape, n_classes, **dict(component.options))
    return model


@contextmanager
def _blamed(text: str) -> Iterator[None]:
    try:
        yield
    except (TypeError, ValueError, RuntimeError, ZeroDivisionError, OverflowError, AttributeError) as error:
        reason = str(error).strip().split("\n")[0]
        raise PocketlensError(f"{text} cannot work with these options and images: {reason}") from None
