"""Small studies for tests: three recipes of a tiny net on a small data set in a file, and trials that go wrong."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
from made_trainings import PLAIN, made_data

from pocketlens.data.split import Split, make_split
from pocketlens.datasets import load
from pocketlens.events import TrialEnded
from pocketlens.files import write_json
from pocketlens.studies.compare import start_comparison
from pocketlens.studies.overrides import read_variant
from pocketlens.studies.pool import run_study
from pocketlens.studies.process import Limits
from pocketlens.studies.spec import ComparisonSpec, Pairs, SearchSpec, StudySpec, make_spec
from pocketlens.studies.store import Record, Study

ONE_THREAD = Limits(threads=1)


def data_file(folder: Path, n: int = 96) -> str:
    """The component text of a small data set in a file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "made.npz"
    data = made_data(n)
    np.savez(path, images=data.images, labels=data.labels)
    return f"npz('{path}')"


def spec_and_split(folder: Path, design: ComparisonSpec | SearchSpec) -> tuple[StudySpec, Split]:
    """The spec of a study of the small data set, and its split."""
    dataset, _ = load(data_file(folder))
    split = make_split(dataset, val_fraction=0.25)
    return make_spec(dataset, split, PLAIN, design, made_by="a test"), split


def empty_study(folder: Path) -> Study:
    """A comparison of nothing, to which a test adds trials of its own."""
    spec, split = spec_and_split(folder, ComparisonSpec((), 2))
    return Study.create(spec, split, folder / "runs")


def new_comparison(
    folder: Path, texts: tuple[str, ...] = ("base", "lr=0.2"), repeats: int = 2, pairs: Pairs = "all pairs"
) -> Study:
    """A comparison whose trials wait."""
    candidates = tuple(read_variant(text, PLAIN) for text in texts)
    spec, split = spec_and_split(folder, ComparisonSpec(candidates, repeats, pairs=pairs))
    return start_comparison(spec, split, folder / "runs")


def run_all(study: Study, limits: Limits = ONE_THREAD, jobs: int = 1) -> list[Record]:
    """Runs a study to its end; gives the records in the order in which they ended."""
    events = run_study(study, limits, jobs=jobs)
    ended = [event.trial.number for event in events if isinstance(event, TrialEnded)]
    records = {record.trial.number: record for record in study.records()}
    return [records[number] for number in ended]


def close_after(events: Generator[Any, None, None], n: int) -> None:
    """Lets n events happen and closes the generator."""
    for _ in range(n):
        if next(events, None) is None:
            break
    events.close()


def fake_result(study: Study, record: Record, score: float) -> None:
    """A run folder that looks like that of a finished trial, without any training."""
    from pocketlens.training.run import Run

    path = study.run(record.trial).path
    run = Run.create(study.experiment(record.trial), study.split, path.parent, name=path.name)
    estimate = {"value": score, "low": None, "high": None}
    write_json(run.file("scores-val.json"), {"top1": estimate, "nll": {**estimate, "value": 1 - score}})
    run.set_status("complete")


PLANTED = {0.11: "killed", 0.12: "hangs", 0.13: "failed", 0.14: "no result"}  # by learning rate


def planted_work(path: Path, limits: Limits, leash: Any, environment: dict[str, str]) -> None:
    """What a trial's process does, with a fault where its learning rate says so."""
    import os
    import signal
    import time

    from pocketlens.studies import process
    from pocketlens.training.run import Run

    fault = PLANTED.get(Run(path).experiment.recipe.lr)
    if fault == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    elif fault == "hangs":
        time.sleep(1e6)
    elif fault == "failed":
        Run(path).set_status("failed", "planted")
        raise SystemExit(1)
    elif fault == "no result":
        os._exit(0)
    process._work(path, limits, leash, environment)
