"""The pages of a run, of `auto` and of `look` in a browser: wide and narrow, light and dark, in print, by keyboard.

Accessibility is checked by axe-core, which the package axe-core-python holds.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import Page, browser
from made_runs import make_dataset, make_run, make_sealed
from made_views import make_view
from test_look_page import audited
from test_report import open_by_hand
from test_story import approaches, augmentations, planned, state_of

from pocketlens.audit import outliers
from pocketlens.pipeline.page import write_story
from pocketlens.pipeline.state import PhaseResult
from pocketlens.pipeline.story import tell_story
from pocketlens.report import write_report
from pocketlens.report.audit.page import write_audit_page
from pocketlens.report.run.facts import read_facts
from pocketlens.report.run.gallery import make_gallery
from pocketlens.report.run.page_text import render

pytestmark = pytest.mark.slow
KINDS = ("validation", "test", "gallery", "nearest", "auto", "look")
CLASSES = tuple(f"class number {k}" for k in range(30))
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
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The address of a page of each kind."""
    folder = tmp_path_factory.mktemp("pages")
    dataset = make_dataset(900, CLASSES, superclasses=("one", "two"), superclass_of=tuple(k % 2 for k in range(30)))
    sealed = make_sealed(90, CLASSES, shape=(32, 32, 3))
    run = make_run(folder / "validation", dataset, skill=2.0)
    facts = read_facts(run, dataset, sealed)
    page = folder / "with a map.html"
    page.write_text(render(facts, make_view(facts, dataset, run.split.train)), encoding="utf-8")
    paths = {"validation": page}
    tested = make_run(folder / "test", dataset, skill=2.0)
    open_by_hand(tested, dataset)
    paths["test"] = write_report(tested, dataset, sealed)
    session = folder / "session"
    session.mkdir()
    done = {
        "approach": approaches(),
        "plan": planned(),
        "augment": augmentations(),
        "final": PhaseResult(("said",), {}, 190.0),
    }
    paths["auto"] = write_story(session, tell_story(session, state_of(done), run, facts, 200.0), facts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outliers, "_LEAST_STEPS", 6)
        small = make_dataset(120, CLASSES[:4], shape=(12, 12, 3))
        paths["look"] = write_audit_page(audited(small, augment="flip"), folder / "look")
    addresses = {kind: path.as_uri() for kind, path in paths.items()}
    mistake = make_gallery(facts, ()).data["row"][0]
    opened = {"gallery": f"{addresses['test']}#images?sort=row&at=7"}
    return {**addresses, **opened, "nearest": f"{addresses['validation']}#images?at={mistake}"}


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser(tmp_path_factory.mktemp("browser")) as opened:
        yield opened


def serious(page: Page) -> list[tuple[str, str]]:
    """What axe-core finds that is serious or critical: the rule and the first element."""
    axe = pytest.importorskip("axe_core_python", reason="needs axe-core-python")
    page.value((Path(axe.__file__).parent / "axe.min.js").read_text(encoding="utf-8") + "; 0")
    found: list[dict[str, Any]] = json.loads(
        page.value("axe.run({resultTypes: ['violations']}).then((found) => JSON.stringify(found.violations))")
    )
    bad = [each for each in found if each["impact"] in ("serious", "critical")]
    return [(each["id"], f"{len(each['nodes'])} times, {each['nodes'][0]['html'][:200]}") for each in bad]


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1400, 390])
@pytest.mark.parametrize("kind", KINDS)
def test_a_page_is_in_order(pages: dict[str, str], page: Page, kind: str, width: int, dark: bool) -> None:
    page.problems.clear()
    page.open("about:blank")
    page.open(pages[kind], width, 900, dark=dark)
    if kind in ("gallery", "nearest"):
        page.until("!document.getElementById('one').hidden")
    assert page.value("document.documentElement.scrollWidth") <= width
    assert page.value(OUTSIDE.replace("WIDTH", str(width))) == []
    assert serious(page) == []
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


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_can_be_printed(pages: dict[str, str], page: Page, kind: str) -> None:
    page.problems.clear()
    page.open("about:blank")
    page.open(pages[kind], 794, 1100, dark=True)
    features = [{"name": "prefers-color-scheme", "value": "dark"}]
    page.send("Emulation.setEmulatedMedia", media="print", features=features)
    try:
        heads = page.value(
            "[...document.querySelectorAll('thead:not(.hidden) th')].filter((head) => head.closest('main'))"
            ".map((head) => [getComputedStyle(head).position, head.checkVisibility(), getComputedStyle(head).color])"
        )
        assert heads
        assert {tuple(head) for head in heads} == {("static", True, "rgb(68, 68, 68)")}
        assert page.value("document.querySelector('h1').checkVisibility()") is True
        assert page.value("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert page.value("[...document.querySelectorAll('dialog')].some((each) => each.checkVisibility())") is False
        cut = "[...document.querySelectorAll('.box')].filter((box) => getComputedStyle(box).overflowY !== 'visible')"
        assert page.value(f"{cut}.length") == 0
        page.value("dispatchEvent(new Event('beforeprint'))")
        assert page.value("document.querySelectorAll('main details:not([open])').length") == 0
    finally:
        page.send("Emulation.setEmulatedMedia", media="", features=[])
    assert page.problems == []


@pytest.mark.parametrize("kind", ["validation", "auto", "look"])
def test_the_keyboard_skips_to_the_content_and_reaches_all(pages: dict[str, str], page: Page, kind: str) -> None:
    page.open("about:blank")
    page.open(pages[kind])
    page.press("Tab")
    assert page.value("document.activeElement.className") == "skip"
    assert page.value("document.activeElement.getBoundingClientRect().left") >= 0
    page.press("Enter")
    page.until("location.hash === '#content'")
    page.open("about:blank")
    page.open(pages[kind])
    reach = (
        "[...document.querySelectorAll('a[href], button, summary, input, select, [tabindex=\"0\"]')]"
        ".filter((each) => each.checkVisibility() && !each.closest('dialog'))"
    )
    n = page.value(f"window.wanted = new Set({reach}); wanted.size")
    for _ in range(n + 1):
        page.press("Tab")
        if page.value("wanted.delete(document.activeElement); wanted.size") == 0:
            break
    assert page.value("[...wanted].map((each) => each.outerHTML.slice(0, 100))") == []
