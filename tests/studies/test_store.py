"""A study's folder: many writers, kills, torn and damaged lines, and folders that cannot be read or written."""

from __future__ import annotations

import json
import os
import signal
import stat
import time
from pathlib import Path
from typing import Any

import pytest
from children import child, receive
from made_images import refused
from made_studies import empty_study, fake_result, new_comparison
from made_trainings import PLAIN

from pocketlens.errors import PocketlensError
from pocketlens.studies import store
from pocketlens.studies.store import Record, Study, Trial, all_studies


def many_trials(folder: Path, n: int) -> Study:
    study = empty_study(folder)
    study.enqueue([Trial(number, "a", "search", number, PLAIN) for number in range(n)])
    return study


def work_off(pipe: Any, path: Path) -> None:
    """Takes one trial after the other and ends it, in a child; tells the numbers that were acknowledged."""
    study, n = Study(path), 0
    pipe.send("ready")
    while True:
        with study.claim() as record:
            if record is None:
                break
            study.end(Record(record.trial, "complete", score=record.trial.number / 1000))
            pipe.send(record.trial.number)
            n += 1
    pipe.send("done")


def many_writers(folder: Path, n_processes: int, n_trials: int) -> None:
    from contextlib import ExitStack

    study = many_trials(folder, n_trials)
    with ExitStack() as stack:
        pipes = [stack.enter_context(child(work_off, study.path))[1] for _ in range(n_processes)]
        for pipe in pipes:
            receive(pipe)
        done = []
        for pipe in pipes:
            while (said := receive(pipe)) != "done":
                done.append(said)
    records = Study(study.path).records()
    assert sorted(done) == list(range(n_trials)), "each trial is ended by one process alone"
    assert [record.score for record in records] == [number / 1000 for number in range(n_trials)]
    events = [line["event"] for line in Study(study.path).journal.lines()]
    assert (events.count("began"), events.count("ended")) == (n_trials, n_trials)


def test_several_processes_write_one_study(tmp_path: Path) -> None:
    many_writers(tmp_path, n_processes=4, n_trials=20)


@pytest.mark.slow
def test_16_processes_write_640_trials(tmp_path: Path) -> None:
    many_writers(tmp_path, n_processes=16, n_trials=640)  # about 5 s on two quiet cores


def kill_writers(folder: Path, n_kills: int) -> None:
    import random

    study, chance = many_trials(folder, 4 * n_kills), random.Random(0)
    acknowledged: set[int] = set()
    for _ in range(n_kills):
        with child(work_off, study.path) as (process, pipe):
            receive(pipe)
            process.join(chance.uniform(0, 0.08))
            process.kill()
            process.join()
            while pipe.poll():
                try:
                    said = pipe.recv()
                except EOFError:
                    break
                acknowledged |= {said} if isinstance(said, int) else set()
        records = Study(study.path).records()
        ended = {record.trial.number for record in records if record.is_ended}
        assert acknowledged <= ended, "what was acknowledged is there"
        assert not any(record.status == "running" for record in records), "nothing is running for ever"
    with child(work_off, study.path) as (process, pipe):
        while receive(pipe) != "done":
            pass
    assert all(record.is_ended for record in Study(study.path).records())


@pytest.mark.slow
def test_a_killed_writer_loses_nothing(tmp_path: Path) -> None:
    kill_writers(tmp_path, n_kills=3)


@pytest.mark.slow
def test_100_killed_writers_lose_nothing(tmp_path: Path) -> None:
    kill_writers(tmp_path, n_kills=100)


