"""Runs of no study at a place of trials: all of them, so many at a time, each once."""

from __future__ import annotations

from pathlib import Path

from made_trainings import new_run

from pocketlens.studies.pool import RunEnded, RunGoing, train_runs
from pocketlens.studies.process import Ending, Limits
from pocketlens.training.run import Run


class FakeWorker:
    """Ends at the third look; its slot tells how."""

    n_lost = 0

    def __init__(self, log: list[str], run: Run, slot: int) -> None:
        self.log, self.run, self.slot, self.n_looks = log, run, slot, 0
        self.seconds = 1.0

    def wait(self, seconds: float) -> Ending | None:
        self.n_looks += 1
        return None if self.n_looks < 3 else Ending("complete" if self.slot == 0 else "diverged", "planted")

    def ask_to_stop(self) -> None:
        self.log.append("ask")

    def stop(self) -> Ending:
        self.log.append("stop")
        return Ending("stopped")

    def close(self) -> None:
        self.log.append("close")


class FakePlace:
    """Notes what it starts."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.started: list[tuple[str, int]] = []

    def start(self, run: Run, limits: Limits, slot: int) -> FakeWorker:
        self.started.append((run.id, slot))
        return FakeWorker(self.log, run, slot)


def test_all_runs_each_once_and_so_many_at_a_time(tmp_path: Path) -> None:
    place, runs = FakePlace(), [new_run(tmp_path, seed=seed) for seed in range(5)]
    events = list(train_runs(runs, Limits(), place, jobs=2))
    ended = [event for event in events if isinstance(event, RunEnded)]
    assert sorted(event.run.id for event in ended) == sorted(run.id for run in runs)
    assert {slot for _, slot in place.started} == {0, 1}
    assert place.log == ["close"] * 5
    assert {event.ending.status for event in ended} == {"complete", "diverged"}


def test_runs_that_are_stopped_are_all_told_before_one_is_waited_for(tmp_path: Path) -> None:
    place, runs = FakePlace(), [new_run(tmp_path, seed=seed) for seed in range(5)]
    events = train_runs(runs, Limits(), place, jobs=3)
    assert isinstance(next(events), RunGoing)
    events.close()
    assert place.log == ["ask", "ask", "ask", "stop", "close", "stop", "close", "stop", "close"]
    assert len(place.started) == 3
