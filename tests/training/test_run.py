"""Runs: folders that are found again by any of their names, whatever lies beside them; one process trains at a time."""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from children import call, child, receive
from made_images import refused
from made_trainings import PLAIN, contents, finish, made_data, new_run

import pocketlens.files
from pocketlens.errors import PocketlensError
from pocketlens.files import read_json, write_json
from pocketlens.training.run import Run, all_runs
from pocketlens.training.train import train

# ---- making and finding


def test_a_run_is_found_by_its_path_its_id_its_label_and_as_the_last(tmp_path: Path) -> None:
    first, second, third = (new_run(tmp_path, label=label, seed=n) for n, label in enumerate(("a", "twice", "twice")))
    assert [run.id for run in all_runs(tmp_path)] == [first.id, second.id, third.id]
    for name, run in ((str(second.path), second), (second.id, second), ("a", first), ("twice", third), ("last", third)):
        assert Run.open(name, tmp_path).path == run.path
    opened = Run.open("a", tmp_path)
    assert opened.experiment == first.experiment
    assert opened.split.train.tolist() == first.split.train.tolist()
    assert opened.status() == ("new", "")
    assert opened.history() == opened.timing() == []
    assert opened.environment == {}


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with refused("there must be a run in", "pocketlens train digits"):
        Run.open("last", tmp_path / "absent")
    new_run(tmp_path)
    hostile = [
        "../x",
        "/x",
        "a/../../b",
        "C:x",
        "NUL",
        "COM¹.txt",
        "x/NUL",
        "x.",
        "",
        "x" * 300,
        ".",
        "~",
        "a\0b",
        "-x",
    ]
    for name in hostile:
        with pytest.raises(PocketlensError, match="path, id or label"):
            Run.open(name, tmp_path)


def test_any_text_may_be_a_label_and_none_becomes_a_path(tmp_path: Path) -> None:
    labels = ["../x", "/x", "C:x", "NUL", "trailing.", "x" * 300, "~", "<script>", "new\nline", "\x1b[2J", "é", "-x"]
    runs = [new_run(tmp_path / "runs", label=label) for label in labels]
    assert [Run.open(label, tmp_path / "runs").id for label in labels] == [run.id for run in runs]
    assert os.listdir(tmp_path) == ["runs"]
    assert sorted(os.listdir(tmp_path / "runs")) == [run.id for run in runs]


def test_1000_ids_while_the_clock_stands_still_and_is_set_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)

    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
            return now

    monkeypatch.setattr(pocketlens.files, "datetime", Clock)
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    (tmp_path / "zzz notes.txt").write_text("a file that somebody put here")
    (tmp_path / "20990101-000000").mkdir()
    data, made = made_data(8), []
    for number in range(1000):
        if number % 100 == 99:
            now -= timedelta(hours=number)  # set back
        elif number % 50 == 49:
            now += timedelta(days=60)
        made.append(new_run(tmp_path, dataset=data).id)
    assert len(set(made)) == 1000
    assert sorted(made) == made
    assert [run.id for run in all_runs(tmp_path)] == made


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with refused("must be a folder that can be written"):
            new_run(place)


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_read_only_folder_is_refused_before_training(tmp_path: Path) -> None:
    run = new_run(tmp_path / "runs")
    (tmp_path / "runs").chmod(0o555)
    run.path.chmod(0o555)
    try:
        with refused("must be a folder that can be written"):
            new_run(tmp_path / "runs")
        with refused("must be a folder that can be written"):
            finish(run)
    finally:
        run.path.chmod(0o755)
        (tmp_path / "runs").chmod(0o755)


