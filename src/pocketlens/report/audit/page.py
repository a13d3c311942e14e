"""The page of an audit: one HTML file, with the same results as look.json and CSV files beside it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pocketlens.audit.label_stability import CAVEAT
from pocketlens.audit.outliers import ranked
from pocketlens.files import write_text
from pocketlens.report.audit.class_rows import (
    class_outliers,
    class_rows,
    fewer_classes,
    hardest_classes,
    superclass_rows,
)
from pocketlens.report.audit.decide import decidable
from pocketlens.report.audit.figures import draw_brightness, draw_counts
from pocketlens.report.audit.findings import describe_shift, findings
from pocketlens.report.audit.rows_map import show_map
from pocketlens.report.audit.sprites import picture, strip
from pocketlens.report.audit.tables import rankings, write_tables
from pocketlens.report.shell import placed, render_page
from pocketlens.text import as_command

if TYPE_CHECKING:
    from pocketlens.audit.audit import AuditReport
    from pocketlens.data.duplicates import Duplicates

N_OUTLIERS, N_ISSUES, N_PAIRS = 40, 60, 60
_BIG = 64  # px; smaller images are shown with hard pixel edges


@dataclass(frozen=True)
class Card:
    """One image of a gallery and the text below it."""

    picture: str
    row: int
    name: str
    value: str
    suggested: str = ""
    file: str = ""


@dataclass(frozen=True)
class OutlierGallery:
    """The images that one method ranks highest."""

    title: str
    unit: str
    cards: tuple[Card, ...]


@dataclass(frozen=True)
class ConfusedLabels:
    """How many labels of one class are suggested to be another."""

    given: str
    suggested: str
    n: int


@dataclass(frozen=True)
class PairImage:
    """One image of a pair: its part and row, its class, which is empty for test images, and its development row."""

    picture: str
    place: str
    name: str
    row: int | None = None


@dataclass(frozen=True)
class Pair:
    """Two images that may be duplicates."""

    first: PairImage
    second: PairImage
    judgement: str
    how: str
    distance: float


@dataclass(frozen=True)
class PairGallery:
    """Pairs within one part or across both."""

    title: str
    pairs: tuple[Pair, ...]


@dataclass(frozen=True)
class SheetPicture:
    """The sheet of an augmentation as an image."""

    title: str
    description: str
    uri: str
    width: int
    height: int


def write_audit_page(report: AuditReport, folder: Path) -> Path:
    """Writes look.html, look.json and the CSV files into a folder, and returns the path of the page.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_tables(report, folder)
    path = folder / "look.html"
    write_text(path, render_audit_page(report))
    report.phases.forget()
    return path


def render_audit_page(report: AuditReport) -> str:
    """The HTML text of the page."""
    dataset, facts, shift = report.dataset, report.facts, report.shift
    issues, outliers, pairs = issue_cards(report), outlier_galleries(report), pair_galleries(report)
    rows = [card.row for cards in (issues, *(gallery.cards for gallery in outliers)) for card in cards]
    sides = [side for gallery in pairs for pair in gallery.pairs for side in (pair.first, pair.second)]
    rows += [side.row for side in sides if side.row is not None]
    on_map = show_map(report)
    return render_page(
        "look.html.j2",
        (
            "sort.js.j2",
            "downloads.js.j2",
            *(("decide.js.j2",) if rows else ()),
            *(("gallery_pictures.js.j2", "map.js.j2", "map_of_look.js.j2") if on_map else ()),
        ),
        {
            "report": report,
            "on_map": on_map,
            "dataset": dataset,
            "facts": facts,
            "findings": findings(report),
            "figures": placed([draw_counts(facts.n_of_class), draw_brightness(facts)], "look"),
            "classes": class_rows(report),
            "fewer": fewer_classes(facts),
            "hardest": hardest_classes(report),
            "superclasses": superclass_rows(report),
            "small": min(dataset.shape[:2]) < _BIG,
            "pair_counts": {} if report.duplicates is None else report.duplicates.counts(),
            "pair_galleries": pairs,
            "issues": issues,
            "decidable": decidable(report, rows) if rows else None,
            "review": as_command(["pocketlens", "review", dataset.text]),
            "confused_labels": confused_labels(report),
            "outlier_galleries": outliers,
            "class_outliers": class_outliers(report),
            "shift_sentence": "" if shift is None else describe_shift(shift),
            "caveat": CAVEAT,
            "sheets": sheet_pictures(report),
            "most_like_test": None if shift is None else strip(dataset.images[shift.most_like_test], 12),
        },
    )


