"""What a folder of runs holds, as the lines of its index. Everything is read from files, and nothing needs torch.

A file is read again only when it has changed, so that an index that is refreshed every two seconds costs little.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from pocketlens.errors import PocketlensError
from pocketlens.files import LOOKS, read_json
from pocketlens.report.titles import run_title, short_name
from pocketlens.scoring.metrics import Estimate
from pocketlens.studies.store import Study, all_studies
from pocketlens.training.run import Run, all_runs

_READ = ("status.json", "history.jsonl", "scores-val.json", "scores-test.json", "report.html", "explain.html")
_BROKEN = (PocketlensError, OSError, KeyError, TypeError, ValueError)


@dataclass(frozen=True)
class Link:
    """A page: what it is, and its address relative to that of the index."""

    text: str
    address: str


@dataclass(frozen=True)
class RunEntry:
    """One run, or one trial of a study.

    Attributes:
        place: of its folder below that of the runs, with / between names.
        title: its label, else what it is trained on.
        curve: accuracy by epoch, 0..1, on validation images; on training images where there are none.
        is_on_val: whether `curve` is that on validation images.
        val, test: the accuracies of the result; None where there is none yet.
        latest: the accuracy on validation images after the last epoch; None where there is none.
        epochs: that are finished; n_epochs: that are planned, or None where nothing tells.
        changed: when it changed last, in seconds since 1970.
    """

    place: str
    id: str
    title: str
    label: str
    status: str
    reason: str
    data: str
    model: str
    recipe: str
    seed: int
    curve: tuple[float, ...]
    is_on_val: bool
    val: Estimate | None
    test: Estimate | None
    latest: float | None
    epochs: int
    n_epochs: float | None
    changed: float
    pages: tuple[Link, ...]

    @property
    def live(self) -> str:
        """The address of the page that follows it."""
        return f"live/{self.place}"


@dataclass(frozen=True)
class StudyEntry:
    """One comparison, sweep, search or transfer.

    Attributes:
        ended, running, n: its trials.
        best: the highest accuracy on validation images of a trial that has ended, 0..1.
    """

    id: str
    title: str
    kind: str
    data: str
    ended: int
    running: int
    n: int
    best: float | None
    changed: float
    trials: tuple[RunEntry, ...]
    pages: tuple[Link, ...]


@dataclass(frozen=True)
class SessionEntry:
    """One session of `auto`.

    Attributes:
        status: complete, running, unfinished or given up.
        phase: the last one that has finished.
        accuracy: of the result, on `part`; None where there is none.
        spent, limit: seconds.
    """

    id: str
    title: str
    data: str
    status: str
    phase: str
    spent: float
    limit: float
    accuracy: Estimate | None
    part: str
    changed: float
    pages: tuple[Link, ...]


@dataclass(frozen=True)
class LookEntry:
    """One audit of a data set."""

    name: str
    address: str
    changed: float


@dataclass(frozen=True)
class Index:
    """Everything in a folder of runs, the newest first; `broken` says of folders why they cannot be read."""

    folder: str
    runs: tuple[RunEntry, ...]
    studies: tuple[StudyEntry, ...]
    sessions: tuple[SessionEntry, ...]
    looks: tuple[LookEntry, ...]
    broken: tuple[str, ...]

    @property
    def training(self) -> tuple[RunEntry, ...]:
        """The runs and trials that are being trained now."""
        trials = [trial for study in self.studies for trial in study.trials]
        return tuple(entry for entry in (*self.runs, *trials) if entry.status == "running")

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing at all."""
        return not (self.runs or self.studies or self.sessions or self.looks or self.broken)


def read_index(folder: Path, sessions: Iterable[SessionEntry] = ()) -> Index:
    """The index of a folder of runs, which need not exist yet; `sessions` are those of `auto` in it."""
    broken: list[str] = []
    runs = _readable(all_runs(folder), lambda run: read_run(run, folder), broken)
    studies = _readable(all_studies(folder), lambda study: _read_study(study, folder), broken)
    return Index(
        folder=str(folder),
        runs=tuple(reversed(runs)),
        studies=tuple(reversed(studies)),
        sessions=tuple(sorted(sessions, key=lambda entry: entry.id, reverse=True)),
        looks=tuple(sorted(_read_looks(folder), key=lambda entry: -entry.changed)),
        broken=tuple(broken),
    )


def read_run(run: Run, folder: Path) -> RunEntry:
    """The line of a run below `folder`.

    Raises:
        PocketlensError: a file of the run cannot be read.
    """
    entry = _read_run(run.path, folder, _stamp(run.path, _READ))
    status, reason = run.status()  # a killed process changes no file
    return replace(entry, status=status, reason=reason)


