"""A run of which another process is the writer."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_trainings import contents, made_data, new_run

from pocketlens.errors import PocketlensError
from pocketlens.events import Progress
from pocketlens.training.ranks import Ranks
from pocketlens.training.run import WatchedRun
from pocketlens.training.train import train


def test_a_watched_run_is_read_and_never_written(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    with run.lock():
        watched = WatchedRun(run.path)
        before = contents(run)
        events = list(train(watched, made_data(), ranks=Ranks(rank=1)))  # beside the process that holds the lock
        assert [event.step for event in events if isinstance(event, Progress)] == list(range(1, 10))
        assert contents(run) == before
    with pytest.raises(PocketlensError, match="it has none yet"):  # the first rank would have written a checkpoint
        watched.checkpoint()
    assert watched.status() == ("new", "")
    assert watched.set_aside_broken() == []
