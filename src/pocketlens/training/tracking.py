"""Trackers: copies of a run's files for TensorBoard or MLflow to show. The files are the truth, a tracker is a mirror.

`mirror` reads history.jsonl, experiment.json, status.json and the validation scores, and adds what the tracker lacks;
so it may be called at any time and again: while a run trains, once it is resumed, or long after it has ended. Sources:
TensorBoard's event files (tensorboard.dev/docs), MLflow's tracking API (mlflow.org/docs/latest/tracking).
"""

from __future__ import annotations

import math
import os
import struct
import time
from collections.abc import Generator, Iterator
from typing import Any

from pocketlens.errors import PocketlensError
from pocketlens.events import Epoch, Event, Note
from pocketlens.files import read_json
from pocketlens.training.run import Run

TRACKERS = ("tensorboard", "mlflow")
MEASURED = ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "lr", "size")
_TAG = "pocketlens.run"  # by which a run is found in MLflow
_MOST = 1000  # numbers that MLflow takes at once
_LONGEST = 6000  # characters of a parameter in MLflow
Numbers = list[tuple[str, float, int]]  # (name, value, step)


def check_tracker(name: str) -> None:
    """Refuses a tracker that cannot work, before anything slow is done.

    Raises:
        PocketlensError: it is not installed, or MLflow has not been told where its server is.
    """
    if name == "mlflow" and not os.environ.get("MLFLOW_TRACKING_URI"):
        raise PocketlensError(
            "--track mlflow needs the address of the server: set MLFLOW_TRACKING_URI, for example to http://localhost:5000."
        )
    from importlib.util import find_spec

    if find_spec(name) is None:
        raise PocketlensError(f'--track {name} needs a package that is not installed: pip install "pocketlens[track]".')


