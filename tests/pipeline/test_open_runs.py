"""`pocketlens open` and `--open`: sessions stand in the index, addresses work, Ctrl-C ends it, a browser is started."""

from __future__ import annotations

import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from made_runs import make_dataset, make_run

from pocketlens.cli import main
from pocketlens.files import write_json, write_text
from pocketlens.pipeline import opened as opened_file
from pocketlens.pipeline.opened import opened
from pocketlens.pipeline.phase_result import PhaseResult
from pocketlens.pipeline.sessions import read_sessions
from pocketlens.pipeline.state import AutoRequest, AutoState
from pocketlens.recipe import Recipe


def read(address: str) -> str:
    with urllib.request.urlopen(address, timeout=60) as answer:
        text: str = answer.read().decode()
        return text


def make_session(runs: Path, name: str, **changes: object) -> Path:
    """A session of `auto` in a folder of runs."""
    folder = runs / "autos" / name
    folder.mkdir(parents=True)
    request = AutoRequest("folder('/home/me/photos')", 2.0, False, "abc")
    done = {"look": PhaseResult(("found nothing",), {"page": str(folder / "look.html")})}
    state = AutoState(request, Recipe(), True, 1.0, spent=60.0, done=done, **changes)  # type: ignore[arg-type]
    write_json(folder / "auto.json", state.to_dict())
    write_text(folder / "look.html", "a look")
    return folder


def test_sessions_are_read(tmp_path: Path) -> None:
    make_session(tmp_path, "one", finished="complete")
    make_session(tmp_path, "two")
    broken = tmp_path / "autos" / "three"
    broken.mkdir()
    write_text(broken / "auto.json", "{")
    first, second = read_sessions(tmp_path)
    assert (first.title, first.status, first.phase, first.spent, first.limit) == ("photos", "complete", "look", 60, 120)
    assert second.status == "unfinished"
    assert [link.address for link in first.pages] == ["files/autos/one/look.html"]


def test_it_is_served_while_a_command_works(tmp_path: Path) -> None:
    run = make_run(tmp_path / "runs", make_dataset(60, ("a", "b"), (8, 8, 1)), label="a label")
    write_text(run.file("report.html"), "a report")
    write_text(tmp_path / "elsewhere.html", "")
    with opened(tmp_path / "runs") as index:
        assert "a label" in read(index.address)
        assert read(index.page_address(run.file("report.html"))) == "a report"
        assert index.page_address(tmp_path / "elsewhere.html").startswith("file://")
        with pytest.raises(urllib.error.HTTPError, match="403"):
            read(index.address.rsplit("/", 2)[0] + "/")
    with pytest.raises(urllib.error.URLError):
        read(index.address)


def test_the_folder_need_not_exist_for_a_command_that_makes_it(tmp_path: Path) -> None:
    with opened(tmp_path / "absent") as index:
        assert "There is nothing yet" in read(index.address)
    assert not (tmp_path / "absent").exists()


def test_open_shows_the_page_that_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path, make_dataset(60, ("a", "b"), (8, 8, 1)))
    shown: list[str] = []

    def look(address: str) -> bool:
        shown.append(read(address)[:15].lower())
        return True

    monkeypatch.setattr("webbrowser.open", look)
    monkeypatch.setattr(opened_file, "_wait_for_signal", lambda _: signal.SIGINT)
    assert main(["report", run.id, "--runs", str(tmp_path), "--open"]) == 0
    assert shown == ["<!doctype html>"]
    out = capsys.readouterr().out
    assert "/report.html" in out
    assert "open     http://127.0.0.1:" in out


@pytest.mark.slow
def test_the_command_until_ctrl_c(tmp_path: Path) -> None:
    make_run(tmp_path, make_dataset(60, ("a", "b"), (8, 8, 1)), label="a label")
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "pocketlens", "open", str(tmp_path), "--no-browser"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        address = process.stdout.readline().split()[1]
        assert "a label" in read(address)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, err) == (130, "")
    assert out.endswith("stopped\n")
