"""Which recipe learns most in a short time: where the default gets few epochs, a narrower network with more of them.

Measured on CIFAR-100, in the time of 2.8 epochs of the default: docs/short.md has the table, and
`benchmarks/short_time.py` trains such a one.
"""

from __future__ import annotations

from pocketlens.recipe import Recipe, read_recipe

EPOCHS = 4.0  # of the default, below which the recipe `short` learns more
IMAGES = 200_000  # seen by these epochs, at most: it was measured with 45,000 training images


def shorter_recipe(recipe: Recipe, epochs: float, n_train: int) -> Recipe | None:
    """The recipe `short`, with what differs from the default, where only so many epochs of it fit; None where it stays.

    Args:
        recipe: the one to start with; only the default network has a narrower one that was measured.
        epochs: of it that fit into the time.
        n_train: training images.
    """
    whole, short = read_recipe("default"), read_recipe("short")
    if recipe.model != whole.model or epochs >= EPOCHS or epochs * n_train >= IMAGES:
        return None
    return recipe.changed(model=short.model, epochs=short.epochs)