class Tracker:
    """Mirrors runs into a tracker until it fails once; then says so once and lets it be."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.has_failed = False

    def follow(self, run: Run) -> str | None:
        """Brings the mirror of a run up to date; gives what to tell a person where that failed for the first time."""
        if self.has_failed:
            return None
        try:
            mirror(run, self.name)
        except Exception as error:  # whatever a tracker raises, a training does not end of it
            self.has_failed = True
            why = " ".join(str(error).split())[:200] or type(error).__name__
            return f"{self.name} failed ({why}); training continues without it, and the run's files have all metrics"
        return None


def tracked(events: Iterator[Event], run: Run, tracker: Tracker) -> Generator[Event, None, None]:
    """The events of a training, with the run mirrored after every epoch and at its end."""
    is_due = False
    try:
        for event in events:
            if is_due:  # now the epoch before is in the files
                yield from _said(tracker.follow(run))
            is_due = isinstance(event, Epoch)
            yield event
        yield from _said(tracker.follow(run))
    except GeneratorExit:
        if isinstance(events, Generator):
            events.close()  # which saves the run
        tracker.follow(run)
        raise
    except PocketlensError:  # the run has diverged or failed, and says so in its files
        tracker.follow(run)
        raise


def _said(text: str | None) -> Iterator[Event]:
    if text is not None:
        yield Note(text)


def mirror(run: Run, name: str) -> None:
    """Adds what the tracker does not have of a run yet; whatever the tracker raises goes on to the caller."""
    (_mirror_in_tensorboard if name == "tensorboard" else _mirror_in_mlflow)(run)


def numbers_of(run: Run) -> Numbers:
    """Every number of the run's history by name and step, and at its end the main validation scores."""
    history = run.history()
    found = [
        (name, float(record[name]), int(record["step"]))
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
                found.append((f"scores/{name}", float(value), last))
    return found


def facts_of(run: Run) -> dict[str, str]:
    """What was asked and where it was computed, as texts by name."""
    asked = run.experiment
    facts = {f"recipe.{name}": str(value) for name, value in asked.recipe.to_dict().items()}
    facts |= {"data": asked.data, "seed": str(asked.seed), "recipe": asked.recipe.id, "label": asked.label}
    return facts | {f"environment.{name}": str(value) for name, value in run.environment.items()}


def _mirror_in_tensorboard(run: Run) -> None:
    """One event file in the folder `tensorboard` of a run, which grows; begun anew where it is torn or tells of steps
    that the run has not made."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.text.summary_v2 import text_pb
    from tensorboard.summary.writer.record_writer import RecordWriter

    path, numbers = run.file("tensorboard") / "events.out.tfevents.0.pocketlens", numbers_of(run)
    path.parent.mkdir(exist_ok=True)
    records, is_whole = _records(path.read_bytes() if path.exists() else b"")
    events = [Event.FromString(record) for record in records]
    there = {(value.tag, event.step) for event in events for value in event.summary.value if value.tag != "run"}
    is_whole = is_whole and there <= {(name, step) for name, _, step in numbers}
    new = [Event(step=n[2], summary=Summary(value=[Summary.Value(tag=n[0], simple_value=n[1])])) for n in numbers
           if not is_whole or n[::2] not in there]  # fmt: skip
    if not is_whole or not events:
        rows = "\n".join(f"| {_cell(name)} | {_cell(value)} |" for name, value in facts_of(run).items())
        text = Event(step=0, summary=text_pb("run", f"| what | value |\n|---|---|\n{rows}"))
        new = [Event(file_version="brain.Event:2"), text, *new]
    with open(path, "ab" if is_whole else "wb") as file:
        writer = RecordWriter(file)
        for event in new:
            event.wall_time = time.time()
            writer.write(event.SerializeToString())


def _records(data: bytes) -> tuple[list[bytes], bool]:
    """The records of an event file (length, its checksum, the record, its checksum), and whether the last is whole."""
    found, place = [], 0
    while place + 12 <= len(data):
        (length,) = struct.unpack_from("<Q", data, place)
        if place + 16 + length > len(data):
            break
        found.append(data[place + 12 : place + 12 + length])
        place += 16 + length
    return found, place == len(data)


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
    known = client.get_run(id_of_run).data
    facts = [Param(name, value[:_LONGEST]) for name, value in facts_of(run).items() if name not in known.params]
    for start in range(0, len(facts), 100):
        client.log_batch(id_of_run, params=facts[start : start + 100])
    for start in range(0, len(new), _MOST):
        client.log_batch(id_of_run, metrics=new[start : start + _MOST])
    status = run.status()[0]
    client.set_tag(id_of_run, "pocketlens.status", status)
    ended = {"complete": "FINISHED", "stopped": "KILLED", "killed": "KILLED", "diverged": "FAILED", "failed": "FAILED"}
    client.update_run(id_of_run, status=ended.get(status, "RUNNING"))


def _run_in_mlflow(client: Any, run: Run, experiment: str) -> str:
    """The MLflow id of a run, which is made where there is none."""
    found = client.get_experiment_by_name(experiment)
    number = client.create_experiment(experiment) if found is None else found.experiment_id
    there = client.search_runs([number], filter_string=f"tags.`{_TAG}` = '{run.id}'", max_results=1)
    if there:
        return str(there[0].info.run_id)
    made = client.create_run(number, tags={_TAG: run.id}, run_name=run.experiment.label or run.id)
    return str(made.info.run_id)


def _mlflow_client() -> Any:
    for name, value in (("MLFLOW_HTTP_REQUEST_TIMEOUT", "10"), ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")):
        os.environ.setdefault(name, value)  # a server that is away may cost seconds, not minutes
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    from mlflow.tracking import MlflowClient

    return MlflowClient(os.environ["MLFLOW_TRACKING_URI"])


def _when(run: Run) -> int:
    """Milliseconds since 1970 of the run's newest file; histories hold no clock values."""
    return round(1000 * run.file("history.jsonl").stat().st_mtime)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
