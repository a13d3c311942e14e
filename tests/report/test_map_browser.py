"""The map of images in a browser: a rectangle and a class into the gallery, keys, and nearest training images."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import Page, browser
from made_runs import make_dataset, make_run
from made_views import make_view
from test_gallery_browser import IS_OPEN, N_TILES, SAID, choose
from test_report import HOSTILE, read_page

from pocketlens.report.run.facts import read_facts
from pocketlens.report.run.page_text import render

pytestmark = pytest.mark.slow
MAP_SAID = "document.getElementById('map-said').textContent"
LINK = "document.getElementById('map-show')"
N_PAINTED = (
    "(() => {const canvas = document.getElementById('map-canvas'); const all = canvas.getContext('2d')"
    ".getImageData(0, 0, canvas.width, canvas.height).data; let n = 0;"
    "for (let i = 3; i < all.length; i += 4) n += all[i] > 0; return n})()"
)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with a map of 80 images of four classes with hostile names."""
    folder = tmp_path_factory.mktemp("map")
    files = tuple(f"{HOSTILE[row % 4]}/{row}" for row in range(400))
    dataset = make_dataset(400, HOSTILE, (8, 8, 3), files=files)
    run = make_run(folder, dataset, skill=1.0)
    facts = read_facts(run, dataset)
    path = folder / "report.html"
    path.write_text(render(facts, make_view(facts, dataset, run.split.train)), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def data(path: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(read_page(path).data)
    return data


@pytest.fixture
def page(path: Path, tmp_path: Path) -> Iterator[Page]:
    with browser(tmp_path) as opened:
        opened.open(path.as_uri())
        opened.value("document.getElementById('map-box').scrollIntoView({behavior: 'instant'})")
        yield opened
        assert opened.problems == []


def drag(page: Page, box: tuple[int, int, int, int]) -> None:
    """Draws a rectangle with the mouse, from one corner to the other; in thousandths of the map."""
    found = page.value(
        "(() => {const box = document.getElementById('map-canvas').getBoundingClientRect();"
        " return [box.left, box.top, box.width]})()"
    )
    left, top, width = found
    corners = [
        [side + 20 + (width - 40) * at / 1000 for side, at in zip((left, top), box[k : k + 2], strict=True)]
        for k in (0, 2)
    ]
    for kind, (x, y) in (("mousePressed", corners[0]), ("mouseMoved", corners[1]), ("mouseReleased", corners[1])):
        page.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1, clickCount=1)


def inside(data: dict[str, Any], box: tuple[int, int, int, int]) -> set[int]:
    """The rows in a rectangle."""
    spots = zip(data["map"]["at"], data["map"]["x"], data["map"]["y"], strict=True)
    return {data["row"][at] for at, x, y in spots if box[0] <= x <= box[2] and box[1] <= y <= box[3]}


def test_a_rectangle_leads_into_the_gallery_and_can_be_copied(page: Page, data: dict[str, Any], path: Path) -> None:
    drag(page, (0, 0, 560, 480))
    page.until(IS_OPEN)
    given = page.value("new URLSearchParams(location.hash.split('?')[1]).get('box')")
    box = tuple(int(value) for value in given.split("-"))
    assert len(box) == 4
    assert all(abs(a - b) <= 3 for a, b in zip(box, (0, 0, 560, 480), strict=True))
    expected = inside(data, (box[0], box[1], box[2], box[3]))
    assert 5 < len(expected) < len(data["row"]) - 5
    assert page.value(SAID).startswith(f"{len(expected)} of {len(data['row'])} images")
    shown = page.value("[...document.querySelectorAll('.tile')].map((tile) => tile.ariaLabel)")
    assert {int(text.split(" row ")[1].split(":")[0]) for text in shown} == expected
    address = page.value("location.href")
    page.open("about:blank")
    page.open(address)
    page.until(IS_OPEN)
    assert page.value(N_TILES) == len(expected)
    place = "document.querySelector('[data-filter=box]')"
    assert page.value(f"{place}.value") == given
    choose(page, "box", "")
    assert page.value(N_TILES) == len(data["row"])
    assert page.value("location.hash") == "#images"
    page.press("Escape")
    page.until(f"!{IS_OPEN}")
    assert page.value(f"{LINK}.hash").endswith(f"box={given}"), "the map has kept it"
    assert page.value(f"{LINK}.textContent") == f"Show {len(expected)} images in the rectangle in the gallery"
    page.value("document.getElementById('map-clear').click()")
    assert page.value(f"{LINK}.hash") == "#images"
    page.open(f"{path.as_uri()}#images?box=1-2-3")
    page.until(IS_OPEN)
    assert page.value(N_TILES) == len(data["row"]), "what is no rectangle is left out"


def test_a_class_and_single_images_are_reached_by_keyboard(page: Page, data: dict[str, Any]) -> None:
    page.value(
        "{const list = document.getElementById('map-class'); list.value = '1';list.dispatchEvent(new Event('change'))}"
    )
    n = sum(label == 1 for label in data["label"])
    assert page.value("document.getElementById('map-class').selectedOptions[0].textContent") == f"{HOSTILE[1]} ({n})"
    assert page.value(f"{LINK}.textContent") == f"Show {n} images in the gallery"
    page.value(f"{LINK}.focus()")
    page.press("Enter")
    page.until(IS_OPEN)
    assert page.value("location.hash") == "#images?true=1"
    assert page.value(N_TILES) == n
    page.press("Escape")
    page.until(f"!{IS_OPEN}")
    page.value("document.getElementById('map-box').focus()")
    rows = {data["row"][at]: (x, y) for at, x, y in zip(*(data["map"][name] for name in ("at", "x", "y")), strict=True)}
    seen = [said_row(page)]
    for key, way in (("ArrowLeft", -1), ("ArrowRight", 1)):
        for _ in range(60):
            before = rows[seen[-1]]
            page.press(key)
            if said_row(page) == seen[-1]:
                break
            seen.append(said_row(page))
            assert way * (rows[seen[-1]][0] - before[0]) > 0, "each step goes that way"
    assert len(seen) > 4
    assert all(data["label"][data["row"].index(row)] == 1 for row in seen)
    page.press("Enter")
    page.until(IS_OPEN)
    assert page.value("location.hash") == f"#images?true=1&at={seen[-1]}"
    assert page.value("document.getElementById('one').hidden") is False


def test_a_rectangle_is_drawn_by_keyboard(page: Page, data: dict[str, Any]) -> None:
    page.value("document.getElementById('map-box').focus()")
    page.press("Home")
    at, x, y = (data["map"][name][0] for name in ("at", "x", "y"))
    assert said_row(page) == data["row"][at]
    ways = ("ArrowRight" if x < 500 else "ArrowLeft", "ArrowDown" if y < 500 else "ArrowUp")
    for key in (*ways, ways[0], *ways * 4):
        page.press(key, shift=True)
    box = box_of(page.value(f"{LINK}.hash"))
    ends = (x + (240 if x < 500 else -240), y + (200 if y < 500 else -200))
    lower, upper = (min(x, ends[0]), min(y, ends[1])), (max(x, ends[0]), max(y, ends[1]))
    assert box == (*(max(0, side - 15) for side in lower), *(min(1000, side + 15) for side in upper))
    for key in (ways[0], "ArrowLeft" if x < 500 else "ArrowRight"):  # one further and back
        page.press(key, shift=True)
    assert box_of(page.value(f"{LINK}.hash")) == box
    n = len(inside(data, box))
    assert 1 < n < len(data["row"])
    assert page.value(f"{LINK}.textContent") == f"Show {n} images in the rectangle in the gallery"
    assert page.value(f"{LINK}.ariaLive") == "polite"
    page.press("Enter")
    page.until(IS_OPEN)
    assert page.value(N_TILES) == n
    page.press("Escape")
    page.until(f"!{IS_OPEN}")
    page.value("document.getElementById('map-box').focus()")
    page.press("Escape")
    assert page.value(f"{LINK}.hash") == "#images"
    page.press("Enter")
    page.until(IS_OPEN)
    assert f"at={data['row'][at]}" in page.value("location.hash"), "without a rectangle, Enter opens the image"


def box_of(hash: str) -> tuple[int, int, int, int]:
    """The rectangle in the address of the gallery."""
    left, top, right, bottom = (int(value) for value in hash.split("box=")[1].split("-"))
    return left, top, right, bottom


def said_row(page: Page) -> int:
    """The row of the image that the map describes."""
    return int(page.value(MAP_SAID).split(" row ")[1].split(":")[0])


def test_a_point_tells_its_image_and_pictures_are_drawn(page: Page, data: dict[str, Any]) -> None:
    page.until("Number(document.getElementById('map-canvas').dataset.pictures) > 3")
    assert page.value(N_PAINTED) > 4 * 30 * 25, "pictures of 30 px, not points alone"
    at, x, y = (data["map"][name][7] for name in ("at", "x", "y"))
    spot = page.value(
        "(() => {const box = document.getElementById('map-canvas').getBoundingClientRect();"
        f" return [box.left + 20 + (box.width - 40) * {x} / 1000, box.top + 20 + (box.width - 40) * {y} / 1000]}})()"
    )
    page.send("Input.dispatchMouseEvent", type="mouseMoved", x=spot[0], y=spot[1])
    page.until(f"{MAP_SAID}.includes(' row {data['row'][at]}:')")
    is_right = data["cause"][at] == -1
    said = "right" if is_right else f"taken for {HOSTILE[data['likely'][3 * at]]}"
    assert f"row {data['row'][at]}: {HOSTILE[data['label'][at]]}, {said}" in page.value(MAP_SAID)
    assert page.value("document.getElementById('map-picture').width") == 8


def test_the_nearest_training_images_stand_beside_a_mistake(page: Page, data: dict[str, Any], path: Path) -> None:
    near = data["near"]
    page.open(f"{path.as_uri()}#images?at={data['row'][1]}")
    page.until(f"{IS_OPEN} && !document.getElementById('one-near').hidden")
    shown = page.value(
        "[...document.querySelectorAll('#one-near-list li')].map((item) =>"
        " [item.querySelector('canvas').ariaLabel, item.querySelector('span').textContent,"
        " item.querySelector('small').textContent])"
    )
    places = near["nearest"][3:6]
    names = [HOSTILE[near["label"][place]] for place in places]
    assert shown == [
        [f"training row {near['row'][place]}: {name}", name, near["files"][place]]
        for place, name in zip(places, names, strict=True)
    ]
    page.value(f"location.hash = '#images?answer=right&at={data['row'][-1]}'")
    page.until("document.getElementById('one-near').hidden")
