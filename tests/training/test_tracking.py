"""Mirrors of runs in TensorBoard and MLflow: what is in the files, once, whatever happened to the run in between."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from made_studies import data_file
from made_trainings import made_data, new_run

from pocketlens.cli import main
from pocketlens.errors import PocketlensError
from pocketlens.events import Note
from pocketlens.training import tracking as track
from pocketlens.training.run import Run, all_runs
from pocketlens.training.tracking import Tracker, check_tracker, mirror, numbers_of, parameters_of, tracked
from pocketlens.training.train import train

WORDS = ["--model", "mlp(hidden=(16,))", "--augment", "none", "--optimizer", "sgd", "--lr", "0.05", "--threads", "1"]
needs_tensorboard = pytest.mark.skipif(
    find_spec("tensorboard") is None, reason='needs TensorBoard: pip install "pocketlens[track]"'
)
needs_mlflow = pytest.mark.skipif(find_spec("mlflow") is None, reason='needs MLflow: pip install "pocketlens[track]"')


def test_numbers_and_facts_are_those_of_the_files(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    assert numbers_of(run) == []
    list(train(run, made_data()))
    numbers, history = numbers_of(run), run.history()
    assert [n[1:] for n in numbers if n[0] == "val_loss"] == [(r["val_loss"], r["step"]) for r in history]
    assert {name for name, _, step in numbers if step == history[-1]["step"]} >= {"scores/top1", "scores/nll"}
    facts = parameters_of(run)
    assert (facts["recipe.optimizer"], facts["seed"], facts["environment.processes"]) == ("sgd", "0", "1")


def test_a_tracker_that_fails_says_so_once_and_costs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def fail(run: Run, name: str) -> None:
        calls.append(run.id)
        raise OSError("no route to host")

    monkeypatch.setattr(track, "mirror", fail)
    run = new_run(tmp_path)
    events = list(tracked(train(run, made_data()), run, Tracker("mlflow")))
    notes = [event.text for event in events if isinstance(event, Note)]
    assert len(notes) == len(calls) == 1
    assert "no route to host" in notes[0]
    assert run.status() == ("complete", "")


def test_what_has_happened_is_in_the_files_when_it_is_mirrored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    monkeypatch.setattr(track, "mirror", lambda run, name: seen.append(len(run.history())))
    run = new_run(tmp_path)
    events = tracked(train(run, made_data()), run, Tracker("tensorboard"))
    for event in events:
        if getattr(event, "step", 0) == 7:
            events.close()
    assert seen == [1, 2, 2]  # behind both epochs, and when it was stopped


def test_words(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert main(["train", "digits", "--track", "mlflow", "--runs", str(tmp_path)]) == 2
    assert "MLFLOW_TRACKING_URI" in capsys.readouterr().err
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(PocketlensError, match=r"pocketlens\[track\]"):
        check_tracker("tensorboard")


def read_tensorboard(run: Run) -> dict[str, list[tuple[int, float]]]:
    """By name, the steps and values that TensorBoard's own reader finds."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    reader = EventAccumulator(str(run.file("tensorboard")), size_guidance={"scalars": 0})
    reader.Reload()
    tags = reader.Tags()
    assert "run" in tags["tensors"], "the recipe as a text"
    return {tag: [(event.step, event.value) for event in reader.Scalars(tag)] for tag in tags["scalars"]}


def assert_mirrored(found: dict[str, list[tuple[int, float]]], run: Run) -> None:
    wanted: dict[str, list[tuple[int, Any]]] = {}
    for name, value, step in numbers_of(run):
        wanted.setdefault(name, []).append((step, pytest.approx(value, rel=1e-6)))
    assert found == wanted


@needs_tensorboard
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_shows_each_number_once(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    events = tracked(train(run, made_data()), run, Tracker("tensorboard"))
    for event in events:
        if getattr(event, "step", 0) == 7:
            events.close()
    assert_mirrored(read_tensorboard(run), run)
    list(tracked(train(run, made_data()), run, Tracker("tensorboard")))
    assert_mirrored(read_tensorboard(run), run)
    mirror(run, "tensorboard")
    (path,) = run.file("tensorboard").iterdir()
    whole = path.read_bytes()
    for torn in (whole[:-5], whole + b"\x07"):  # a killed writer
        path.write_bytes(torn)
        mirror(run, "tensorboard")
        assert_mirrored(read_tensorboard(run), run)
    lines = run.file("history.jsonl").read_text().splitlines(keepends=True)
    run.file("history.jsonl").write_text("".join(lines[:1]))  # it was set back to an older checkpoint
    mirror(run, "tensorboard")
    assert_mirrored(read_tensorboard(run), run)


@pytest.fixture(scope="module")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an MLflow server on loopback, with a data base of its own.

    The server's package is too large for `make` (613 MB): where there is only MLflow's client, its store in files.
    """
    folder = tmp_path_factory.mktemp("mlflow")
    if find_spec("alembic") is None or find_spec("flask") is None:
        yield folder.as_uri()
        return
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += [
        "--backend-store-uri",
        f"sqlite:///{folder}/mlflow.db",
        "--artifacts-destination",
        str(folder / "files"),
    ]
    environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    address, deadline = f"http://127.0.0.1:{port}", time.monotonic() + 180
    try:
        while not is_up(address):
            assert process.poll() is None, "the MLflow server has ended"
            assert time.monotonic() < deadline, "the MLflow server does not answer"
            time.sleep(0.2)
        yield address
    finally:
        os.killpg(process.pid, 9)
        process.wait()


def is_up(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def read_mlflow(client: Any, run: Run) -> tuple[Any, dict[str, list[tuple[int, float]]]]:
    number = client.get_experiment_by_name("pocketlens").experiment_id
    (found,) = client.search_runs([number], filter_string=f"tags.`pocketlens.run` = '{run.id}'")
    names = sorted(found.data.metrics)
    return found, {
        name: [(m.step, m.value) for m in client.get_metric_history(found.info.run_id, name)] for name in names
    }


@needs_mlflow
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_mlflow_shows_each_number_once(mlflow_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.tracking import MlflowClient

    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    client, data, more = (
        MlflowClient(mlflow_server),
        data_file(tmp_path),
        ["--track", "mlflow", "--runs", str(tmp_path)],
    )
    assert main(["train", data, *WORDS, "--epochs", "3", *more]) == 0
    (run,) = all_runs(tmp_path)
    found, numbers = read_mlflow(client, run)
    assert_mirrored(numbers, run)
    assert found.info.status == "FINISHED"
    assert found.data.params["recipe.optimizer"] == "sgd"
    assert main(["resume", "last", *more]) == 0  # long after its end, and once more
    assert read_mlflow(client, run)[1] == numbers
    assert main(["compare", data, "base", "lr=0.1", *WORDS, "--epochs", "1", "--repeat", "1", *more]) == 0
    number = client.get_experiment_by_name("pocketlens").experiment_id
    assert len(client.search_runs([number])) == 3


@needs_mlflow
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_server_that_is_not_there_is_said_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    tracker, run = Tracker("mlflow"), new_run(tmp_path)
    said = [tracker.follow(run) for _ in range(3)]
    assert said[0] is not None
    assert said[1:] == [None, None]
