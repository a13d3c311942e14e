"""Trackers: copies of a run's numbers for TensorBoard or MLflow. The run's files are the original.

`mirror` reads history.jsonl, experiment.json, status.json and the validation scores, and adds what the tracker lacks.
So it can be called at any time and repeatedly: while a run trains, after it was resumed, or long after it has ended.
Sources: TensorBoard's event files (tensorboard.dev/docs), MLflow's tracking API (mlflow.org/docs/latest/tracking).
"""

from __future__ import annotations

import math
import os
import struct
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from pocketlens.errors import PocketlensError
from pocketlens.events import Epoch, Event, Note
from pocketlens.files import read_json
from pocketlens.training.run import Run

TRACKERS = ("tensorboard", "mlflow")
MEASURED = ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "lr", "size")
_TAG = "pocketlens.run"  # holds the run's id in MLflow
_MAX_BATCH = 1000  # numbers in one call to MLflow
_MAX_LENGTH = 6000  # characters of a parameter in MLflow


class Number(NamedTuple):
    """A number of a run after a step."""

    name: str
    value: float
    step: int


def check_tracker(name: str) -> None:
    """Makes sure, before anything slow is done, that a tracker can be used.

    Raises:
        PocketlensError: it is not installed, or the address of the MLflow server is not set.
    """
    if name == "mlflow" and not os.environ.get("MLFLOW_TRACKING_URI"):
        raise PocketlensError(
            "--track mlflow needs the address of the server: set MLFLOW_TRACKING_URI, such as http://localhost:5000."
        )
    from importlib.util import find_spec

    if find_spec(name) is None:
        raise PocketlensError(f'--track {name} needs the package {name}: pip install "pocketlens[track]".')


class Tracker:
    """Mirrors runs into a tracker. After its first failure it reports that once and does nothing more."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.has_failed = False

    def follow(self, run: Run) -> str | None:
        """Brings the copy of a run up to date; returns a message where that fails for the first time."""
        if self.has_failed:
            return None
        try:
            mirror(run, self.name)
        except Exception as error:  # whatever a tracker raises must not end a training
            self.has_failed = True
            why = " ".join(str(error).split())[:200] or type(error).__name__
            return f"{self.name} does not accept the numbers ({why}); training continues, and the run's files have them"
        return None


def tracked(events: Iterator[Event], run: Run, tracker: Tracker) -> Generator[Event, None, None]:
    """The events of a training, with the run mirrored after every epoch and at its end."""
    is_due = False
    try:
        for event in events:
            if is_due:  # the files now hold the previous epoch
                yield from _said(tracker.follow(run))
            is_due = isinstance(event, Epoch)
            yield event
        yield from _said(tracker.follow(run))
    except GeneratorExit:
        if isinstance(events, Generator):
            events.close()  # saves the run
        tracker.follow(run)
        raise
    except PocketlensError:  # the run has diverged or failed, which its files say
        tracker.follow(run)
        raise


def _said(text: str | None) -> Iterator[Event]:
    if text is not None:
        yield Note(text)


def mirror(run: Run, name: str) -> None:
    """Adds what the tracker does not have of a run yet; exceptions of the tracker are passed on."""
    (_mirror_in_tensorboard if name == "tensorboard" else _mirror_in_mlflow)(run)


def numbers_of(run: Run) -> list[Number]:
    """Every number of the run's history, by name and step, followed by the main validation scores."""
    history = run.history()
    found = [
        Number(name, float(record[name]), int(record["step"]))
        for record in history
        for name in MEASURED
        if record.get(name) is not None and math.isfinite(record[name])
    ]
    scores = run.file("scores-val.json")
    if history and scores.exists():
        values = read_json(scores)
        last = int(history[-1]["step"])
        for name in ("top1", "top5", "nll"):
            value = values[name]["value"] if values.get(name) else None
            if value is not None:
                found.append(Number(f"scores/{name}", float(value), last))
    return found


def parameters_of(run: Run) -> dict[str, str]:
    """The experiment and the environment of a run, as texts by name."""
    experiment, recipe = run.experiment, run.experiment.recipe
    found = {f"recipe.{name}": str(value) for name, value in recipe.to_dict().items()}
    found |= {"data": experiment.data, "seed": str(experiment.seed), "recipe": recipe.id, "label": experiment.label}
    return found | {f"environment.{name}": str(value) for name, value in run.environment.items()}


