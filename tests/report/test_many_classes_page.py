"""The page of a run with many classes has no matrix, but a table that is searched; it is small, and harmless."""

from __future__ import annotations

from pathlib import Path

import pytest
from browser import browser
from made_runs import make_dataset, make_run
from test_report import HOSTILE, read_page

from pocketlens.report import write_report
from pocketlens.scoring.confusion_cells import MOST_WHOLE


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    names = (*HOSTILE, *(f"kind {index}" for index in range(MOST_WHOLE + 1)))
    dataset = make_dataset(4 * len(names), names, (20, 20, 3))
    return write_report(make_run(tmp_path_factory.mktemp("runs"), dataset, val_fraction=0.5, skill=2.5), dataset)


def test_there_is_no_matrix_and_nothing_that_runs(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert 'id="matrix"' not in text
    assert 'id="find-data"' in text
    assert text.count("<tr>") < 2 * MOST_WHOLE
    assert page.stat().st_size < 3e6
    assert "<script>alert" not in text
    assert "<img onerror" not in text
    read_page(page)


@pytest.mark.slow
def test_classes_and_pairs_are_found_by_a_part_of_a_name(page: Path, tmp_path: Path) -> None:
    with browser(tmp_path) as tab:
        tab.open(page.as_uri())
        rows = "[...document.querySelectorAll('#find-classes tbody tr')].map((row) => row.cells[0].textContent.trim())"
        before = tab.value(rows)

        def find(typed: str) -> None:
            tab.value(f"document.getElementById('find').value = {typed!r}")
            tab.value("document.getElementById('find').dispatchEvent(new Event('input'))")

        assert len(before) == MOST_WHOLE
        find("KIND 27")
        assert sorted(name.lstrip("▼▲ ") for name in tab.value(rows)) == sorted(
            f"kind {index}" for index in (27, *range(270, 280))
        )
        assert "11 classes; " in tab.value("document.getElementById('find-said').textContent")
        cells = "document.querySelectorAll('#find-pairs tbody tr').length"
        pairs = tab.value(cells)
        tab.value("document.querySelector('#find-pairs tbody a').click()")
        tab.until("document.getElementById('gallery').open")
        assert pairs > 0
        find("")
        assert tab.value(rows) == before
        assert not tab.problems
