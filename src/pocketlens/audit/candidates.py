"""Candidate pairs: for each image the few others that may be its duplicates, by small descriptors of crops.

A descriptor is a thumbnail with every channel standardised (so that brightness, contrast and tint do not matter),
reduced by principal component analysis. Small shifts hardly change it. For larger shifts and other scales, a crop of
one image is compared with a different crop of the other: the middle with the whole, the left side with the right side.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pocketlens.audit.nearest import is_exact, search
from pocketlens.data.scratch import scratch_array
from pocketlens.events import Step, Work

SIDE = 32  # px; images are compared at this size
_THUMBNAIL = 8  # px
_DIMENSIONS = 64
_NEIGHBOURS = 3  # per image and pair of views
_GROUPS = 64  # the images are divided into at least this many groups, each of which contributes only its nearest one
_ROWS = 1024  # rows whose similarities to all images are in memory at a time
_DESCRIBED = 16_384  # images that are described at a time where there are very many
_FAINT = 4.0  # grey levels of contrast below which a channel counts as flat


@dataclass(frozen=True)
class View:
    """A crop of an image: its centre and its size as fractions of the image; (0.5, 0.5, 1) is the whole."""

    y: float = 0.5
    x: float = 0.5
    size: float = 1.0
    mirrored: bool = False


WHOLE, MIRRORED = View(), View(mirrored=True)
_LARGE, _SMALL = View(size=0.875), View(size=0.75)
_LEFT, _RIGHT, _TOP, _BOTTOM = (
    View(y, x, 0.875) for y, x in ((0.5, 0.4375), (0.5, 0.5625), (0.4375, 0.5), (0.5625, 0.5))
)
# Both orders of two images are compared, so (large, whole) includes (whole, large).
PAIRS_OF_VIEWS = (
    (WHOLE, WHOLE),
    (WHOLE, MIRRORED),
    (_LARGE, WHOLE),
    (_SMALL, WHOLE),
    (_LEFT, _RIGHT),
    (_TOP, _BOTTOM),
    (_LARGE, MIRRORED),
)


@dataclass(frozen=True, eq=False)
class Candidates:
    """M pairs of images that may be duplicates.

    Attributes:
        first: (M,) int32 rows; each pair of rows occurs at most once plain and once mirrored.
        second: (M,) int32 rows.
        similarity: (M,) float32, the cosine similarity of the descriptors that found the pair.
        views: (M,) uint8, which pair of views found it: twice its place in PAIRS_OF_VIEWS, plus 1 where the second
            image had the first view.
        recall: the share of the true neighbours that the search found, 0..1; None where all images were compared.
    """

    first: Tensor
    second: Tensor
    similarity: Tensor
    views: Tensor
    recall: float | None = None

    @property
    def start(self) -> Tensor:
        """(M, 4) float32, where to start the alignment: logarithms of the scales in x and y, shifts in x and y."""
        return torch.tensor(_STARTS)[self.views.long()]

    @property
    def mirrored(self) -> Tensor:
        """(M,) bool, whether the second image has to be mirrored."""
        return torch.tensor([other.mirrored for _, other in PAIRS_OF_VIEWS])[self.views.long() // 2]

    def take(self, chosen: Tensor) -> Candidates:
        """Some of the pairs."""
        return replace(self, **{name: getattr(self, name)[chosen] for name in COLUMNS})


COLUMNS = ("first", "second", "similarity", "views")


def _start(view: View, other: View) -> list[list[float]]:
    """What maps the first image's coordinates (-1..1) to the second's, and the same for the images exchanged."""
    scale = other.size / view.size
    shift_x = 2 * (other.x - 0.5) - scale * 2 * (view.x - 0.5)
    shift_y = 2 * (other.y - 0.5) - scale * 2 * (view.y - 0.5)
    log_scale = torch.tensor(scale).log().item()
    ahead = torch.tensor([log_scale, log_scale, shift_x, shift_y])
    back = torch.tensor([-log_scale, -log_scale, -shift_x / scale, -shift_y / scale])
    if other.mirrored:
        back = back * torch.tensor([1, 1, -1, 1])
    return [ahead.tolist(), back.tolist()]


_STARTS = [start for pair in PAIRS_OF_VIEWS for start in _start(*pair)]


def find_candidates(images: Tensor) -> Work[Candidates]:
    """Finds the nearest neighbours of every image in every pair of views; of very many, by an approximate index.

    Args:
        images: (N, C, SIDE, SIDE) uint8.
    """
    describe = _describer(images)
    if is_exact(len(images)):
        return (yield from _compare_all(describe, len(images)))
    return (yield from _search_index(describe, len(images)))


def _search_index(describe: Callable[[View], Tensor], n: int) -> Work[Candidates]:
    """The candidates by an approximate index of each view that others are compared with."""
    found, recalls = [], []
    others = list(dict.fromkeys(other for _, other in PAIRS_OF_VIEWS))
    for number, other in enumerate(others):
        places = [place for place, pair in enumerate(PAIRS_OF_VIEWS) if pair[1] == other]
        theirs = describe(other)
        ours = [theirs if PAIRS_OF_VIEWS[place][0] == other else describe(PAIRS_OF_VIEWS[place][0]) for place in places]
        what = f"finding neighbours ({number + 1} of {len(others)})"
        result = yield from search(theirs, ours, _NEIGHBOURS, what)
        recalls += [result.recall] * len(places)
        for place, neighbours in zip(places, result.neighbours, strict=True):
            rows = torch.arange(n)[:, None].expand_as(neighbours.rows)
            flat = (rows.flatten(), neighbours.rows.flatten(), neighbours.similarity.flatten())
            found.append(_pairs(*flat, place))
    return replace(_once(found, n), recall=sum(recalls) / len(recalls))


def _compare_all(describe: Callable[[View], Tensor], n: int) -> Work[Candidates]:
    """The candidates by comparing all images with all."""
    found: list[Candidates] = []
    size = max(1, min(256, -(-n // _GROUPS)))
    n_groups = -(-n // size)
    # the one large tensor, reused for every block: allocating it each time fragments the memory of the process
    space = torch.empty(min(_ROWS, n), n_groups, size)
    for number, (view, other) in enumerate(PAIRS_OF_VIEWS):
        ours, theirs = describe(view), F.pad(describe(other), (0, 0, 0, n_groups * size - n))
        for start in range(0, n, _ROWS):
            similarity, neighbour = _nearest(ours[start : start + _ROWS], theirs, start, n, space)
            rows = torch.arange(start, start + len(neighbour))[:, None].expand_as(neighbour)
            found.append(_pairs(rows.flatten(), neighbour.flatten(), similarity.flatten(), number))
            yield Step("finding neighbours", number * n + min(n, start + _ROWS), len(PAIRS_OF_VIEWS) * n)
    return _once([*found], n)


def _describer(images: Tensor) -> Callable[[View], Tensor]:
    sample = _thumbnails(images[:: max(1, len(images) // 10_000)], WHOLE)
    mean = sample.mean(0)
    values, vectors = torch.linalg.eigh((sample - mean).T @ (sample - mean) / len(sample))
    values, vectors = values.flip(0)[:_DIMENSIONS], vectors.flip(1)[:, :_DIMENSIONS]
    basis = vectors / (values.clamp(min=0) + 1e-3) ** 0.25  # between plain and whitened components

    def describe(view: View) -> Tensor:
        if is_exact(len(images)):
            return F.normalize((_thumbnails(images, view) - mean) @ basis)  # (N, D) float32
        described = torch.from_numpy(scratch_array((len(images), basis.shape[1]), np.float32))
        for start in range(0, len(images), _DESCRIBED):
            part = _thumbnails(images[start : start + _DESCRIBED], view)
            described[start : start + _DESCRIBED] = F.normalize((part - mean) @ basis)
        return described

    return describe


def _thumbnails(images: Tensor, view: View) -> Tensor:
    """(N, C * _THUMBNAIL**2) float32."""
    size = round(view.size * SIDE)
    top, left = (round(middle * SIDE - size / 2) for middle in (view.y, view.x))
    parts = []
    for start in range(0, len(images), 2048):
        part = images[start : start + 2048, :, top : top + size, left : left + size].float()
        part = F.interpolate(part, (_THUMBNAIL, _THUMBNAIL), mode="bilinear", antialias=True, align_corners=False)
        part = part.flip(3) if view.mirrored else part
        part = part - part.mean((2, 3), keepdim=True)
        parts.append((part / (part.square().mean((2, 3), keepdim=True).sqrt() + _FAINT)).flatten(1))
    return torch.cat(parts)


def _nearest(ours: Tensor, theirs: Tensor, start: int, n: int, space: Tensor) -> tuple[Tensor, Tensor]:
    """Similarities and rows of the nearest neighbours of each of `ours`, both (R, <= _NEIGHBOURS).

    Args:
        ours: (R, D), the rows from `start` on.
        theirs: (G * S, D), of which `n` are images; the rest pads the last group.
        start: the row of the first of `ours`.
        n: how many images there are.
        space: (>= R, G, S) float32, overwritten.
    """
    grouped = space[: len(ours)]
    n_groups, size = grouped.shape[1:]
    similarity = grouped.view(len(ours), -1)
    torch.mm(ours, theirs.T, out=similarity)
    rows = torch.arange(len(ours))
    similarity[:, n:] = -2.0
    similarity[rows, rows + start] = -2.0  # not the image itself
    best, group = grouped.amax(2).topk(min(_NEIGHBOURS, n_groups), 1)
    inside = grouped[rows[:, None], group].argmax(2)
    return best, group * size + inside


def _pairs(rows: Tensor, others: Tensor, similarity: Tensor, place: int) -> Candidates:
    """Pairs with the lower row first, found by the pair of views at `place`."""
    real = similarity > -1.5  # neither the image itself nor padding
    rows, others, similarity = rows[real], others[real], similarity[real]
    views = (2 * place + (rows > others)).to(torch.uint8)
    return Candidates(torch.minimum(rows, others).int(), torch.maximum(rows, others).int(), similarity, views)


def _once(found: list[Candidates], n: int) -> Candidates:
    """Each pair of rows and mirroring once, with the highest similarity at which it was found."""
    first, second, similarity, views = (torch.cat([getattr(part, name) for part in found]) for name in COLUMNS)
    everything = Candidates(first, second, similarity, views)
    everything = everything.take(everything.similarity.argsort(descending=True, stable=True))
    key = (everything.first.long() * n + everything.second) * 2 + everything.mirrored
    order = key.argsort(stable=True)
    ordered = key[order]
    is_new = torch.ones(len(order), dtype=torch.bool)
    is_new[1:] = ordered[1:] != ordered[:-1]
    return everything.take(order[is_new])
