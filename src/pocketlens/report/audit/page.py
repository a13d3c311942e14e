"""The page of a look at a data set: one HTML file, and the same facts as look.json and CSV files beside it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pocketlens.audit.agreement import CAVEAT
from pocketlens.audit.audit import Looked
from pocketlens.audit.outliers import ranked
from pocketlens.data.duplicates import Duplicates
from pocketlens.files import write_text
from pocketlens.report.audit.figures import draw_brightness, draw_counts
from pocketlens.report.audit.findings import findings, say_parts
from pocketlens.report.audit.sprites import Sprite, picture, strip
from pocketlens.report.audit.tables import write_tables
from pocketlens.report.shell import placed, render_page

N_ODD, N_ODD_OF_CLASS, N_DOUBTFUL, N_PAIRS, N_OF_SUPERCLASS = 40, 8, 60, 60, 5
_BIG = 64  # px: pictures below are shown with hard pixel edges


@dataclass(frozen=True)
class ClassRow:
    """One class: its names, counts, average image and samples."""

    name: str
    superclass: str
    n_train: int
    n_val: int
    share: float  # of the largest class
    average: str | None
    samples: Sprite | None
    rows: str


@dataclass(frozen=True)
class SuperclassRow:
    """One superclass: its classes with five samples each, a row of the picture for each class."""

    name: str
    classes: tuple[str, ...]
    n: int
    average: str | None
    samples: Sprite | None
    shown: tuple[str, ...]  # the classes that have enough images for a row of the picture


@dataclass(frozen=True)
class Shown:
    """One picture of a gallery with what stands below it."""

    picture: str
    row: int
    name: str
    value: str
    said: str = ""
    file: str = ""


@dataclass(frozen=True)
class Pair:
    """Two pictures that show the same."""

    pictures: tuple[str, str]
    places: tuple[str, str]
    names: tuple[str, str]
    judgement: str
    how: str
    distance: float


def write_look(looked: Looked, folder: Path) -> Path:
    """Writes look.html, look.json and the CSV files into a folder, and gives the page's path.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_tables(looked, folder)
    path = folder / "look.html"
    write_text(path, render_look(looked))
    return path


def render_look(looked: Looked) -> str:
    """The HTML text of the page."""
    dataset, facts = looked.dataset, looked.facts
    return render_page(
        "look.html.j2",
        ("sort.js.j2",),
        {
            "looked": looked,
            "dataset": dataset,
            "facts": facts,
            "findings": findings(looked),
            "figures": placed([draw_counts(facts.n_of_class), draw_brightness(facts)]),
            "classes": class_rows(looked),
            "superclasses": superclass_rows(looked),
            "small": min(dataset.shape[:2]) < _BIG,
            "pair_counts": {} if looked.duplicates is None else looked.duplicates.counts(),
            "pairs": pair_rows(looked),
            "doubtful": doubtful_rows(looked),
            "doubted_pairs": doubted_pairs(looked),
            "odd": odd_rows(looked),
            "odd_of_class": odd_of_class(looked),
            "parts_sentence": "" if looked.parts is None else say_parts(looked),
            "caveat": CAVEAT,
            "sheets": sheet_pictures(looked),
            "most_like_test": None if looked.parts is None else strip(dataset.images[looked.parts.most_like_test], 12),
        },
    )


def class_rows(looked: Looked) -> list[ClassRow]:
    """Every class in the order of the data set."""
    dataset, facts = looked.dataset, looked.facts
    most = max(1, int(facts.n_of_class.max()))
    rows = []
    for label, name in enumerate(dataset.classes):
        above = ""
        if dataset.superclasses is not None and dataset.superclass_of is not None:
            above = dataset.superclasses[dataset.superclass_of[label]]
        n_train, n_val = facts.counts[label].tolist()
        chosen = facts.samples[label]
        average = picture(facts.class_means[label]) if len(chosen) else None
        listed = ", ".join(str(row) for row in chosen.tolist())
        share = (n_train + n_val) / most
        rows.append(ClassRow(name, above, n_train, n_val, share, average, strip(dataset.images[chosen]), listed))
    return rows


def superclass_rows(looked: Looked) -> list[SuperclassRow]:
    """Every superclass with five samples of each of its classes; none where there are no superclasses."""
    dataset, facts = looked.dataset, looked.facts
    if dataset.superclasses is None or dataset.superclass_of is None or facts.superclass_means is None:
        return []
    above = np.asarray(dataset.superclass_of)
    rows = []
    for group, name in enumerate(dataset.superclasses):
        labels = np.flatnonzero(above == group).tolist()
        full = [label for label in labels if len(facts.samples[label]) >= N_OF_SUPERCLASS]
        chosen = [facts.samples[label][:N_OF_SUPERCLASS] for label in full]
        sheet = strip(dataset.images[np.concatenate(chosen)], N_OF_SUPERCLASS) if full else None
        n = int(facts.n_of_class[labels].sum())
        average = picture(facts.superclass_means[group]) if n else None
        names, shown = (tuple(dataset.classes[label] for label in some) for some in (labels, full))
        rows.append(SuperclassRow(name, names, n, average, sheet, shown))
    return rows


def odd_rows(looked: Looked) -> list[tuple[str, str, list[Shown]]]:
    """(judge, what its number is, the oddest images overall) for each judge."""
    return [
        (title, unit, [_shown(looked, row, f"{scores[row]:{form}}") for row in ranked(scores)[:N_ODD].tolist()])
        for title, unit, form, scores in _judges(looked)
    ]


