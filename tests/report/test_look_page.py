"""The page of an audit is self-contained, shows hostile names as text, and says in words which checks were skipped."""

from __future__ import annotations

import base64
import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_images import class_folder, encoded, random_images, refused
from made_runs import make_dataset
from PIL import Image
from test_report import HOSTILE, read_page

from pocketlens.audit import outliers
from pocketlens.audit.audit import AuditReport, audit
from pocketlens.audit.facts import MOST_SHOWN, imbalance, measure_facts
from pocketlens.audit.options import CHECKS, AuditOptions, read_checks
from pocketlens.audit.plan import plan
from pocketlens.cli import main
from pocketlens.data.dataset import Dataset, hash_images, seal
from pocketlens.data.split import make_split
from pocketlens.datasets import load, load_to_look
from pocketlens.events import finish
from pocketlens.report.audit.page import write_audit_page
from pocketlens.report.audit.sprites import picture, strip
from pocketlens.scoring import label_trust


def audited(dataset: Dataset, n_test: int = 40, **options: object) -> AuditReport:
    sealed = seal(make_dataset(n_test, dataset.classes, shape=dataset.shape))
    return finish(audit(dataset, sealed, AuditOptions(**options)))  # type: ignore[arg-type]


@pytest.fixture
def short_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outliers, "_LEAST_STEPS", 6)


def test_the_whole_page_stands_alone_and_its_tables_agree(
    tmp_path: Path, short_training: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("cleanlab")
    monkeypatch.setattr(label_trust, "LEAST_SKILL", -9.0)  # models of so few images are often wrong
    names = tuple(HOSTILE)
    dataset = make_dataset(
        96, names, shape=(12, 12, 3), superclasses=("<b>upper", "=lower"), superclass_of=(0, 0, 1, 1)
    )
    report = audited(dataset, augment="flip")
    assert report.skipped == {}
    path = write_audit_page(report, tmp_path / "out")
    page = read_page(path)
    for name in (*names, "<b>upper", "=lower"):
        assert name in page.shown
    assert "alert" not in page.text["script"]
    assert path.stat().st_size < 15e6
    images = page.all("img")
    assert len(images) > 100
    assert all((image["src"] or "").startswith("data:image/webp;base64,") for image in images)
    facts = json.loads((tmp_path / "out/look.json").read_text())
    assert facts["counts"][names[0]]["train"] + facts["counts"][names[0]]["val"] == 24
    assert facts["images"] == {"development": 96, "test": 40}
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out/outliers.csv").read_text())))
    assert sorted(int(row["autoencoder_rank"]) for row in rows) == list(range(1, 97))
    assert max(int(row["neighbours_rank_in_class"]) for row in rows) == 24
    by_score = sorted(rows, key=lambda row: -float(row["autoencoder"]))
    assert facts["outliers"]["autoencoder"][0]["row"] == int(by_score[0]["row"])
    for file in ("counts.csv", "outliers.csv", "labels.csv", "duplicates.csv"):
        text = (tmp_path / "out" / file).read_text()
        assert not any(cell[:1] in ("=", "+", "@") for line in csv.reader(io.StringIO(text)) for cell in line)


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ({"a": 5, "b": 5}, ("at least 60 are needed", "each part needs 30")),
        ({"only": 12}, ("All images belong to one class", "only one class")),
        ({"a": 6, "b": 6, "nothing": 0}, ("1 class has no images to train on: 'nothing'", "no image")),
        ({"a": 1}, ("1 development image and",)),
    ],
    ids=["ten images", "one class", "an empty class", "one image"],
)
def test_small_data_gives_a_page_with_clear_words(
    tmp_path: Path, counts: dict[str, int], words: tuple[str, ...]
) -> None:
    folder = class_folder(tmp_path / "images", counts)
    dataset, sealed = load_to_look(str(folder))
    page = read_page(write_audit_page(finish(audit(dataset, sealed, AuditOptions())), tmp_path / "out"))
    for word in words:
        assert word in page.shown


def test_images_of_mixed_sizes_and_kinds_are_brought_to_one(tmp_path: Path) -> None:
    folder = class_folder(tmp_path / "images", {"a": 4, "b": 4})
    (folder / "a" / "large.png").write_bytes(encoded(random_images(1, (40, 50, 3))[0]))
    (folder / "b" / "grey.png").write_bytes(encoded(random_images(1, (8, 9, 1))[0]))
    with refused("all images must have one size"):
        load(str(folder), aim=None)
    assert load(str(folder))[0].shape == (8, 8, 3)
    dataset, sealed = load_to_look(str(folder))
    assert dataset.shape == (8, 8, 3)
    report = finish(audit(dataset, sealed, AuditOptions(quick=True)))
    assert report.facts.files is not None
    assert sum(kind.n for kind in report.facts.files.kinds) == len(dataset)
    page = read_page(write_audit_page(report, tmp_path / "out"))
    assert "the pictures have 3 sizes from 8 x 8 to 50 x 40 px" in page.shown
    assert "not part of a quick audit" in page.shown


