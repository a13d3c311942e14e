"""A training that is killed at any moment loses nothing: at random moments, and before every single file operation.

Random kills miss a saver that removes the old file before it renames the new one; the sweep finds it. Each test also
runs with savers that are broken, which it must report.
"""

from __future__ import annotations

import itertools
import random
import shutil
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from children import call, child, receive
from deaths import SAVERS, Case, sweep, watched
from made_runs import make_logits, make_sealed
from made_trainings import PLAIN, RECIPES, contents, made_data, new_run

from pocketlens.errors import PocketlensError
from pocketlens.training.run import Run, all_runs

# ---- at random moments

ALWAYS = ("mlp, adam",)  # the others take their time with the slow tests


@pytest.mark.parametrize(
    ("name", "save_every"),
    [
        pytest.param(name, save_every, marks=[] if name in ALWAYS else pytest.mark.slow)
        for name, save_every in zip(RECIPES, itertools.cycle((None, 1, 2, 3)), strict=False)
    ],
)
def test_killed_at_random_moments_and_resumed(name: str, save_every: int | None, tmp_path: Path) -> None:
    assert killed_at_random(tmp_path, name, save_every, n_kills=3) == []


@pytest.mark.slow
@pytest.mark.parametrize(("name", "save_every"), list(zip(RECIPES, itertools.cycle((3, None, 1, 2)), strict=False)))
def test_killed_at_random_moments_100_times(name: str, save_every: int | None, tmp_path: Path) -> None:
    assert killed_at_random(tmp_path, name, save_every, n_kills=25, seed=1) == []


@pytest.mark.parametrize("saver", ["slowly in place", pytest.param("forgets the optimizer", marks=pytest.mark.slow)])
def test_random_kills_report_a_broken_saver(saver: str, tmp_path: Path) -> None:
    assert killed_at_random(tmp_path, "mlp, adam", 1, n_kills=20, saver=saver) != []


def killed_at_random(
    folder: Path, name: str, save_every: int | None, *, n_kills: int, saver: str = "whole", seed: int = 0
) -> list[str]:
    """Kills trainings at uniformly random moments and resumes them until done; stops with the first complaint."""
    unbroken = new_run(folder / "unbroken", RECIPES[name])
    shutil.copytree(unbroken.path, folder / "template")
    with child(train_and_tell, unbroken.path, save_every, saver) as (process, pipe):
        while isinstance(told := receive(pipe), tuple):
            pass
        seconds = float(told)
        process.join()
    wanted, chance, killed = contents(unbroken), random.Random(seed), 0
    for attempt in range(10 * n_kills):
        run, before = Run(Path(shutil.copytree(folder / "template", folder / f"attempt-{attempt}"))), killed
        while True:
            code, told = _die_within(run, save_every, saver, chance.uniform(0, seconds))
            if code != -signal.SIGKILL:
                break
            killed += 1
            committed = told if isinstance(told, tuple) else (0, 0)
            if complaint := _lost(run, committed):
                return [f"kill {killed}: {complaint}"]
        if isinstance(told, float) and killed == before:
            seconds = told  # the machine is faster than it was
        if code:
            return [f"after {killed} kills the training could not go on"]
        if contents(run) != wanted:
            differing = sorted(dict(contents(run).items() ^ wanted.items()))
            return [f"after {killed} kills these files differ from those of the unbroken training: {differing}"]
        if killed >= n_kills:
            return []
        shutil.rmtree(run.path)
    return [f"only {killed} of {n_kills} kills came in time"]


def _die_within(run: Run, save_every: int | None, saver: str, seconds: float) -> tuple[int | None, Any]:
    """Trains for so long; the exit code (0: it came to its end) and what it told last: see `train_and_tell`."""
    told = None
    with child(train_and_tell, run.path, save_every, saver) as (process, pipe):
        receive(pipe)
        process.join(seconds)
        process.kill()
        process.join()
        while pipe.poll():
            try:
                told = pipe.recv() or told
            except EOFError:
                break
        return process.exitcode, told


def _lost(run: Run, committed: tuple[int, int]) -> str:
    """A complaint where something that was committed before the kill is not there any more."""
    step, n_epochs = committed
    if step == 0 and not run.checkpoint_files():
        return ""
    try:
        checkpoint = run.checkpoint()
    except PocketlensError as error:
        return str(error)
    if checkpoint.meta["step"] < step:
        return f"step {step} was committed, the newest checkpoint is of step {checkpoint.meta['step']}"
    if min(len(run.history()), len(checkpoint.meta["history"])) < n_epochs:
        return f"epoch {n_epochs} was committed and is not in the history"
    return ""


def train_and_tell(pipe: Any, path: Path, save_every: int | None, saver: str) -> None:
    """Trains, in a child; tells () when it begins, (step, epochs) behind each save, and how many seconds it took."""
    import time

    from pocketlens.training.train import train

    save = Run.save_checkpoint

    def save_and_tell(self: Run, checkpoint: Any) -> None:
        save(self, checkpoint)
        pipe.send((checkpoint.meta["step"], len(checkpoint.meta["history"])))

    with SAVERS[saver]():
        Run.save_checkpoint = save_and_tell  # type: ignore[method-assign]
        dataset, began = made_data(), time.monotonic()
        pipe.send(())
        for _ in train(Run(path), dataset, save_every=save_every):
            pass
        pipe.send(time.monotonic() - began)


