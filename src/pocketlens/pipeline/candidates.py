"""The recipes that `auto` compares with the current one, and the space that it searches.

Models are compared at equal cost: one that needs more multiply-adds for an image gets fewer epochs.
"""

from __future__ import annotations

from pocketlens.data.dataset import Dataset
from pocketlens.errors import PocketlensError
from pocketlens.recipe import Recipe, read_recipe
from pocketlens.studies.overrides import Variant, value_at
from pocketlens.training.frontier import mean_multiply_adds

WIDER = {
    "lens(width=0.25)": "lens(width=0.5)",
    "lens(width=0.35)": "lens(width=0.7)",
    "lens(width=0.5)": "lens(width=1.0)",
}
LEAST_EPOCHS = 2.0  # that a more expensive model must get
LOWEST_LR, HIGHEST_LR = 0.4, 2.5  # times the recipe's learning rate: the ends of the search


def augment_variants(base: Recipe, dataset: Dataset) -> list[Variant]:
    """The recipe and other augmentations, the most promising first; grey signs and digits may not survive a flip."""
    side = min(dataset.shape[:2])
    hole = f"cutout(size={max(2, side // 4)})"
    mirrored, plain = "flip | " + _without_flip(base.augment), _without_flip(base.augment)
    texts = [plain if "flip" in base.augment else mirrored, f"{base.augment} | {hole}"]
    if dataset.shape[2] == 3:
        texts = [f"{base.augment} | {hole}", f"{base.augment} | trivialaugment"]
    return [Variant("base", base), *(Variant(text, base.changed(augment=text)) for text in texts)]


def model_variants(base: Recipe, dataset: Dataset) -> list[Variant]:
    """The recipe with other networks, each with as many epochs as cost the same."""
    wider = WIDER.get(base.model, "lens(width=1.4)")
    residual = read_recipe("resnet20").changed(augment=base.augment)
    variants = [Variant("base", base)]
    for name, recipe in ((f"wider: {wider}", base.changed(model=wider)), ("resnet20", residual)):
        try:
            epochs = base.epochs * _multiply_adds(base, dataset) / _multiply_adds(recipe, dataset)
        except PocketlensError:
            continue  # the model does not accept such images
        if epochs >= LEAST_EPOCHS:
            variants.append(Variant(name, recipe.changed(epochs=round(epochs, 2))))
    return variants


def _multiply_adds(recipe: Recipe, dataset: Dataset) -> float:
    return mean_multiply_adds(recipe, dataset.shape, len(dataset.classes))


def search_space(base: Recipe) -> str:
    """The learning rate, and momentum and label smoothing if the recipe has them, as the text of a search space."""
    parts = [f"lr=log({base.lr * LOWEST_LR:.4g},{base.lr * HIGHEST_LR:.4g})"]
    for address, low, high in (("optimizer.momentum", 0.4, 0.95), ("loss.smoothing", 0.0, 0.3)):
        try:
            value = value_at(base, address)
        except PocketlensError:
            continue
        if low <= value <= high:
            parts.append(f"{address}=range({low:g},{high:g})")
    return "; ".join(parts)


def _without_flip(augment: str) -> str:
    parts = [part.strip() for part in augment.split("|")]
    return " | ".join(part for part in parts if not part.startswith("flip")) or "none"
