"""The sizes of a source's pictures, and the size that they are resized to where a person types none.

A network that is trained from scratch learns most in a given time from small pictures: twice the side is a quarter of
the epochs. So it gets 32 px, and up to 64 px where the pictures are so few that they can be seen often enough. A
pretrained body was trained on larger ones and gets the side from which its crops are cut.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketlens.components import option, parse_one, parse_pipe
from pocketlens.errors import PocketlensError
from pocketlens.text import counted

SMALLEST = 8  # px
AS_IT_IS = 96  # px: pictures of one size and at most the area of this square are trained on as they are
BODY = 256  # px, the shorter side at rest for a pretrained body, from which crops of 224 px are cut
SIDES = (64, 48, 32)  # px, for networks that are trained from scratch, the best first
MINUTES = 10.0  # on two cores, that a training may take where no time is given
PASSES = 60  # over the pictures, which a training from scratch should have time for
PIXELS_PER_SECOND = {"cpu": 8e5, "cuda": 5e7, "mps": 5e6}  # trained on by the recipe `small`, roughly (cpu: two cores)
CUT = 1 / 3  # the share of a typical picture from which on it is said that the middle square leaves it out


@dataclass(frozen=True)
class SourceSizes:
    """The sizes of the pictures of a source, in px.

    Attributes:
        n: of pictures.
        n_sizes: of different sizes.
        smallest, largest: (height, width), by their area.
        side: the shorter side of a typical picture, the median.
        cut: the share of a typical picture that lies outside its middle square, the median.
    """

    n: int
    n_sizes: int
    smallest: tuple[int, int]
    largest: tuple[int, int]
    side: int
    cut: float

    @staticmethod
    def of(sizes: NDArray[np.int64]) -> SourceSizes:
        """From (N, 2): the height and width of every picture; N is at least 1."""
        distinct = np.unique(sizes, axis=0)
        distinct = distinct[np.argsort(distinct.prod(axis=1), kind="stable")]
        (low, high), shorter = ((int(size[0]), int(size[1])) for size in distinct[[0, -1]]), sizes.min(axis=1)
        cut = float(np.median(1 - shorter / sizes.max(axis=1)))
        return SourceSizes(len(sizes), len(distinct), low, high, int(np.median(shorter)), round(cut, 4))

    @staticmethod
    def from_dict(value: dict[str, Any]) -> SourceSizes:
        """The reverse of `dataclasses.asdict`, from JSON."""
        sides = {key: tuple(value[key]) for key in ("smallest", "largest")}
        return SourceSizes(**{**value, **sides})

    def __str__(self) -> str:
        low, high = (f"{width} x {height}" for height, width in (self.smallest, self.largest))
        return f"{low} px" if self.n_sizes == 1 else f"{counted(self.n_sizes, 'size')} from {low} to {high} px"


@dataclass(frozen=True)
class Aim:
    """What pictures are sized for where no size is typed.

    Attributes:
        model: component text of the network.
        prepare: the operations on every image; where these resize, that size counts.
        minutes: that the training may take; None: `MINUTES`.
        device: where it is trained (cpu, cuda or mps); it counts only together with minutes.
        side: of the images of the run that it starts from, which it gets too; or None.
    """

    model: str = "lens"
    prepare: str = "none"
    minutes: float | None = None
    device: str = "cpu"
    side: int | None = None


FROM_SCRATCH = Aim()


def size_for(sizes: SourceSizes, aim: Aim = FROM_SCRATCH) -> int | None:
    """The side in px that pictures of these sizes are brought to; None where they stay as they are.

    Pictures are not enlarged, except to the side of the images of a run: the shorter side of a typical one is the most
    that they get.
    """
    body = is_pretrained(aim.model)
    height, width = sizes.largest
    is_small = height * width <= AS_IT_IS**2 or (body and height == width <= BODY)
    if sizes.n_sizes == 1 and is_small:
        return None
    if aim.side is not None:
        return aim.side
    wanted = _prepared_side(aim.prepare) or (BODY if body else _scratch_side(sizes, aim))
    own = sizes.side if sizes.side < 2 * SMALLEST else sizes.side - sizes.side % 4
    return max(SMALLEST, min(wanted, own))


def is_pretrained(model: str) -> bool:
    """Whether a model starts with weights that were trained on large photos."""
    try:
        part = parse_one(model, "models")
        given = [option(part, "models", name) for name in ("pretrained", "weights", "stem")]
    except PocketlensError:
        return False
    return bool(given[0] or given[1]) and given[2] != "small"


def _scratch_side(sizes: SourceSizes, aim: Aim) -> int:
    slowest = PIXELS_PER_SECOND["cpu"]
    if aim.minutes is None:  # the same on every machine
        pixels = 60 * MINUTES * slowest
    else:
        pixels = 60 * aim.minutes * PIXELS_PER_SECOND.get(aim.device.split(":")[0], slowest)
    return next((side for side in SIDES if PASSES * sizes.n * side**2 <= pixels), SIDES[-1])


def _prepared_side(prepare: str) -> int | None:
    for part in parse_pipe(prepare, "operations"):
        size = option(part, "operations", "size")
        if part.name == "resize" and not part.file and size is not None:
            return size if isinstance(size, int) else max(size)
    return None
