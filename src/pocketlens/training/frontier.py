"""The frontier of accuracy against compute: the recipe that learns most with so many floating-point operations.

The table was measured on CIFAR-100, complete schedules at equal time, validation rows: `benchmarks/frontier.py` trains
it again, docs/short.md has the numbers.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from pocketlens.recipe import Recipe, parse_sizes, read_recipe
from pocketlens.training.device_images import prepared_shape
from pocketlens.training.model_summary import Shape, layer_table, totals


@dataclass(frozen=True)
class Corner:
    """Where fewer PFLOP than these fit with the default, `recipe` learns more in the same time."""

    petaflop: float
    recipe: str


# In rising order; beyond the last one the default learns most.
FRONTIER = (Corner(0.03, "shortest"), Corner(0.06, "shorter"), Corner(0.13, "short"))
EPOCHS = 4.0  # of the default: where as many fit, it stays, however few the images


def recipe_for(recipe: Recipe, epochs: float, n_train: int, shape: Shape, n_classes: int) -> Recipe | None:
    """The recipe that learns more in the time of so many epochs of the default; None where the default stays.

    What differs from the default in the recipe of the table is changed; all else stays.

    Args:
        recipe: the one to start with; only the default network has others that were measured beside it.
        epochs: of it that fit into the time.
        n_train: training images.
        shape: (height, width, channels) of an image, as the data set has it.
        n_classes: classes.

    Raises:
        PocketlensError: the model does not accept such images.
    """
    default = read_recipe("default")
    if recipe.model != default.model or epochs >= EPOCHS:
        return None
    petaflop = 6 * mean_multiply_adds(recipe, shape, n_classes) * epochs * n_train / 1e15
    for corner in FRONTIER:
        if petaflop < corner.petaflop:
            other = asdict(read_recipe(corner.recipe))
            return recipe.changed(
                **{name: other[name] for name, value in asdict(default).items() if other[name] != value}
            )
    return None


def mean_multiply_adds(recipe: Recipe, shape: Shape, n_classes: int) -> float:
    """Multiply-adds for one image of `shape`, prepared by the recipe; the mean over the sizes of its schedule.

    Raises:
        PocketlensError: the model does not accept such images.
    """
    height, width, channels = prepared_shape(recipe.prepare, shape)
    whole = totals(layer_table(recipe.model, (max(8, height), max(8, width), channels), n_classes))["multiply_adds"]
    share, begun = 0.0, 0.0
    for size, until, relative in parse_sizes(recipe.sizes):
        side = size / 100 if relative else size / min(height, width)
        share, begun = share + (until - begun) * side**2, until
    return whole * share
