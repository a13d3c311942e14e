"""The index of a folder of runs and the page that follows a training: from files alone, escaped, and nothing beyond."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from browser import browser
from fastapi.testclient import TestClient
from made_runs import MadeRun, make_dataset, make_record, make_run
from test_report import HOSTILE, open_by_hand

from pocketlens.data.dataset import Dataset
from pocketlens.files import append_json, write_json, write_text
from pocketlens.inference.serve.guard import Guard
from pocketlens.locks import try_lock
from pocketlens.recipe import Recipe
from pocketlens.report.opened.app import address_of, make_index_app
from pocketlens.report.opened.curves import charts, spark
from pocketlens.report.opened.entries import SessionEntry, read_index, read_run
from pocketlens.report.opened.live import read_live, work
from pocketlens.report.pictures import encode_image
from pocketlens.scoring.metrics import Estimate
from pocketlens.scoring.predictions import LATEST, PICTURES, Mistakes, Pictures, write_pictures
from pocketlens.training.run import Run
from pocketlens.training.validation_scores import leave_latest

CLASSES = ("ant", "bee", "<i>cat</i>")
SESSION = SessionEntry(
    "a-session", "<b>photos", "photos", "complete", "report", 60.0, 120.0, Estimate(0.9, 0.8, 0.95), "test", 1.7e9, ()
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three runs: tested with a report, without validation, and one with a hostile label that failed."""
    runs, dataset = tmp_path / "runs", make_dataset(60, CLASSES, (8, 8, 1))
    first = make_run(runs, dataset, id="20250101-000000-aaaa", label="first")
    open_by_hand(first, dataset)
    write_text(first.file("report.html"), "<!doctype html><title>a report</title>")
    make_run(runs, dataset, id="20250101-000001-bbbb", label="whole", val_fraction=0.0)
    hostile, state = " ".join(HOSTILE), ("failed", "<script>why</script>")
    make_run(runs, dataset, id="20250101-000002-cccc", label=hostile, state=state, n_epochs=0)
    (runs / "20250101-000003-dddd").mkdir()
    write_text(runs / "20250101-000003-dddd" / "experiment.json", "{}")
    look = tmp_path / "pocketlens-looks" / "photos-1"
    look.mkdir(parents=True)
    write_text(look / "look.html", "<title>a look</title>")
    write_json(look / "look.json", {"data": "folder(path='/home/me/photos')"})
    return runs


def client(folder: Path) -> TestClient:
    app = make_index_app(folder, Guard("127.0.0.1", "secret"), lambda _: [SESSION])
    return TestClient(app, base_url="http://127.0.0.1:1234")


def test_the_index_holds_what_the_files_say(folder: Path) -> None:
    index = read_index(folder)
    assert [entry.title for entry in index.runs[1:]] == ["whole", "first"], "the newest first"
    first, whole = index.runs[2], index.runs[1]
    scores = Run(folder / first.place).top1("val")
    assert first.val == scores
    assert first.test is not None
    assert (first.is_on_val, len(first.curve), first.epochs) == (True, 5, 5)
    assert (whole.is_on_val, whole.val, len(whole.curve)) == (False, None, 5)
    assert [link.text for link in first.pages] == ["report"]
    assert [look.name for look in index.looks] == ["photos"]
    assert len(index.broken) == 1
    assert "dddd" in index.broken[0]


def test_what_changes_is_read_again(folder: Path) -> None:
    run = Run(folder / "20250101-000001-bbbb")
    before = read_run(run, folder)
    append_json(run.file("history.jsonl"), make_record(6, 9, 2, has_val=False))
    assert (before.epochs, read_run(run, folder).epochs) == (5, 6)
    run.set_status("running")
    assert read_run(run, folder).status == "killed"
    held = try_lock(run.file("lock"))
    assert held is not None
    with held:
        assert read_run(run, folder).status == "running"
        assert [entry.id for entry in read_index(folder).training] == [run.id]


def test_the_pages_escape_what_comes_from_outside(folder: Path) -> None:
    pages = client(folder)
    for path in ("/", "/live/20250101-000002-cccc"):
        text = pages.get(f"/secret{path}").text
        assert "&lt;script&gt;alert(1)" in text
        assert text.count("<script") == 1, path
    assert "&lt;b&gt;photos" in pages.get("/secret/").text