def test_a_run_folder_that_is_gone_is_refused_before_training(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    run.experiment, run.split  # noqa: B018 (read before they are gone)
    shutil.rmtree(run.path)
    with refused("must be a folder that can be written"):
        finish(run)
    run.path.write_text("a file")
    with refused("must be a folder that can be written"):
        finish(run)


def test_broken_folders_hide_no_other_run(tmp_path: Path) -> None:
    whole = new_run(tmp_path, label="whole")
    for number, text in enumerate(('{"data": ', "[]", '{"data": "x", "recipe": {"lr": "high"}}', "")):
        broken = new_run(tmp_path, label="broken")
        broken.file("experiment.json").write_text(text)
        with pytest.raises(PocketlensError):
            _ = Run(broken.path).experiment
        assert len(all_runs(tmp_path)) == number + 2
    half_written = new_run(tmp_path)
    half_written.file("experiment.json").unlink()
    assert half_written.id not in [run.id for run in all_runs(tmp_path)]
    assert Run.open("whole", tmp_path).id == whole.id
    with refused("there is none in"):
        Run.open("broken", tmp_path)


def test_a_copied_run_is_usable(tmp_path: Path) -> None:
    from pocketlens.training.classifier import load_classifier, predict_logits

    run = new_run(tmp_path / "here")
    finish(run)
    copied = Run(Path(shutil.copytree(run.path, tmp_path / "there" / "another-name")))
    shutil.rmtree(tmp_path / "here")
    assert copied.status() == ("complete", "")
    assert Run.open("last", tmp_path / "there").path == copied.path
    assert predict_logits(load_classifier(copied), made_data().images).shape == (64, 4)
    before = contents(copied)
    finish(copied)
    assert contents(copied) == before


# ---- status, lock, leftovers


def test_a_status_that_is_no_status_is_refused(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    for value in ([], {"status": "complete"}, "complete", None):
        write_json(run.file("status.json"), value)
        with refused("status.json", "repair it"):
            run.status()
    run.file("status.json").unlink()
    with refused("status.json must be a file that exists"):
        run.status()


def test_a_second_process_is_told_who_trains_and_a_dead_owner_is_replaced(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    with child(hold, run.path) as (process, pipe):
        assert receive(pipe) == "locked"
        run.set_status("running")
        assert run.status() == ("running", "")
        with refused(f"in use by process {process.pid}"):
            finish(run)
        process.kill()
        process.join()
        assert run.status()[0] == "killed"
        finish(run)
    assert run.status() == ("complete", "")
    assert int(run.file("lock").read_text()) == os.getpid()


def test_the_same_process_cannot_train_a_run_twice_at_once(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    events = train(run, made_data())
    next(events)
    with refused("in use"):
        finish(run)
    events.close()
    finish(run)


def hold(pipe: Any, path: Path) -> None:
    with Run(path).lock():
        pipe.send("locked")
        pipe.poll(600)


def test_what_killed_writers_left_is_removed_by_the_next_training(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    for name in ("checkpoint-00000001.safetensors", "history.jsonl", "status.json"):
        run.file(f".{name}.12345.part").write_text("half a file")
    run.file(".report.html.12345.part").write_text("another process may be writing this")
    finish(run)
    assert [path.name for path in run.path.glob(".*")] == [".report.html.12345.part"]


def test_status_in_another_process(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    events = train(run, made_data())
    next(events)
    assert call(status_of, run.path) == ("running", "")
    events.close()
    assert call(status_of, run.path)[0] == "stopped"


def status_of(path: Path) -> tuple[str, str]:
    return Run(path).status()


# ---- checkpoints of a run


def saved(folder: Path) -> Run:
    """A finished run with two checkpoints, of steps 6 and 9."""
    run = new_run(folder)
    finish(run)
    assert [path.name[-13:-12] for path in run.checkpoint_files()] == ["6", "9"]
    return run


def test_the_newest_whole_checkpoint_counts(tmp_path: Path) -> None:
    run = saved(tmp_path)
    assert run.checkpoint().meta["step"] == 9
    assert run.set_aside_broken() == []
    newest = run.checkpoint_files()[1]
    newest.write_bytes(newest.read_bytes()[:-5])
    assert run.checkpoint().meta["step"] == 6  # reading changes nothing
    assert len(run.checkpoint_files()) == 2
    (said,) = run.set_aside_broken()
    assert newest.name in said
    assert f"{newest.name}.corrupt" in os.listdir(run.path)
    assert [run.checkpoint().meta["step"], len(run.checkpoint_files())] == [6, 1]


@pytest.mark.parametrize("n_files", [1, 2])
def test_where_all_checkpoints_are_bad_nothing_is_renamed_or_started(n_files: int, tmp_path: Path) -> None:
    run = saved(tmp_path)
    for path in run.checkpoint_files()[n_files:]:
        path.unlink()
    for path in run.checkpoint_files():
        path.write_bytes(path.read_bytes()[:-5])
    before = contents(run)
    assert run.set_aside_broken() == []
    for _ in range(2):
        with refused("must have a readable checkpoint", *(path.name for path in run.checkpoint_files())):
            finish(run)
    assert contents(run) == before


def test_a_run_without_a_checkpoint_says_so(tmp_path: Path) -> None:
    with refused("it has none yet"):
        new_run(tmp_path).checkpoint()


def test_settling_brings_the_folder_in_line(tmp_path: Path) -> None:
    run = saved(tmp_path)
    whole = contents(run)
    run.file("history.jsonl").write_text("")
    shutil.copy(run.checkpoint_files()[0], run.file("checkpoint-00000003.safetensors"))
    run.settle(run.checkpoint())
    assert contents(run) == whole


# ---- where a warm start begins


def test_the_run_to_start_from_is_stored_by_its_id(tmp_path: Path) -> None:
    source = new_run(tmp_path / "runs", label="a label")
    finish(source)
    for start in ("last", "a label", source.id, str(source.path)):
        run = new_run(tmp_path / "runs", PLAIN.changed(start=start))
        asked = read_json(run.file("experiment.json"))
        assert (asked["recipe"]["start"], asked["start_weights"]) == (source.id, source.weights_hash())
        shutil.rmtree(run.path)
    elsewhere = new_run(tmp_path / "other", PLAIN.changed(start=str(source.path)))
    assert Run.open(elsewhere.experiment.recipe.start or "", tmp_path / "other").path == source.path
    with refused("must be a run's path, id or label"):
        new_run(tmp_path / "runs", PLAIN.changed(start="absent"))
    assert len(all_runs(tmp_path / "runs")) == 1
