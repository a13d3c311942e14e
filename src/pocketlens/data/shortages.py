"""What a part of the data lacks, in words: rows, classes, or its share of a class; said before any training."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pocketlens.data.dataset import Dataset
from pocketlens.text import counted, listed

_SHOWN = 5  # classes that a note names


def part_notes(
    part: str, given: NDArray[np.int64], kept: NDArray[np.int64], dataset: Dataset, fraction: float
) -> tuple[str, ...]:
    """One note if a part has no images, none of a class, or an odd share of one because groups stay whole.

    Args:
        part: "test" or "validation".
        given: (K,) images of each class in the part.
        kept: (K,) the other development images of each class.
        dataset: the data set, for its class names and its groups.
        fraction: the share that the part usually has.
    """
    n, said = given + kept, []
    missing = (given == 0) & (kept > 0)
    if missing.any():
        count = (
            f"{int(missing.sum())} of {counted(int((n > 0).sum()), 'class')} {'has' if missing.sum() == 1 else 'have'}"
        )
        text = f"{count} no {part} images" if given.any() else f"there are no {part} images"
        said.append(f"{text} (development images: {_counted(dataset.classes, kept, missing)})")
    wanted = fraction * n
    odd = (given > 0) & (np.abs(given - wanted) > np.maximum(wanted / 2, 1))
    if dataset.groups is not None and odd.any():
        said.append(f"{part} images in whole groups: {_counted(dataset.classes, given, odd, n)}")
    return ("; ".join(said),) if said else ()


def training_notes(counts: NDArray[np.int64], classes: tuple[str, ...]) -> tuple[str, ...]:
    """A note on the classes that have one training image, and one on those that have none; `counts` is (K,)."""
    said = []
    for count, one, many in (
        (0, "has no training images, so it cannot be learned", "have no training images, so they cannot be learned"),
        (1, "has 1 training image", "have 1 training image each"),
    ):
        names = [repr(name) for name, n in zip(classes, counts, strict=True) if n == count]
        if len(names) == 1:
            said.append(f"class {names[0]} {one}")
        elif names:
            said.append(f"{counted(len(names), 'class')} {many}: {listed(names, _SHOWN)}")
    return tuple(said)


def _counted(
    classes: tuple[str, ...],
    counts: NDArray[np.int64],
    chosen: NDArray[np.bool_],
    of: NDArray[np.int64] | None = None,
) -> str:
    """`3 of 'a', 4 of 'b' and 2 more`, or `3 of the 5 of 'a', ...` with the numbers `of` which they are."""
    total = {int(k): "" if of is None else f"the {of[k]:,} of " for k in np.flatnonzero(chosen)}
    return listed([f"{counts[k]:,} of {text}{classes[k]!r}" for k, text in total.items()], _SHOWN)
