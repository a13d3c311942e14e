"""Dry run: every component of a recipe on two blank images, to find wrong options before training starts.

What depends neither on the shape of the images nor on the number of classes is checked before any data is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from pocketlens.components import Component, parse_one, parse_pipe, resolve
from pocketlens.draws import Draws
from pocketlens.errors import PocketlensError
from pocketlens.models._data_init import HasPretrained
from pocketlens.optimizers._modifier import Modifier
from pocketlens.recipe import Recipe, looks_back, n_views, parse_optimizer
from pocketlens.training.device_images import apply_operations, operations
from pocketlens.training.freeze import frozen_parts
from pocketlens.training.whole_pictures import check_crops

Shape = tuple[int, int, int]  # (height, width, channels)
LARGE = (128, 128, 3)  # large enough for every augmentation
LARGER = (256, 256, 3)  # large enough for every model


def try_options(recipe: Recipe) -> None:
    """Builds the model and runs every other component except `prepare` once, on large blank images; reads no data.

    A model of one's own is only imported: it may not be made for images of this size.

    Raises:
        PocketlensError: a component rejects its options; the message names it.
    """
    for part in parse_pipe(recipe.prepare, "operations"):
        resolve(part, "operations")
    model = parse_one(recipe.model, "models")
    if model.file:
        resolve(model, "models")
    else:
        net = try_model(recipe.model)
        if recipe.head != "append":
            frozen_parts(net, recipe.freeze)
    _augment(recipe, torch.zeros(2, LARGE[2], *LARGE[:2]), 2)
    _loss(recipe, 2)
    _schedule(recipe)
    _optimizer(recipe, nn.Sequential(nn.Conv2d(1, 1, 1), nn.Linear(1, 1)))


def try_weights(recipe: Recipe, channels: int = 3) -> None:
    """Reads the pretrained weights that a recipe's model begins with, where it has any, before any data is read.

    Raises:
        PocketlensError: they are absent, damaged or those of another body, or cannot be downloaded.
    """
    if parse_one(recipe.model, "models").file or recipe.start is not None:
        return
    net = try_model(recipe.model)
    if isinstance(net, HasPretrained):
        net.check_weights(channels)


def try_all_weights(recipes: Iterable[Recipe]) -> None:
    """Reads the pretrained weights of all recipes as `try_weights` does, those of each model once.

    Raises:
        PocketlensError: see `try_weights`.
    """
    for recipe in {(each.model, each.start is None): each for each in recipes}.values():
        try_weights(recipe)


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
        PocketlensError: a component refuses its options or such images, or one of one's own returns something else
            than those of its room; the message names it.
    """
    prepare = parse_pipe(recipe.prepare, "operations")
    with _blamed(recipe.prepare, *prepare):
        blank = apply_operations(
            operations(recipe.prepare), torch.zeros((2, *shape), dtype=torch.uint8)
        )  # (2, H, W, C)
    _require(blank.ndim == 4 and len(blank) == 2, prepare, "images (N, C, H, W) float32", blank)
    images = blank.permute(0, 3, 1, 2).float()
    check_crops(recipe, (blank.shape[1], blank.shape[2], blank.shape[3]))
    model = _model(recipe.model, (blank.shape[1], blank.shape[2], blank.shape[3]), n_classes)
    _try_own_model(recipe.model, model, images, n_classes)
    _augment(recipe, images, n_classes)
    _loss(recipe, n_classes)
    _schedule(recipe)
    _optimizer(recipe, model)
    return sum(parameter.numel() for parameter in model.parameters())


def _try_own_model(text: str, model: nn.Module, images: Tensor, n_classes: int) -> None:
    """Lets a model of one's own judge two images, (2, C, H, W) float32; those of the room are known to do it."""
    component = parse_one(text, "models")
    if not component.file:
        return
    with _blamed(text, component), torch.random.fork_rng(devices=[]), torch.no_grad():
        logits = model.eval()(images)
    is_right = isinstance(logits, Tensor) and logits.is_floating_point() and logits.shape == (len(images), n_classes)
    _require(is_right, (component,), f"logits (B, {n_classes}) for images {tuple(images.shape)}", logits)
    model.train()


