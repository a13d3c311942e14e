"""A run of which another process is the writer."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_trainings import contents, finish, new_run

from pocketlens.errors import PocketlensError
from pocketlens.training.run import WatchedRun


def test_a_watched_run_is_read_and_never_written(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    with run.lock():
        watched = WatchedRun(run.path)
        before = contents(run)
        with pytest.raises(PocketlensError, match="it has none yet"):  # the first rank would have written a checkpoint
            finish(watched)  # all the motions of a training, beside the process that holds the lock
        after = contents(run)
    assert after.pop("environment.json")  # of a first rank, as this one is
    assert after == before
    assert watched.status() == ("new", "")
    assert watched.set_aside_broken() == []