# ---- before every file operation


def a_run(folder: Path, n_saves: int) -> tuple[Run, list[Any]]:
    """A run with its first `n_saves` checkpoints written, and one checkpoint for each of its 12 steps."""
    from pocketlens.events import Progress
    from pocketlens.training.fit import fit
    from pocketlens.training.state import State

    dataset = made_data()
    run = Run(folder / "run")
    made = new_run(folder / "made", PLAIN.changed(optimizer="adam", epochs=4.0), dataset)
    shutil.move(made.path, run.path)
    state = State(run.experiment, dataset, run.split, "cpu")
    checkpoints = [state.checkpoint() for event in fit(state) if isinstance(event, Progress)]
    for checkpoint in checkpoints[:n_saves]:
        run.save_checkpoint(checkpoint)
    return run, checkpoints


def saves(before: int, index: int, folder: Path) -> Case:
    """Saving checkpoint `index` into a run that has `before` of them."""
    _, checkpoints = a_run(folder, 0)
    allowed = {checkpoint.meta["step"] for checkpoint in checkpoints[max(0, before - 1) : before]}
    allowed.add(checkpoints[index].meta["step"])

    def check(place: Path) -> str:
        run = Run(place / "run")
        if not run.checkpoint_files():
            return "" if before == 0 else "no checkpoint is left"
        newest = run.checkpoint()
        if torn := run.set_aside_broken():
            return f"torn: {torn}"
        if newest.meta["step"] not in allowed:
            return f"the newest checkpoint is of step {newest.meta['step']}"
        if len(list(run.history())) not in {len(c.meta["history"]) for c in checkpoints}:
            return "the history is torn"
        with run.lock():
            run.settle(newest)
        left = [path.name for path in run.path.glob(".*.part")]
        ok = run.history() == newest.meta["history"] and len(run.checkpoint_files()) <= 2 and not left
        return "" if ok else f"resuming does not bring it in line: {left}"

    def save(place: Path) -> None:
        Run(place / "run").save_checkpoint(checkpoints[index])

    return Case(lambda place: _ignore(a_run(place, before)), save, check)


def report(_folder: Path) -> Case:
    """Writing a report over an older one."""
    from pocketlens.report.run import page

    texts = {"old": "<p>old</p>" * 5_000, "new": "<p>new</p>" * 5_000}

    def prepare(place: Path) -> None:
        place.mkdir(parents=True)
        (place / "report.html").write_text(texts["old"])

    def save(place: Path) -> None:
        page.read_facts = lambda *arguments: SimpleNamespace(scores=None)  # type: ignore[assignment, return-value]
        page.render = lambda *arguments: texts["new"]
        page.write_report(Run(place))

    def check(place: Path) -> str:
        return "" if (place / "report.html").read_text() in texts.values() else "the report is torn"

    return Case(prepare, save, check, piece=20_000)


def scores(folder: Path) -> Case:
    """Writing predictions and scores over older ones."""
    from pocketlens.evaluation.open_test import read_predictions, score
    from pocketlens.scoring.predictions import Predictions
    from pocketlens.scoring.scores import Scores
    from pocketlens.training.run import store

    labels = np.arange(300, dtype=np.int64) % 3
    old, new = (Predictions("val", labels, labels, make_logits(labels, 3, seed=seed)) for seed in (1, 2))

    def write(place: Path, predictions: Predictions) -> None:
        place.mkdir(parents=True, exist_ok=True)
        store(Run(place), predictions, score(predictions, ("a", "b", "c"), None, None))

    def check(place: Path) -> str:
        from pocketlens.files import read_json

        logits = read_predictions(place / "predictions-val.safetensors").logits
        Scores.from_dict(read_json(place / "scores-val.json"), "scores")
        return "" if any(np.array_equal(logits, known.logits) for known in (old, new)) else "predictions are mixed"

    return Case(lambda place: write(place, old), lambda place: write(place, new), check)


def cache(folder: Path) -> Case:
    """Putting decoded images into the cache; after a death it is whole or absent, and can be made again."""
    import os

    from pocketlens.data.sources.cache import Key, Table, find, store

    data = made_data(40)
    source = folder / "source.bin"
    source.write_bytes(b"a source")
    key = Key((source,), "test")

    def save(place: Path) -> None:
        os.environ["POCKETLENS_HOME"] = str(place)
        held = np.arange(40) >= 30
        store(key, [data.images[:20], data.images[20:]], Table({"labels": data.labels}, data.classes, held))

    def check(place: Path) -> str:
        os.environ["POCKETLENS_HOME"] = str(place)
        there = [path for path in place.glob("cache/decoded/*") if path.is_dir() and not path.name.startswith(".")]
        if there and find(key) is None:
            return "an entry is torn"
        save(place)
        entry, left = find(key), list(place.glob("cache/decoded/.*"))
        ok = entry is not None and np.array_equal(entry.images, data.images) and not left
        return "" if ok else f"it cannot be made again; left behind: {left}"

    return Case(lambda place: place.mkdir(parents=True), save, check, piece=20_000)


