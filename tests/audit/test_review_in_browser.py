"""The review in a browser: by keys alone, at all widths, in two windows, and a hundred decisions through two kills."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import Page, browser
from made_looks import Issue, make_look
from made_runs import make_dataset
from served import served

from pocketlens.audit.audit import AuditReport, audit
from pocketlens.audit.label_issues import LabelIssues
from pocketlens.audit.options import AuditOptions
from pocketlens.audit.review.app import MOST_BYTES, Review, make_app
from pocketlens.audit.review.decisions import Decisions
from pocketlens.audit.review.findings import read_findings
from pocketlens.cli import main
from pocketlens.data.dataset import Dataset, hash_images, seal
from pocketlens.data.relabel import relabel
from pocketlens.datasets import load
from pocketlens.events import finish
from pocketlens.inference.serve import Guard
from pocketlens.report.audit.page import write_audit_page

pytestmark = pytest.mark.slow
PATIENCE = 60.0  # seconds
HOSTILE = "<img src=x onerror=\"document.title='hit'\">"
CLASSES = ("ant", "bee", "cat", HOSTILE)
DATASET = make_dataset(40, CLASSES, shape=(28, 28, 1))
N, N_TEST, N_WRONG = 1200, 100, 240  # images of Fashion-MNIST, of which so many get a wrong label
ROW = "Number(document.getElementById('where').textContent.match(/^row (\\d+)/)[1])"


@contextlib.contextmanager
def review_of(folder: Path) -> Iterator[str]:
    """The address of a review of a made look, in a thread."""
    issues = [Issue(row, CLASSES[(row + 1) % 4]) for row in (5, 8, 3, 12, 16)]
    look = make_look(folder / "look", DATASET, issues, "development,5,test,2,0.1,near,mirrored\n", "9,,1,1\n")
    findings = read_findings(look, DATASET, seal(make_dataset(8, CLASSES, shape=(28, 28, 1))))
    book = Decisions(folder / "labels.csv", DATASET, findings.items)
    review = Review(
        DATASET,
        findings,
        book,
        Guard("127.0.0.1", "token", body=MOST_BYTES),
        "pocketlens compare made base relabel=labels.csv",
    )
    try:
        with served(make_app(review), "token") as address:
            yield address
    finally:
        book.close()


def left(page: Page) -> str:
    return str(page.value("document.getElementById('left').textContent"))


def until_left(page: Page, text: str) -> None:
    page.until(f"document.getElementById('left').textContent === {json.dumps(text)}")


def decisions(path: Path) -> dict[int, str]:
    lines = csv.DictReader(path.read_text(encoding="utf-8").splitlines())
    return {int(line["row"]): line["decision"] for line in lines if line["decision"]}


def test_all_is_done_by_keys_and_every_class_is_text(tmp_path: Path) -> None:
    with review_of(tmp_path) as address, browser(tmp_path) as page:
        page.open(address, 1400)
        until_left(page, "0 of 6 decided, 6 left")
        assert page.value(ROW) == 5
        page.type("k")
        until_left(page, "1 of 6 decided, 5 left")
        page.type("s")  # row 8 comes again at the end
        page.until(f"{ROW} === 3")
        page.type("a")
        page.until(f"{ROW} === 12")
        page.type("o")
        page.until("document.activeElement.id === 'find'")
        page.type("bee")
        page.press("Enter")
        page.until(f"{ROW} === 16")
        page.type("d")
        page.until(f"{ROW} === 9")
        page.type("a")  # an outlier has no suggestion
        page.until("!document.getElementById('problem').hidden")
        page.type("u")
        page.until(f"{ROW} === 16")
        page.type("d")
        page.until(f"{ROW} === 9")
        page.type("k")
        page.until(f"{ROW} === 8")
        page.type("d")
        until_left(page, "6 of 6 decided, 0 left")
        page.until("document.getElementById('end-title').textContent.startsWith('All is decided')")
        assert decisions(tmp_path / "labels.csv") == {
            5: "keep",
            3: "accept",
            12: "bee",
            16: "drop",
            9: "keep",
            8: "drop",
        }
        assert page.value("document.title") != "hit"
        assert page.problems == []


@pytest.mark.parametrize(("width", "dark"), [(1400, False), (1400, True), (390, False), (390, True)])
def test_nothing_is_wider_than_the_window(width: int, dark: bool, tmp_path: Path) -> None:
    with review_of(tmp_path) as address, browser(tmp_path) as page:
        page.open(address, width, dark=dark)
        until_left(page, "0 of 6 decided, 6 left")
        page.until("[...document.images].every((image) => image.complete && image.naturalWidth > 0)")
        page.type("o")
        page.until("document.activeElement.id === 'find'")
        assert page.value("document.documentElement.scrollWidth") <= width
        page.press("Escape")
        assert page.value("document.getElementById('picker').hidden")
        names = (
            "[...document.querySelectorAll('button, select, input, a')].filter((each) => !(each.textContent.trim() || "
        )
        assert page.value(f"{names} each.labels?.length)).length") == 0
        assert page.problems == []


def test_another_window_learns_and_loses_nothing(tmp_path: Path) -> None:
    with review_of(tmp_path) as address, browser(tmp_path / "one") as one, browser(tmp_path / "two") as two:
        for page in (one, two):
            page.open(address, 1400)
            until_left(page, "0 of 6 decided, 6 left")
        one.type("d")
        until_left(one, "1 of 6 decided, 5 left")
        until_left(two, "1 of 6 decided, 5 left")  # by itself
        assert two.value("document.getElementById('decided').textContent") == "Decided: drop the image"
        two.type("k")  # seen, so it may be decided otherwise
        two.until(f"{ROW} === 8")
        one.type("u")  # of the first window, whose decision is gone
        one.until("document.getElementById('problem').textContent.includes('decided differently')")
        assert decisions(tmp_path / "labels.csv") == {5: "keep"}
        assert one.problems + two.problems == []


def audit_by_hand() -> AuditReport:
    """A quick audit with an exact pair, and label issues that nobody has searched for."""
    names = ("=ant", "drop", 'c,"t', HOSTILE)
    images = DATASET.images.copy()
    images[30] = images[2]
    dataset = Dataset("made", images, DATASET.labels, names, hash_images(images))
    sealed = seal(make_dataset(8, names, shape=(28, 28, 1)))
    report = finish(audit(dataset, sealed, AuditOptions(quick=True)))
    rows = np.array([5, 8, 3])
    given, shares = dataset.labels[rows], np.full(3, 0.5)
    return replace(report, labels=LabelIssues(rows, given, (given + 1) % 4, shares, shares, len(dataset), 0.9))


def test_the_page_of_a_look_gives_the_same_csv_without_a_server(tmp_path: Path) -> None:
    report = audit_by_hand()
    path = write_audit_page(report, tmp_path / "look")
    script = """((row, value) => {
      const list = document.querySelector(`[data-decide="${row}"] select`);
      list.value = value;
      list.dispatchEvent(new Event("change"));
      return list.value;
    })"""
    with browser(tmp_path) as page:
        for width, dark in ((1400, False), (390, True)):
            page.open(path.as_uri(), width, dark=dark)
            assert page.value("document.documentElement.scrollWidth") <= width
        assert page.value("document.getElementById('decided').hidden")
        assert page.value(f"{script}(5, 'accept')") == "accept"
        assert page.value(f"{script}(8, 'more')") == ""
        assert page.value(f"{script}(8, 'class:drop')") == "class:drop"
        assert page.value(f"{script}(3, 'drop')") == "drop"
        page.value("document.querySelector('[data-drop=\"30\"] input').click()")
        said = page.value("document.querySelector('#decided span').textContent")
        assert said == "4 decisions"
        page.value("document.getElementById('download').click()")
        page.open(path.as_uri())
        assert page.value("document.querySelector('#decided span').textContent") == said  # remembered
        changed, corrections = relabel(report.dataset, page.value("decide.csv()"))
        assert changed.labels[[5, 8]].tolist() == [2, 1]
        assert corrections.dropped == (3, 30)
        page.value("document.getElementById('forget').click()")
        assert page.value("document.getElementById('decided').hidden")
        assert page.value("document.title") != "hit"
        assert page.problems == []


def planted(folder: Path, data_folder: Path) -> tuple[Path, list[str]]:
    """An .npz with images of Fashion-MNIST of which some labels are wrong, and the true labels of its rows."""
    dataset, sealed = load("fashion_mnist", data_folder)
    names = np.array(dataset.classes)
    draw = np.random.default_rng(0)
    true = dataset.labels[:N]
    given = true.copy()
    wrong = draw.choice(N, N_WRONG, replace=False)
    given[wrong] = (true[wrong] + draw.integers(1, 10, N_WRONG)) % 10
    tests = next(sealed.images_without_labels(N_TEST))
    path = folder / "planted.npz"
    np.savez(
        path,
        images=dataset.images[:N],
        labels=names[given],
        test_images=tests,
        test_labels=names[draw.integers(0, 10, N_TEST)],
    )
    return path, names[true].tolist()


@contextlib.contextmanager
def reviewed(folder: Path, data: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`pocketlens review` in a process of its own, and the address that it prints."""
    command = [sys.executable, "-u", "-m", "pocketlens", "review", str(data)]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True, env={**os.environ})
    try:
        assert process.stdout is not None
        line = next(line for line in process.stdout if "http://127.0.0.1:" in line)
        yield process, "http://" + line.split("http://")[1].split()[0]
    finally:
        process.kill()
        process.wait(PATIENCE)