def _mirror_in_tensorboard(run: Run) -> None:
    """Appends to the event file in the run's folder `tensorboard`.

    The file is written from scratch where its last record is incomplete or it holds steps that the run does not have.
    """
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.text.summary_v2 import text_pb
    from tensorboard.summary.writer.record_writer import RecordWriter

    path, numbers = run.file("tensorboard") / "events.out.tfevents.0.pocketlens", numbers_of(run)
    path.parent.mkdir(exist_ok=True)
    stored = _records(path.read_bytes() if path.exists() else b"")
    events = [Event.FromString(record) for record in stored.records]
    there = {(value.tag, event.step) for event in events for value in event.summary.value if value.tag != "run"}
    is_whole = stored.is_whole and there <= {(number.name, number.step) for number in numbers}
    missing = [number for number in numbers if not is_whole or (number.name, number.step) not in there]
    new = [
        Event(step=step, summary=Summary(value=[Summary.Value(tag=name, simple_value=value)]))
        for name, value, step in missing
    ]
    if not is_whole or not events:
        rows = "\n".join(f"| {_cell(name)} | {_cell(value)} |" for name, value in parameters_of(run).items())
        text = Event(step=0, summary=text_pb("run", f"| what | value |\n|---|---|\n{rows}"))
        new = [Event(file_version="brain.Event:2"), text, *new]
    with open(path, "ab" if is_whole else "wb") as file:
        writer = RecordWriter(file)
        for event in new:
            event.wall_time = time.time()
            writer.write(event.SerializeToString())


@dataclass(frozen=True)
class _Records:
    """The records of an event file, and whether the last one is complete."""

    records: list[bytes]
    is_whole: bool


def _records(data: bytes) -> _Records:
    """The records of an event file.

    A record is stored as its length, a checksum of that, the record, and a checksum of that.
    """
    found, place = [], 0
    while place + 12 <= len(data):
        (length,) = struct.unpack_from("<Q", data, place)
        if place + 16 + length > len(data):
            break
        found.append(data[place + 12 : place + 12 + length])
        place += 16 + length
    return _Records(found, place == len(data))


def _mirror_in_mlflow(run: Run) -> None:
    client = _mlflow_client()
    experiment = os.environ.get("MLFLOW_EXPERIMENT_NAME", "pocketlens")
    id_of_run = _run_in_mlflow(client, run, experiment)
    from mlflow.entities import Metric, Param

    numbers = numbers_of(run)
    there: set[tuple[str, int]] = set()
    for name in sorted({name for name, _, _ in numbers}):
        there |= {(name, metric.step) for metric in client.get_metric_history(id_of_run, name)}
    missing = [(name, value, step) for name, value, step in numbers if (name, step) not in there]
    when = _when(run) if missing else 0
    new = [Metric(name, value, when, step) for name, value, step in missing]
    known = client.get_run(id_of_run).data.params
    texts = {name: value[:_MAX_LENGTH] for name, value in parameters_of(run).items() if name not in known}
    parameters = [Param(name, value) for name, value in texts.items()]
    for start in range(0, len(parameters), 100):
        client.log_batch(id_of_run, params=parameters[start : start + 100])
    for start in range(0, len(new), _MAX_BATCH):
        client.log_batch(id_of_run, metrics=new[start : start + _MAX_BATCH])
    status = run.status()[0]
    client.set_tag(id_of_run, "pocketlens.status", status)
    ended = {"complete": "FINISHED", "stopped": "KILLED", "killed": "KILLED", "diverged": "FAILED", "failed": "FAILED"}
    client.update_run(id_of_run, status=ended.get(status, "RUNNING"))


def _run_in_mlflow(client: Any, run: Run, experiment: str) -> str:
    """The id of a run in MLflow, where it is created if it is absent."""
    found = client.get_experiment_by_name(experiment)
    number = client.create_experiment(experiment) if found is None else found.experiment_id
    there = client.search_runs([number], filter_string=f"tags.`{_TAG}` = '{run.id}'", max_results=1)
    if there:
        return str(there[0].info.run_id)
    made = client.create_run(number, tags={_TAG: run.id}, run_name=run.experiment.label or run.id)
    return str(made.info.run_id)


def _mlflow_client() -> Any:
    for name, value in (("MLFLOW_HTTP_REQUEST_TIMEOUT", "10"), ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")):
        os.environ.setdefault(name, value)  # an unreachable server must cost seconds, not minutes
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    from mlflow.tracking import MlflowClient

    return MlflowClient(os.environ["MLFLOW_TRACKING_URI"])


def _when(run: Run) -> int:
    """When the run's history was last written, in milliseconds since 1970; histories hold no clock values."""
    return round(1000 * run.file("history.jsonl").stat().st_mtime)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