def opening(_folder: Path) -> Case:
    """Writing an opening of test rows into the ledger, which holds one already."""
    import os

    from pocketlens.scoring import ledger

    sealed = make_sealed(20, ("a", "b"))

    def save(place: Path) -> None:
        place.mkdir(parents=True, exist_ok=True)
        os.environ["POCKETLENS_HOME"] = str(place)
        ledger.record(sealed, run="run", recipe="00", weights="11")

    def check(place: Path) -> str:
        os.environ["POCKETLENS_HOME"] = str(place)
        before = len(ledger.openings(sealed))
        save(place)
        return "" if before in (1, 2) and len(ledger.openings(sealed)) == before + 1 else f"{before} openings are left"

    return Case(save, save, check, piece=64)


def creation(_folder: Path) -> Case:
    """Making a run: it is listed when it is whole, and not before."""

    def save(place: Path) -> None:
        new_run(place, label="new")

    def check(place: Path) -> str:
        for run in all_runs(place):
            if run.status()[0] != "new" or len(run.split.train) + len(run.split.val) != len(made_data()):
                return f"{run.id} is torn"
        return "" if Run.open("last", place).experiment.label in ("old", "new") else "the old run is lost"

    return Case(lambda place: _ignore(new_run(place, label="old")), save, check)


CASES = {
    "first checkpoint": lambda folder: saves(0, 0, folder),
    "next checkpoint": lambda folder: saves(3, 3, folder),
    "only checkpoint, same step": lambda folder: saves(1, 0, folder),
    "report": report,
    "scores": scores,
    "cache": cache,
    "ledger": opening,
    "new run": creation,
}


def sweep_case(name: str, folder: Path, saver: str = "whole") -> tuple[int, list[str]]:
    """The sweep over a case, made in the process that is to fork."""
    return sweep(CASES[name](folder), folder, saver)


@pytest.mark.parametrize("name", CASES)
def test_killed_before_every_file_operation(name: str, tmp_path: Path) -> None:
    n_operations, complaints = call(sweep_case, name, tmp_path)
    assert complaints == []
    assert n_operations >= 4, "the sweep saw hardly anything: not even write, fsync, rename and fsync of the folder"


@pytest.mark.parametrize(
    ("name", "saver"),
    [
        ("next checkpoint", "in place"),
        ("only checkpoint, same step", "in place"),
        ("only checkpoint, same step", "remove first"),
        ("report", "in place"),
        ("report", "remove first"),
        ("scores", "in place"),
    ],
)
def test_the_sweep_reports_a_broken_saver(name: str, saver: str, tmp_path: Path) -> None:
    _, complaints = call(sweep_case, name, tmp_path, saver)
    assert complaints != []


def test_write_fsync_rename_fsync_of_the_folder(tmp_path: Path) -> None:
    """A kill never tests fsync, so the order is read from a trace."""
    run, checkpoints = a_run(tmp_path, 3)
    name = "checkpoint-00000004.safetensors"
    with watched(run.path, piece=1 << 30) as watch:
        run.save_checkpoint(checkpoints[3])
    part = f".{name}.part"
    assert watch.trace[:5] == [
        f"open {part}",
        f"write {part}",
        f"fsync file {part}",
        f"replace {name}",
        "fsync folder .",
    ]
    assert first_unsafe(watch.trace) is None
    for saver in ("without fsync", "remove first", "in place"):
        run, checkpoints = a_run(tmp_path / saver, 1)
        with SAVERS[saver](), watched(run.path) as watch:
            run.save_checkpoint(checkpoints[0])
        assert first_unsafe(watch.trace) is not None, saver


def first_unsafe(trace: list[str]) -> str | None:
    """The first operation that may lose data in a power cut, whatever the file: None where there is none.

    Files are written under a temporary name alone, are on the disk before they are renamed, nothing is removed that was
    not replaced on the disk before, and the folder is on the disk in the end.
    """
    on_disk: set[str] = set()  # temporary files
    renamed: set[str] = set()  # since the folder was written to the disk
    kept = {text.removeprefix("replace ") for text in trace if text.startswith("replace ")}
    for text in trace:
        operation, _, name = text.partition(" ")
        if operation in ("open", "write") and not name.endswith(".part"):
            return text
        if operation == "write":
            on_disk.discard(name)
        elif text.startswith("fsync file"):
            on_disk.add(name.removeprefix("file "))
        elif text.startswith("fsync folder"):
            renamed = set()
        elif operation == "replace":
            if f".{name}.part" not in on_disk:
                return text
            renamed.add(name)
        elif operation in ("unlink", "remove") and (renamed or name in kept):
            return text
    return trace[-1] if renamed else None


def _ignore(_value: object) -> None:
    return None