def odd_of_class(looked: Looked) -> list[tuple[str, list[tuple[str, Sprite, str]]]]:
    """For each class (judge, its oddest images as one picture, their rows)."""
    result = []
    for label, name in enumerate(looked.dataset.classes):
        rows = np.flatnonzero(looked.dataset.labels == label)
        strips = []
        for title, _, _, scores in _judges(looked):
            chosen = rows[ranked(scores[rows])[:N_ODD_OF_CLASS]]
            sprite = strip(looked.dataset.images[chosen])
            if sprite is not None:
                strips.append((title, sprite, ", ".join(str(row) for row in chosen.tolist())))
        if strips:
            result.append((name, strips))
    return result


def doubtful_rows(looked: Looked) -> list[Shown]:
    """The most doubtful labels."""
    found = looked.labels
    if found is None:
        return []
    return [
        _shown(
            looked,
            int(found.rows[place]),
            f"{100 * found.given_probability[place]:.1f} % against {100 * found.suggested_probability[place]:.1f} %",
            looked.dataset.classes[found.suggested[place]],
        )
        for place in range(min(N_DOUBTFUL, len(found)))
    ]


def doubted_pairs(looked: Looked, most: int = 12) -> list[tuple[str, str, int]]:
    """(given, suggested, how many labels) of the pairs that are doubted most often."""
    found, names = looked.labels, looked.dataset.classes
    if found is None or not len(found):
        return []
    pairs, counts = np.unique(np.stack([found.given, found.suggested], axis=1), axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:most]
    return [(names[pairs[place][0]], names[pairs[place][1]], int(counts[place])) for place in order]


def pair_rows(looked: Looked) -> list[tuple[str, list[Pair]]]:
    """(which parts, pairs as pictures): the closest ones across parts, within development, within test."""
    found = looked.duplicates
    if found is None or not len(found):
        return []
    in_test = (found.part_a == "test").astype(int) + (found.part_b == "test")
    titles = {1: "development and test", 0: "within development", 2: "within test"}
    chosen = {number: _some(found, np.flatnonzero(in_test == number)) for number in titles}
    tests = _test_images(looked, np.concatenate(list(chosen.values())))
    result = []
    for number, title in titles.items():
        pairs = [_pair(looked, place, tests) for place in chosen[number].tolist()]
        if pairs:
            result.append((title, pairs))
    return result


def sheet_pictures(looked: Looked) -> list[tuple[str, str, str, int, int]]:
    """(title, description, data URI, width, height) of every sheet."""
    sheets = () if looked.augmented is None else looked.augmented.sheets
    return [
        (each.title, each.description, picture(each.canvas, 2000, 60), each.canvas.shape[1], each.canvas.shape[0])
        for each in sheets
    ]


def _some(found: Duplicates, places: NDArray[np.int64]) -> NDArray[np.int64]:
    """At most N_PAIRS of the places, evenly from each judgement, the closest first within each."""
    kinds = [places[found.judgement[places] == kind] for kind in ("exact", "near", "similar")]
    return np.concatenate([kind[: N_PAIRS // 3] for kind in kinds]).astype(np.int64)


def _test_images(looked: Looked, places: NDArray[np.int64]) -> dict[int, NDArray[np.uint8]]:
    """The test images of some pairs, by row; they come without labels."""
    found = looked.duplicates
    assert found is not None
    wanted: set[int] = set()
    for part, rows in ((found.part_a, found.row_a), (found.part_b, found.row_b)):
        wanted |= set(rows[places][part[places] == "test"].tolist())
    images: dict[int, NDArray[np.uint8]] = {}
    start = 0
    for chunk in looked.sealed.images_without_labels() if wanted else ():
        images |= {row: chunk[row - start] for row in wanted if start <= row < start + len(chunk)}
        start += len(chunk)
    return images


def _pair(looked: Looked, place: int, tests: dict[int, NDArray[np.uint8]]) -> Pair:
    found, dataset = looked.duplicates, looked.dataset
    assert found is not None
    pictures, places, names = [], [], []
    for part, row in (
        (str(found.part_a[place]), int(found.row_a[place])),
        (str(found.part_b[place]), int(found.row_b[place])),
    ):
        pictures.append(picture(tests[row] if part == "test" else dataset.images[row]))
        places.append(f"{part} {row}")
        names.append("" if part == "test" else dataset.classes[dataset.labels[row]])
    return Pair(
        (pictures[0], pictures[1]),
        (places[0], places[1]),
        (names[0], names[1]),
        str(found.judgement[place]),
        str(found.how[place]),
        float(found.distance[place]),
    )


def _judges(looked: Looked) -> list[tuple[str, str, str, NDArray[np.float32]]]:
    if looked.outliers is None:
        return []
    judges = [("Autoencoder", "mean squared error", ".4f", looked.outliers.errors)]
    if looked.outliers.neighbours is not None:
        judges.append(("Neighbours", "times the median distance", ".2f", looked.outliers.neighbours))
    return judges


def _shown(looked: Looked, row: int, value: str, said: str = "") -> Shown:
    dataset = looked.dataset
    file = "" if dataset.files is None else dataset.files[row]
    return Shown(picture(dataset.images[row]), row, dataset.classes[dataset.labels[row]], value, said, file)
