"""Study: a folder of trials that answer one question, and the only database of it. Many processes may write to it.

study.json (what was asked), split.json, journal.jsonl (one line for each trial that was asked for, begun and ended),
trials/<id>/ (each a run folder like any other), claims/ (files that a process locks while it works on a trial), and
report.html. A lock ends with its process, however it ends, so no trial is "running" for ever. What has been trained is
what the run folders say: where the journal lacks a line, it is written anew and nothing is trained twice.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from pocketlens.data.split import Split
from pocketlens.errors import PocketlensError
from pocketlens.files import RUNS, new_id, read_json, sync_folder, write_json
from pocketlens.locks import Lock, is_locked, try_lock, wait_for_lock
from pocketlens.recipe import Experiment, Recipe, from_dict
from pocketlens.studies.journal import Journal
from pocketlens.training.run import Run

FORMAT = 1
PATIENCE = 30.0  # seconds to wait for another process that writes to the study
ENDED = ("complete", "diverged", "killed", "hangs", "out of memory", "no result", "failed")


@dataclass(frozen=True)
class Trial:
    """One training of a study."""

    number: int
    arm: str  # which of the study's recipes it is
    phase: str  # "repeats"; of a search also "search", "rung 2" or "final"
    seed: int
    recipe: Recipe
    changes: tuple[tuple[str, Any], ...] = ()  # what differs from the study's base, by address
    n_cuts: int = 0  # how often coarse-to-fine had cut the space before it was drawn


@dataclass(frozen=True)
class Record:
    """A trial and what has become of it."""

    trial: Trial
    status: str = "waiting"  # waiting, running, or one of ENDED
    reason: str = ""
    score: float | None = None  # accuracy on the validation rows, 0..1
    loss: float | None = None  # nats on the validation rows
    seconds: float = 0.0

    @property
    def is_ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.status in ENDED


class Study:
    """Many trainings that answer one question, as a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.journal = Journal(path / "journal.jsonl")
        self._known: dict[int, Record] = {}  # what the first lines of the journal say
        self._n_lines = 0
        self._lock: Lock | None = None

    @staticmethod
    def create(asked: dict[str, Any], split: Split, runs: Path = RUNS) -> Study:
        """A new study below `runs`/studies.

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
        write_json(study.path / "split.json", split.to_dict())
        write_json(study.path / "study.json", {"format": FORMAT, **asked})  # last: a folder that has it is whole
        sync_folder(folder)
        return study

    @staticmethod
    def open(name: str, runs: Path = RUNS) -> Study:
        """The study at a path, of an id, with a label, or the `last` one.

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
                f"{name!r} must be a study's path, id or label, or last; none such in {runs}/studies."
            )
        return chosen[-1]

    @property
    def id(self) -> str:
        """The folder's name."""
        return self.path.resolve().name

    @cached_property
    def asked(self) -> dict[str, Any]:
        """What was asked.

        Raises:
            PocketlensError: study.json cannot be read, or is of a newer pocketlens.
        """
        value = read_json(self.path / "study.json")
        if not isinstance(value, dict) or not isinstance(value.get("format"), int):
            raise PocketlensError(f"{self.path / 'study.json'} must be a JSON object with a format in it.")
        if value["format"] > FORMAT:
            raise PocketlensError(
                f"{self.path} was written by a newer pocketlens (format {value['format']}, this one knows {FORMAT}); "
                "it is left as it is: update pocketlens to go on with it."
            )
        return value

    @property
    def label(self) -> str:
        """A person's name for the study; empty where it has none or cannot be read."""
        try:
            return str(self.asked.get("label", ""))
        except PocketlensError:
            return ""

    @cached_property
    def split(self) -> Split:
        """Which rows train and which validate, the same in all trials."""
        return Split.from_dict(read_json(self.path / "split.json"))

    @cached_property
    def base(self) -> Recipe:
        """The recipe from which the others differ."""
        return from_dict(self.asked["base"], str(self.path / "study.json"))

    def run(self, trial: Trial) -> Run:
        """The trial's run, which may not be there yet."""
        return Run(self.path / "trials" / f"{self.id}-{trial.number:04d}")

    def ask(self, trials: list[Trial]) -> None:
        """Adds trials to be run; those whose numbers are there already are left out."""
        with self.lock():
            there = {record.trial.number for record in self._written()}
            for trial in trials:
                if trial.number not in there:
                    line = {"event": "asked", "trial": trial.number, **_described(trial)}
                    self.journal.write(line)

    @contextmanager
    def claim(self) -> Iterator[Record | None]:
        """The first trial that nobody works on, locked for this process until the block ends; None: there is none."""
        with self.lock():
            record, held = self._first_free()
            if record is not None:
                self.journal.write({"event": "began", "trial": record.trial.number, "process": os.getpid()})
        try:
            yield record
        finally:
            if held is not None:
                held.close()

    def end(self, record: Record) -> None:
        """Writes down what has become of a trial that this process has claimed."""
        values = {key: getattr(record, key) for key in ("status", "reason", "score", "loss", "seconds")}
        with self.lock():
            self.journal.write({"event": "ended", "trial": record.trial.number, **values})

    def records(self) -> list[Record]:
        """Every trial that was asked for, in the order of their numbers. Needs no lock and changes nothing."""
        return [
            record
            if record.is_ended or not is_locked(self._claim_file(record.trial.number))
            else replace(record, status="running")
            for record in self._written()
        ]

    def _written(self) -> list[Record]:
        """What the journal says: each trial waits or has ended."""
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
        """Keeps other processes from writing; may be taken again within.

        Raises:
            PocketlensError: another process has held it for 30 seconds, or the folder cannot be written.
        """
        if self._lock is not None:
            yield
            return
        try:
            held = wait_for_lock(self.path / "lock", PATIENCE)
        except OSError as error:
            raise PocketlensError(f"{self.path} must be a folder that can be written: {error.strerror}.") from None
        if held is None:
            raise PocketlensError(f"study {self.id} is locked by another process for more than {PATIENCE:.0f} s.")
        with held:
            self._lock = held
            try:
                yield
            finally:
                self._lock = None

    def experiment(self, trial: Trial) -> Experiment:
        """What the trial's run is asked to do."""
        asked = self.asked
        return Experiment(
            data=asked["data"],
            recipe=trial.recipe,
            seed=trial.seed,
            val_fraction=asked["val_fraction"],
            split_seed=asked["split_seed"],
            data_fingerprint=asked["data_fingerprint"],
            label=f"{trial.arm}, seed {trial.seed}",
            made_by=f"study {self.id}",
            rows=asked["rows"],
        )

    def _first_free(self) -> tuple[Record | None, Lock | None]:
        for record in self._written():
            held = None if record.is_ended else try_lock(self._claim_file(record.trial.number))
            if held is not None:
                return record, held
        return None, None

    def _claim_file(self, number: int) -> Path:
        return self.path / "claims" / f"{number:04d}"


def all_studies(runs: Path = RUNS) -> list[Study]:
    """Every whole study below a folder of runs, in the order of their making."""
    folder = runs / "studies"
    if not folder.is_dir():
        return []
    return [Study(path) for path in sorted(folder.iterdir()) if (path / "study.json").is_file()]


def _described(trial: Trial) -> dict[str, Any]:
    return {
        "arm": trial.arm,
        "phase": trial.phase,
        "seed": trial.seed,
        "changes": dict(trial.changes),
        "n_cuts": trial.n_cuts,
        "recipe": trial.recipe.to_dict(),
    }


def _trial(line: dict[str, Any]) -> Trial:
    recipe = from_dict(line["recipe"], "the journal")
    changes = tuple(line["changes"].items())
    return Trial(line["trial"], line["arm"], line["phase"], line["seed"], recipe, changes, line.get("n_cuts", 0))
