"""Each chart of the pages can be taken away: its numbers as CSV, its picture as SVG by the script."""

from __future__ import annotations

import base64
import csv
import io
import time
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from browser import PATIENCE, browser
from browser import Page as Tab
from made_runs import MadeRun, make_dataset, make_run
from made_studies import spec_and_split
from test_report import HOSTILE, Page, read_page
from test_story import approaches, augmentations, planned, state_of

from pocketlens.pipeline.page import write_story
from pocketlens.pipeline.phase_result import PhaseResult
from pocketlens.pipeline.story import tell_story
from pocketlens.report import write_report
from pocketlens.report.downloads import Table, offer
from pocketlens.report.run.facts import read_facts
from pocketlens.report.study.page import write_study_page
from pocketlens.studies.search import start_search
from pocketlens.studies.search_trials import next_trials
from pocketlens.studies.spec import SearchSpec
from pocketlens.studies.store import Record, Study
from pocketlens.text import printable

FORMULAS = ("=1+1", "+cmd", "-2", "@sum", *HOSTILE, "\tx\x0b\ufffe")
ON_A_RUN = {
    *("accuracy-compared", "classes", "confusion", "superclasses"),
    *("loss", "accuracy", "generalisation-gap-accuracy", "generalisation-gap-loss", "learning-rate", "image-size"),
    *("reliability", "selective-prediction"),
}


