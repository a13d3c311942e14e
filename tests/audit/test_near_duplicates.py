"""Planted duplicates are found with their kind, random images are not; degenerate data does not break the search."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from made_images import parts, random_images
from PIL import Image
from test_alignment import pictures

from pocketlens.audit.candidates import Candidates
from pocketlens.audit.contrast import stretched
from pocketlens.audit.near_duplicates import find_duplicates, find_much_nearer
from pocketlens.data.duplicates import Duplicates, known_duplicates, read_duplicates
from pocketlens.events import Step, finish


def made(n: int, seed: int) -> np.ndarray:
    """(n, 32, 32, 3) uint8 smooth random pictures."""
    return np.ascontiguousarray(pictures(n, seed).byte().permute(0, 2, 3, 1).numpy())


def search(development: np.ndarray, test: np.ndarray) -> Duplicates:
    return finish(find_duplicates(*parts(development, test), keep=False))


def test_seven_planted_of_several_kinds_are_found_and_no_other() -> None:
    development, test = made(150, 1), made(80, 2)
    test[0] = development[3]
    test[1] = np.roll(development[10], (2, -3), (0, 1))
    test[2] = np.clip(development[20] * np.array([0.8, 1.1, 1.0]) + 15, 0, 255).astype(np.uint8)
    test[3] = development[30][:, ::-1]
    test[4] = np.roll(development[40], 4, 1)[:, ::-1]
    test[5] = np.clip(development[50].astype(int) + 1, 0, 255)
    test[6] = np.pad(development[60][4:, 4:], ((0, 4), (0, 4), (0, 0)), mode="edge")
    found = search(development, test)
    pairs = dict(zip(zip(found.row_a.tolist(), found.row_b.tolist(), strict=True),
                     zip(found.judgement.tolist(), found.how.tolist(), strict=True), strict=True))  # fmt: skip
    assert set(pairs) == {(3, 0), (10, 1), (20, 2), (30, 3), (40, 4), (50, 5), (60, 6)}
    assert pairs[3, 0] == ("exact", "copied")
    assert pairs[50, 5] == ("near", "nearly equal"), "its pixels differ"
    assert pairs[10, 1] == ("near", "shifted")
    assert pairs[20, 2] == ("near", "recoloured")
    assert pairs[30, 3] == ("near", "mirrored")
    assert pairs[40, 4] == ("near", "shifted, mirrored")
    assert pairs[60, 6] == ("near", "shifted")
    assert found.contaminated().tolist() == list(range(7))
    assert (np.diff(found.distance[found.judgement == "near"]) >= 0).all()


@pytest.mark.parametrize("shape", [(8, 8, 1), (28, 28, 1), (48, 40, 3)])
def test_random_images_of_any_size_have_no_duplicates_and_planted_copies_are_found(shape: tuple[int, ...]) -> None:
    development, test = random_images(60, shape, seed=1), random_images(30, shape, seed=2)
    assert len(search(development, test)) == 0
    test[4] = development[9]
    assert search(development, test).contaminated().tolist() == [4]


@pytest.mark.parametrize(("n", "n_test"), [(1, 0), (1, 1), (2, 1), (7, 3)])
def test_tiny_data_sets_work(n: int, n_test: int) -> None:
    images = made(n + n_test, 5)
    assert len(search(images[:n], images[n:])) == 0
    grey = images[:, :, :, :1]
    assert len(search(grey[:n], grey[n:])) == 0


def test_equal_and_flat_images_are_exact_pairs_alone() -> None:
    black = np.zeros((400, 32, 32, 3), np.uint8)
    found = search(black[:300], black[300:])
    assert len(found) == 399
    assert set(found.judgement.tolist()) == {"exact"}
    levels = (np.arange(20) * 12).astype(np.uint8)[:, None, None, None]
    flat = np.broadcast_to(levels, (20, 32, 32, 3)).copy()
    assert len(search(flat[:10], flat[10:])) == 0  # nothing in them can be compared


def test_progress_is_told_and_the_list_is_kept() -> None:
    dataset, sealed = parts(made(20, 1), made(10, 2))
    steps = list(find_duplicates(dataset, sealed))
    assert all(isinstance(step, Step) and 0 <= step.done <= step.total for step in steps)
    assert {step.what for step in steps} == {
        "reading images",
        "finding neighbours",
        "aligning pairs",
        "comparing pairs",
    }
    assert known_duplicates(dataset, sealed).complete
    assert read_duplicates(dataset, sealed) is not None


def test_where_all_look_alike_only_what_stands_out_is_near() -> None:
    base, own = made(1, 1).astype(np.float32), made(60, 2).astype(np.float32)
    alike = (0.8 * base + 0.2 * own).astype(np.uint8)
    test = alike[40:].copy()
    test[0] = np.roll(alike[3], 1, 1)  # a shifted copy among pictures that all agree as copies would
    found = search(alike[:40], test)
    near = {pair for pair, word in zip(zip(found.row_a.tolist(), found.row_b.tolist(), strict=True),
                                       found.judgement.tolist(), strict=True) if word != "similar"}  # fmt: skip
    assert near == {(3, 0)}
    assert len(found) > 60
    assert any("look alike" in note for note in found.notes)
    assert not any("look alike" in note for note in search(*np.split(own.astype(np.uint8), [40])).notes)


def test_a_copy_leaves_much_less_than_the_fourth_neighbour() -> None:
    first = torch.tensor([0, 0, 0, 0, 0, 6])
    second = torch.tensor([1, 1, 2, 3, 4, 7])
    views = torch.tensor([0, 2, 0, 0, 0, 0], dtype=torch.uint8)  # the second pair is mirrored
    pairs = Candidates(first, second, torch.ones(6), views)
    # 0 has the neighbours 1 (twice), 2, 3, 4, which leave 0.05, 0.1, 0.2 and 0.2; 6 and 7 have one
    left = torch.tensor([0.05, 0.3, 0.1, 0.2, 0.2, 0.29])
    assert find_much_nearer(pairs, 1 - left).tolist() == [True, False, False, False, False, True]
    none = pairs.take(torch.zeros(0, dtype=torch.long))
    assert find_much_nearer(none, torch.zeros(0)).tolist() == []


def fainter(images: np.ndarray, factor: float) -> np.ndarray:
    return np.rint(20 + 0.9 * factor * images).astype(np.uint8)


def with_jpeg_noise(images: np.ndarray) -> np.ndarray:
    copies = []
    for image in images:
        Image.fromarray(image).save(buffer := io.BytesIO(), "JPEG", quality=90)
        copies.append(np.asarray(Image.open(buffer)))
    return np.stack(copies)


@pytest.mark.parametrize("factor", [1.0, 0.5, 0.25])
def test_copies_of_faint_pictures_are_found(factor: float) -> None:
    development = fainter(made(150, 1), factor)
    test = with_jpeg_noise(development[:20])
    found = search(development, test)
    assert found.complete
    assert len(set(found.contaminated()) & set(range(20))) >= 18


def test_where_pictures_are_too_faint_the_search_says_so() -> None:
    development = fainter(made(150, 1), 1 / 32)
    test = np.concatenate([development[:1], with_jpeg_noise(development[1:20])])
    found = search(development, test)
    assert not found.complete
    assert "100 % of the images are too faint to tell copies from noise" in found.notes[-1]
    assert set(found.judgement) == {"exact"}
    assert 0 in found.contaminated()


@pytest.mark.parametrize("factor", [0.25, 0.125, 1 / 16])
def test_different_night_frames_are_no_copies(factor: float) -> None:
    noise = np.random.default_rng(3).normal(0, 1, (160, 32, 32, 3))
    frames = np.clip(fainter(made(160, 4), factor) + noise, 0, 255).round().astype(np.uint8)
    found = search(frames[:120], frames[120:])
    assert not np.isin(found.judgement, ["exact", "near"]).any()


def test_pictures_with_contrast_are_compared_as_they_are() -> None:
    images = torch.from_numpy(made(40, 2)).permute(0, 3, 1, 2)
    assert stretched(images) is images
