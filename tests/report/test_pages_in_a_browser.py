"""The pages that people see in a browser: wide and narrow, light and dark, in print, by keyboard.

They are those of files (runs, `auto`, `look`, studies, runs side by side, explanations) and those of servers (`open`
with the page of a training, `review`, `serve` and its description). Accessibility is checked by axe-core, which the
package axe-core-python holds.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import Page, browser
from made_pages import file_pages, served_pages

pytestmark = pytest.mark.slow
OPENED = ("gallery", "nearest")  # whose address opens a picture, which has the focus
FILES = (
    "validation",
    "test",
    "gallery",
    "nearest",
    "measured",
    "auto",
    "look",
    "side by side",
    "explain",
    "study",
    "search",
    "transfer",
)
SERVED = ("index", "live", "review", "serve", "docs")
KINDS = (*FILES, *SERVED)
WITHOUT_TABLES = ("explain", "live", "review", "serve", "docs")
PAPER, WIDEST_PAPER = 1058, 1588  # px on A4: Chromium shrinks a page by 1.33 and, where that is too wide, by up to 2
FOLDED = "(each) => !each.open && getComputedStyle(each, '::details-content').contentVisibility !== 'visible'"
MORE = {  # what makes a page show more, once it has loaded
    "serve": "document.querySelector('.sample').click(); const ask = setInterval(() => {"
    "const button = document.querySelector('.evidence-button');"
    "if (button) { clearInterval(ask); button.click(); } }, 20)",
}
READY = {  # what is true once a page has all that it loads
    "gallery": "!document.getElementById('one').hidden",
    "nearest": "!document.getElementById('one').hidden",
    "review": "document.querySelectorAll('#beside img').length > 0 && document.getElementById('picture').complete",
    "serve": "document.querySelector('.evidence:not([hidden])') !== null",
}
OUTSIDE = """
[...document.body.querySelectorAll('*')].filter((each) => {
  if (each.closest('.skip, .hidden, dialog:not([open])') || !each.checkVisibility()) return false;
  for (let above = each.parentElement; above; above = above.parentElement) {
    if (getComputedStyle(above).overflowX !== 'visible' && above !== document.body) return false;
  }
  const box = each.getBoundingClientRect();
  return box.width > 0 && (box.left < -1 || box.right > WIDTH + 1);
}).map((each) => each.outerHTML.slice(0, 100))
"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The address of a page of each kind."""
    folder = tmp_path_factory.mktemp("pages")
    with served_pages(folder) as addresses:
        yield {**file_pages(folder), **addresses}


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser(tmp_path_factory.mktemp("browser")) as opened:
        yield opened


def open_page(page: Page, address: str, kind: str, width: int = 1280, dark: bool = False) -> None:
    """Opens a page anew, and waits until all that it loads is there."""
    page.open("about:blank")
    page.problems.clear()
    page.open(address, width, 900, dark=dark)
    if kind in MORE:
        page.value(f"{{ {MORE[kind]} }}")
    if kind in READY:
        page.until(READY[kind])


def darken(page: Page) -> None:
    """Goes on as in a browser that prefers dark pages."""
    page.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    assert page.value("matchMedia('(prefers-color-scheme: dark)').matches") is True


