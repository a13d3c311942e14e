"""The map on the page of an audit: which rows are on it, what is marked, and what is shown of it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from browser import browser
from made_runs import make_dataset
from test_gallery import shown_pixels
from test_map_browser import drag, inside
from test_report import HOSTILE, read_page

from pocketlens.audit import checks
from pocketlens.audit.audit import AuditReport
from pocketlens.audit.checks import find_map
from pocketlens.audit.facts import measure_facts
from pocketlens.audit.label_issues import LabelIssues
from pocketlens.audit.options import Skipped
from pocketlens.audit.outliers import FeatureSpace, Outliers
from pocketlens.data.dataset import Dataset, seal
from pocketlens.data.split import make_split
from pocketlens.events import finish
from pocketlens.report.audit.page import write_audit_page

N = 200


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return make_dataset(N, HOSTILE, (8, 8, 3), files=tuple(f"{HOSTILE[row % 4]}/{row}" for row in range(N)))


def space_of(dataset: Dataset, n_spaces: int = 1) -> FeatureSpace:
    noise = np.random.default_rng(0).normal(size=(len(dataset), 4))
    features = (8 * np.eye(4)[dataset.labels] + noise).astype(np.float32)
    return FeatureSpace(features, np.arange(len(dataset)) % n_spaces, "the features of a test")


def issues_of(rows: list[int], dataset: Dataset) -> LabelIssues:
    given = dataset.labels[rows]
    sure = np.full(len(rows), 0.9)
    return LabelIssues(np.array(rows), given, (given + 1) % 4, 1 - sure, sure, len(dataset), 0.9)


def outliers_of(rows: list[int]) -> Outliers:
    """Ten of these rows are what a person is asked to look at."""
    errors = np.zeros(N, np.float32)
    errors[rows] = 1
    return Outliers(errors, None, "", None)


def test_label_issues_and_outliers_are_on_a_sample_in_any_case(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "MOST_POINTS", 60)
    unusual = list(range(150, 160))
    found = finish(find_map(space_of(dataset), dataset, outliers_of(unusual), issues_of([7, 199, 154], dataset)))
    assert found is not None
    places = found.map.places.tolist()
    assert (len(places), found.map.n) == (60, N)
    assert {7, 199, *unusual} <= set(places)
    assert found.marked.tolist() == unusual
    counts = np.bincount(dataset.labels[found.map.places])
    assert counts.min() > 10, "the rest has the share of each class"


def test_of_models_of_their_own_the_one_with_most_to_look_at_is_taken(dataset: Dataset) -> None:
    doubted = issues_of([1, 4, 7, 10, 13, 2], dataset)
    found = finish(find_map(space_of(dataset, 3), dataset, Skipped("as requested"), doubted))
    assert found is not None
    assert set((found.map.places % 3).tolist()) == {1}
    assert len(found.map.places) == found.map.n == len(range(1, N, 3))
    assert found.marked.tolist() == []
    assert finish(find_map(None, dataset, Skipped(""), doubted)) is None


@pytest.fixture(scope="module")
def path(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with a map, and nothing else that was looked for."""
    sealed, split = seal(make_dataset(40, HOSTILE, (8, 8, 3))), make_split(dataset)
    issues = issues_of([5, 9], dataset)
    found = finish(find_map(space_of(dataset), dataset, outliers_of(list(range(20, 30))), issues))
    facts = finish(measure_facts(dataset, sealed, split))
    report = AuditReport(dataset, sealed, split, facts, labels=issues, map=found)
    return write_audit_page(report, tmp_path_factory.mktemp("look"))


@pytest.mark.slow
def test_the_page_holds_the_rows_their_marks_and_their_pictures(dataset: Dataset, path: Path) -> None:
    page = read_page(path)
    data = json.loads(page.blocks["map-data"])
    assert data["classes"] == list(HOSTILE)
    assert data["row"] == list(range(N))
    assert data["label"] == dataset.labels.tolist()
    kinds = [data["kinds"][kind] for kind in data["kind"]]
    assert [row for row, kind in enumerate(kinds) if kind == "issue"] == [5, 9]
    assert [row for row, kind in enumerate(kinds) if kind == "outlier"] == list(range(20, 30))
    assert [to for to in data["to"] if to is not None] == [(dataset.labels[row] + 1) % 4 for row in (5, 9)]
    picture = shown_pixels(data, 33).astype(int)
    assert np.abs(picture - dataset.images[33]).mean() < 40 < np.abs(picture - 255).mean()
    assert "200 development images by the features of a test" in " ".join(page.shown.split())


def test_without_features_there_is_no_map(dataset: Dataset, tmp_path: Path) -> None:
    sealed, split = seal(make_dataset(40, HOSTILE, (8, 8, 3))), make_split(dataset)
    report = AuditReport(dataset, sealed, split, finish(measure_facts(dataset, sealed, split)))
    assert "Map of images" not in read_page(write_audit_page(report, tmp_path / "out")).text["h2"]


@pytest.mark.slow
def test_what_is_chosen_on_the_map_is_listed_and_can_be_copied(path: Path, tmp_path: Path) -> None:
    data = json.loads(read_page(path).blocks["map-data"])
    data["map"] = {"at": list(range(N)), "x": data["x"], "y": data["y"]}
    listed = "[...document.querySelectorAll('#map-list canvas')].map((each) => each.ariaLabel)"
    with browser(tmp_path) as page:
        page.open(path.as_uri())
        assert page.value(listed) == []
        page.value(
            "{const list = document.getElementById('map-kind'); list.value = 'issue';"
            "list.dispatchEvent(new Event('change'))}"
        )
        assert page.value("document.getElementById('map-kind').selectedOptions[0].textContent") == "label issues (2)"
        suggested = [HOSTILE[data["to"][row]] for row in (5, 9)]
        names = [HOSTILE[data["label"][row]] for row in (5, 9)]
        assert page.value(listed) == [
            f"row {row}: {name}, label issue: {to}?" for row, name, to in zip((5, 9), names, suggested, strict=True)
        ]
        assert page.value("location.hash") == "#map?kind=issue"
        page.value("document.getElementById('map-box').scrollIntoView({behavior: 'instant'})")
        page.value(
            "{const list = document.getElementById('map-kind'); list.value = '';"
            "list.dispatchEvent(new Event('change'))}"
        )
        drag(page, (0, 0, 500, 500))
        page.until(f"{listed}.length > 0")
        given = page.value("new URLSearchParams(location.hash.split('?')[1]).get('box')")
        left, top, right, bottom = (int(value) for value in given.split("-"))
        expected = inside(data, (left, top, right, bottom))
        assert 0 < len(expected) < N
        assert page.value("document.getElementById('map-chosen').textContent").startswith(f"{len(expected)} image")
        address = page.value("location.href")
        page.open("about:blank")
        page.open(address)
        rows = {int(text.split(":")[0].removeprefix("row ")) for text in page.value(listed)}
        assert rows == expected or (len(rows) == 120 and rows < expected)
        page.value("document.getElementById('map-box').focus()")
        page.press("Escape")
        assert page.value(listed) == []
        page.press("Home")
        page.press("ArrowRight", shift=True)
        assert f"row {data['row'][0]}: " in " ".join(page.value(listed)), "a rectangle by keys begins at the image"
        assert page.problems == []
