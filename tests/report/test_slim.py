"""The slim page: all that the page of a run says, without the pictures of images."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from made_runs import make_dataset, make_run
from test_report import read_page

import pocketlens as pl
from pocketlens.cli import main
from pocketlens.events import finish as end
from pocketlens.report.run.facts import read_facts
from pocketlens.report.run.side_by_side import write_comparison
from pocketlens.report.run.written import write_files

CLASSES = ("ant", "bee", "cat")


@pytest.mark.slow
def test_it_has_the_numbers_and_no_pictures(tmp_path: Path) -> None:
    dataset = make_dataset(300, CLASSES, (16, 16, 3))
    run = make_run(tmp_path, dataset, skill=1.0)
    facts = read_facts(run, dataset)
    full = end(write_files(run, facts))
    before = full.page.read_bytes()
    slim = end(write_files(run, facts, slim=True))
    assert (full.page.name, slim.page.name, slim.summary.name) == ("report.html", "report-slim.html", "summary.png")
    assert full.page.read_bytes() == before, "the other page stays as it is"
    page, whole = read_page(slim.page), read_page(full.page)
    assert page.all("img") == []
    data, other = json.loads(page.data), json.loads(whole.data)
    assert data["sheets"] == []
    assert data["pictures"] == 0
    assert sorted(data["row"]) == sorted(other["row"]), "every image is still listed"
    assert page.text["td"] == whole.text["td"]
    assert page.shown.count("this is the slim page") == 2
    assert "not available" not in page.shown
    assert len(slim.page.read_bytes()) < len(before) / 2
    pictures = [str(each["href"]) for each in whole.all("a") if str(each.get("download")).endswith("-summary.png")]
    assert [base64.b64decode(each.partition(",")[2]) for each in pictures] == [full.summary.read_bytes()]
    assert not any(str(each.get("download")).endswith(".png") for each in page.all("a"))


def test_the_call_and_the_command_write_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(tmp_path, make_dataset(90, CLASSES, (4, 4, 1)))
    result = pl.report(run, page="slim")
    assert result.paths == {"html": run.file("report-slim.html"), "png": run.file("summary.png")}
    assert "no images" not in str(result)
    assert f"summary  {run.file('summary.png')}" in str(result)
    assert not run.file("report.html").exists()
    assert f"report   {run.file('report-slim.html')} (" in str(result)
    assert main(["report", run.id, "--runs", str(tmp_path), "--slim", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["report"], facts["summary"]) == (str(run.file("report-slim.html")), str(run.file("summary.png")))


def test_runs_side_by_side_have_one_too(tmp_path: Path) -> None:
    dataset = make_dataset(200, CLASSES, (6, 6, 1))
    runs = [make_run(tmp_path, dataset, id=name, skill=skill) for name, skill in (("a", 1.0), ("b", 0.1))]
    full = read_page(write_comparison(runs, tmp_path, dataset)["html"])
    paths = write_comparison(runs, tmp_path, dataset, slim=True)
    slim = read_page(paths["html"])
    assert paths["html"].name == "comparison-slim.html"
    assert full.all("img")
    assert slim.all("img") == []
    assert slim.text["span"] == full.text["span"]
