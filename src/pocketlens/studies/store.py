"""Study: a folder of trials that answer one question, and its only database. Several processes may write to it.

study.json (the spec, see spec.py), split.json, journal.jsonl (one line when a trial is added, started and ended),
trials/<id>/ (each a run folder like any other), claims/ (files that a process locks while it runs a trial), and
report.html. A lock ends with its process, however that ends, so no trial stays "running" for ever. The run folders are
the record of what has been trained: a line that the journal lacks is added again, and nothing is trained twice.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from pocketlens import own_code
from pocketlens.data.relabel import Corrections
from pocketlens.data.split import Split
from pocketlens.errors import PocketlensError
from pocketlens.files import RUNS, new_id, read_json, sync_folder, write_json
from pocketlens.locks import Lock, is_locked, try_lock, wait_for_lock
from pocketlens.recipe import Experiment, Recipe, from_dict
from pocketlens.studies.journal import Journal
from pocketlens.studies.relabelled import Relabelling, read_relabelling, write_relabelling
from pocketlens.studies.spec import StudySpec, read_spec, write_spec
from pocketlens.training.run import Run

PATIENCE = 120.0  # seconds to wait for the other processes that write to the study
_TURN = 0.004  # seconds that a process leaves the lock to those that wait, which try every 0.002 s
ENDED = ("complete", "diverged", "killed", "hangs", "out of memory", "no result", "failed")


@dataclass(frozen=True)
class Trial:
    """One training of a study."""

    number: int
    candidate: str  # the name of its recipe within the study
    phase: str  # "repeats"; in a search "search", "rung 2" (of successive halving) or "final"
    seed: int
    recipe: Recipe
    changes: tuple[tuple[str, Any], ...] = ()  # what differs from the study's base, by address
    n_cuts: int = 0  # how often coarse-to-fine had narrowed the space from which it was sampled
    relabel: str = ""  # the hash of the corrected labels on which it is trained; empty for the given ones


@dataclass(frozen=True)
class Record:
    """A trial with its status and its result."""

    trial: Trial
    status: str = "waiting"  # waiting, running, or one of ENDED
    reason: str = ""
    score: float | None = None  # accuracy on the validation rows, 0..1
    loss: float | None = None  # nats on the validation rows
    seconds: float = 0.0

    @property
    def is_ended(self) -> bool:
        """Whether its status is final."""
        return self.status in ENDED


@dataclass(frozen=True, eq=False)
class _Claimed:
    """A trial that this process runs, and the lock that says so to others."""

    record: Record
    lock: Lock


class Study:
    """A folder of trials that answer one question."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.journal = Journal(path / "journal.jsonl")
        self._known: dict[int, Record] = {}  # from the lines of the journal that have been read
        self._n_lines = 0
        self._lock: Lock | None = None

    @staticmethod
    def create(spec: StudySpec, split: Split, runs: Path = RUNS, relabelling: Relabelling | None = None) -> Study:
        """A new study below `runs`/studies; with the corrected labels, where a candidate has some.

        Raises:
            PocketlensError: the folder cannot be written.
        """
        folder = runs / "studies"
        study = Study(folder / new_id(folder))
        try:
            study.path.mkdir(parents=True)
            for name in ("trials", "claims"):
                (study.path / name).mkdir()
        except OSError as error:
            raise PocketlensError(f"{folder} must be a folder that can be written: {error.strerror}.") from None
        if relabelling is not None:
            write_relabelling(study.path, relabelling)
        write_json(study.path / "split.json", split.to_dict())
        write_spec(study.path / "study.json", spec)  # last: a folder that has it is complete
        sync_folder(folder)
        return study

    @staticmethod
    def open(name: str, runs: Path = RUNS) -> Study:
        """The study with a path, an id or a label, or the `last` one.

        Raises:
            PocketlensError: there is none.
        """
        found = all_studies(runs)
        for path in (Path(name), runs / "studies" / name):
            if (path / "study.json").is_file():
                return Study(path)
        chosen = found if name == "last" else [study for study in found if study.label == name]
        if not chosen:
            raise PocketlensError(
                f"{name!r} must be a study's path, id or label, or last; there is none in {runs}/studies."
            )
        return chosen[-1]

    @property
    def id(self) -> str:
        """The folder's name."""
        return self.path.resolve().name

    @cached_property
    def spec(self) -> StudySpec:
        """What defines the study.

        Raises:
            PocketlensError: study.json cannot be read, or is of a newer pocketlens.
        """
        return read_spec(self.path / "study.json")

    @property
    def label(self) -> str:
        """A person's name for the study; empty where it has none or its spec cannot be read."""
        try:
            return self.spec.label
        except PocketlensError:
            return ""

    @cached_property
    def split(self) -> Split:
        """The training and validation rows, the same in all trials."""
        return Split.from_dict(read_json(self.path / "split.json"))

    @cached_property
    def relabelling(self) -> Relabelling | None:
        """The corrected labels of some of its candidates; None where all have the given ones."""
        return read_relabelling(self.path)

    def corrections_of(self, trial: Trial) -> Corrections | None:
        """The corrections with which a trial is trained, if it is.

        Raises:
            PocketlensError: the study does not hold them.
        """
        if not trial.relabel:
            return None
        if self.relabelling is None or self.relabelling.corrections.hash != trial.relabel:
            raise PocketlensError(f"{self.path} must hold the corrected labels {trial.relabel}, and does not.")
        return self.relabelling.corrections

    def split_of(self, trial: Trial) -> Split:
        """The rows of a trial: those of the study, without those that its corrections drop."""
        corrections = self.corrections_of(trial)
        return self.split if corrections is None else corrections.without_dropped(self.split)

    def require_code(self) -> None:
        """Refuses to go on unless each component of one's own has its file, as it was when the study was made.

        Raises:
            PocketlensError: a file was not named, or has changed since.
        """
        own_code.bind(self.spec.code, f"study {self.id}")
        own_code.require_records(self.spec.code)

    def run(self, trial: Trial) -> Run:
        """The trial's run, whose folder may not exist yet."""
        return Run(self.path / "trials" / f"{self.id}-{trial.number:04d}")

    def enqueue(self, trials: list[Trial]) -> None:
        """Adds trials that are to be run; a trial whose number exists already is skipped."""
        with self.lock():
            there = {record.trial.number for record in self._written()}
            for trial in trials:
                if trial.number not in there:
                    line = {"event": "asked", "trial": trial.number, **_described(trial)}
                    self.journal.write(line)

    @contextmanager
    def claim(self) -> Iterator[Record | None]:
        """The first trial that no process runs, locked for this one until the block ends; None where there is none."""
        with self.lock():
            claimed = self._first_free()
            if claimed is not None:
                self.journal.write({"event": "began", "trial": claimed.record.trial.number, "process": os.getpid()})
        try:
            yield None if claimed is None else claimed.record
        finally:
            if claimed is not None:
                claimed.lock.close()

    def end(self, record: Record) -> None:
        """Records the result of a trial that this process has claimed."""
        values = {key: getattr(record, key) for key in ("status", "reason", "score", "loss", "seconds")}
        with self.lock():
            self.journal.write({"event": "ended", "trial": record.trial.number, **values})

    def records(self) -> list[Record]:
        """Every trial that was enqueued, by number. Needs no lock and changes nothing."""
        return [
            record
            if record.is_ended or not is_locked(self._claim_file(record.trial.number))
            else replace(record, status="running")
            for record in self._written()
        ]

    def _written(self) -> list[Record]:
        """The trials as the journal has them: each is waiting or has ended."""
        lines = self.journal.lines()
        for line in lines[self._n_lines :]:
            number, known = line["trial"], self._known.get(line["trial"])
            if line["event"] == "asked" and known is None:
                self._known[number] = Record(_trial(line))
            elif line["event"] == "ended" and known is not None and not known.is_ended:
                values = {key: line[key] for key in ("status", "reason", "score", "loss", "seconds")}
                self._known[number] = replace(known, **values)
        self._n_lines = len(lines)
        return [record for _, record in sorted(self._known.items())]

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keeps other processes from writing; reentrant.

        Raises:
            PocketlensError: others have kept it for two minutes, or the folder cannot be written.
        """
        if self._lock is not None:
            yield
            return
        try:
            held = wait_for_lock(self.path / "lock", PATIENCE)
        except OSError as error:
            raise PocketlensError(f"{self.path} must be a folder that can be written: {error.strerror}.") from None
        if held is None:
            raise PocketlensError(f"study {self.id} has been locked by other processes for {PATIENCE:.0f} s.")
        with held:
            self._lock = held
            try:
                yield
            finally:
                self._lock = None
        time.sleep(_TURN)  # else a process that writes line after line would starve those that wait

    def experiment(self, trial: Trial) -> Experiment:
        """The experiment of the trial's run."""
        spec, corrections = self.spec, self.corrections_of(trial)
        relabelled = None if corrections is None else self.relabelling
        return Experiment(
            data=spec.data,
            recipe=trial.recipe,
            seed=trial.seed,
            val_fraction=spec.val_fraction,
            split_seed=spec.split_seed,
            data_fingerprint=spec.data_fingerprint if relabelled is None else relabelled.fingerprint,
            relabel_hash="" if corrections is None else corrections.hash,
            n_relabelled=0 if corrections is None else corrections.n,
            label=f"{trial.candidate}, seed {trial.seed}",
            made_by=f"study {self.id}",
            rows=spec.rows,
            hold_out=spec.hold_out,
        )

    def _first_free(self) -> _Claimed | None:
        for record in self._written():
            held = None if record.is_ended else try_lock(self._claim_file(record.trial.number))
            if held is not None:
                return _Claimed(record, held)
        return None

    def _claim_file(self, number: int) -> Path:
        return self.path / "claims" / f"{number:04d}"


def all_studies(runs: Path = RUNS) -> list[Study]:
    """Every complete study below a folder of runs, in the order of creation."""
    folder = runs / "studies"
    if not folder.is_dir():
        return []
    return [Study(path) for path in sorted(folder.iterdir()) if (path / "study.json").is_file()]


def _described(trial: Trial) -> dict[str, Any]:
    return {
        "arm": trial.candidate,
        "phase": trial.phase,
        "seed": trial.seed,
        "changes": dict(trial.changes),
        "n_cuts": trial.n_cuts,
        "recipe": trial.recipe.to_dict(),
        **({"relabel": trial.relabel} if trial.relabel else {}),
    }


def _trial(line: dict[str, Any]) -> Trial:
    recipe = from_dict(line["recipe"], "the journal")
    changes = tuple(line["changes"].items())
    return Trial(
        line["trial"],
        line["arm"],
        line["phase"],
        line["seed"],
        recipe,
        changes,
        line.get("n_cuts", 0),
        line.get("relabel", ""),
    )
