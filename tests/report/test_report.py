"""The page holds what the run recorded, stands alone, and shows hostile text as text."""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_runs import MadeRun, make_dataset, make_logits, make_record, make_run, make_sealed
from PIL import Image

from pocketlens.data.dataset import Dataset
from pocketlens.errors import PocketlensError
from pocketlens.files import append_json, write_json
from pocketlens.recipe import Recipe
from pocketlens.report import write_report
from pocketlens.report.figures import draw_curves
from pocketlens.report.pictures import draw_matrix, encode_image
from pocketlens.report.run.facts import Facts, read_facts
from pocketlens.report.run.first_screen import first_screen
from pocketlens.report.run.methods import write_methods
from pocketlens.scoring import ledger
from pocketlens.scoring.predictions import Predictions, worst_mistakes, write_mistakes
from pocketlens.scoring.scores import score
from pocketlens.training.run import store

CLASSES = ("ant", "bee", "cat", "dog", "elk", "fox", "gnu")
HOSTILE = ("<script>alert(1)</script>", '"><img onerror=alert(1) src=x>', "</script>", "{{7*7}}")
VOID = {"meta", "link", "col", "img", "br", "input", "hr", "image", "use", "line", "rect", "circle", "path"}


class Page(HTMLParser):
    """What a browser would find: elements with attributes, text by element, and whether the tags are balanced."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text: dict[str, str] = {}
        self.blocks: dict[str, str] = {}  # that no browser runs, by id
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs), (tag, attrs)
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open, tag
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        place = self.open[-1] if self.open else ""
        if place == "script" and self.all("script")[-1]:
            name = str(self.all("script")[-1]["id"])
            self.blocks[name] = self.blocks.get(name, "") + data
            return
        self.text[place] = self.text.get(place, "") + data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def data(self) -> str:
        return self.blocks.get("gallery-data", "")

    @property
    def shown(self) -> str:
        return " ".join(text for place, text in self.text.items() if place not in ("script", "style"))


def read_page(path: Path) -> Page:
    """Parses a page and checks what every page must keep to."""
    html = path.read_text(encoding="utf-8")
    page = Page(html)
    assert page.open == []
    scripts = page.all("script")
    assert scripts[-1] == {}
    assert all(each == {"type": "application/json", "id": each["id"]} for each in scripts[:-1])
    assert {each["id"] for each in scripts[:-1]} <= {"gallery-data", "find-data", "decide-data", "map-data"}
    assert not set("<>&'") & set("".join(page.blocks.values()))  # nothing that could end a block
    digest = base64.b64encode(hashlib.sha256(page.text["script"].encode()).digest()).decode()
    policy = next(meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "<" not in page.text["script"].replace("<=", "")  # nothing that could end or open an element
    ids = []
    for tag, attributes in page.elements:
        assert tag not in ("iframe", "object", "embed", "base", "form"), tag
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            if name in ("src", "href", "xlink:href", "action", "srcset"):
                assert value is not None
                assert value.startswith(("data:", "#")), (tag, name, value)
            if name == "id":
                ids.append(value)
            if name == "style":
                assert "url(" not in (value or "").replace("url(#", "")
    assert len(ids) == len(set(ids))
    assert "@import" not in page.text["style"]
    assert "url(" not in page.text["style"]
    if page.data:
        check_gallery(json.loads(page.data))
    assert all(image.get("alt") for image in page.all("img"))
    assert all(svg.get("aria-label") or svg.get("aria-hidden") for svg in page.all("svg"))
    assert not re.search(r"\b(nan|NaN|inf|None|undefined)\b", page.shown), "a number that is none"
    return page


def check_gallery(data: dict[str, Any]) -> None:
    """The data of the gallery is whole: pictures are on sheets, and every row has classes and a cause that exist."""
    n, per_sheet = len(data["row"]), data["columns"] ** 2
    assert 0 <= data["pictures"] <= n
    assert len(data["sheets"]) == -(-data["pictures"] // per_sheet)
    assert all(uri.startswith("data:image/webp;base64,") for uri in data["sheets"])
    assert all(len(data[name] or data["row"]) == n for name in ("label", "cause", "loss", "files", "copies"))
    per = len(data["likely"]) // n
    assert len(data["likely"]) == len(data["share"]) == per * n
    for place in range(n):
        label, predicted, cause = data["label"][place], data["likely"][per * place], data["cause"][place]
        assert (cause == -1) == (label == predicted)
        assert data["classes"][label]
        assert cause == -1 or data["causes"][cause]
        assert 0 <= data["share"][per * place] <= 10_000
    assert sum(count for _, _, count in data["wrong"]) >= sum(cause >= 0 for cause in data["cause"])
    assert sum(data["answered"]["n"]) == sum(data["support"])
    assert sum(data["answered"]["right"]) == sum(data["right"])


def open_by_hand(run: MadeRun, dataset: Dataset, times: int = 1) -> None:
    """What `open_test` leaves behind, without a network."""
    sealed = make_sealed(90, dataset.classes, shape=dataset.shape)
    test = sealed._open()
    for _ in range(times):
        entries = ledger.record(sealed, run=run.id, recipe="00", weights="11")
    logits = make_logits(test.labels, len(dataset.classes), skill=1.0)
    predictions = Predictions("test", np.arange(len(test)), test.labels, logits)
    judged = score(predictions, dataset.classes, dataset.superclasses, dataset.superclass_of)
    store(run, predictions, replace(judged, opening=len(entries), openings=len(entries)))
    mistakes = worst_mistakes(predictions, 10_000)
    write_mistakes(run.file("mistakes-test.safetensors"), replace(mistakes, images=test.images[mistakes.rows]))


def test_the_page_shows_the_numbers_of_validation(tmp_path: Path) -> None:
    dataset = make_dataset(350, CLASSES)
    run = make_run(tmp_path, dataset, skill=1.5, label="my first run")
    page = read_page(write_report(run, dataset))
    facts = read_facts(run, dataset)
    assert facts.scores is not None
    assert f"{100 * (facts.scores.top1.value or 0):.2f}" in page.shown
    assert f"{100 * (facts.scores.top1.low or 0):.2f} to {100 * (facts.scores.top1.high or 0):.2f} %" in page.shown
    assert "validation images are classified correctly" in page.shown
    assert "still sealed" in page.shown
    assert "my first run" in page.shown
    assert facts.reliability is not None
    n_wrong = int(facts.scores.n * (1 - (facts.scores.top1.value or 0)) + 0.5)
    counts = facts.reliability.rows.counts()
    data = json.loads(page.data)
    assert sum(counts.values()) == n_wrong == sum(cause >= 0 for cause in data["cause"])
    assert len(data["row"]) == data["pictures"] == facts.scores.n
    n_pictures = min(48, n_wrong) + sum(min(8, count) for count in counts.values()) + n_on_first_screen(facts)
    assert len(page.all("img")) == n_pictures
    for title in ("Loss", "Accuracy", "Generalisation gap, accuracy", "Learning rate", "Image size"):
        assert title in page.text["text"]
    for heading in (
        "Setup",
        "Learning curves",
        "Scores",
        "Classes",
        "Confusion",
        "Mistakes by cause",
        "Worst mistakes",
        "Calibration",
    ):
        assert heading in page.text["h2"]


@pytest.mark.parametrize("n", [1, 2, 8])
def test_few_validation_images_are_said_to_be_too_few(tmp_path: Path, n: int) -> None:
    dataset = make_dataset(80, CLASSES[:2])
    run = make_run(tmp_path, dataset, skill=9.0)
    val = run.split.val[:n]
    labels = dataset.labels[val]
    predictions = Predictions("val", val, labels, 4 * np.eye(2, dtype=np.float32)[labels])
    store(run, predictions, score(predictions, dataset.classes))
    page = read_page(write_report(run, dataset)).shown
    many = "1 validation image is" if n == 1 else f"{n} validation images, all of them right, are"
    assert f"Probabilities are not calibrated: {many} too few" in page
    assert "with temperature" not in page
    assert "needs at least 19 images" in page  # to answer 95 %
    assert f"needs at least 9 images to be fitted on, there are {n // 2}" in page.replace("there is", "there are")


def test_groups_count_once_in_what_the_page_says(tmp_path: Path) -> None:
    dataset = make_dataset(400, CLASSES[:2], groups=np.arange(400) // 2 // 20)
    run = make_run(tmp_path, dataset, skill=1.0)
    val = run.split.val
    labels, groups = dataset.labels[val], np.arange(len(val)) * 4 // len(val)
    predictions = Predictions("val", val, labels, make_logits(labels, 2, skill=1.0), groups)
    store(run, predictions, score(predictions, dataset.classes))
    page = read_page(write_report(run, dataset)).shown
    assert f"{len(val)} validation images of 4 groups are too few" in page
    assert "needs at least 4 groups to be fitted on, there are 2" in page
    assert "too few rows for an interval of the error" in page


def test_a_model_that_is_often_wrong_has_no_label_issues_on_its_page(tmp_path: Path) -> None:
    dataset = make_dataset(350, CLASSES)
    run = make_run(tmp_path, dataset, skill=0.3)
    assert "There are no label issues, because the models are right for" in read_page(write_report(run, dataset)).shown
    run = make_run(tmp_path, dataset, skill=4.0, id="20250101-000001-abcd")
    assert "no label issues" not in read_page(write_report(run, dataset)).shown


def test_the_page_shows_the_test_scores_and_how_often_it_was_opened(tmp_path: Path) -> None:
    dataset = make_dataset(350, CLASSES)
    run = make_run(tmp_path, dataset)
    open_by_hand(run, dataset, times=3)
    page = read_page(write_report(run))
    assert "test images are classified correctly" in page.shown
    assert "opened 3 times; this is the 3rd" in page.shown
    assert "validation" in page.text["th"]  # beside the test scores
    assert page.all("img")  # the pictures come from the run's own file
    ledger.record(make_sealed(90, CLASSES, shape=dataset.shape), run="another", recipe="00", weights="11")
    assert "opened 4 times; this is the 3rd" in read_page(write_report(run)).shown


@pytest.mark.parametrize("place", ["classes", "superclasses", "label", "files", "reason", "environment", "data"])
def test_hostile_text_is_shown_as_text(tmp_path: Path, place: str) -> None:
    options: dict[str, Any] = {}
    classes = HOSTILE if place == "classes" else CLASSES[:4]
    if place == "superclasses":
        options = {"superclasses": HOSTILE, "superclass_of": (0, 1, 2, 3)}
    if place == "files":
        options = {"files": tuple(f"{HOSTILE[row % 4]}/{row}" for row in range(400))}
    if place == "data":
        options = {"text": f"folder({' '.join(HOSTILE)!r})"}
    dataset = make_dataset(400, classes, (8, 8, 3), **options)
    label = " ".join(HOSTILE) if place == "label" else ""
    state = ("stopped", " ".join(HOSTILE)) if place == "reason" else ("complete", "")
    run = make_run(tmp_path, dataset, skill=0.5, label=label, state=state)
    if place == "environment":
        write_json(run.file("environment.json"), {text: text for text in HOSTILE})
    page = read_page(write_report(run, dataset))
    if place != "data":  # its text is quoted twice
        assert all(text in page.shown for text in HOSTILE)
    assert "alert" not in page.text["script"]
    assert "49" not in page.text.get("h1", "")
    allowed = {"ant", "bee", "cat", "dog"} | set(HOSTILE)
    assert all(any(text in (image["alt"] or "") for text in allowed) for image in page.all("img"))


@pytest.mark.parametrize("opened", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("classes", "shape", "options"),
    [
        (CLASSES, (32, 32, 3), {"val_fraction": 0.0}),
        (CLASSES, (32, 32, 3), {"n_epochs": 1}),
        (CLASSES, (32, 32, 3), {"n_epochs": 0}),
        (("a", "b"), (8, 8, 1), {}),
        (("a", "b"), (8, 8, 1), {"skill": 100.0}),
        (("only",), (8, 8, 1), {}),
        (CLASSES, (300, 40, 3), {"state": ("stopped", "after step 3 of 9")}),
        (tuple(f"class {i}" for i in range(55)), (8, 8, 3), {"skill": 0.0}),
        (tuple("n" * 200 + str(i) for i in range(6)), (8, 8, 3), {"skill": 0.5}),
    ],
)
def test_odd_runs_have_pages_too(
    tmp_path: Path, classes: tuple[str, ...], shape: Any, options: dict[str, Any], opened: bool
) -> None:
    dataset = make_dataset(max(60, 2 * len(classes)), classes, shape)
    run = make_run(tmp_path, dataset, **options)
    if opened:
        open_by_hand(run, dataset)
    page = read_page(write_report(run, None if opened else dataset))
    if options.get("val_fraction") == 0.0 and not opened:
        assert "There are no scores yet" in page.shown
    if "state" in options:
        assert "is stopped" in page.shown
        assert "after step 3 of 9" in page.shown


def test_an_empty_class_is_not_applicable(tmp_path: Path) -> None:
    dataset = make_dataset(60, ("a", "b", "c"))
    run = make_run(tmp_path, dataset)
    labels = np.zeros(9, np.int64)
    predictions = Predictions("val", run.split.val[:9], labels, make_logits(labels, 3, skill=0.5))
    store(run, predictions, score(predictions, dataset.classes))
    assert read_page(write_report(run, dataset)).shown.count("n/a") == 6


def test_a_run_that_has_just_begun_has_a_page(tmp_path: Path) -> None:
    run = make_run(tmp_path, make_dataset(60, ("a", "b")), n_epochs=0, state=("new", ""))
    for name in ("scores-val.json", "predictions-val.safetensors", "environment.json"):
        run.file(name).unlink()
    assert "the run is not complete" in read_page(write_report(run)).shown


def test_numbers_that_are_not_finite_leave_gaps(tmp_path: Path) -> None:
    dataset = make_dataset(60, ("a", "b"))
    run = make_run(tmp_path, dataset, n_epochs=3, state=("diverged", "the loss is nearly infinite"))
    record = make_record(4, 4, 1, has_val=True) | {"train_loss": float("nan"), "val_loss": float("inf")}
    append_json(run.file("history.jsonl"), record)
    assert len(read_facts(run).history) == 4
    page = read_page(write_report(run, dataset))
    assert "is diverged" in page.shown


def test_another_data_set_is_refused(tmp_path: Path) -> None:
    run = make_run(tmp_path, make_dataset(60, ("a", "b")))
    other = make_dataset(61, ("a", "b"))
    with pytest.raises(PocketlensError, match=other.fingerprint):
        write_report(run, other)


def test_fields_that_differ_from_the_default_come_first(tmp_path: Path) -> None:
    run = make_run(tmp_path, make_dataset(60, ("a", "b")), recipe=Recipe(lr=0.3, augment="none"))
    changed = [field.name for field in read_facts(run).fields if field.changed]
    assert changed == ["augment", "lr"]
    page = read_page(write_report(run))
    assert "2 of 24 fields differ" in page.shown
    assert "default: 0.18" in page.shown


def test_the_methods_paragraph_says_what_was_recorded(tmp_path: Path) -> None:
    dataset = make_dataset(100, ("a", "b"), (8, 8, 1))
    run = make_run(tmp_path, dataset, recipe=Recipe(epochs=5.0, keep="best", patience=3))
    text = write_methods(read_facts(run, dataset))
    for said in (
        "100 development images",
        "20 of them",
        "8 x 8 px with one grey channel",
        "seed 0",
        "highest validation accuracy",
    ):
        assert said in text
    assert "\n" not in text
    assert "opened" not in text
    open_by_hand(run, dataset)
    assert "has been opened once" in write_methods(read_facts(run, dataset))


def test_the_methods_paragraph_says_that_the_data_gave_the_validation_rows(tmp_path: Path) -> None:
    dataset = make_dataset(100, ("a", "b"))
    run = make_run(tmp_path, dataset)
    write_json(run.file("split.json"), run.split.to_dict() | {"given": True})
    text = write_methods(read_facts(MadeRun(run.path), dataset))
    assert "20 of them, given as such, are for validation; 80 were trained on." in text
    assert "stratified" not in text
    assert "given by the data" in read_page(write_report(MadeRun(run.path), dataset)).shown


def test_the_methods_paragraph_names_averages_and_what_made_classes_even(tmp_path: Path) -> None:
    dataset = make_dataset(100, ("a", "b"), (8, 8, 1))
    for optimizer, said in (("sgd | ema", "exponential moving average"), ("sgd | lookahead", "slow weights")):
        recipe = Recipe(optimizer=optimizer, class_weight="balanced", sampling="balanced")
        text = write_methods(read_facts(make_run(tmp_path / optimizer[6:], dataset, recipe=recipe), dataset))
        assert said in text
        assert "inverse frequency" in text
        assert "equally many" in text
    plain = write_methods(read_facts(make_run(tmp_path / "plain", dataset, recipe=Recipe()), dataset))
    assert not any(word in plain for word in ("average", "slow", "inverse", "equally"))


def test_the_methods_paragraph_says_where_an_interpolated_result_lies(tmp_path: Path) -> None:
    dataset = make_dataset(100, ("a", "b"), (8, 8, 1))
    run = make_run(tmp_path, dataset, recipe=Recipe(optimizer="sgd | wise_ft", head="probe", freeze="groups(1)"))
    assert "WiSE-FT" not in write_methods(read_facts(run, dataset))
    points = [{"alpha": alpha, "val_loss": 0.5, "val_accuracy": 0.9} for alpha in (0.0, 0.25, 1.0)]
    run.file("interpolation.json").write_text(json.dumps({"alpha": 0.25, "points": points}))
    text = write_methods(read_facts(run, dataset))
    assert "lies 25 % of the way" in text
    assert "chosen among 3 by the validation images" in text
    assert "fitted by logistic regression" in text
    run.file("interpolation.json").write_text(json.dumps({"alpha": 0.5, "points": []}))
    assert "set beforehand" in write_methods(read_facts(run, dataset))


@pytest.mark.slow
def test_a_hundred_classes_stay_readable_and_small(tmp_path: Path) -> None:
    classes = tuple(f"class {i}" for i in range(100))
    above, names = tuple(i * 7 % 20 for i in range(100)), tuple(f"above {i}" for i in range(20))
    dataset = make_dataset(4000, classes, superclasses=names, superclass_of=above)
    run = make_run(tmp_path, dataset, val_fraction=0.5, skill=2.0)
    path = write_report(run, dataset)
    page = read_page(path)
    assert path.stat().st_size < 15e6
    n_pictures = 48 + sum(min(8, count) for count in facts_causes(run, dataset).values())
    assert len(page.all("img")) == n_pictures + n_on_first_screen(read_facts(run, dataset))
    assert all(name in page.text["text"] for name in names)  # beside the matrix
    facts = read_facts(run, dataset)
    assert facts.scores is not None
    assert facts.severity is not None
    matrix = draw_matrix(facts.scores)
    assert matrix is not None
    assert matrix.blocks == tuple(range(5, 100, 5))
    pixels = read_picture(matrix.picture)
    assert pixels.shape == (100, 100, 4)
    first = sorted(range(100), key=lambda index: (above[index], index))[0]
    assert pixels[0, 0, 3] == round(255 * 0.85 * (facts.scores.per_class[first].recall.value or 0))
    counts = [pair.count for pair in facts.pairs]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] == (facts.scores.confusion.toarray() * (1 - np.eye(100))).max()


def test_pictures_keep_small_images_and_shrink_large_ones() -> None:
    small = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    np.testing.assert_array_equal(read_picture(encode_image(small)), small)
    grey = small[:, :, :1]
    np.testing.assert_array_equal(read_picture(encode_image(grey)), grey[:, :, 0])
    assert read_picture(encode_image(np.zeros((400, 200, 3), np.uint8))).shape == (128, 64, 3)


def test_curves_leave_out_what_was_not_measured() -> None:
    history = tuple(make_record(epoch, 3, 10, has_val=False) for epoch in (1, 2, 3))
    captions = [figure.caption for figure in draw_curves(history)]
    assert len(captions) == 4
    assert not any("gap" in caption or "validation" in caption for caption in captions)
    assert draw_curves(()) == []
    assert draw_curves(history) == draw_curves(history)  # the same run gives the same page


def n_on_first_screen(facts: Facts) -> int:
    screen = first_screen(facts)
    assert screen is not None
    return len(screen.right) + len(screen.wrong) + sum(len(pair.pictures) for pair in screen.pairs)


def facts_causes(run: MadeRun, dataset: Dataset) -> dict[str, int]:
    reliability = read_facts(run, dataset).reliability
    assert reliability is not None
    return reliability.rows.counts()


def test_tables_lie_beside_the_page(tmp_path: Path) -> None:
    dataset = make_dataset(400, HOSTILE, (8, 8, 3), files=tuple(f"=cmd/{row}" for row in range(400)))
    run = make_run(tmp_path, dataset, skill=0.5)
    write_report(run, dataset)
    names = ("classes", "confusion", "pairs")
    tables = {name: list(csv.reader(run.file(f"{name}.csv").read_text().splitlines())) for name in names}
    assert [row[0] for row in tables["classes"][1:]] == list(HOSTILE)
    assert tables["confusion"][0][1:] == list(HOSTILE)
    with open(run.file("predictions.csv"), newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["row"]) for row in rows] == run.split.val.tolist()
    assert all(row["file"] == f"'=cmd/{row['row']}" for row in rows)
    assert {row["cause"] for row in rows if row["true"] == row["predicted"]} == {""}


@pytest.mark.slow
def test_duplicates_of_test_rows_are_known_from_the_sealed_hashes(tmp_path: Path) -> None:
    dataset = make_dataset(350, CLASSES)
    run = make_run(tmp_path, dataset)
    open_by_hand(run, dataset)
    sealed = make_sealed(90, CLASSES, shape=dataset.shape)
    data = json.loads(read_page(write_report(run, dataset, sealed)).data)
    row, label, cause = (data[name][0] for name in ("row", "label", "cause"))
    assert cause > 0
    assert not any(data["copies"])
    twin = next(row for row in range(350) if dataset.labels[row] != label)
    dataset.hashes[twin] = sealed.hashes[row]  # the wrong image stands among the development rows, labelled so
    run = make_run(tmp_path, dataset, id="20250101-000001-abcd")
    open_by_hand(run, dataset)
    page = read_page(write_report(run, dataset, sealed))
    data = json.loads(page.data)
    place = data["row"].index(row)
    assert data["cause"][place] == 0
    assert [other for other, copied in zip(data["row"], data["copies"], strict=True) if copied] == [row]
    assert "Only equal pixels count" in page.shown
    assert "Duplicates are unknown" in read_page(write_report(run)).shown


def read_picture(uri: str) -> Any:
    """The pixels of a data URI."""
    return np.asarray(Image.open(BytesIO(base64.b64decode(uri.split(",", 1)[1]))))
