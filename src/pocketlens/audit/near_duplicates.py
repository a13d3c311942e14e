"""Exact and near duplicates within and across development and test rows.

Equal pixels are found by their hash, near duplicates by aligning the most similar pairs. Only the images of the test
part are read, not its labels. `finish(find_duplicates(dataset, sealed))` returns the pairs and stores them with the
decoded data, where `pocketlens test` finds them. Known from CIFAR: Barz and Denzler 2020, "Do we train on test data?",
whose judgements (exact, near, very similar) are used here.

The distance of a pair is 1 minus a weighted mean of three agreements of the aligned images (alignment.py). The weights
and thresholds come from a logistic regression on the development rows of CIFAR-100: planted duplicates against
neighbours of other superclasses, and 140 pairs near the threshold that were labelled by eye.

Where the features of a pretrained body are given, pairs that it sees alike (seen_alike.py) are aligned, too, and are
near up to twice that distance: a photo from another angle differs more than the alignment can make up for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from pocketlens.audit.alignment import Alignment, PatchAgreement, align, half_grey, patch_agreement
from pocketlens.audit.candidates import COLUMNS, SIDE, Candidates, find_candidates
from pocketlens.audit.contrast import faint_share, stretched
from pocketlens.audit.nearest import MOST_EXACT, is_exact
from pocketlens.audit.phases import Arrays, Phases
from pocketlens.audit.seen_alike import find_seen_alike
from pocketlens.data.dataset import Dataset, Hashes, Images, SealedTest
from pocketlens.data.duplicates import (
    NEARLY_EQUAL,
    Duplicates,
    Numbers,
    Pairs,
    Texts,
    exact_pairs,
    join_pairs,
    read_duplicates,
    write_duplicates,
)
from pocketlens.data.scratch import scratch_array
from pocketlens.events import Step, Work
from pocketlens.text import counted
from pocketlens.training.device import keep_freed_memory

__all__ = ["Duplicates", "exact_pairs", "find_duplicates"]

NEAR, SIMILAR = 0.35, 0.42  # the largest distance of a near and of a similar pair
SEEN_ALIKE, _SEEN_OVERLAP = 0.7, 0.25  # the largest distance, and the least overlap, of one that a body sees alike
_DETAIL, _WEAKEST, _COLOUR = 0.54, 0.31, 0.15  # weights of the agreements
_EQUAL = 4.0  # mean difference in grey levels up to which a near pair is nearly equal
_CORRELATED = 0.8  # correlation at half size below which a pair is dropped
_STANDS_OUT = 0.4  # 1 - correlation may be at most this share of that of most neighbours
_MANY = 0.25  # share of images with a near partner above which the images are taken to look alike in general
_PARTNERS, _MUCH_NEARER = 4, 0.3  # 1 - correlation is then at most this share of that of an image's fourth neighbour
_FEWEST = 8  # neighbours needed to know what "most neighbours" are like
_OVERLAP = 0.45  # share of the image that both must cover
_MOST_PAIRS = 500_000  # near and similar pairs in the list
_SHIFTED, _RESCALED, _RECOLOURED = 1.0, 0.04, 6.0  # px of 32, logarithm, grey levels: what counts as a change
_AT_A_TIME = 1024


@dataclass(frozen=True, eq=False)
class _Matches:
    """M pairs of the compared images that may be duplicates; every field is (M,) or, for `fit`, (M, 4)."""

    first: Tensor
    second: Tensor
    mirrored: Tensor
    fit: Tensor
    much_nearer: Tensor
    distance: Tensor
    difference: Tensor
    tint: Tensor
    seen_alike: Tensor


_FIELDS = tuple(_Matches.__dataclass_fields__)


def find_duplicates(
    dataset: Dataset,
    sealed: SealedTest,
    *,
    keep: bool = True,
    phases: Phases | None = None,
    features: NDArray[np.float32] | None = None,
) -> Work[Duplicates]:
    """Finds duplicates among the development rows, among the test rows, and across both.

    Args:
        dataset: the development rows.
        sealed: the test rows; only their images are read, not their labels.
        keep: whether to store the list with the decoded data.
        phases: where the phases of the search are kept that are finished, if anywhere; with features, the list that
            follows from them is not, but what does not depend on them is.
        features: (N + M, D) float32 of a pretrained body, of the development rows and then of the test rows.
    """
    phases = Phases() if phases is None else phases
    known = _kept(dataset, sealed, phases) if features is None else None
    if known is not None:
        return known
    if is_exact(len(dataset) + len(sealed)):
        keep_freed_memory()  # it makes the blocks of many rows faster, and the most memory that is used larger
    rows = _first_of_each(np.concatenate([dataset.hashes, sealed.hashes]))  # images with equal pixels are compared once
    plain = yield from _shrink(dataset, sealed, rows)
    images = stretched(plain)
    faint = faint_share(plain, images)
    if faint > 0.5:
        return _exact_alone(dataset, sealed, faint, keep=keep)
    candidates = yield from _candidates(images, phases)
    rough = yield from _alignment(images, candidates, phases)
    chosen = _stand_out(candidates, rough.correlation)
    much_nearer = torch.from_numpy(find_much_nearer(candidates, rough.correlation))
    matches = yield from _compare(images, candidates.take(chosen), rough.fit[chosen], much_nearer[chosen])
    exact = exact_pairs(dataset, sealed)
    if candidates.recall is not None:
        exact = replace(exact, notes=(*exact.notes, _index_note(len(rows), candidates.recall)))
    if features is not None:
        matches = _joined(matches, (yield from _find_seen_alike(images, features[rows])))
    found = _classify(exact, rows, matches)
    if keep:
        write_duplicates(dataset, sealed, found)
    if keep and features is None:
        phases.write("duplicates", [_digest(found)])
    return found


def _kept(dataset: Dataset, sealed: SealedTest, phases: Phases) -> Duplicates | None:
    """The list of a search that was finished, unless that of another one, as with a body, has replaced it since."""
    digest = phases.read("duplicates")
    known = read_duplicates(dataset, sealed) if digest else None
    return known if digest and known is not None and np.array_equal(digest[0], _digest(known)) else None


def _digest(found: Duplicates) -> NDArray[np.uint8]:
    """(16,) uint8, different for different pairs, distances or judgements."""
    digest = hashlib.blake2b(digest_size=16)
    for column in (found.row_a, found.row_b, found.distance, found.judgement == "near"):
        digest.update(np.ascontiguousarray(column).tobytes())
    return np.frombuffer(digest.digest(), np.uint8)


def _find_seen_alike(images: Tensor, features: NDArray[np.float32]) -> Work[_Matches]:
    """The pairs that a body sees alike, by the features of the same images, as far as their alignment agrees."""
    alike = yield from find_seen_alike(features)
    fits = (yield from _align_all(images, alike)).fit
    return (yield from _compare(images, alike, fits, None))


def _index_note(n: int, recall: float) -> str:
    """How the neighbours of very many images were found, and how well."""
    return (
        f"the neighbours of {counted(n, 'image')} were searched with an approximate index (faiss), which found "
        f"{100 * recall:.1f} % of the true ones in a sample; up to {MOST_EXACT:,} images, all are compared with all"
    )


def _candidates(images: Tensor, phases: Phases) -> Work[Candidates]:
    """The candidates, from the phases where they are kept."""

    def work() -> Work[Arrays]:
        found = yield from find_candidates(images)
        recall = [] if found.recall is None else [found.recall]
        return [*(getattr(found, name).numpy() for name in COLUMNS), np.array(recall)]

    *columns, recall = yield from phases.once("candidates", work())
    first, second, similarity, views = map(torch.from_numpy, columns)
    return Candidates(first, second, similarity, views, float(recall[0]) if len(recall) else None)


def _alignment(images: Tensor, candidates: Candidates, phases: Phases) -> Work[Alignment]:
    """The candidates, aligned; from the phases where they are kept."""

    def work() -> Work[Arrays]:
        found = yield from _align_all(images, candidates)
        return [found.fit.numpy(), found.correlation.numpy()]

    fit, correlation = yield from phases.once("alignment", work())
    return Alignment(torch.from_numpy(fit), torch.from_numpy(correlation))


def _exact_alone(dataset: Dataset, sealed: SealedTest, faint: float, *, keep: bool) -> Duplicates:
    """The pairs with equal pixels, where the images are too faint to say more."""
    found = exact_pairs(dataset, sealed)
    share = f"{100 * faint:.0f} % of the images"
    note = f"{share} are too faint to tell copies from noise, so only equal pixels were looked for"
    found = replace(found, notes=(*found.notes, note))
    if keep:
        write_duplicates(dataset, sealed, found)
    return found


def distance(agreement: PatchAgreement) -> Tensor:
    """(M,) float32, 0..1: the difference that remains once the images are aligned."""
    weighted = _DETAIL * agreement.detail + _WEAKEST * agreement.weakest + _COLOUR * agreement.colour
    return (1 - weighted).clamp(0, 1)


def _first_of_each(hashes: Hashes) -> Numbers:
    """The first row with each hash, in ascending order."""
    words = np.ascontiguousarray(hashes).view("V16").reshape(-1)
    return np.sort(np.unique(words, return_index=True)[1]).astype(np.int64)


def _shrink(dataset: Dataset, sealed: SealedTest, rows: Numbers) -> Work[Tensor]:
    """(N, C, SIDE, SIDE) uint8: the images of `rows`, which count through both parts, at the size of the comparison."""
    n = len(dataset) + len(sealed)
    wanted = np.zeros(n, bool)
    wanted[rows] = True
    images = torch.from_numpy(scratch_array((len(rows), dataset.shape[2], SIDE, SIDE), np.uint8))
    done, filled = 0, 0
    for chunk in _chunks(dataset, sealed):
        part = _resized(chunk[wanted[done : done + len(chunk)]])
        images[filled : filled + len(part)] = part
        done, filled = done + len(chunk), filled + len(part)
        yield Step("reading images", done, n)
    return images


def _chunks(dataset: Dataset, sealed: SealedTest) -> Iterator[Images]:
    for start in range(0, len(dataset), _AT_A_TIME):
        yield dataset.images[start : start + _AT_A_TIME]
    yield from sealed.images_without_labels(_AT_A_TIME)


def _resized(images: Images) -> Tensor:
    pixels = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2)
    if pixels.shape[2:] == (SIDE, SIDE):
        return pixels.contiguous()
    if not len(pixels):
        return torch.zeros((0, pixels.shape[1], SIDE, SIDE), dtype=torch.uint8)
    scaled = F.interpolate(pixels.float(), (SIDE, SIDE), mode="bilinear", antialias=True, align_corners=False)
    return scaled.round().clamp(0, 255).byte()


def _align_all(images: Tensor, candidates: Candidates) -> Work[Alignment]:
    """All candidates, aligned at half size."""
    grey, n = half_grey(images), len(candidates.first)
    result = Alignment(torch.empty(n, 4), torch.empty(n))
    for start in range(0, n, _AT_A_TIME):
        pairs = candidates.take(torch.arange(start, min(n, start + _AT_A_TIME)))
        aligned = align(grey[pairs.first], _mirror(grey[pairs.second], pairs.mirrored), pairs.start)
        result.fit[start : start + _AT_A_TIME] = aligned.fit
        result.correlation[start : start + _AT_A_TIME] = aligned.correlation
        yield Step("aligning pairs", min(n, start + _AT_A_TIME), n)
    return result


def _stand_out(candidates: Candidates, correlation: Tensor) -> Tensor:
    """(M,) bool: pairs that agree, and agree much better than their images do with most of their neighbours.

    Images that all look alike (horizons, digits, shirts) agree without being duplicates.
    """
    rows = torch.cat([candidates.first, candidates.second]).numpy()
    values = correlation.repeat(2).numpy()
    order = np.lexsort((values, rows))
    starts = np.flatnonzero(np.diff(rows[order], prepend=-1))
    counts = np.diff(np.append(starts, len(rows)))
    usual = np.full(int(rows.max(initial=0)) + 1, -1.0)
    enough = counts >= _FEWEST
    usual[rows[order][starts[enough]]] = values[order][(starts + counts // 4)[enough]]  # the lower quartile
    typical = np.maximum(usual[candidates.first.numpy()], usual[candidates.second.numpy()])
    left = 1 - correlation.numpy()
    return torch.from_numpy((left <= 1 - _CORRELATED) & (left <= _STANDS_OUT * (1 - typical)))


def find_much_nearer(candidates: Candidates, correlation: Tensor) -> NDArray[np.bool_]:
    """(M,) bool: pairs that are much nearer than the nearest neighbours of both their images, once all are aligned.

    Where all images look alike (shirts, digits), the fourth neighbour of an image is about as near as the first; a copy
    is much nearer than that. Nearness is 1 - correlation, the better of plain and mirrored.
    """
    first, second = candidates.first.numpy(), candidates.second.numpy()
    left = 1 - correlation.numpy()
    rows, others, both = np.concatenate([first, second]), np.concatenate([second, first]), np.concatenate([left, left])
    order = np.lexsort((both, others, rows))
    again = (np.diff(rows[order], prepend=-1) == 0) & (np.diff(others[order], prepend=-1) == 0)
    rows, both = rows[order][~again], both[order][~again]
    order = np.lexsort((both, rows))
    rows, both = rows[order], both[order]
    place = np.arange(len(rows)) - np.searchsorted(rows, rows)  # of a neighbour among those of its image
    fourth = np.ones(int(rows.max(initial=0)) + 1, np.float32)
    fourth[rows[place == _PARTNERS - 1]] = both[place == _PARTNERS - 1]
    nearer: NDArray[np.bool_] = left <= _MUCH_NEARER * np.minimum(fourth[first], fourth[second])
    return nearer


def _compare(images: Tensor, candidates: Candidates, fits: Tensor, much_nearer: Tensor | None) -> Work[_Matches]:
    """Aligns pairs at full size and keeps those that are similar or better.

    Args:
        much_nearer: (M,) bool; None for pairs that a body sees alike, which are nearer than others and may differ more.
    """
    n, found = len(candidates.first), []
    seen = much_nearer is None
    much_nearer = torch.ones(n, dtype=torch.bool) if much_nearer is None else much_nearer
    largest, least = (SEEN_ALIKE, _SEEN_OVERLAP) if seen else (SIMILAR, _OVERLAP)
    for start in range(0, max(1, n), _AT_A_TIME):
        pairs = candidates.take(torch.arange(start, min(n, start + _AT_A_TIME)))
        first, second = images[pairs.first].float(), _mirror(images[pairs.second].float(), pairs.mirrored)
        fit = align(first.mean(1), second.mean(1), fits[start : start + _AT_A_TIME], fine=True).fit
        agreement = patch_agreement(first, second, fit)
        left = distance(agreement)
        nearer = much_nearer[start : start + _AT_A_TIME]
        same = torch.full_like(nearer, seen)
        columns = (
            *(pairs.first, pairs.second, pairs.mirrored, fit, nearer, left, agreement.difference, agreement.tint),
            same,
        )
        similar = (left <= largest) & (agreement.overlap >= least)
        found.append([column[similar] for column in columns])
        yield Step("comparing pairs", min(n, start + _AT_A_TIME), n)
    return _Matches(*(torch.cat(parts) for parts in zip(*found, strict=True)))


def _joined(matches: _Matches, others: _Matches) -> _Matches:
    return _Matches(*(torch.cat([getattr(each, name) for each in (matches, others)]) for name in _FIELDS))


def _mirror(images: Tensor, mirrored: Tensor) -> Tensor:
    """Images, (M, ..., W), with left and right exchanged where `mirrored`."""
    return torch.where(mirrored.view(-1, *[1] * (images.dim() - 1)), images.flip(-1), images)


def _classify(exact: Duplicates, rows: Numbers, matches: _Matches) -> Duplicates:
    """The exact pairs and the aligned ones in one list, each pair once, the closest first."""
    first, second = (rows[places.numpy()] for places in (matches.first, matches.second))
    left, mirrored = matches.distance.numpy(), matches.mirrored.numpy()
    order = np.lexsort((left + 0.02 * mirrored, second, first))  # plain goes before mirrored if it is about as near
    again = (np.diff(first[order], prepend=-1) == 0) & (np.diff(second[order], prepend=-1) == 0)
    chosen = order[~again]
    notes = exact.notes
    seen = matches.seen_alike.numpy()
    is_near = (left <= NEAR) & ~seen
    with_partner = np.unique(np.concatenate([first[is_near], second[is_near]]))
    if len(with_partner) > _MANY * len(rows):
        is_near &= matches.much_nearer.numpy()
        notes = (
            *notes,
            f"{100 * len(with_partner) / len(rows):.0f} % of the images would have a near duplicate by distance alone, "
            "as most images look alike here; so a pair counts as near only if it is much closer than the fourth "
            "neighbour of either image, and as similar otherwise",
        )
    names = first * (int(rows[-1]) + 1 if len(rows) else 1) + second
    is_near |= np.isin(names, names[seen])  # however a pair that is seen alike was aligned, it is near
    closest = chosen[np.argsort(left[chosen], kind="stable")]
    if len(closest) > _MOST_PAIRS:
        notes = (
            *notes,
            f"{len(closest):,} near and similar pairs were found; only the {_MOST_PAIRS:,} closest are listed",
        )
    chosen = closest[:_MOST_PAIRS]
    is_nearly_equal = (matches.difference.numpy()[chosen] <= _EQUAL) & ~mirrored[chosen] & is_near[chosen]
    judgement = np.where(is_near[chosen], "near", "similar")
    how = np.where(is_nearly_equal, NEARLY_EQUAL, _how(matches, chosen))
    pairs = Pairs(first[chosen], second[chosen], left[chosen], judgement, how)
    return join_pairs(exact, pairs, notes)


def _how(matches: _Matches, chosen: Numbers) -> Texts:
    """How the second image of some pairs differs from the first, in words."""
    fit = matches.fit[chosen]
    changes = {
        "shifted": (fit[:, 2:].abs() * (SIDE / 2) >= _SHIFTED).any(1),
        "rescaled": (fit[:, :2].abs() >= _RESCALED).any(1),
        "recoloured": matches.tint[chosen] >= _RECOLOURED,
        "mirrored": matches.mirrored[chosen],
        "turned or cut": (matches.seen_alike & (matches.distance > NEAR))[chosen],
    }
    marks = torch.stack(list(changes.values()), 1).numpy()  # (M, 5) bool
    words = [", ".join(name for name, mark in zip(changes, row, strict=True) if mark) or "copied" for row in marks]
    return np.array(words, dtype=np.str_)