def test_facts_are_those_of_numpy() -> None:
    dataset = make_dataset(50, ("a", "b", "c"), shape=(7, 5, 3))
    split = make_split(dataset)
    facts = finish(measure_facts(dataset, seal(dataset), split))
    pixels = dataset.images.reshape(-1, 3) / 255
    assert np.allclose(facts.mean, pixels.mean(0))
    assert np.allclose(facts.std, pixels.std(0))
    assert facts.histogram.sum() == dataset.images.size
    expected = dataset.images[dataset.labels == 1].mean(0)
    assert np.abs(facts.class_means[1] - expected).max() <= 0.5
    assert facts.counts.sum(0).tolist() == [len(split.train), len(split.val)]
    assert imbalance(np.array([30, 0, 10])) == 3
    assert imbalance(np.array([5, 0])) is None


def test_of_many_classes_those_with_fewest_images_are_shown(tmp_path: Path) -> None:
    n = MOST_SHOWN + 20
    labels = np.concatenate([np.arange(n), np.arange(20), np.arange(20)])  # the first 20 have three images
    names, above = tuple(f"class {k}" for k in range(n)), tuple(k % 2 for k in range(n))
    images = random_images(len(labels), (8, 8, 3))
    dataset = Dataset("made", images, labels, names, hash_images(images), ("one", "two"), above)
    report = finish(audit(dataset, seal(make_dataset(8, names, (8, 8, 3))), AuditOptions(quick=True)))
    assert report.facts.shown.tolist() == list(range(20, n))
    assert report.facts.class_means.shape == (MOST_SHOWN, 8, 8, 3)
    np.testing.assert_array_equal(report.facts.class_means[5], images[25])
    assert report.facts.superclass_means is not None
    expected = images[labels % 2 == 1].mean(0)
    assert np.abs(report.facts.superclass_means[1] - expected).max() <= 0.5
    page = read_page(write_audit_page(report, tmp_path))
    assert f"The {MOST_SHOWN} of {n} classes with the fewest images are shown; counts.csv lists all." in page.shown
    assert len([image for image in page.all("img") if (image["alt"] or "").startswith("mean image of class")]) == 300
    counts = list(csv.DictReader(io.StringIO((tmp_path / "counts.csv").read_text())))
    assert len(counts) == n


def test_imbalance_is_a_warning(tmp_path: Path) -> None:
    labels = np.repeat([0, 1], [40, 8])
    made = make_dataset(48, ("many", "few"), shape=(8, 8, 1))
    dataset = Dataset("made", made.images, labels, made.classes, made.hashes)
    page = read_page(write_audit_page(audited(dataset, quick=True), tmp_path / "out"))
    assert "5.0 times as many as 'few' with 8" in page.shown


def test_pictures_too_faint_for_copies_get_no_all_clear(tmp_path: Path) -> None:
    dataset = make_dataset(60, ("a", "b"), shape=(12, 12, 3))
    faint = replace(dataset, images=(dataset.images // 64).astype(np.uint8))
    report = audited(faint, skip=frozenset(CHECKS) - {"duplicates"})
    path = write_audit_page(report, tmp_path / "out")
    said = read_page(path).shown
    assert "are too faint to tell copies from noise, so only equal pixels were looked for." in said
    assert "exact or near duplicate" not in said


def test_checks_that_are_skipped_are_neither_planned_nor_run() -> None:
    options = AuditOptions(skip=frozenset(CHECKS))
    assert len(plan(options, 100)) == 2
    report = audited(make_dataset(20, ("a", "b"), shape=(8, 8, 1)), skip=frozenset(CHECKS))
    assert set(report.skipped) == set(CHECKS)
    assert report.duplicates is None
    with refused("must be among duplicates", "'labelz'"):
        AuditOptions(skip=frozenset(["labelz"]))


def test_checks_are_read_from_words_and_a_former_name_still_works() -> None:
    assert read_checks(" labels, shift,") == {"labels", "shift"}
    assert read_checks("parts") == {"shift"}
    assert read_checks("") == frozenset()
    assert read_checks(",".join(CHECKS)) == set(CHECKS)


def test_sprites_hold_the_pixels() -> None:
    images = random_images(5, (6, 4, 3))
    sheet = strip(images, 3)
    assert sheet is not None
    assert (sheet.width, sheet.height, sheet.n) == (14, 13, 5)
    pixels = decoded(sheet.uri)
    assert np.array_equal(pixels[7:13, 5:9, :3], images[4])
    assert pixels[6, :, 3].max() == 0
    assert strip(images[:0]) is None
    assert decoded(picture(random_images(1, (300, 200, 1))[0])).shape[:2] == (96, 64)


def decoded(uri: str) -> np.ndarray:
    """(H, W, 4) uint8 of a data URI."""
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))).convert("RGBA"))


def test_the_command_says_its_plan_and_where_the_page_lies(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["look", "digits", "--quick", "--json"]) == 0
    out, err = capsys.readouterr()
    result = json.loads(out)
    assert result["page"] == "pocketlens-looks/digits-1/look.html"
    assert result["look"]["images"] == {"development": 1438, "test": 359}
    assert "1. measure the basics" in err
    assert Path(result["page"]).exists()
    assert main(["audit", "digits", "--quick", "--skip", "parts"]) == 0
    assert Path("pocketlens-looks/digits-2/look.html").exists()
    assert main(["look", "digits", "--skip", "labelz"]) == 2
    assert main(["look", "digits", "--augment", "flipp"]) == 2
    (tmp_path / "file").write_text("")
    assert main(["look", "digits", "--out", "file/below"]) == 2
    assert "--out must be a folder" in capsys.readouterr().err
