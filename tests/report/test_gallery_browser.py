"""The gallery in a browser: filters, addresses, the panel and the keys; hostile names are text there, too."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import Any

import pytest
from browser import Page, browser
from made_runs import make_dataset, make_run
from test_report import HOSTILE, read_page

from pocketlens.report import write_report

pytestmark = pytest.mark.slow
IS_OPEN = "document.getElementById('gallery').open"
PLACE = "[...document.querySelectorAll('.tile')].findIndex((tile) => tile.ariaCurrent)"
N_TILES = "document.querySelectorAll('.tile').length"
SAID = "document.getElementById('gallery-said').textContent"


def made_page(folder: Path, classes: tuple[str, ...], **options: Any) -> Path:
    dataset = make_dataset(400, classes, (8, 8, 3), **options)
    return write_report(make_run(folder, dataset, skill=0.5), dataset)


def data_of(path: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(read_page(path).data)
    return data


def choose(page: Page, name: str, value: str) -> None:
    """Sets a filter as a person does."""
    page.value(
        f"{{const input = document.querySelector('[data-filter={name}]'); input.value = {json.dumps(value)};"
        "input.dispatchEvent(new Event('change'))}"
    )


def test_a_cell_opens_its_pictures(tmp_path: Path) -> None:
    files = tuple(f"{HOSTILE[row % 4]}/{row}" for row in range(400))
    path = made_page(tmp_path, HOSTILE, files=files)
    data = data_of(path)
    label, predicted, count = data["wrong"][0]
    with browser(tmp_path) as page:
        page.open(f"{path.as_uri()}#images?true={label}&predicted={predicted}")
        page.until(IS_OPEN)
        page.press("ArrowRight")
        dialog = page.value("document.getElementById('gallery').outerHTML")
        assert page.problems == []
    with browser(tmp_path / "again") as page:
        page.open(path.as_uri())
        assert page.value(IS_OPEN) is False
        assert "49" not in page.value("document.querySelector('h1').innerHTML")
        assert page.problems == []
    assert re.match(r"<dialog[^>]* open", dialog)
    assert html.escape(f"{HOSTILE[label]} → {HOSTILE[predicted]}", quote=False) in dialog
    assert dialog.count('class="tile wrong"') == count
    assert dialog.count("<canvas") == count + 1  # and the large one
    assert f"{count} of " in dialog
    assert "<img" not in dialog
    assert "<script" not in dialog


def expected(data: dict[str, Any], keep: Any) -> int:
    """How many rows pass a test of (label, predicted, cause, share, row)."""
    per = len(data["likely"]) // len(data["row"])
    columns = (data["label"], data["likely"][::per], data["cause"], data["share"][::per], data["row"])
    return sum(bool(keep(*values)) for values in zip(*columns, strict=True))


def test_filters_keep_what_they_say_and_stand_in_the_address(tmp_path: Path) -> None:
    path = made_page(tmp_path, tuple("abcd"), files=tuple(f"dir/File {row}.png" for row in range(400)))
    data = data_of(path)
    cases = [
        ("true", "1", expected(data, lambda label, predicted, cause, share, row: label == 1)),
        ("predicted", "2", expected(data, lambda label, predicted, cause, share, row: predicted == 2)),
        ("answer", "wrong", expected(data, lambda label, predicted, cause, share, row: cause >= 0)),
        ("answer", "right", expected(data, lambda label, predicted, cause, share, row: cause < 0)),
        ("cause", "4", expected(data, lambda label, predicted, cause, share, row: cause == 4)),
        ("from", "60.5", expected(data, lambda label, predicted, cause, share, row: share >= 6050)),
        ("below", "60.5", expected(data, lambda label, predicted, cause, share, row: share < 6050)),
        ("copies", "without", len(data["row"])),
        ("copies", "with", 0),
        ("find", f"FILE {data['row'][7]}.png", 1),
        ("find", str(data["row"][7]), expected(data, lambda *values: str(data["row"][7]) in f"File {values[4]}.png")),
    ]
    with browser(tmp_path) as page:
        page.open(f"{path.as_uri()}#images")
        page.until(IS_OPEN)
        assert page.value(N_TILES) == len(data["row"])
        for name, value, count in cases:
            choose(page, name, value)
            assert page.value(SAID).startswith(f"{count} of {len(data['row'])} images"), (name, value)
            assert page.value(N_TILES) == count
            address = page.value("location.href")
            page.open("about:blank")
            page.open(address)  # a link that was copied
            page.until(IS_OPEN)
            assert page.value(N_TILES) == count, address
            assert page.value(f"document.querySelector('[data-filter={name}]').value") == value
            page.value("document.getElementById('gallery-reset').click()")
            assert page.value("location.hash") == "#images"
        choose(page, "true", "1")
        choose(page, "predicted", "2")
        both = page.value(N_TILES)
        assert both == expected(data, lambda label, predicted, cause, share, row: (label, predicted) == (1, 2))
        option = "document.querySelector('[data-filter=predicted]').options[3].textContent"
        assert page.value(option) == f"c ({both})"
        choose(page, "sort", "unsure")
        first = "parseFloat(document.querySelector('.tile').textContent)"
        assert page.value(first) == pytest.approx(
            min(
                share / 100
                for share, label, said in zip(data["share"][::3], data["label"], data["likely"][::3], strict=True)
                if (label, said) == (1, 2)
            ),
            abs=0.06,
        )
        page.value(f"location.hash = '#images?true=99&from=x&sort=evil&at={data['row'][3]}&other=1'")
        page.until(f"{N_TILES} === {len(data['row'])}")
        assert page.value(PLACE) >= 0, "what is wrong in an address is left out"
        assert page.problems == []


def test_the_matrix_and_the_gallery_work_by_keyboard(tmp_path: Path) -> None:
    path = made_page(tmp_path, tuple("abcd"))
    count = next(count for label, predicted, count in data_of(path)["wrong"] if (label, predicted) == (1, 2))
    to_cell = ("ArrowDown", "ArrowRight", "ArrowRight")
    with browser(tmp_path) as page:
        page.open(path.as_uri())
        page.value("document.getElementById('matrix-box').focus()")
        for key in (*to_cell, "Enter"):
            page.press(key)
        page.until(IS_OPEN)
        assert page.value(N_TILES) == count
        assert page.value("document.getElementById('one').hidden") is True
        assert page.value(PLACE) == -1
        assert page.value("document.getElementById('matrix-said').textContent").startswith(
            f"b, predicted as c: {count} of"
        )
        for key in ("ArrowRight", "ArrowRight", "ArrowLeft"):
            page.press(key)
        page.until(f"!document.getElementById('one').hidden && {PLACE} === 0")
        assert page.value("document.getElementById('one-title').textContent") == "b \u2192 c"
        assert page.value("document.activeElement === document.querySelector('.tile')") is True
        assert "at=" in page.value("location.hash")
        page.press("Escape")
        page.until(f"!{IS_OPEN}")
        assert page.value("location.hash") == ""
        page.press("Enter")  # the matrix has the focus again
        page.until(IS_OPEN)
        page.press("Escape")  # from the list, too
        page.until(f"!{IS_OPEN}")
        page.press("Enter")
        page.until(IS_OPEN)
        # Enter before the event of the closing is told:
        again = "document.getElementById('gallery').close(); document.getElementById('matrix-box').dispatchEvent(enter)"
        page.value(f"{{const enter = new KeyboardEvent('keydown', {{key: 'Enter'}}); {again}}}")
        page.value("new Promise((done) => setTimeout(done, 200))")
        assert page.value(f"{IS_OPEN} && location.hash === '#images?true=1&predicted=2'") is True
        assert page.problems == []


@pytest.mark.parametrize("width", [1400, 390])
def test_the_panel_stays_in_view(tmp_path: Path, width: int) -> None:
    path = made_page(tmp_path, tuple("abcd"))
    inside = (
        "{const box = document.getElementById('one').getBoundingClientRect(); box.width > 0 && box.top >= 0 &&"
        " box.bottom <= innerHeight && box.left >= 0 && box.right <= innerWidth}"
    )
    with browser(tmp_path) as page:
        page.open(f"{path.as_uri()}#images?sort=row", width, 800)
        page.until(IS_OPEN)
        page.press("End")
        page.until(f"{PLACE} === {len(data_of(path)['row']) - 1}")
        assert page.value(inside) is True
        seen = "document.querySelector('.tile[aria-current]').getBoundingClientRect()"
        assert page.value(f"{seen}.top >= 0 && innerHeight >= {seen}.bottom") is True
        page.press("Home")
        assert page.value(inside) is True
        assert page.value("document.documentElement.scrollWidth") <= width
        assert page.problems == []


def test_the_threshold_counts_and_leads_to_what_it_refuses(tmp_path: Path) -> None:
    path = made_page(tmp_path, tuple("abcd"))
    data = data_of(path)
    n = data["n"]
    with browser(tmp_path) as page:
        page.open(path.as_uri())
        slide = (
            "{{const slider = document.getElementById('threshold'); slider.value = {};"
            "slider.dispatchEvent(new Event('input'))}}"
        )
        text = "document.getElementById('threshold-{}').textContent"
        for place in (0, 612, 1000):
            page.value(slide.format(place))
            answered = sum(data["answered"]["n"][place:])
            right = sum(data["answered"]["right"][place:])
            assert page.value(text.format("coverage")).endswith(f"{answered} of {n}")
            if answered:
                assert page.value(text.format("accuracy")).startswith(f"{100 * right / answered:.2f} %")
        page.value(slide.format(612))
        refused = n - sum(data["answered"]["n"][612:])
        page.value("document.getElementById('threshold-see-refused').click()")
        page.until(IS_OPEN)
        assert page.value(N_TILES) == refused
        page.press("Escape")
        page.value("document.getElementById('threshold-see-wrong').click()")
        page.until(f"{IS_OPEN} && {N_TILES} > 0")
        assert page.value(N_TILES) == sum(data["answered"]["n"][612:]) - sum(data["answered"]["right"][612:])
        assert page.problems == []
