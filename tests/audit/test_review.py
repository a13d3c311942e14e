"""The review: its items, its decisions whatever kills or crosses it, the requests that it answers, and its command."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from deaths import Case, sweep
from made_images import class_folder, refused
from made_looks import Issue, make_look
from made_runs import make_dataset

import pocketlens as pl
from pocketlens.api.look import LookRequest
from pocketlens.api.requests import DataRequest
from pocketlens.api.review import ReviewRequest, ReviewResult
from pocketlens.audit.review.app import MOST_BYTES, Review, make_app
from pocketlens.audit.review.decisions import Decisions, Overtaken
from pocketlens.audit.review.findings import find_look, read_findings
from pocketlens.audit.review.page import policy
from pocketlens.cli import main
from pocketlens.data.dataset import seal
from pocketlens.data.relabel import COLUMNS, relabel
from pocketlens.datasets import load_to_look
from pocketlens.files import csv_text
from pocketlens.inference.serve import Guard
from pocketlens.inference.serve.server import Server
from pocketlens.locks import try_lock
from pocketlens.recipe import Recipe
from pocketlens.studies.overrides import read_variant

HOSTILE = "<script>alert(1)</script>"
CLASSES = ("ant", "bee", "keep", HOSTILE)
DATASET = make_dataset(40, CLASSES, shape=(8, 8, 3))
SEALED = seal(make_dataset(12, CLASSES, shape=(8, 8, 3)))
ISSUES = [Issue(5, "ant"), Issue(8, "keep"), Issue(3, "bee")]
PAIRS = (
    "development,0,development,4,0.0,exact,copied\n"  # the same label: the later row is asked about
    "development,1,development,2,0.2,near,shifted\n"  # other labels: both are
    "development,5,test,7,0.1,near,mirrored\n"
    "development,10,development,11,0.4,similar,shifted\n"
    "test,1,test,2,0.0,exact,copied\n"
)
RANKS = "3,,40,1\n20,,2,30\n21,,11,12\n"


@pytest.fixture
def look(tmp_path: Path) -> Path:
    return make_look(tmp_path / "looks" / "made-1", DATASET, ISSUES, PAIRS, RANKS)


@pytest.fixture
def items(look: Path) -> Any:
    return read_findings(look, DATASET, SEALED).items


def opened(path: Path, items: Any) -> Decisions:
    return Decisions(path, DATASET, items)


def test_items_are_those_of_the_look_in_the_order_of_the_review(look: Path) -> None:
    found = read_findings(look, DATASET, SEALED)
    kinds = {item.row: item.kinds for item in found.items}
    assert [*kinds] == [5, 8, 3, 4, 2, 1, 20]
    assert kinds[5] == ("label issue", "duplicate")
    assert kinds[3] == ("label issue", "outlier")
    assert kinds[1] == kinds[2] == kinds[4] == ("duplicate",)
    first = found.items[0]
    assert (first.suggested, first.given_probability, first.suggested_probability) == (0, 0.031, 0.912)
    assert first.nearest == (6, 7)
    assert [(each.part, each.row, each.how) for each in first.duplicates] == [("test", 7, "mirrored")]
    assert [*found.tests] == [7]


def test_a_look_is_found_by_the_images_and_labels(look: Path) -> None:
    older = make_look(look.parent / "made-0", DATASET, [])
    os.utime(older / "look.json", (1, 1))
    (look.parent / "broken.json").write_text("{")
    pages = [older / "look.json", look.parent / "broken.json", look / "look.json"]
    assert find_look(pages, DATASET, "") == look
    other = make_dataset(41, CLASSES, shape=(8, 8, 3))
    with refused("no look at these images and labels here; first type: pocketlens look made"):
        find_look(pages, other, "pocketlens look made")
    with refused("must be a look at these images and labels", "pocketlens look"):
        read_findings(look, other, SEALED)
    (look / "outliers.csv").write_text("row,neighbours_rank\n7,x\n")
    with refused("outliers.csv", "neighbours_rank must be a whole number"):
        read_findings(look, DATASET, SEALED)


def test_decisions_are_those_of_relabel(tmp_path: Path, items: Any) -> None:
    book = opened(tmp_path / "labels.csv", items)
    for row, text in ((5, "accept"), (8, "class:keep"), (3, "drop"), (4, "keep"), (20, "class:bee")):
        book.decide(row, text, 0)
    changed, corrections = relabel(DATASET, book.path.read_text())
    assert {row: changed.labels[row] for row in (5, 8, 20)} == {5: 0, 8: 2, 20: 1}
    assert corrections.dropped == (3,)
    assert corrections.n == 3
    for row, text, why in ((5, "nonsense", "a class"), (4, "accept", "no suggestion"), (7, "keep", "reviewed")):
        with refused(why):
            book.decide(row, text, 0)


def test_a_review_goes_on_where_it_was_and_the_last_decision_can_still_be_undone(tmp_path: Path, items: Any) -> None:
    path = tmp_path / "labels.csv"
    book = opened(path, items)
    book.decide(8, "drop", 0)
    book.decide(5, "accept", 0)
    book.close()
    again = opened(path, items)
    assert [again.of(row).text for row in (8, 5, 3)] == ["drop", "accept", ""]
    undone = again.undo("any window")
    assert undone is not None
    assert (undone.row, undone.text) == (5, "")
    assert again.undo() is not None
    assert again.undo() is None
    again.close()
    other = [replace(item, suggested=1) if item.row == 5 else item for item in items]
    path.write_text(path.read_text().replace(",ant,,", ",ant,accept,"))
    assert opened(path, other).of(5).text == "ant"  # what was accepted, whatever is suggested today


def test_undo_takes_back_step_by_step(tmp_path: Path, items: Any) -> None:
    book = opened(tmp_path / "labels.csv", items)
    seen = 0
    for text in ("keep", "drop", "accept"):
        seen = book.decide(5, text, seen, "a").version
    assert [getattr(book.undo("a"), "text", None) for _ in range(4)] == ["drop", "keep", "", None]


def test_two_windows_lose_nothing(tmp_path: Path, items: Any) -> None:
    book = opened(tmp_path / "labels.csv", items)
    book.decide(5, "keep", 0, "a")
    book.decide(8, "drop", 0, "b")
    with pytest.raises(Overtaken, match="another window: keep"):
        book.decide(5, "drop", 0, "b")
    assert book.of(5).text == "keep"
    book.decide(5, "drop", book.of(5).version, "b")
    with pytest.raises(Overtaken, match="decided differently since"):
        book.undo("a")
    assert [(each.row, each.text) for each in book.since(1)] == [(8, "drop"), (5, "drop")]
    assert [book.undo("b"), book.of(5).text, book.of(8).text][1:] == ["keep", "drop"]


def test_one_process_alone_has_the_file(tmp_path: Path, items: Any) -> None:
    path = tmp_path / "labels.csv"
    book = opened(path, items)
    with refused("in use by another review", str(os.getpid()), "--out"):
        opened(path, items)
    (tmp_path / "link.csv").symlink_to(path)
    with refused("link.csv is in use"):
        opened(tmp_path / "link.csv", items)
    book.decide(5, "keep", 0)
    path.write_text(path.read_text() + "\n")
    with pytest.raises(Overtaken, match="changed by another program"):
        book.decide(8, "keep", 0)
    book.close()
    opened(path, items).close()
    path.write_text("file,label\na.png,ant\n")
    with refused("must have the columns"):
        opened(path, items)
    held = try_lock(tmp_path / ".labels.csv.lock")
    assert held is not None, "a file that is refused is let go"


def test_lines_of_a_person_stay(tmp_path: Path, look: Path, items: Any) -> None:
    path = tmp_path / "labels.csv"
    path.write_text((look / "labels.csv").read_text().replace("row,", "note,row,").replace("\n5,", "\nhello,5,"))
    text = path.read_text().replace("\n8,", "\n,8,").replace("\n3,", "\n,3,")
    path.write_text(text)
    book = opened(path, items)
    book.decide(5, "drop", 0)
    assert "hello" in path.read_text()
    assert len(path.read_text().splitlines()) == 4
    assert "0.912000" in path.read_text()


def decide_once(folder: Path, items: Any) -> None:
    opened(folder / "labels.csv", items).decide(8, "drop", 0)


def prepare_one(folder: Path, items: Any) -> None:
    folder.mkdir(parents=True)
    book = opened(folder / "labels.csv", items)
    book.decide(5, "keep", 0)
    book.close()


def complaint(folder: Path, items: Any) -> str:
    book = opened(folder / "labels.csv", items)
    texts = book.of(5).text, book.of(8).text
    return "" if texts in (("keep", ""), ("keep", "drop")) else str(texts)


@pytest.mark.parametrize("saver", ["whole", "in place"])
def test_a_decision_survives_death_at_every_file_operation(saver: str, tmp_path: Path, items: Any) -> None:
    acts = (partial(act, items=items) for act in (prepare_one, decide_once, complaint))
    n, complaints = sweep(Case(*acts, piece=64), tmp_path / "sweep", saver)
    assert (not complaints) == (saver == "whole"), complaints
    assert saver != "whole" or n > 5


GUARD = Guard("127.0.0.1", "secret", body=MOST_BYTES)


@pytest.fixture
def review(tmp_path: Path, look: Path) -> Review:
    found = read_findings(look, DATASET, SEALED)
    book = opened(tmp_path / "labels.csv", found.items)
    return Review(
        DATASET,
        found,
        book,
        Guard("127.0.0.1", "secret", body=MOST_BYTES),
        "pocketlens compare made base relabel=labels.csv",
    )


def ask(review: Review, *requests: tuple[Any, ...], token: str = "secret", **headers: str) -> list[httpx.Response]:
    """The answers to requests (method, path[, JSON]), one after the other."""

    async def run() -> list[httpx.Response]:
        given = {name.title(): value for name, value in headers.items()}
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(
            transport=transport, base_url=f"http://127.0.0.1/{token}", headers=given
        ) as client:
            return [await client.request(method, path, json=(*body, None)[0]) for method, path, *body in requests]

    app = make_app(review)
    return asyncio.run(run())


ALL = [
    ("GET", "/"),
    ("GET", "/api/items"),
    ("GET", "/api/changes?since=0"),
    ("GET", "/picture/development/5"),
    ("POST", "/api/decide", {"row": 5, "decision": "drop", "seen": 0, "window": "a", "since": 0}),
    ("POST", "/api/undo", {"window": "a", "since": 0}),
]


def test_nothing_is_answered_without_the_token_or_to_another_host(review: Review) -> None:
    for answer in ask(review, *ALL, token="wrong"):
        assert (answer.status_code, answer.json()["error"].split(" that ")[0]) == (
            403,
            "the address must hold the token",
        )
    for headers in ({"host": "evil.example"}, {"origin": "http://evil.example"}, {"host": "127.0.0.1.evil.example"}):
        assert {answer.status_code for answer in ask(review, *ALL, **headers)} == {403}
    assert not review.decisions.path.exists()
    answers = ask(review, *ALL)
    assert {answer.status_code for answer in answers} == {200}
    assert all(answer.headers["content-security-policy"] == policy() for answer in answers)
    assert "unsafe" not in policy()
    assert [answer.status_code for answer in ask(review, ("GET", "/docs"))] == [404]


def test_decisions_over_http(review: Review) -> None:
    def decide(row: int, text: Any, seen: int, window: str = "a") -> tuple[Any, ...]:
        return "POST", "/api/decide", {"row": row, "decision": text, "seen": seen, "window": window, "since": 0}

    first, overtaken, changes, undone, empty = ask(
        review,
        decide(5, "accept", 0),
        decide(5, "drop", 0, "b"),
        ("GET", "/api/changes?since=0"),
        ("POST", "/api/undo", {"window": "a", "since": 1}),
        ("POST", "/api/undo", {"window": "a", "since": 1}),
    )
    assert first.json()["decisions"] == [{"row": 5, "text": "accept", "version": 1}]
    assert "another window: accept" in overtaken.json()["refused"]
    assert overtaken.json()["decisions"] == changes.json()["decisions"] == first.json()["decisions"]
    assert undone.json()["made"] == {"row": 5, "text": "", "version": 2}
    assert empty.json()["made"] is None
    bad = ask(review, decide(5, "x", 2), decide(7, "keep", 0), decide(5, 7.5, 2), ("POST", "/api/decide", [1]))
    assert {answer.status_code for answer in bad} == {422}
    assert ask(review, decide(5, "x" * 30_000, 2))[0].status_code == 413


def test_only_pictures_of_the_review_are_given_out(review: Review) -> None:
    wanted = [("development", 5, 200), ("development", 7, 200), ("test", 7, 200), ("development", 30, 404)]
    wanted += [("test", 5, 404), ("other", 5, 404), ("development", 10_000, 404)]
    answers = ask(review, *(("GET", f"/picture/{part}/{row}") for part, row, _ in wanted))
    assert [answer.status_code for answer in answers] == [status for *_, status in wanted]
    assert answers[0].content.startswith(b"\x89PNG")


def test_names_from_outside_are_text(tmp_path: Path, review: Review) -> None:
    bad = replace(review, dataset=replace(DATASET, text=HOSTILE), command=f"pocketlens compare {HOSTILE}")
    page, items = ask(bad, ("GET", "/"), ("GET", "/api/items"))
    assert "<script>alert" not in page.text
    assert page.text.count("<script>") == 1
    assert HOSTILE in items.json()["classes"]


def test_a_full_disk_is_said_and_nothing_is_decided(review: Review, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pocketlens.audit.review.decisions.write_bytes", full)
    (answer,) = ask(review, ALL[4])
    assert answer.status_code == 507
    assert "No space left" in answer.json()["error"]
    assert review.decisions.of(5).text == ""


def test_a_photo_is_shown_in_its_own_size(tmp_path: Path) -> None:
    from pocketlens.audit.review.pictures import picture_of

    folder = class_folder(tmp_path / "photos", {"a": 6, "b": 6}, shape=(150, 200, 3))
    dataset, _ = load_to_look(str(folder))
    assert dataset.shape == (64, 64, 3)

    def size(data: bytes) -> tuple[int, int]:
        return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")

    assert size(picture_of(dataset, 0)) == (200, 150)
    assert size(picture_of(replace(dataset, hashes=dataset.hashes[::-1].copy()), 0)) == (64, 64)


def test_the_command_says_what_to_type_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for argv, part in (
        (["digits"], "there are none here; first type: pocketlens look digits"),
        (["digits", "--look", "absent"], "first type: pocketlens look digits"),
        (["digits", "--out", "absent/labels.csv"], "in a folder that exists"),
        (["digits", "--port", "70000"], "--port must be 0 to 65535"),
    ):
        assert main(["review", *argv]) == 2
        err = capsys.readouterr().err
        assert part in err
        assert err.count("\n") == 1
    assert [*tmp_path.iterdir()] == []


def test_a_look_replaces_no_decisions(look: Path) -> None:
    request = LookRequest(DataRequest("digits"), out=look)
    request.check()  # the labels.csv of a look without decisions may be written again
    lines = (look / "labels.csv").read_text()
    for text in (lines.replace(",ant,,", ",ant,drop,"), "file,label\na.png,cat\n"):
        (look / "labels.csv").write_text(text)
        with refused("holds your decisions", "give --out another folder"):
            request.check()


def test_what_is_said_at_the_end() -> None:
    request = ReviewRequest(DataRequest("my photos"), out=Path("it's.csv"))
    *first, last = shlex.split(request.compare_command)
    assert first == ["pocketlens", "compare", "my photos", "base"]
    assert read_variant(last, Recipe()).relabel == "it's.csv"
    done = ReviewResult(Path("labels.csv"), 9, 1, 2, 0, "pocketlens compare digits base relabel=labels.csv")
    assert done.lines() == [
        "labels   labels.csv: 3 of 9 images decided (1 kept, 2 corrected, 0 dropped)",
        "next: pocketlens compare digits base relabel=labels.csv",
    ]
    assert ReviewResult(Path("labels.csv"), 1, 0, 0, 0, "").lines() == ["labels   none of 1 image is decided"]


def test_the_call_and_the_command_print_the_address_and_what_was_decided(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = str(class_folder(tmp_path / "photos", {"a": 6, "b": 6}))
    dataset, _ = load_to_look(folder)
    make_look(tmp_path / "pocketlens-looks" / "photos-1", dataset, [Issue(0, "b"), Issue(1, "b")])
    line = (0, dataset.hashes[0].tobytes().hex(), "a", "b", "accept")
    (tmp_path / "labels.csv").write_text(csv_text(COLUMNS, [line]))
    shown: list[str] = []
    monkeypatch.setattr("webbrowser.open", shown.append)
    monkeypatch.setattr(Server, "run", lambda self, sockets: None)
    result = pl.review(folder, open=True)
    assert f"page     {shown[0]}" in capsys.readouterr().out
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/[\w-]{22}/", shown[0])
    assert (result.n_items, result.n_decided, result.n_corrected) == (2, 1, 1)
    assert main(["review", folder, "--json"]) == 0
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert found["address"].startswith("http://127.0.0.1:")
    assert found["address"] != shown[0]
    assert (found["n_decided"], found["command"]) == (1, result.command)
    assert f"next: {result.command}" in err
    assert "1 decided already" in err
    assert len(shown) == 1
