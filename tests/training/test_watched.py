"""A run of which another process is the writer."""

from __future__ import annotations

from pathlib import Path

from made_trainings import contents, finish, new_run

from pocketlens.training.run import WatchedRun


def test_a_watched_run_is_read_and_never_written(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    with run.lock():
        watched = WatchedRun(run.path)
        before = contents(run)
        finish(watched)  # all the motions of a training, beside the process that holds the lock
        after = contents(run)
    for name in ("environment.json", "predictions-val.safetensors", "scores-val.json"):
        assert after.pop(name)  # of a first rank, as this one is
    assert after == before
    assert watched.status() == ("new", "")
    assert watched.set_aside_broken() == []