def test_files_are_given_from_the_folders_alone(folder: Path) -> None:
    pages = client(folder)
    page = pages.get("/secret/files/20250101-000000-aaaa/report.html")
    assert "a report" in page.text
    assert "connect-src" not in page.headers["content-security-policy"], "such a page may send nothing"
    assert "a look" in pages.get("/secret/looks/photos-1/look.html").text
    write_text(folder.parent / "secret.html", "outside")
    (folder / "link.html").symlink_to(folder.parent / "secret.html")
    write_text(folder / ".hidden.html", "hidden")
    for place in (
        "files/%2e%2e/secret.html",
        "files/..%2fsecret.html",
        "files//etc/passwd",
        "files/link.html",
        "files/.hidden.html",
        "files/20250101-000000-aaaa/predictions-val.safetensors",
        "live/%2e%2e",
        "live/absent",
        "trials/absent",
    ):
        assert pages.get(f"/secret/{place}").status_code in (403, 404), place
    assert pages.get("/secret/live/20250101-000003-dddd").status_code == 422
    assert pages.get("/files/20250101-000000-aaaa/report.html").status_code == 403


def test_addresses_of_pages(folder: Path) -> None:
    look = folder.parent / "pocketlens-looks" / "photos-1" / "look.html"
    assert address_of(folder / "a b" / "report.html", folder) == "files/a%20b/report.html"
    assert address_of(look, folder) == "looks/photos-1/look.html"
    assert address_of(folder.parent / "elsewhere.html", folder) == ""


def test_how_long_a_training_still_takes(tmp_path: Path) -> None:
    dataset = make_dataset(60, CLASSES, (8, 8, 1))
    recipe = Recipe(epochs=8.0, batch_size=12, sizes="50%:0.5 100%")
    run = make_run(tmp_path, dataset, recipe=recipe, n_epochs=0, val_fraction=0.0, state=("running", ""))
    held = try_lock(run.file("lock"))
    assert held is not None
    with held:
        live = read_live(run, tmp_path, run.file("environment.json").stat().st_mtime + 30)
        assert live.left == "the first epoch has been running for 30 s"
        for epoch in range(1, 5):  # four of eight epochs, at half the size: a fifth of the work
            append_json(run.file("history.jsonl"), make_record(epoch, 8, 5, has_val=False))
            append_json(run.file("timing.jsonl"), {"epoch": epoch, "seconds": 10.0, "images_per_second": 6.0})
        live = read_live(run, tmp_path, run.file("timing.jsonl").stat().st_mtime + 40)
    assert work(recipe, 0.0, 0.5) == pytest.approx(work(recipe, 0.0, 1.0) / 5)
    assert live.left == "about 2 min 0 s left", "four epochs of 40 s, less the 40 s that have passed"
    assert live.share == pytest.approx(0.4)
    assert dict(live.facts)["epochs"] == "4 of 8"


def test_mistakes_with_the_pictures_that_the_run_keeps(tmp_path: Path) -> None:
    dataset = make_dataset(90, CLASSES, (8, 8, 1))
    run = make_run(tmp_path, dataset, skill=0.5)
    write_pictures(run.file(PICTURES), Pictures(run.split.val, dataset.images[run.split.val]))
    found = read_live(run, tmp_path).mistakes
    assert found is not None
    assert 0 < found.n < found.n_images == 18
    assert all(each.picture.startswith("data:image/png") and each.true != each.predicted for each in found.shown)
    assert read_live(make_run(tmp_path, dataset, id="other", val_fraction=0.0), tmp_path).mistakes is None


def left(run: MadeRun, dataset: Dataset, epoch: int, places: list[int]) -> None:
    """What a training leaves after an epoch: mistakes on these validation rows, of which no probability is the same."""
    n = len(places)
    labels = dataset.labels[run.split.val[places]]
    surest = Mistakes(np.array(places, np.int64), labels, (labels + 1) % len(CLASSES), np.linspace(0.9, 0.5, n))
    leave_latest(run, dataset, {"epoch": epoch, "val_accuracy": 1 - n / len(run.split.val)}, surest)


