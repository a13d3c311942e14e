"""What training images are cut from: with random resized crops, whole pictures instead of the middles of them.

A pretrained body is shown the middle of a picture. Its training cuts random boxes out of the whole picture: where
`prepare` ends with middle(n) and the first augmentation is random_resized_crop(size=n), it is given the pictures as
they are before the middle is cut out.
"""

from __future__ import annotations

from pocketlens.components import Component, option, parse_pipe
from pocketlens.errors import PocketlensError
from pocketlens.recipe import Recipe


def training_prepare(recipe: Recipe) -> str:
    """The part of a recipe's `prepare` after which images are augmented: all of it, or all before the middle."""
    parts = parse_pipe(recipe.prepare, "operations")
    if _crop(recipe) is None or not parts or parts[-1].name != "middle":
        return recipe.prepare
    return " | ".join(map(str, parts[:-1])) or "none"


def check_crops(recipe: Recipe, shape: tuple[int, int, int]) -> None:
    """Makes sure that random resized crops with a size are as large as the prepared images, (height, width, channels).

    Raises:
        PocketlensError: they are not.
    """
    first = _crop(recipe)
    size = None if first is None else option(first, "augment", "size")
    if size is not None and shape[:2] != (size, size):
        height, width, _ = shape
        side = f"size={height}" if height == width else "no size"
        raise PocketlensError(
            f"random_resized_crop: size must be that of the prepared images, {height} x {width} px, got {size}; give "
            f"it {side}, or end --prepare with middle({size})."
        )


def _crop(recipe: Recipe) -> Component | None:
    """The random resized crop with a size that comes first among the augmentations; None where there is none."""
    parts = parse_pipe(recipe.augment, "augment")
    is_crop = bool(parts) and parts[0].name == "random_resized_crop" and not parts[0].file
    return parts[0] if is_crop and option(parts[0], "augment", "size") is not None else None