def decide(page: Page, dataset: Dataset, true: list[str], number: int) -> dict[int, str]:
    """One decision by keys on the image that is shown, as somebody who knows the true classes makes it."""
    row = int(page.value(ROW))
    given, suggested = (
        dataset.classes[dataset.labels[row]],
        page.value("document.getElementById('suggested').textContent"),
    )
    if number % 10 == 9:
        page.type("d")
        return {row: "drop"}
    if given == true[row]:
        page.type("k")
        return {row: "keep"}
    if suggested == true[row]:
        page.type("a")
        return {row: "accept"}
    page.type("o")
    page.until("document.activeElement.id === 'find'")
    page.type(true[row])
    page.press("Enter")
    return {row: true[row]}


def test_a_hundred_decisions_survive_two_kills(
    tmp_path: Path, data_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    data, true = planted(tmp_path, data_folder)
    assert main(["look", str(data), "--skip", "classes,outliers,shift,augment", "--threads", "1"]) == 0
    dataset, _ = load(str(data))
    made: dict[int, str] = {}
    with browser(tmp_path) as page:
        for until in (33, 67, 100):
            with reviewed(tmp_path, data) as (process, address):
                page.open(address, 1400)
                page.until("document.getElementById('left').textContent.includes(' decided')")
                assert left(page).startswith(f"{len(made)} of ")
                while len(made) < until:
                    made |= decide(page, dataset, true, len(made))
                    page.until(f"document.getElementById('left').textContent.startsWith('{len(made)} of ')")
                process.send_signal(signal.SIGINT if until == 100 else signal.SIGKILL)  # the last decision just made
                out, _ = process.communicate(timeout=PATIENCE)
                assert decisions(tmp_path / "labels.csv") == made
        assert [each for each in page.problems if "ERR_" not in each] == []
    assert process.returncode == 130
    assert f"next: pocketlens compare {data} base relabel=labels.csv" in out
    assert len(made) == 100
    corrected = [row for row, text in made.items() if text not in ("keep", "drop")]
    assert len(corrected) > 30
    capsys.readouterr()
    words = ["--model", "mlp(hidden=(64,))", "--augment", "none", "--sizes", "100%", "--epochs", "3", "--threads", "1"]
    assert main(["train", str(data), "--relabel", "labels.csv", *words, "--json"]) == 0
    trained: dict[str, Any] = json.loads(capsys.readouterr().out)["runs"][0]
    experiment = json.loads(Path(trained["path"], "experiment.json").read_text())
    assert experiment["n_relabelled"] == len(corrected)
    assert main(["compare", str(data), "base", "relabel=labels.csv", "--repeat", "2", *words, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["n_val"] == result["by_given_labels"]["n_val"]
    assert all(each["mean"] > 0.3 for each in result["recipes"])