def page_links(folder: Path, root: Path, names: dict[str, str]) -> tuple[Link, ...]:
    """Links to the pages that lie in a folder below `root`; `names` gives each file its words."""
    place = folder.relative_to(root).as_posix()
    return tuple(Link(text, f"files/{place}/{name}") for name, text in names.items() if (folder / name).is_file())


def looks_folder(folder: Path) -> Path:
    """Where the audits lie that were written beside a folder of runs."""
    return folder.absolute().parent / LOOKS


@lru_cache(maxsize=8192)
def _read_run(path: Path, folder: Path, stamp: tuple[int, ...]) -> RunEntry:
    run = Run(path)
    experiment, history = run.experiment, run.history()
    on_val = [record["val_accuracy"] for record in history if record.get("val_accuracy") is not None]
    on_train = [record["train_accuracy"] for record in history if record.get("train_accuracy") is not None]
    has_epochs = not (experiment.features_of or experiment.recipe.is_probe)
    return RunEntry(
        place=path.relative_to(folder).as_posix(),
        id=run.id,
        title=run_title(experiment.label, experiment.data),
        label=experiment.label,
        status="",
        reason="",
        data=short_name(experiment.data),
        model=experiment.features_of or experiment.recipe.model,
        recipe=experiment.recipe.id,
        seed=experiment.seed,
        curve=tuple(on_val or on_train),
        is_on_val=bool(on_val),
        val=run.top1("val"),
        test=run.top1("test"),
        latest=on_val[-1] if on_val else None,
        epochs=len(history),
        n_epochs=planned_epochs(run, history) if has_epochs else None,
        changed=max(stamp, default=0) / 1e9,
        pages=page_links(path, folder, {"report.html": "report", "explain.html": "explain"}),
    )


def planned_epochs(run: Run, history: list[dict[str, Any]]) -> float:
    """The passes over the training images that a run takes, unless it is stopped early."""
    experiment = run.experiment
    n_steps = min((n for n in (experiment.n_steps, experiment.stop_step) if n is not None), default=None)
    if n_steps is None or not history:
        return experiment.recipe.epochs
    per_epoch = float(history[0]["step"]) / float(history[0]["epoch"])
    return n_steps / per_epoch


def _read_study(study: Study, folder: Path) -> StudyEntry:
    spec, records = study.spec, study.records()
    scores = [record.score for record in records if record.score is not None]
    trials = []
    for record in records:
        run = study.run(record.trial)
        if (run.path / "experiment.json").is_file():
            trials.append(replace(read_run(run, folder), title=f"{record.trial.candidate}, seed {record.trial.seed}"))
    return StudyEntry(
        id=study.id,
        title=spec.label or f"{spec.kind} on {short_name(spec.data)}",
        kind=spec.kind,
        data=short_name(spec.data),
        ended=sum(record.is_ended for record in records),
        running=sum(record.status == "running" for record in records),
        n=len(records),
        best=max(scores, default=None),
        changed=max(_stamp(study.path, ("journal.jsonl", "report.html")), default=0) / 1e9,
        trials=tuple(trials),
        pages=page_links(study.path, folder, {"report.html": "report"}),
    )


def _read_looks(folder: Path) -> list[LookEntry]:
    looks = looks_folder(folder)
    pages = sorted(looks.glob("*/look.html")) if looks.is_dir() else []
    return [LookEntry(_look_name(page), f"looks/{page.parent.name}/look.html", page.stat().st_mtime) for page in pages]


def _look_name(page: Path) -> str:
    """The data set of an audit, else the name of its folder."""
    try:
        return short_name(str(read_json(page.parent / "look.json")["data"]))
    except _BROKEN:
        return page.parent.name


def _stamp(path: Path, names: tuple[str, ...]) -> tuple[int, ...]:
    """When each of the files was changed last, in ns; 0 where it is not there."""
    found = []
    for name in names:
        try:
            found.append(os.stat(path / name).st_mtime_ns)
        except OSError:
            found.append(0)
    return tuple(found)


def _readable(folders: Iterable[Any], read: Callable[[Any], Any], broken: list[str]) -> list[Any]:
    """What is read of each folder; of those that cannot be read, `broken` gets a line."""
    found = []
    for each in folders:
        try:
            found.append(read(each))
        except _BROKEN as error:
            broken.append(f"{each.path} cannot be read: {error}")
    return found