def _augment(recipe: Recipe, images: Tensor, n_classes: int) -> None:
    """`images` is (2, C, H, W) float32."""
    targets = torch.full((2, n_classes), 1 / n_classes)  # (2, K) float32
    for component in parse_pipe(recipe.augment, "augment"):
        draws = Draws(0, torch.arange(2), torch.zeros(2, dtype=torch.int64), 0).named(component.name)
        with _blamed(str(component), component):
            made = resolve(component, "augment")(images, targets, draws, **dict(component.options))
        is_pair = isinstance(made, tuple) and len(made) == 2 and all(isinstance(each, Tensor) for each in made)
        is_right = is_pair and (made[0].shape, made[1].shape) == (images.shape, targets.shape)
        wanted = f"images {tuple(images.shape)} and targets {tuple(targets.shape)}"
        _require(is_right and made[0].dtype == images.dtype, (component,), wanted, made)
        images, targets = made


def _loss(recipe: Recipe, n_classes: int) -> None:
    loss, views = parse_one(recipe.loss, "losses"), n_views(recipe.loss)
    shape = (2, n_classes) if views == 1 else (max(views, 1), 2, n_classes)
    targets = torch.full((2, n_classes), 1 / n_classes)
    with _blamed(str(loss), loss):
        made = resolve(loss, "losses")(torch.zeros(shape), targets, **dict(loss.options))
    _require(isinstance(made, Tensor) and made.shape == (2,), (loss,), "a loss for each image, (B,) float32", made)


def _schedule(recipe: Recipe) -> None:
    schedule = parse_one(recipe.schedule, "schedules")
    given = ([{"val_loss": 1.0, "val_accuracy": 0.5}],) if looks_back(recipe.schedule) else (0, 10, 5)
    with _blamed(str(schedule), schedule):
        float(resolve(schedule, "schedules")(*given, **dict(schedule.options)))


def _optimizer(recipe: Recipe, model: nn.Module) -> None:
    optimizer, *modifiers = parse_optimizer(recipe.optimizer)
    with _blamed(str(optimizer), optimizer):
        group = {"params": list(model.parameters()), "weight_decay": recipe.weight_decay, "lr_scale": 1.0}
        made = resolve(optimizer, "optimizers")([group], recipe.lr, **dict(optimizer.options))
    _require(isinstance(made, torch.optim.Optimizer), (optimizer,), "a torch.optim.Optimizer", made)
    for modifier in modifiers:
        with _blamed(str(modifier), modifier):
            made = resolve(modifier, "optimizers")(model, **dict(modifier.options))
        _require(isinstance(made, Modifier), (modifier,), "a Modifier (pocketlens/optimizers/_modifier.py)", made)


def _model(text: str, shape: Shape, n_classes: int) -> nn.Module:
    component: Component = parse_one(text, "models")
    with _blamed(text, component):
        model = resolve(component, "models")(shape, n_classes, **dict(component.options))
    _require(isinstance(model, nn.Module), (component,), "an nn.Module", model)
    made: nn.Module = model
    return made


@contextmanager
def _blamed(text: str, *parts: Component) -> Iterator[None]:
    """Names the component whose work fails within; one of one's own may fail with any exception."""
    known = (TypeError, ValueError, RuntimeError, ZeroDivisionError, OverflowError, AttributeError)
    try:
        yield
    except PocketlensError:
        raise
    except Exception as error:
        is_own = any(part.file for part in parts)
        if not is_own and not isinstance(error, known):
            raise
        reason = str(error).strip().split("\n")[0]
        reason = f"{type(error).__name__}: {reason}" if is_own else reason
        raise PocketlensError(f"{text} cannot work with these options and images: {reason}") from None


def _require(holds: bool, parts: Sequence[Component], wanted: str, made: object) -> None:
    """Refuses what a component of one's own returns; those of a room have their own tests."""
    if not holds and any(part.file for part in parts):
        shown = " | ".join(map(str, parts))
        raise PocketlensError(f"{shown} must return {wanted}, it returns {_in_words(made)}.")


def _in_words(made: object) -> str:
    if isinstance(made, Tensor):
        return f"{tuple(made.shape)} {str(made.dtype).removeprefix('torch.')}"
    if isinstance(made, (tuple, list)):
        return f"({', '.join(map(_in_words, made))})"
    return type(made).__name__
