"""Runs that belong to no study, on an executor: all of them, so many at a time, each once."""

from __future__ import annotations

from pathlib import Path

from made_trainings import new_run

from pocketlens.events import TrialEnded, TrialInfo, TrialMoved, TrialProgress, TrialStarted
from pocketlens.files import write_json
from pocketlens.studies.pool import train_runs
from pocketlens.studies.process import Limits, Outcome
from pocketlens.training.run import Run


class FakeHandle:
    """Ends at the third poll; its slot decides how. Its node is lost before the second one, if it is to be."""

    n_lost = 0

    def __init__(self, log: list[str], slot: int, is_lost: bool) -> None:
        self.log, self.slot, self.n_polls, self.is_lost = log, slot, 0, is_lost
        self.seconds = 1.0

    def wait(self, seconds: float) -> Outcome | None:
        self.n_polls += 1
        self.n_lost = int(self.is_lost and self.n_polls > 1)
        return None if self.n_polls < 3 else Outcome("complete") if self.slot == 0 else Outcome("diverged", "planted")

    def ask_to_stop(self) -> None:
        self.log.append("ask")

    def stop(self) -> Outcome:
        self.log.append("stop")
        return Outcome("stopped")

    def close(self) -> None:
        self.log.append("close")


class FakeExecutor:
    """Notes what it starts."""

    def __init__(self, is_lost: bool = False) -> None:
        self.log: list[str] = []
        self.started: list[tuple[str, int]] = []
        self.is_lost = is_lost

    def start(self, run: Run, limits: Limits, slot: int) -> FakeHandle:
        self.started.append((run.id, slot))
        return FakeHandle(self.log, slot, self.is_lost)


def test_all_runs_each_once_and_so_many_at_a_time(tmp_path: Path) -> None:
    executor, runs = FakeExecutor(), [new_run(tmp_path, seed=seed) for seed in range(5)]
    events = list(train_runs(runs, Limits(), jobs=2, executor=executor))
    ended = [event for event in events if isinstance(event, TrialEnded)]
    assert sorted(event.trial.name for event in ended) == sorted(run.id for run in runs)
    assert [event.trial.number for event in events if isinstance(event, TrialStarted)] == list(range(5))
    assert {slot for _, slot in executor.started} == {0, 1}
    assert executor.log == ["close"] * 5
    assert {(event.status, event.reason) for event in ended} == {("complete", ""), ("diverged", "planted")}
    assert {event.total for event in ended} == {5}


def test_events_say_what_a_display_needs(tmp_path: Path) -> None:
    run = new_run(tmp_path, seed=7)
    write_json(run.file("scores-val.json"), {"top1": {"value": 0.75}})
    trial = TrialInfo(0, run.id, "repeats", 7, f"run {run.id}, seed 7", 3, run.path)
    assert list(train_runs([run], Limits(), executor=FakeExecutor(is_lost=True))) == [
        TrialStarted(trial),
        TrialProgress(trial, 0, 1.0),
        TrialMoved(trial),
        TrialProgress(trial, 0, 1.0),
        TrialEnded(trial, "complete", "", score=0.75, seconds=1.0, best=0.75, total=1),
    ]


def test_runs_that_are_stopped_are_all_asked_before_one_is_waited_for(tmp_path: Path) -> None:
    executor, runs = FakeExecutor(), [new_run(tmp_path, seed=seed) for seed in range(5)]
    events = train_runs(runs, Limits(), jobs=3, executor=executor)
    assert [type(next(events)) for _ in range(4)] == [TrialStarted] * 3 + [TrialProgress]
    events.close()
    assert executor.log == ["ask", "ask", "ask", "stop", "close", "stop", "close", "stop", "close"]
    assert len(executor.started) == 3
