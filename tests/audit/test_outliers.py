"""Planted outliers are found, rankings agree as scipy says, and the scores are reproducible."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from pocketlens.audit import outliers
from pocketlens.audit.options import n_reviewed
from pocketlens.audit.outliers import (
    FeatureSpace,
    autoencoder_errors,
    nearest_rows,
    neighbour_distances,
    rank_agreement,
    ranked,
)
from pocketlens.data.dataset import Dataset, hash_images
from pocketlens.events import finish


def smooth_images(n: int, size: int = 16) -> np.ndarray:
    """Slopes of one colour each."""
    generator = np.random.default_rng(0)
    slope = np.linspace(0, 1, size)[None, :, None, None] * np.ones((1, 1, size, 1))
    colours = generator.integers(60, 200, (n, 1, 1, 3))
    return (slope * colours).astype(np.uint8)


@pytest.mark.slow
def test_the_autoencoder_cannot_reconstruct_what_is_unlike_all_others(monkeypatch: pytest.MonkeyPatch) -> None:
    images = smooth_images(80)
    odd = [7, 40, 66]
    images[odd] = np.random.default_rng(1).integers(0, 256, (3, 16, 16, 3))
    dataset = Dataset("made", images, np.zeros(80, np.int64), ("a",), hash_images(images))
    errors = finish(autoencoder_errors(dataset))
    assert sorted(ranked(errors)[:3].tolist()) == odd
    assert errors[odd].min() > 3 * np.delete(errors, odd).max()
    monkeypatch.setattr(outliers, "_LEAST_STEPS", 8)
    first, second = (finish(autoencoder_errors(dataset)) for _ in range(2))
    assert first.tobytes() == second.tobytes() != errors.tobytes()


@pytest.mark.parametrize("shape", [(5, 9, 1), (40, 24, 3), (1, 1, 1)], ids=str)
def test_the_autoencoder_takes_any_size(shape: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outliers, "_LEAST_STEPS", 4)
    images = np.random.default_rng(0).integers(0, 256, (24, *shape), np.uint8)
    dataset = Dataset("made", images, np.zeros(24, np.int64), ("a",), hash_images(images))
    errors = finish(autoencoder_errors(dataset))
    assert errors.shape == (24,)
    assert np.isfinite(errors).all()


def test_neighbours_come_from_the_same_space() -> None:
    generator = np.random.default_rng(0)
    features = generator.normal(0, 0.05, (60, 8)).astype(np.float32)
    features[:30, 0] += 1  # two spaces whose points lie apart
    features[30:, 1] += 1
    space = np.repeat([0, 1], 30)
    features[5] = -features[5]
    distances = finish(neighbour_distances(FeatureSpace(features, space, "")))
    assert ranked(distances)[0] == 5 or distances[5] > 1
    rows = np.flatnonzero(space == 0)
    centred = features[rows] - features[rows].mean(0)
    unit = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    by_hand = np.sort(1 - unit @ unit.T, axis=1)[:, 1:11].mean(1)
    assert np.allclose(distances[rows], by_hand / np.median(by_hand), atol=1e-4)


def test_rank_agreement_is_spearmans_and_the_shared_top() -> None:
    generator = np.random.default_rng(0)
    first = generator.normal(size=300).astype(np.float32)
    second = (first + generator.normal(size=300)).astype(np.float32)
    found = rank_agreement(first, second)
    assert found is not None
    assert found.spearman == pytest.approx(spearmanr(first, second).statistic)
    top = set(np.argsort(-first)[:3]) & set(np.argsort(-second)[:3])
    assert (found.n_top, found.overlap) == (3, len(top) / 3)
    same = rank_agreement(first, first)
    assert same is not None
    assert (same.spearman, same.overlap) == (pytest.approx(1), 1)
    assert rank_agreement(first, np.ones(300, np.float32)) is None


def test_the_nearest_rows_are_those_of_the_smallest_angle_in_the_same_space() -> None:
    angles = np.array([0.0, 1.0, 0.1, 1.2, 0.3, 1.5, 3.0], np.float64)
    features = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    centred = features - features.mean(axis=0)
    unit = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    found = finish(nearest_rows(FeatureSpace(features, np.zeros(7, np.int64), ""), np.array([4, 0, 4])))
    assert found.rows.tolist() == [0, 4]
    for row, near in zip(found.rows, found.neighbours, strict=True):
        others = [each for each in np.argsort(-(unit @ unit[row]), kind="stable") if each != row]
        assert near.tolist() == others
    halves = finish(nearest_rows(FeatureSpace(features, np.arange(7) % 2, ""), np.array([1, 4])))
    assert [sorted(near.tolist()) for near in halves.neighbours] == [[3, 5], [0, 2, 6]]
    assert [n_reviewed(n) for n in (5, 300, 3_000, 60_000)] == [5, 10, 30, 100]
