"""The data set `fold`: every image is in one fold, whole groups, given folds and parts, and places that move."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made_images import refused
from PIL import Image

from pocketlens.data.dataset import images_fingerprint
from pocketlens.datasets import absent, load, place_of, places_of, sized_as


def paint(folder: Path, n: int = 6, side: int = 10) -> None:
    random = np.random.default_rng(abs(hash(folder.name)) % 1000)
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        for number in range(n):
            image = random.integers(0, 256, (side + number % 2, side, 3), np.uint8)
            Image.fromarray(image).save(folder / name / f"{number}.png")


def text_of(source: str, rest: str) -> str:
    quote = '"' if '"' not in source else "'"
    return f"fold(data={quote}{source}{quote}, {rest})"


def test_every_image_is_a_test_image_once() -> None:
    whole, none = load("fold(data='digits', of=4)")
    assert (len(whole), len(none)) == (1797, 0)
    assert whole.folds is not None
    seen = []
    for number in (1, 2, 3, 4):
        rest, held = load(f"fold(data='digits', of=4, held={number})")
        rows = np.flatnonzero(whole.folds == number)
        assert held.fingerprint == images_fingerprint(whole.hashes[rows])
        assert (held.hashes == whole.hashes[rows]).all(), "in the order of the whole"
        assert len(rest) + len(held) == 1797
        seen.append(rows)
    assert np.array_equal(np.sort(np.concatenate(seen)), np.arange(1797))
    for label in range(10):
        counts = np.bincount(whole.folds[whole.labels == label])[1:]
        assert counts.max() - counts.min() <= 15, "stratified, up to equal images"


def test_groups_stay_whole(tmp_path: Path) -> None:
    random, rows = np.random.default_rng(0), ["file,label,patient"]
    for number in range(60):
        image = random.integers(0, 256, (8, 8, 3), np.uint8)
        Image.fromarray(image).save(tmp_path / f"{number}.png")
        rows.append(f"{number}.png,{'ab'[number // 3 % 2]},{number // 3}")
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    source = f"folder('{tmp_path}', labels='labels.csv', group='patient')"
    whole, none = load(text_of(source, "of=3"))
    assert (len(whole), len(none)) == (60, 0), "also those that would be held out"
    assert whole.groups is not None
    assert whole.folds is not None
    for number in np.unique(whole.groups):
        assert len(np.unique(whole.folds[whole.groups == number])) == 1
    plain, held = load(source)
    assert {bytes(each) for each in (*plain.hashes, *held.hashes)} == {bytes(each) for each in whole.hashes}


def test_equal_images_stay_together(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (40, 4, 4, 1), np.uint8)
    np.savez(tmp_path / "a.npz", images=np.concatenate([images, images]), labels=np.arange(80) % 2)
    whole, _ = load(text_of(f"npz('{tmp_path / 'a.npz'}')", "of=4"))
    assert whole.folds is not None
    fold_of = {bytes(each): fold for each, fold in zip(whole.hashes, whole.folds, strict=True)}
    assert len(whole) == 80
    assert all(fold_of[bytes(each)] == fold for each, fold in zip(whole.hashes, whole.folds, strict=True))


def test_a_class_of_one_image_trains_in_every_fold(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (21, 4, 4, 1), np.uint8)
    np.savez(tmp_path / "a.npz", images=images, labels=np.array([0, 1] * 10 + [2]))
    source = f"npz('{tmp_path / 'a.npz'}')"
    whole, _ = load(text_of(source, "of=2"))
    assert whole.folds is not None
    assert whole.folds[whole.labels == 2].tolist() == [-1]
    assert len(whole) == 21
    for number in (1, 2):
        rest, _ = load(text_of(source, f"of=2, held={number}"))
        assert 2 in rest.labels


def test_a_given_test_part_is_in_no_fold(tmp_path: Path) -> None:
    paint(tmp_path / "photos" / "train")
    paint(tmp_path / "photos" / "test", n=3)
    source = f"folder('{tmp_path / 'photos'}')"
    whole, test = load(text_of(source, "of=3"))
    assert (len(whole), len(test)) == (12, 6)
    rest, held = load(text_of(source, "of=3, held=2"))
    assert len(rest) + len(held) == 12
    given = {bytes(each) for each in test.hashes}
    assert not given & {bytes(each) for each in (*rest.hashes, *held.hashes)}


def test_given_folds_are_those_of_the_folders(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        paint(tmp_path / "photos" / f"fold{number}", n=3 + number)
    source = f"folder('{tmp_path / 'photos'}')"
    whole, none = load(text_of(source, "of='given'"))
    assert whole.folds is not None
    assert (len(none), np.bincount(whole.folds).tolist()) == (0, [0, 8, 10, 12])
    rest, held = load(text_of(source, "of='given', held=3"))
    assert (len(rest), len(held)) == (18, 12)
    _, named = load(f"folder('{tmp_path / 'photos'}', test='fold3')")
    assert named.fingerprint == held.fingerprint
    kept, sealed = load(text_of(f"folder('{tmp_path / 'photos'}', test='fold3')", "of='given'"))
    assert kept.folds is not None
    assert (len(sealed), np.unique(kept.folds).tolist()) == (12, [1, 2]), "a fold that was named is the given test part"


def test_the_size_goes_to_the_source_and_places_are_those_of_the_source(tmp_path: Path) -> None:
    paint(tmp_path / "photos")
    rest, _ = load(text_of(f"folder('{tmp_path / 'photos'}', fit='pad')", "of=2, held=1"))
    assert (rest.fit, sized_as(rest.text)) == ("pad", "10-pad")
    assert "size=10" in rest.text
    assert load(rest.text)[0].fingerprint == rest.fingerprint
    assert place_of(rest.text) == str(tmp_path / "photos")
    (tmp_path / "photos").rename(tmp_path / "moved")
    assert absent(rest.text) == str(tmp_path / "photos")
    (moved,) = places_of(rest.text, tmp_path / "moved")
    assert load(moved)[0].fingerprint == rest.fingerprint


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("fold", "needs the text of a data set"),
        ("fold(data='digots')", "Did you mean 'digits'?"),
        ("fold(data='digits', of=1)", "from 2 to 50"),
        ("fold(data='digits', of='all')", "from 2 to 50"),
        ("fold(data='digits', of=3, held=4)", "its folds are 1, 2, 3"),
        ("fold(data='digits', of='given')", 'type: pocketlens auto "digits" --folds 5'),
    ],
)
def test_what_is_no_fold_is_refused(text: str, said: str) -> None:
    with refused(said):
        load(text)
