"""Candidates: the images that were made from each other come up as each other's neighbours, with the right start."""

from __future__ import annotations

import torch
from test_alignment import pictures

from pocketlens.audit.candidates import find_candidates
from pocketlens.events import finish


def test_shifted_scaled_and_mirrored_pictures_are_candidates() -> None:
    whole = pictures(40)
    shifted = torch.roll(whole[:10], (3, -3), (2, 3))
    middle = torch.nn.functional.interpolate(whole[10:20, :, 3:29, 3:29], (32, 32), mode="bilinear")
    images = torch.cat([whole, shifted, middle, whole[20:30].flip(3), 0.6 * whole[30:40] + 60]).round().byte()
    found = finish(find_candidates(images))
    pairs = set(zip(found.first.tolist(), found.second.tolist(), found.mirrored.tolist(), strict=True))
    assert len(pairs) == len(found.first)  # each once
    assert (found.first < found.second).all()
    for row in range(40):
        assert (row, row + 40, 20 <= row < 30) in pairs
    chosen = [k for k, pair in enumerate(zip(found.first.tolist(), found.second.tolist(), strict=True))
              if pair[1] == pair[0] + 40 and 10 <= pair[0] < 20]  # fmt: skip
    assert (found.start[chosen, 0] >= 0).all()  # what lies at x in the whole lies further out in its middle


def test_few_images_are_all_compared() -> None:
    for n in (1, 2, 3):
        found = finish(find_candidates(pictures(n).byte()))
        plain = {(a, b) for a, b, m in zip(*(v.tolist() for v in (found.first, found.second, found.mirrored)),
                                           strict=True) if not m}  # fmt: skip
        assert plain == {(a, b) for a in range(n) for b in range(a + 1, n)}
