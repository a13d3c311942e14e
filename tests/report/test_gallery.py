"""The gallery's data: every picture stands where its row says, nothing is left out silently, and pages stay small.

What a browser makes of it is tested in `test_gallery_browser.py`.
"""

from __future__ import annotations

import base64
import json
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_runs import MadeRun, make_dataset, make_run, make_sealed
from PIL import Image
from test_report import CLASSES, check_gallery, open_by_hand, read_page

from pocketlens.data.duplicates import Pairs, exact_pairs, join_pairs, write_duplicates
from pocketlens.report import write_report
from pocketlens.report.run import gallery
from pocketlens.report.run.contamination import contaminated_rows
from pocketlens.report.run.facts import read_facts
from pocketlens.report.run.gallery import make_gallery
from pocketlens.report.run.sheets import COLUMNS, _tile, make_sheets, size_for
from pocketlens.scoring.predictions import read_predictions


def pixels(uri: str) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(base64.b64decode(uri.split(",", 1)[1]))).convert("RGB"))


def gallery_of(run: MadeRun, *data: Any) -> dict[str, Any]:
    """The data that the page of a run holds."""
    facts = read_facts(run, *data)
    made = make_gallery(facts, tuple(range(len(facts.scores.classes)))) if facts.scores else None
    assert made is not None
    found: dict[str, Any] = json.loads(json.dumps(made.data))
    check_gallery(found)
    return found