def outlier_galleries(report: AuditReport) -> list[OutlierGallery]:
    """The highest ranked images overall, by each method."""
    galleries = []
    for ranking in rankings(report):
        rows = ranked(ranking.scores)[:N_OUTLIERS].tolist()
        cards = tuple(_card(report, row, f"{ranking.scores[row]:{ranking.form}}") for row in rows)
        galleries.append(OutlierGallery(ranking.title, ranking.unit, cards))
    return galleries


def issue_cards(report: AuditReport) -> list[Card]:
    """The most likely label issues."""
    found = report.labels
    if found is None:
        return []
    return [
        _card(
            report,
            int(found.rows[place]),
            f"{100 * found.given_probability[place]:.1f} % vs. {100 * found.suggested_probability[place]:.1f} %",
            report.dataset.classes[found.suggested[place]],
        )
        for place in range(min(N_ISSUES, len(found)))
    ]


def confused_labels(report: AuditReport, most: int = 12) -> list[ConfusedLabels]:
    """The pairs of given and suggested class with the most label issues."""
    found, names = report.labels, report.dataset.classes
    if found is None or not len(found):
        return []
    pairs, counts = np.unique(np.stack([found.given, found.suggested], axis=1), axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:most]
    return [ConfusedLabels(names[pairs[at][0]], names[pairs[at][1]], int(counts[at])) for at in order]


def pair_galleries(report: AuditReport) -> list[PairGallery]:
    """The closest pairs across development and test, within development, and within test."""
    found = report.duplicates
    if found is None or not len(found):
        return []
    in_test = (found.part_a == "test").astype(int) + (found.part_b == "test")
    titles = {1: "development and test", 0: "within development", 2: "within test"}
    chosen = {number: _some(found, np.flatnonzero(in_test == number)) for number in titles}
    tests = _test_images(report, np.concatenate(list(chosen.values())))
    return [
        PairGallery(title, tuple(_pair(report, place, tests) for place in chosen[number].tolist()))
        for number, title in titles.items()
        if len(chosen[number])
    ]


def sheet_pictures(report: AuditReport) -> list[SheetPicture]:
    """Every sheet of the augmentations."""
    sheets = () if report.augmentation is None else report.augmentation.sheets
    return [
        SheetPicture(
            each.title, each.description, picture(each.canvas, 2000, 60), each.canvas.shape[1], each.canvas.shape[0]
        )
        for each in sheets
    ]


def _some(found: Duplicates, places: NDArray[np.int64]) -> NDArray[np.int64]:
    """At most N_PAIRS of the places, as many of each judgement, the closest first within each."""
    kinds = [places[found.judgement[places] == kind] for kind in ("exact", "near", "similar")]
    return np.concatenate([kind[: N_PAIRS // 3] for kind in kinds]).astype(np.int64)


def _test_images(report: AuditReport, places: NDArray[np.int64]) -> dict[int, NDArray[np.uint8]]:
    """The test images of some pairs, by row; they come without labels."""
    found = report.duplicates
    assert found is not None
    wanted: set[int] = set()
    for part, rows in ((found.part_a, found.row_a), (found.part_b, found.row_b)):
        wanted |= set(rows[places][part[places] == "test"].tolist())
    images: dict[int, NDArray[np.uint8]] = {}
    start = 0
    for chunk in report.sealed.images_without_labels() if wanted else ():
        images |= {row: chunk[row - start] for row in wanted if start <= row < start + len(chunk)}
        start += len(chunk)
    return images


def _pair(report: AuditReport, place: int, tests: dict[int, NDArray[np.uint8]]) -> Pair:
    found, dataset = report.duplicates, report.dataset
    assert found is not None

    def image(part: str, row: int) -> PairImage:
        if part == "test":
            return PairImage(picture(tests[row]), f"test {row}", "")
        return PairImage(picture(dataset.images[row]), f"{part} {row}", dataset.classes[dataset.labels[row]], row)

    return Pair(
        image(str(found.part_a[place]), int(found.row_a[place])),
        image(str(found.part_b[place]), int(found.row_b[place])),
        str(found.judgement[place]),
        str(found.how[place]),
        float(found.distance[place]),
    )


def _card(report: AuditReport, row: int, value: str, suggested: str = "") -> Card:
    dataset = report.dataset
    file = "" if dataset.files is None else dataset.files[row]
    return Card(picture(dataset.images[row]), row, dataset.classes[dataset.labels[row]], value, suggested, file)