def serious(page: Page, rule: str = "") -> list[tuple[str, str]]:
    """What axe-core finds that is serious or critical, by one rule or by all: the rule and the first element."""
    axe = pytest.importorskip("axe_core_python", reason="needs axe-core-python")
    source = (Path(axe.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
    page.value(source + "; 0")
    options = json.dumps({"resultTypes": ["violations"], **({"runOnly": [rule]} if rule else {})})
    found: list[dict[str, Any]] = json.loads(
        page.value(f"axe.run({options}).then((found) => JSON.stringify(found.violations))")
    )
    bad = [each for each in found if each["impact"] in ("serious", "critical")]
    return [(each["id"], f"{len(each['nodes'])} times, {each['nodes'][0]['html'][:200]}") for each in bad]


@pytest.mark.parametrize("width", [1400, 390])
@pytest.mark.parametrize("kind", KINDS)
def test_a_page_is_in_order(pages: dict[str, str], page: Page, kind: str, width: int) -> None:
    open_page(page, pages[kind], kind, width)
    assert page.value(OUTSIDE.replace("WIDTH", str(width))) == []
    assert page.value("document.documentElement.scrollWidth") <= width
    assert serious(page) == []
    darken(page)
    assert serious(page, "color-contrast") == []  # nothing else depends on the scheme
    assert page.problems == []


def test_what_is_wrong_would_be_found(pages: dict[str, str], page: Page) -> None:
    page.open("about:blank")
    page.open(pages["auto"], 390, 900)
    outside = OUTSIDE.replace("WIDTH", "390")
    assert page.value(outside) == []
    page.value(
        "{const wide = document.createElement('img'); wide.src = 'data:,'; wide.style.display = 'block';"
        "wide.style.width = '500px'; wide.style.height = '9px'; document.querySelector('main').append(wide)}"
    )
    assert len(page.value(outside)) == 1
    assert [rule for rule, _ in serious(page)] == ["image-alt"]
    darken(page)
    assert serious(page, "color-contrast") == []
    page.value("document.querySelector('main p').style.color = '#1b2127'")  # the ink on light paper
    assert [rule for rule, _ in serious(page, "color-contrast")] == ["color-contrast"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_can_be_printed(pages: dict[str, str], page: Page, kind: str) -> None:
    open_page(page, pages[kind], kind, PAPER, dark=True)
    features = [{"name": "prefers-color-scheme", "value": "dark"}]
    page.send("Emulation.setEmulatedMedia", media="print", features=features)
    try:
        heads = page.value(
            "[...document.querySelectorAll('thead:not(.hidden) th')].filter((head) => head.closest('main'))"
            ".map((head) => [getComputedStyle(head).position, head.checkVisibility(), getComputedStyle(head).color])"
        )
        assert bool(heads) is (kind not in WITHOUT_TABLES)
        assert {tuple(head) for head in heads} <= {("static", True, "rgb(68, 68, 68)")}
        assert page.value("document.querySelector('h1').checkVisibility()") is True
        assert page.value("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert page.value("[...document.querySelectorAll('dialog')].some((each) => each.checkVisibility())") is False
        cut = "[...document.querySelectorAll('.box')].filter((box) => getComputedStyle(box).overflowY !== 'visible')"
        assert page.value(f"{cut}.length") == 0
        page.value("dispatchEvent(new Event('beforeprint'))")
        assert page.value(f"[...document.querySelectorAll('main details')].filter({FOLDED}).length") == 0
        assert page.value(OUTSIDE.replace("WIDTH", str(WIDEST_PAPER))) == []
    finally:
        page.send("Emulation.setEmulatedMedia", media="", features=[])
    assert page.problems == []


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in OPENED])
def test_the_keyboard_skips_to_the_content_and_reaches_all(pages: dict[str, str], page: Page, kind: str) -> None:
    open_page(page, pages[kind], kind)
    page.value("document.activeElement.blur(); document.querySelector('.skip') && document.body.focus()")
    page.press("Tab")
    assert page.value("document.activeElement.className") == "skip"
    assert page.value("document.activeElement.getBoundingClientRect().left") >= 0
    target = page.value("document.activeElement.hash")
    page.press("Enter")
    page.until(f"location.hash === '{target}' && document.querySelector('{target}') !== null")
    open_page(page, pages[kind], kind)
    reach = (
        "[...document.querySelectorAll('a[href], button, summary, input, select, [tabindex=\"0\"]')]"
        ".filter((each) => each.checkVisibility() && !each.disabled && !each.closest('dialog'))"
    )
    n = page.value(f"window.wanted = new Set({reach}); wanted.size")
    for _ in range(n + 10):  # what scrolls can be reached, too
        page.press("Tab")
        if page.value("wanted.delete(document.activeElement); wanted.size") == 0:
            break
    assert page.value("[...wanted].map((each) => each.outerHTML.slice(0, 100))") == []
