"""What a person sees of a work: lines, a bar on a terminal, and how a signal stops it."""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Generator
from typing import Any

import pytest

from pocketlens.display import progress
from pocketlens.display.progress import Meter, follow, is_live
from pocketlens.display.screen import Screen
from pocketlens.events import (
    Doing,
    Ended,
    Epoch,
    Event,
    Fact,
    Failure,
    Line,
    Note,
    Progress,
    RunStarted,
    Stage,
    Step,
    Stop,
    until_stopped,
)

RECORD = {"epoch": 1, "step": 2, "size": 8, "lr": 0.1, "train_loss": 1.0, "train_accuracy": 0.5, "val_loss": None,
          "val_accuracy": None, "best": False}  # fmt: skip
EVENTS: list[Event] = [
    Fact("data", "digits"),
    Fact("", "a note on it"),
    Step("measuring", 1, 2),
    Step("measuring", 2, 2),
    Doing("loading PyTorch"),
    RunStarted("a-run", "runs", "cpu"),
    Progress(1, 2, 0.5, 0.1, 8, 16, 1.25),
    Progress(2, 2, 1.0, 0.1, 8, 16, 1.0),
    Epoch(1, 1, RECORD, 0, None),
    Note("something"),
    Stage("look", ("found", "nothing")),
    Line("done"),
]


def made(events: list[Event], result: Any = "result") -> Generator[Event, None, Any]:
    yield from events
    return result


def test_lines_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    followed = follow(made(EVENTS), Screen())
    assert (followed.result, followed.signal, followed.exit_code) == ("result", None, 0)
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["data     digits", "         a note on it"]
    assert lines[2].startswith("         measuring: 2 in ")
    assert lines[3:6] == ["         loading PyTorch …", "run      a-run in runs, on cpu", progress.HEADER]
    assert lines[6].startswith("  1/1      8      0.1      1.0000 50.00%")
    assert max(map(len, lines)) <= 80
    assert lines[7:] == ["         something", "look     found", "         nothing", "done"]


def test_every_event_has_its_place(capsys: pytest.CaptureFixture[str]) -> None:
    kinds = set(Event.__args__)
    shown = {type(event) for event in EVENTS} | {Failure}
    follow(made([Failure("broken")]), Screen())
    assert "pocketlens: broken" in capsys.readouterr().err
    assert {kind for kind in kinds if not kind.__name__.startswith(("Trial", "Study"))} == shown


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setattr(progress, "_SECONDS_BETWEEN_UPDATES", -1.0)
    follow(made(EVENTS), Screen())
    out = terminal.getvalue()
    for words in ("data     digits", "measuring", "step", "loss 1.", "epoch", "look     found", "done"):
        assert words in out


def test_a_notebook_is_live(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not is_live(Screen())
    monkeypatch.setitem(sys.modules, "ipykernel", object())  # type: ignore[arg-type]
    assert is_live(Screen())


def test_images_per_second_do_not_count_validation() -> None:
    meter = Meter(0.0, 0.0)
    for step in range(1, 5):
        meter = meter.after(Progress(step, 4, 1.0, 0.1, 8, 100, 1.0), float(step))
    assert meter.images_per_second == 100
    after = meter.after(Epoch(1, 1, RECORD, 0, None), 60.0)
    assert (after.epoch_seconds, after.images_per_second) == (60.0, 100)
    assert after.after(Progress(5, 8, 1.0, 0.1, 8, 100, 1.0), 61.0).images_per_second == 100


def test_a_signal_lets_the_work_save_itself(capsys: pytest.CaptureFixture[str]) -> None:
    saved = []

    def training() -> Generator[Event, None, str]:
        try:
            yield RunStarted("a-run", "runs", "cpu")
            os.kill(os.getpid(), signal.SIGINT)
            for step in range(1_000_000):
                yield Progress(step, 1_000_000, 1.0, 0.1, 8, 1, 1.0)
        finally:
            saved.append("checkpoint")
        return "never"

    def work() -> Generator[Event, None, Any]:
        ended = yield from until_stopped(training())
        yield Line(f"saved {saved}")
        return ended

    followed = follow(work(), Screen())
    assert followed.result == Ended(None, signal.SIGINT)
    assert (followed.signal, followed.exit_code) == (signal.SIGINT, 130)
    assert "saved ['checkpoint']" in capsys.readouterr().out


def test_work_that_has_nothing_to_save_is_interrupted_at_once() -> None:
    def work() -> Generator[Event, None, None]:
        yield Step("loading", 0, 2)
        os.kill(os.getpid(), signal.SIGINT)
        yield Step("loading", 2, 2)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    try:
        with pytest.raises(KeyboardInterrupt):
            follow(work(), Screen())
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_stop_that_nobody_takes_ends_the_work() -> None:
    def work() -> Generator[Event, None, str]:
        yield Stage("begun", ("",))
        os.kill(os.getpid(), signal.SIGTERM)
        while True:
            yield Note("on")

    followed = follow(work(), Screen(is_mute=True))
    assert (followed.result, followed.exit_code) == (None, 143)


def test_what_is_thrown_in_is_a_stop() -> None:
    events = until_stopped(made(EVENTS))
    next(events)
    with pytest.raises(StopIteration) as ended:
        events.throw(Stop(2))
    assert ended.value.value == Ended(None, 2)
    assert list(until_stopped(made([]))) == []