def made_study(folder: Path) -> Study:
    """A search whose scores are made up."""
    space = "lr=log(0.001,1); optimizer.momentum=range(0.5,0.99)"
    spec, split = spec_and_split(folder, SearchSpec(space, trials=10))
    study = start_search(spec, split, folder / "runs")
    while True:
        with study.lock():
            study.enqueue(next_trials(study, 2))
        with study.claim() as record:
            if record is None:
                return study
            score = round(0.9 - 0.1 * abs(np.log(record.trial.recipe.lr / 0.3)) + 0.003 * (record.trial.seed % 3), 6)
            study.end(Record(record.trial, "complete", "", float(score), 1 - float(score), 10.0))


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The pages of a run with hostile class names, of a study, and of a session of auto."""
    folder = tmp_path_factory.mktemp("pages")
    classes = (*(printable(name) for name in FORMULAS[:-1]), "\ufffe")
    above = tuple(k % 2 for k in range(len(classes)))
    dataset = make_dataset(270, classes, (6, 6, 1), superclasses=("=one", "two"), superclass_of=above)
    run = make_run(folder / "runs", dataset, skill=1.0)
    session = folder / "session"
    session.mkdir()
    done = {
        "approach": approaches(),
        "plan": planned(),
        "augment": augmentations(),
        "final": PhaseResult((), {}, 190.0),
    }
    facts = read_facts(run, dataset)
    story = tell_story(session, state_of(done), run, facts, 200.0)
    return {
        "run": write_report(run, dataset),
        "study": write_study_page(made_study(folder / "study")),
        "auto": write_story(session, story, facts),
    }


def tables(path: Path, prefix: str) -> dict[str, list[list[str]]]:
    """The tables that a page offers, by the name of their file without the prefix; each with a button for the SVG."""
    page = Page(path.read_text(encoding="utf-8"))
    links = [each for each in page.all("a") if "download" in each]
    names = [str(each["data-svg"]) for each in page.all("button") if "data-svg" in each]
    assert [each["download"] for each in links] == [f"{name}.csv" for name in names]
    assert len(set(names)) == len(names)
    assert all(name.startswith(prefix) for name in names)
    return {name.removeprefix(prefix): read(str(link["href"])) for name, link in zip(names, links, strict=True)}


def read(uri: str) -> list[list[str]]:
    kind, _, text = uri.partition(";base64,")
    assert kind == "data:text/csv;charset=utf-8"
    return list(csv.reader(io.StringIO(base64.b64decode(text).decode("utf-8"))))


def test_a_cell_from_outside_is_no_formula() -> None:
    table = Table(("=name", "value"), tuple((name, -1.5) for name in FORMULAS))
    header, *rows = read(offer("=run", "A chart, of 2", table).csv)
    assert header == ["'=name", "value"]
    assert [name for name, _ in rows] == [f"'{name}" if name[0] in "=+-@\t" else name for name in FORMULAS]
    assert {value for _, value in rows} == {"-1.5"}, "numbers stay numbers"
    assert offer("=run", "A chart, of 2", table).name == "run-a-chart-of-2"


@pytest.mark.slow
def test_every_chart_of_a_run_has_its_numbers(pages: dict[str, Path]) -> None:
    read_page(pages["run"])
    found = tables(pages["run"], "20250101-000000-abcd-")
    facts = read_facts(MadeRun(pages["run"].parent))
    scores = facts.scores
    assert scores is not None
    assert set(found) == ON_A_RUN
    header, *rows = found["loss"]
    assert header == ["epoch", "training, nats", "validation, nats"]
    assert [[float(cell) for cell in row] for row in rows] == [
        [record["epoch"], record["train_loss"], record["val_loss"]] for record in facts.history
    ]
    header, *rows = found["confusion"]
    assert header[1:] == [f"'{name}" if name[0] in "=+-@" else name for name in scores.classes]
    assert [[int(cell) for cell in row[1:]] for row in rows] == scores.confusion.toarray().tolist()
    assert found["accuracy-compared"][1][1:] == [str(value) for value in scores.top1.to_dict().values()]
    assert {row[0] for row in found["superclasses"][1:]} == {"'=one", "two"}
    assert found["classes"] == list(
        csv.reader(pages["run"].with_name("classes.csv").read_text(encoding="utf-8").splitlines())
    )
    assert sum(int(row[3]) for row in found["reliability"][1:] if row[0] == "uncalibrated") == scores.n
    assert float(found["selective-prediction"][-1][2]) == pytest.approx(scores.top1.value)


@pytest.mark.slow
def test_every_chart_of_a_study_and_of_auto_has_its_numbers(pages: dict[str, Path]) -> None:
    study = tables(pages["study"], f"{pages['study'].parent.name}-")
    assert set(study) == {"recipes", "scores-by-trial", "values-and-scores", "importance"}
    assert study["values-and-scores"][0] == ["trial", "lr", "optimizer.momentum", "accuracy"]
    best = [float(row[3]) for row in study["scores-by-trial"][1:]]
    assert best == sorted(best)
    assert max(float(row[2]) for row in study["scores-by-trial"][1:]) == best[-1]
    assert sum(float(row[1]) for row in study["importance"][1:]) == pytest.approx(1)
    assert len(study["recipes"][1]) == len(study["recipes"][0]) == 6 + 3
    auto = tables(pages["auto"], "")
    names = {name.removeprefix("session-") for name in auto if name.startswith("session-")}
    assert names == {"where-the-time-went", "a-pretrained-network-or-from-scratch", "augmentations"}
    rows = auto["session-a-pretrained-network-or-from-scratch"]
    assert rows[1][:5] == ["A linear head on a pretrained network", "probe", "0.9", "0.87", "0.92"]
    times = auto["session-where-the-time-went"][1:]
    assert sum(float(row[3]) for row in times) == pytest.approx(200.0)
    assert "20250101-000000-abcd-accuracy-compared" in auto


def svgs(tab: Tab) -> dict[str, str]:
    """What the buttons of a page would save, by name."""
    tab.value(
        "window.saved = {}; window.waiting = [];"
        "URL.createObjectURL = (file) => { waiting.push(file.text()); return 'data:,'; };"
        "HTMLAnchorElement.prototype.click = function () { saved[this.download] = waiting.length - 1; }; 0"
    )
    found: dict[str, str] = tab.value(
        "for (const button of document.querySelectorAll('[data-svg]')) button.click();"
        "Promise.all(waiting).then((texts) =>"
        " Object.fromEntries(Object.entries(saved).map(([name, place]) => [name, texts[place]])))"
    )
    return found


@pytest.mark.slow
def test_the_policy_of_the_page_lets_files_be_saved(pages: dict[str, Path], tmp_path: Path) -> None:
    with browser(tmp_path) as tab:
        tab.open(pages["run"].as_uri())
        tab.send("Page.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
        for name, link in (("loss.svg", "[data-svg$='-loss']"), ("loss.csv", "[download$='-loss.csv']")):
            tab.value(f"document.querySelector({link!r}).click()")
            saved = tmp_path / f"20250101-000000-abcd-{name}"
            end = time.monotonic() + PATIENCE
            while not saved.exists():
                assert time.monotonic() < end, name
                time.sleep(0.05)
            assert saved.read_text(encoding="utf-8").startswith("<svg" if name == "loss.svg" else "epoch,")
        assert tab.problems == []


@pytest.mark.slow
@pytest.mark.parametrize("dark", [False, True])
def test_the_script_draws_every_chart_in_light_colours(pages: dict[str, Path], dark: bool, tmp_path: Path) -> None:
    with browser(tmp_path) as tab:
        for kind, path in pages.items():
            tab.open(path.as_uri(), 1400, 900, dark=dark)
            before = tab.value("document.documentElement.outerHTML")
            found = svgs(tab)
            assert {name.removesuffix(".svg") for name in found} == set(
                tab.value("[...document.querySelectorAll('[data-svg]')].map((each) => each.dataset.svg)")
            )
            assert tab.value("document.documentElement.outerHTML").replace(' class=""', "") == before
            for name, text in found.items():
                root = ET.fromstring(text)  # well-formed, whatever the names are
                assert float(root.attrib["width"]) > 50, name
                assert float(root.attrib["height"]) > 20, name
                assert "".join(root.itertext()).strip(), name
                assert "var(" not in text
                assert "rgb(86, 180, 233)" not in text, "the blue of dark pages"
                assert not root.findall(".//{*}script") + root.findall(".//{*}foreignObject")
                assert not any(key.startswith("on") for each in root.iter() for key in each.attrib)
            if kind == "run":
                matrix = "".join(ET.fromstring(found["20250101-000000-abcd-confusion.svg"]).itertext())
                assert all(name in matrix for name in ("=1+1", "</script>", "{{7*7}}"))
            assert tab.problems == []
