"""Photos that a body sees alike are candidates, few others are; what the alignment contradicts is no duplicate."""

from __future__ import annotations

import numpy as np
import pytest
from made_images import parts
from PIL import Image
from test_alignment import pictures

from pocketlens.audit.near_duplicates import find_duplicates
from pocketlens.audit.seen_alike import find_seen_alike
from pocketlens.data.duplicates import Duplicates
from pocketlens.events import finish

N = 60


def photos(n: int = N) -> np.ndarray:
    """(n, 32, 32, 3) uint8 smooth random pictures."""
    return np.ascontiguousarray(pictures(n, 3).byte().permute(0, 2, 3, 1).numpy())


def features(n: int = N) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(n, 40)).astype(np.float32)


def pairs_of(found: Duplicates) -> dict[tuple[int, int], str]:
    rows = zip(found.row_a.tolist(), found.row_b.tolist(), strict=True)
    return dict(zip(rows, found.judgement.tolist(), strict=True))


def test_pairs_much_nearer_than_the_fourth_neighbour_are_candidates_in_every_way() -> None:
    seen = features()
    seen[7] = seen[50] + 0.05
    found = finish(find_seen_alike(seen))
    assert set(zip(found.first.tolist(), found.second.tolist(), strict=True)) == {(7, 50)}
    ways = {
        (round(scale, 2), flip) for scale, flip in zip(found.start[:, 0].tolist(), found.mirrored.tolist(), strict=True)
    }
    assert len(ways) == len(found.first) == 6
    assert len(finish(find_seen_alike(np.full((20, 5), 3, np.float32))).first) == 0  # all the same: none stands out


@pytest.mark.parametrize("n", [0, 1, 19])
def test_few_images_have_no_candidates(n: int) -> None:
    seen = features(n)
    seen[n // 2 :] = seen[n // 2 :].mean(0) if n else 0
    assert len(finish(find_seen_alike(seen)).first) == 0


def test_a_turned_copy_is_near_where_the_body_agrees_and_another_picture_is_not() -> None:
    images, box = photos(), (11, 11, 85, 85)
    large = Image.fromarray(images[5]).resize((96, 96), Image.Resampling.BILINEAR).rotate(8, Image.Resampling.BICUBIC)
    turned = np.asarray(large.resize((32, 32), Image.Resampling.BILINEAR, box))
    development, test = images.copy(), np.concatenate([turned[None], photos(6)[3:]])
    test[1:] = np.random.default_rng(1).permutation(test[1:], axis=0)[:, ::-1, ::-1]
    dataset, sealed = parts(development, test)
    seen = features(len(dataset) + len(sealed))
    seen[N] = seen[5] + 0.02  # the turned copy
    seen[N + 1] = seen[9] + 0.02  # another picture, which the body takes for the same
    alone = finish(find_duplicates(dataset, sealed, keep=False))
    both = finish(find_duplicates(dataset, sealed, keep=False, features=seen))
    assert pairs_of(alone).get((5, 0)) != "near"
    assert pairs_of(both)[5, 0] == "near"
    assert (9, 1) not in pairs_of(both)
    assert 0 in both.contaminated()
    assert "turned or cut" in both.how[both.judgement == "near"][0]
