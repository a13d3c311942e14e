"""The gallery: every picture stands where its row says, a cell opens its own in a browser, and pages stay small."""

from __future__ import annotations

import base64
import html
import json
import re
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import browser
from made_runs import make_dataset, make_run
from PIL import Image
from test_report import HOSTILE, read_page

from pocketlens.report import write_report
from pocketlens.report.run.gallery import COLUMNS, _sheets, _tile


def pixels(uri: str) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(base64.b64decode(uri.split(",", 1)[1]))).convert("RGB"))


def test_every_picture_stands_where_its_row_says(tmp_path: Path) -> None:
    dataset = make_dataset(900, tuple("abcdef"), (8, 10, 3))
    run = make_run(tmp_path, dataset, skill=0.5)
    data = json.loads(read_page(write_report(run, dataset)).data)
    assert (data["height"], data["width"]) == (8, 10)
    sheet = pixels(data["sheets"][0])
    for index, row in enumerate(data["rows"]):
        top, left = index // COLUMNS * 8, index % COLUMNS * 10
        np.testing.assert_array_equal(sheet[top : top + 8, left : left + 10], dataset.images[row[0]])
        assert row[1] == dataset.labels[row[0]]


@pytest.mark.parametrize("channels", [1, 3])
def test_tiles_are_laid_in_rows_of_32(channels: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (33, 4, 5, channels), dtype=np.uint8)
    sheet = _tile(images)
    assert sheet.shape == (8, 160, 3)
    np.testing.assert_array_equal(sheet[0:4, 155:160], np.broadcast_to(images[31], (4, 5, 3)))
    np.testing.assert_array_equal(sheet[4:8, 0:5], np.broadcast_to(images[32], (4, 5, 3)))


def test_large_images_are_made_smaller() -> None:
    sheets = _sheets(np.full((3, 300, 200, 3), 77, np.uint8))
    assert (sheets.height, sheets.width) == (96, 64)
    assert pixels(sheets.uris[0]).shape == (96, 32 * 64, 3)


@pytest.mark.slow
def test_ten_thousand_mistakes_stay_below_15_mb() -> None:
    images = np.random.default_rng(0).integers(0, 256, (10_000, 8, 8, 3), dtype=np.uint8)
    images = images.repeat(4, axis=1).repeat(4, axis=2)  # 32 px, with edges as hard as they come
    sheets = _sheets(images)
    assert (sheets.height, sheets.width) == (32, 32)
    assert len(sheets.uris) == 10
    assert sum(map(len, sheets.uris)) < 13e6


@pytest.mark.slow
def test_a_cell_opens_its_pictures_in_a_browser(tmp_path: Path) -> None:
    dataset = make_dataset(400, HOSTILE, (8, 8, 3), files=tuple(f"{HOSTILE[row % 4]}/{row}" for row in range(400)))
    run = make_run(tmp_path, dataset, skill=0.5, label=HOSTILE[0])
    path = write_report(run, dataset)
    data: dict[str, Any] = json.loads(read_page(path).data)
    label, predicted, count = data["wrong"][0]
    with browser(tmp_path) as page:
        page.open(f"{path.as_uri()}#cell-{label}-{predicted}")
        page.until("document.getElementById('gallery').open")
        dialog = page.value("document.getElementById('gallery').outerHTML")
        assert page.problems == []
    with browser(tmp_path / "again") as page:
        page.open(path.as_uri())
        assert page.value("document.getElementById('gallery').open") is False
        assert "49" not in page.value("document.querySelector('h1').innerHTML")
        assert page.problems == []
    assert re.match(r"<dialog[^>]* open", dialog)
    assert html.escape(f"{HOSTILE[label]} → {HOSTILE[predicted]}", quote=False) in dialog
    assert dialog.count('class="tile"') == count
    assert dialog.count("<canvas") == count + 1  # and the large one
    assert f"{count} of " in dialog
    assert "<img" not in dialog
    assert "<script" not in dialog


@pytest.mark.slow
def test_the_matrix_and_the_gallery_work_by_keyboard(tmp_path: Path) -> None:
    dataset = make_dataset(400, tuple("abcd"), (8, 8, 3))
    run = make_run(tmp_path, dataset, skill=0.5)
    path = write_report(run, dataset)
    data: dict[str, Any] = json.loads(read_page(path).data)
    count = next(count for label, predicted, count in data["wrong"] if (label, predicted) == (1, 2))
    is_open = "document.getElementById('gallery').open"
    place = "[...document.querySelectorAll('.tile')].findIndex((tile) => tile.ariaCurrent)"
    to_cell = ("ArrowDown", "ArrowRight", "ArrowRight")
    with browser(tmp_path) as page:
        page.open(path.as_uri())
        page.value("document.getElementById('matrix-box').focus()")
        for key in (*to_cell, "Enter"):
            page.press(key)
        page.until(is_open)
        assert page.value("document.getElementById('gallery-title').textContent") == "b \u2192 c"
        assert page.value("document.querySelectorAll('.tile').length") == count
        assert page.value("document.getElementById('one').hidden") is True
        assert page.value(place) == -1
        assert page.value("document.getElementById('matrix-said').textContent").startswith(
            f"b, predicted as c: {count} of"
        )
        for key in ("ArrowRight", "ArrowRight", "ArrowLeft"):
            page.press(key)
        page.until(f"!document.getElementById('one').hidden && {place} === 0")
        page.press("Escape")
        page.until(f"!{is_open}")
        page.press("Enter")  # the matrix has the focus again
        page.until(is_open)
        page.press("Escape")  # from the list, too
        page.until(f"!{is_open}")
        page.press("Enter")
        page.until(is_open)
        # Enter before the event of the closing is told:
        again = "document.getElementById('gallery').close(); document.activeElement.dispatchEvent(enter)"
        page.value(f"{{const enter = new KeyboardEvent('keydown', {{key: 'Enter'}}); {again}}}")
        page.value("new Promise((done) => setTimeout(done, 200))")
        assert page.value(f"{is_open} && location.hash === '#cell-1-2'") is True
        assert page.problems == []