def test_a_torn_last_line_is_left_out_counted_and_cut(tmp_path: Path) -> None:
    study = many_trials(tmp_path, 3)
    with study.claim() as record:
        assert record is not None
        study.end(Record(record.trial, "complete", score=0.5))
    whole = study.journal.path.read_bytes()
    last = whole.rstrip(b"\n").rfind(b"\n") + 1
    for cut in range(last + 1, len(whole), max(1, (len(whole) - last) // 50)):
        study.journal.path.write_bytes(whole[:cut])
        torn = Study(study.path)
        assert torn.journal.n_unreadable() == 1
        assert [record.status for record in torn.records()] == ["waiting"] * 3
        torn.enqueue([Trial(3, "b", "search", 3, PLAIN)])
        assert torn.journal.n_unreadable() == 0
        assert len(Study(study.path).records()) == 4
        assert whole[:last] == study.journal.path.read_bytes()[:last]


def test_a_damaged_line_hides_no_other_and_is_not_overwritten(tmp_path: Path) -> None:
    study = many_trials(tmp_path, 3)
    lines = study.journal.path.read_bytes().splitlines(keepends=True)
    study.journal.path.write_bytes(lines[0] + b"\x00garbage\n[1]\n" + b"".join(lines[1:]))
    damaged = Study(study.path)
    assert damaged.journal.n_unreadable() == 2
    assert len(damaged.records()) == 3
    damaged.enqueue([Trial(9, "b", "search", 3, PLAIN)])
    assert b"garbage" in study.journal.path.read_bytes()


def test_a_study_that_is_locked_for_long_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = many_trials(tmp_path, 1)
    monkeypatch.setattr(store, "PATIENCE", 0.05)
    with Study(study.path).lock():
        with refused("locked by other processes"):
            study.enqueue([Trial(1, "a", "search", 1, PLAIN)])
        assert len(study.records()) == 1  # reading needs no lock
    with study.lock(), study.lock():
        study.enqueue([Trial(1, "a", "search", 1, PLAIN)])
    assert len(study.records()) == 2


def test_a_newer_or_broken_study_is_left_as_it_is(tmp_path: Path) -> None:
    study = many_trials(tmp_path, 1)
    good = Study.open("last", tmp_path / "runs")
    assert good.id == study.id
    content = json.loads((study.path / "study.json").read_text())
    (study.path / "study.json").write_text(json.dumps({**content, "format": 99}))
    with refused("newer pocketlens", "format 99"):
        _ = Study(study.path).spec
    (study.path / "study.json").write_text("{")
    with refused("must be JSON"):
        _ = Study(study.path).spec
    assert all_studies(tmp_path / "runs")[0].label == ""
    with refused("must be a study's path"):
        Study.open("nothing", tmp_path / "runs")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_study_that_cannot_be_written_can_be_read(tmp_path: Path) -> None:
    study = many_trials(tmp_path, 1)
    mode = study.path.stat().st_mode
    study.path.chmod(mode & ~stat.S_IWUSR)
    try:
        assert len(Study(study.path).records()) == 1
        with refused("must be a folder that can be written"):
            Study(study.path).enqueue([Trial(1, "a", "search", 1, PLAIN)])
    finally:
        study.path.chmod(mode)


def test_a_claim_ends_with_its_process(tmp_path: Path) -> None:
    study = many_trials(tmp_path, 1)
    with child(hold, study.path) as (process, pipe):
        receive(pipe)
        assert Study(study.path).records()[0].status == "running"
        with study.claim() as record:
            assert record is None
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        assert Study(study.path).records()[0].status == "waiting"
        with study.claim() as record:
            assert record is not None


def hold(pipe: Any, path: Path) -> None:
    with Study(path).claim():
        pipe.send("held")
        time.sleep(1000)


def test_deleted_trials_are_made_again_and_copied_studies_work(tmp_path: Path) -> None:
    import shutil

    study = new_comparison(tmp_path)
    fake_result(study, study.records()[0], 0.5)
    copy = Study(Path(shutil.copytree(study.path, tmp_path / "elsewhere" / study.id)))
    assert copy.run(copy.records()[0].trial).status()[0] == "complete"
    shutil.rmtree(copy.path / "trials")
    assert len(copy.records()) == 4
    with pytest.raises(PocketlensError):
        copy.run(copy.records()[0].trial).status()