def shown_pixels(data: dict[str, Any], index: int) -> np.ndarray:
    """The picture of a row, from its sheet."""
    place = index % COLUMNS**2
    top, left = place // COLUMNS * data["height"], place % COLUMNS * data["width"]
    sheet = pixels(data["sheets"][index // COLUMNS**2])
    return sheet[top : top + data["height"], left : left + data["width"]]


def test_every_picture_stands_where_its_row_says_the_wrong_ones_first(tmp_path: Path) -> None:
    dataset = make_dataset(900, tuple("abcdef"), (8, 10, 3))
    run = make_run(tmp_path, dataset, skill=0.5)
    data = gallery_of(run, dataset)
    assert (data["height"], data["width"]) == (8, 10)
    assert sorted(data["row"]) == sorted(run.split.val.tolist())
    for index, row in enumerate(data["row"]):
        np.testing.assert_array_equal(shown_pixels(data, index), dataset.images[row])
        assert data["label"][index] == dataset.labels[row]
    right = [cause == -1 for cause in data["cause"]]
    assert right == sorted(right)
    assert any(right)
    assert not all(right)
    first = data["share"][: 3 * right.index(True) : 3]
    assert first == sorted(first, reverse=True)


def test_numbers_of_a_row_are_those_of_its_prediction(tmp_path: Path) -> None:
    dataset = make_dataset(300, CLASSES, (8, 8, 1))
    run = make_run(tmp_path, dataset, skill=1.0)
    data = gallery_of(run, dataset)
    predictions = read_predictions(run.file("predictions-val.safetensors"))
    odds = np.exp(predictions.logits.astype(np.float64))
    probabilities = odds / odds.sum(axis=1, keepdims=True)
    for index, row in enumerate(data["row"]):
        place = int(np.flatnonzero(predictions.rows == row)[0])
        own = probabilities[place]
        assert data["likely"][3 * index : 3 * index + 3] == np.argsort(-own)[:3].tolist()
        np.testing.assert_allclose(data["share"][3 * index : 3 * index + 3], 1e4 * np.sort(own)[::-1][:3], atol=1.01)
        assert data["loss"][index] == pytest.approx(-1000 * np.log(own[predictions.labels[place]]), abs=1)
    probability = probabilities.max(axis=1)
    for step in (0, 250, 500, 777, 1000):
        answered = probability >= step / 1000
        assert sum(data["answered"]["n"][step:]) == answered.sum()
        assert sum(data["answered"]["right"][step:]) == (answered & (predictions.predicted == predictions.labels)).sum()


def test_right_test_images_come_from_the_data_and_else_those_that_the_run_keeps(tmp_path: Path) -> None:
    dataset, sealed = make_dataset(350, CLASSES), make_sealed(90, CLASSES, shape=(32, 32, 3))
    run = make_run(tmp_path, dataset)
    open_by_hand(run, dataset)
    test = sealed._open()
    data = gallery_of(run, dataset, sealed)
    assert data["pictures"] == len(data["row"]) == 90
    for index in (0, 45, 89):
        np.testing.assert_array_equal(shown_pixels(data, index), test.images[data["row"][index]])
    alone = gallery_of(run)
    assert len(alone["row"]) == 90
    assert alone["pictures"] == sum(cause >= 0 for cause in alone["cause"]) < 90
    np.testing.assert_array_equal(shown_pixels(alone, 0), test.images[alone["row"][0]])
    assert "have no picture" in read_page(write_report(run)).shown
    other = gallery_of(run, dataset, make_sealed(91, CLASSES, shape=(32, 32, 3)))
    assert other["pictures"] == alone["pictures"], "a test part of another length is not that of the run"


def test_a_page_of_very_many_images_holds_all_mistakes_and_some_right_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = make_dataset(900, CLASSES, (8, 8, 3))
    run = make_run(tmp_path, dataset, skill=1.5)
    predictions = read_predictions(run.file("predictions-val.safetensors"))
    n_wrong = int((predictions.predicted != predictions.labels).sum())
    monkeypatch.setattr(gallery, "MOST", n_wrong + 20)
    data = gallery_of(run, dataset)
    assert len(data["row"]) == n_wrong + 20
    assert sum(cause >= 0 for cause in data["cause"]) == n_wrong
    assert sum(data["answered"]["n"]) == len(predictions.rows), "the threshold counts all"
    said = read_page(write_report(run, dataset)).shown
    assert f"holds {n_wrong + 20} of the {len(predictions.rows)} images: all mistakes" in said
    monkeypatch.setattr(gallery, "MOST", 10)
    data = gallery_of(run, dataset)
    assert len(data["row"]) == 10
    assert all(cause >= 0 for cause in data["cause"])


def test_validation_images_with_a_duplicate_among_the_training_images_are_marked(tmp_path: Path) -> None:
    dataset, sealed = make_dataset(350, CLASSES), make_sealed(90, CLASSES, shape=(32, 32, 3))
    run = make_run(tmp_path, dataset)
    assert not any(gallery_of(run, dataset, sealed)["copies"])
    val, train = int(run.split.val[0]), int(run.split.train[0])
    both = sorted((val, train))
    pair = (
        np.array(both[:1]),
        np.array(both[1:]),
        np.array([0.01], np.float32),
        np.array(["near"]),
        np.array(["shifted"]),
    )
    write_duplicates(dataset, sealed, join_pairs(exact_pairs(dataset, sealed), Pairs(*pair), ()))
    data = gallery_of(run, dataset, sealed)
    assert [row for row, copied in zip(data["row"], data["copies"], strict=True) if copied] == [val]
    assert gallery_of(run)["copies"] is None, "without the data nobody knows"
    dataset.hashes[int(run.split.val[3])] = dataset.hashes[train]
    predictions = read_predictions(run.file("predictions-val.safetensors"))
    copied = contaminated_rows(predictions, run.split.train, dataset, None)
    assert copied is not None
    assert predictions.rows[copied].tolist() == [run.split.val[3]], "equal pixels, where nobody has looked"


# ---- sheets


@pytest.mark.parametrize("channels", [1, 3])
def test_tiles_are_laid_in_rows_of_32(channels: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (33, 4, 5, channels), dtype=np.uint8)
    sheet = _tile(images)
    assert sheet.shape == (8, 160, 3)
    np.testing.assert_array_equal(sheet[0:4, 155:160], np.broadcast_to(images[31], (4, 5, 3)))
    np.testing.assert_array_equal(sheet[4:8, 0:5], np.broadcast_to(images[32], (4, 5, 3)))


def test_large_images_are_made_smaller(tmp_path: Path) -> None:
    dataset = make_dataset(60, tuple("ab"), (300, 200, 3))
    dataset.images[:] = 77
    data = gallery_of(make_run(tmp_path, dataset), dataset)
    assert (data["height"], data["width"]) == (96, 64)
    assert pixels(data["sheets"][0]).shape == (96, 32 * 64, 3)
    assert np.unique(shown_pixels(data, 5)).tolist() == [77]


def test_many_large_images_are_made_smaller_still() -> None:
    assert size_for(100, 32, 32) == size_for(10_000, 32, 32)
    assert (size_for(10_000, 224, 224).height, size_for(10_000, 224, 112).width) == (42, 21)


@pytest.mark.slow
@pytest.mark.parametrize("side", [32, 42])
def test_ten_thousand_pictures_stay_below_15_mb(side: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (10_000, 11, 11, 3), dtype=np.uint8)
    images = images.repeat(4, axis=1).repeat(4, axis=2)[:, :side, :side]  # with edges as hard as they come
    sheets = make_sheets(images)
    assert (sheets.height, sheets.width) == (side, side)
    assert len(sheets.uris) == 10
    assert sum(map(len, sheets.uris)) < 13e6


def test_the_gallery_keeps_the_likeliest_classes_alone() -> None:
    found = gallery._likeliest(np.random.default_rng(0).normal(size=(100, 500)).astype(np.float32))
    assert found.classes.base is None, "a view would keep the order of all 500"
    assert found.shares.base is None
