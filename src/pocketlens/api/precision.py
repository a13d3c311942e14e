"""The precision of a training, fp32 or bf16: the one that is asked for, or the one that is measured to be faster."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pocketlens.api.requests import ChosenRecipe

if TYPE_CHECKING:
    from pocketlens.data.dataset import Dataset
    from pocketlens.training.ranks import Ranks


@dataclass(frozen=True)
class WithPrecision:
    """A recipe whose precision is settled, and what is to be said about that."""

    chosen: ChosenRecipe
    lines: tuple[str, ...] = ()


def with_precision(
    chosen: ChosenRecipe, dataset: Dataset, n_train: int, device: str, ranks: Ranks | None = None
) -> WithPrecision:
    """The recipe with the precision that is faster here, where it was left open; all ranks take that of the first.

    Raises:
        PocketlensError: the model cannot take the images of the data set.
    """
    if not chosen.auto_precision:
        return WithPrecision(chosen)
    from pocketlens.training.precision import choose_precision

    found = choose_precision(chosen.recipe, dataset.shape, len(dataset.classes), n_train, device)
    found = found if ranks is None else ranks.from_first(found)
    recipe = chosen.recipe.changed(precision=found.name)
    lines = (str(found),) if found.gain is not None or found.why else ()
    return WithPrecision(replace(chosen, recipe=recipe, auto_precision=False), lines)
