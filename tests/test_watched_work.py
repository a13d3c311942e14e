"""A function that counts is shown while it runs, and ends when nobody waits for it any more."""

from __future__ import annotations

import re
import threading
import time

import pytest

from pocketlens import events
from pocketlens.display import progress
from pocketlens.display.progress import follow
from pocketlens.display.screen import Screen
from pocketlens.errors import PocketlensError
from pocketlens.events import Step, Stop, Tally, finish, watched


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "_SHORT", 0.0)
    monkeypatch.setattr(events, "_LOOK_EVERY", 0.001)


def test_what_is_counted_is_shown_and_the_result_comes_back() -> None:
    seen = threading.Event()

    def function(tally: Tally) -> int:
        tally.count("hashing files", 3, 10)
        assert seen.wait(10)
        return 7

    work = watched(function)
    assert next(work) == Step("hashing files", 3, 10)
    seen.set()
    assert finish(work) == 7


def test_a_short_function_shows_nothing_and_an_error_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "_SHORT", 60.0)

    def function(tally: Tally) -> int:
        tally.count("hashing files", 3, 10)
        raise PocketlensError("the folder must be readable.")

    with pytest.raises(PocketlensError, match="must be readable"):
        list(watched(function))


def test_a_function_that_nobody_waits_for_ends_with_its_next_count() -> None:
    ended: list[int] = []

    def function(tally: Tally) -> int:
        try:
            for number in range(100_000):
                tally.count("hashing files", number, 0)
                time.sleep(0.001)
        except Stop:
            ended.append(number)
            raise
        return 0

    work = watched(function)
    next(work)
    work.close()
    assert ended[0] < 99_999


def test_an_unknown_total_and_the_time_left_are_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "_SECONDS_BETWEEN_LINES", -1.0)

    def work() -> events.Events[int]:
        yield Step("finding images", 0, 0)
        yield Step("finding images", 120_000, 0)
        yield Step("hashing files", 100, 1000)
        yield Step("hashing files", 500, 1000)
        return 0

    follow(work(), Screen())
    said = capsys.readouterr().out
    assert "finding images: 120,000\n" in said
    assert re.search(r"hashing files: 500 of 1,000, about .*s left\n", said)