def test_the_latest_mistakes_of_a_training(tmp_path: Path) -> None:
    dataset = make_dataset(90, CLASSES, (8, 8, 1))
    run = make_run(tmp_path, dataset)
    for name in ("predictions-val.safetensors", "scores-val.json"):
        run.file(name).unlink()
    page = f"/secret/live/{run.id}"
    pages = client(tmp_path)
    assert "The run&#39;s files do not have them." in pages.get(page).text, "as those of a run of before"
    held = try_lock(run.file("lock"))
    assert held is not None
    with held:
        run.set_status("running")
        assert "They are written when an epoch has ended." in pages.get(page).text
        left(run, dataset, 2, [4, 1, 7])
        found = read_live(run, tmp_path).mistakes
        assert found is not None
        assert (found.epoch, found.n, found.n_images) == (2, 3, 18)
        assert [each.row for each in found.shown] == run.split.val[[4, 1, 7]].tolist()
        assert [each.picture for each in found.shown] == [
            encode_image(image) for image in dataset.images[run.split.val[[4, 1, 7]]]
        ]
        text = pages.get(page).text
        assert "Latest mistakes on validation images" in text
        assert "After epoch 2, 3 of 18 images are wrong." in text
        assert "&lt;i&gt;cat&lt;/i&gt;" in text
        assert "<i>cat" not in text
        left(run, dataset, 3, [5])
        assert "After epoch 3, 1 of 18 images is wrong." in pages.get(page).text
        left(run, dataset, 4, [])
        assert "After epoch 4, 0 of 18 images are wrong." in pages.get(page).text
    write_text(run.file(LATEST), "broken")
    assert pages.get(page).status_code == 422


def test_pictures_of_the_latest_mistakes_stay_with_the_result(tmp_path: Path) -> None:
    dataset = make_dataset(90, CLASSES, (8, 8, 1))
    run = make_run(tmp_path, dataset, skill=0.5)
    left(run, dataset, 5, list(range(18)))
    found = read_live(run, tmp_path).mistakes
    assert found is not None
    assert found.epoch is None
    assert all(each.picture for each in found.shown)


def test_curves() -> None:
    assert spark((), None, True) is None
    small = spark((0.2, 0.5, 0.8), 9, True)
    assert small is not None
    assert small.last.x < 30, "the epochs that are to come have their room"
    assert small.words == "validation accuracy by epoch: 20.0 to 80.0 %"
    history = [make_record(epoch, 4, 10, has_val=True) for epoch in (1, 2, 3, 4)]
    drawn = charts(history, 4)
    assert [chart.title for chart in drawn] == ["Accuracy", "Loss", "Learning rate"]
    assert drawn[0].lines[0].value == "72.00 %"
    assert [tick.text for tick in drawn[0].x_ticks] == ["1", "2", "3", "4"]
    assert charts([], 4) == ()


@pytest.mark.slow
def test_the_pages_in_a_browser(folder: Path, tmp_path: Path) -> None:
    import threading

    from pocketlens.inference.serve import Limits, listen
    from pocketlens.inference.serve.server import Server, configure

    with listen("127.0.0.1", 0) as listener:
        app = make_index_app(folder, Guard("127.0.0.1", "secret"), lambda _: [SESSION])
        server = Server(configure(app, Limits(seconds=1)), lambda: False)
        threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True).start()
        home = f"http://127.0.0.1:{listener.getsockname()[1]}/secret/"
        run = Run(folder / "20250101-000001-bbbb")
        with browser(tmp_path) as page:
            for width, dark in ((1400, False), (390, True)):
                for place in ("", f"live/{run.id}", "live/20250101-000000-aaaa"):
                    page.open(home + place, width, dark=dark)
                    assert page.value("document.documentElement.scrollWidth") <= width, place
            page.open(home)
            page.value("document.getElementById('filter').value = 'whole'; "
                       "document.getElementById('filter').dispatchEvent(new Event('input'))")  # fmt: skip
            assert page.value("document.querySelectorAll('#run-rows tr:not([hidden])').length") == 1
            held = try_lock(run.file("lock"))
            assert held is not None
            with held:
                run.set_status("running")
                page.value("window.kept = true")
                page.value("document.body.dataset.every = '0.1'")
                page.until("document.querySelector('#now a') !== null")
                page.value("document.querySelector('#now a').click()")
                page.until("location.pathname.includes('/live/') && document.readyState === 'complete'")
                page.value("window.kept = true")
                append_json(run.file("history.jsonl"), make_record(6, 9, 2, has_val=False))
                page.until("document.querySelector('#facts').innerText.includes('6 of')")
                assert page.value("window.kept"), "it was not loaded again"
            assert page.problems == []
            server.should_exit = True
            page.until("!document.getElementById('gone').hidden")
