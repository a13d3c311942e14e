"""Run: one training as a folder of plain files. There is no other database.

A run holds experiment.json (a valid input to `--recipe`), split.json, environment.json, checkpoint-<step>.safetensors
(the newest two: if the newest is damaged, the older one is used), history.jsonl, timing.jsonl, status.json, predictions
and scores, pictures.safetensors (a few validation images), mistakes-latest.safetensors (the surest mistakes of the last
epoch), data.json where the data has moved, interpolation.json where the result lies between the first and the last
weights, report.html, relabel.csv where labels were corrected, and code/ with the text of each file of one's own that
holds a component, kept for the record and never run. Folders have generated ids; a name that a person gives is a label
in experiment.json.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pocketlens import own_code
from pocketlens.data.relabel import count_dropped
from pocketlens.data.split import Split
from pocketlens.errors import PocketlensError
from pocketlens.files import (
    RUNS,
    append_json,
    new_id,
    read_json,
    read_lines,
    remove_file,
    replace_file,
    sync_folder,
    to_json,
    write_json,
    write_text,
)
from pocketlens.locks import is_locked, owner_of, try_lock
from pocketlens.recipe import Experiment
from pocketlens.scoring.metrics import Estimate
from pocketlens.scoring.predictions import Predictions, write_predictions
from pocketlens.scoring.scores import Scores

if TYPE_CHECKING:
    from pocketlens.training.checkpoint import Checkpoint

_TRAINING_WRITES = (
    "checkpoint-", "history.jsonl", "status.json", "environment.json", "predictions-val", "scores-val", "pictures.",
    "interpolation.json", "probe.json", "mistakes-latest.",
)  # fmt: skip


class Run:
    """One training, as a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @staticmethod
    def create(
        experiment: Experiment,
        split: Split,
        runs: Path = RUNS,
        *,
        corrections: str | None = None,
        name: str | None = None,
    ) -> Run:
        """Makes a new run folder below `runs`. An experiment with a warm start comes from `warm_start.with_source`.

        `corrections` is the CSV text of the corrected labels (see data/relabel.py), where the experiment has any. The
        trials of a study have a `name`; a trial's folder may be made again after its maker was killed.

        Raises:
            PocketlensError: the folder cannot be written.
        """
        if (corrections is not None) != bool(experiment.relabel_hash):
            raise PocketlensError("a run must be given corrections exactly if its experiment has corrected labels.")
        run = Run(runs / (name or new_id(runs)))
        try:
            run.path.mkdir(parents=True, exist_ok=name is not None)
        except OSError as error:
            raise PocketlensError(f"{runs} must be a folder that can be written: {error.strerror}.") from None
        experiment = experiment.with_code()
        for code in own_code.copies(experiment.code):
            run.file("code").mkdir(exist_ok=True)
            write_text(run.file("code") / code.stored_name, code.text)
        if corrections is not None:
            write_text(run.file("relabel.csv"), corrections)
        write_json(run.file("split.json"), split.to_dict())
        write_json(run.file("status.json"), {"status": "new", "reason": ""})
        write_json(run.file("experiment.json"), experiment.to_dict())  # last: a folder that has this file is complete
        sync_folder(runs)
        return run

    @staticmethod
    def open(name: str, runs: Path = RUNS) -> Run:
        """The run at a path, of an id, with a label, or the `last` one.

        Raises:
            PocketlensError: there is none, or the folder is not a run.
        """
        if name == "last":
            found = all_runs(runs)
            if not found:
                raise PocketlensError(
                    f"there must be a run in {runs}, there is none; make one with: pocketlens train digits"
                )
            return found[-1]
        with suppress(OSError, ValueError):  # a text that cannot be a path may still be a label
            for path in (Path(name), runs / name):
                if (path / "experiment.json").is_file():
                    return Run(path)
        labelled = [run for run in all_runs(runs) if run._is_labelled(name)]
        if labelled:
            return labelled[-1]
        raise PocketlensError(f"{name!r} must be a run's path, id or label, or last; there is none in {runs}.")

    @property
    def id(self) -> str:
        """The folder's name."""
        return self.path.resolve().name

    @cached_property
    def experiment(self) -> Experiment:
        """Data, split, recipe and seed."""
        return Experiment.from_dict(read_json(self.file("experiment.json")), str(self.file("experiment.json")))

    @cached_property
    def split(self) -> Split:
        """The training rows and the validation rows."""
        return Split.from_dict(read_json(self.file("split.json")))

    def corrections(self) -> str | None:
        """The corrected labels, as CSV text (see data/relabel.py); None where no label was corrected.

        Raises:
            PocketlensError: the file is absent or is not the one with which the run was made.
        """
        wanted = self.experiment.relabel_hash
        if not wanted:
            return None
        path = self.file("relabel.csv")
        text = path.read_bytes().decode("utf-8", "replace") if path.is_file() else ""
        if hashlib.blake2b(text.encode(), digest_size=8).hexdigest() != wanted:
            raise PocketlensError(f"{path} must hold the corrected labels of run {self.id} ({wanted}), and does not.")
        return text

    def n_dropped(self) -> int:
        """How many images its corrections drop.

        Raises:
            PocketlensError: see `corrections`.
        """
        text = self.corrections()
        return 0 if text is None else count_dropped(text)

    def bind_code(self) -> None:
        """Lets its components of one's own mean the files that were named, if these are those of the run.

        Raises:
            PocketlensError: a file of that name was named, and has changed since the run was made.
        """
        own_code.bind(self.experiment.code, f"run {self.id}")

    def require_code(self) -> None:
        """Refuses to go on unless each component of one's own has its file, as it was when the run was made.

        Raises:
            PocketlensError: a file was not named, or has changed since.
        """
        self.bind_code()
        experiment = self.experiment
        own_code.require_bound(experiment.code, experiment.data, *experiment.recipe.component_texts)

    @property
    def pretraining_note(self) -> str | None:
        """What to say beside its score where its pretrained body may have seen the test images, else None."""
        from pocketlens.models._bodies import pretraining_note

        return pretraining_note(self.experiment.data, self.experiment.recipe.model)

    @property
    def environment(self) -> dict[str, Any]:
        """Versions, processor, device and threads of the training; empty before it has started."""
        path = self.file("environment.json")
        return dict(read_json(path)) if path.exists() else {}

    def file(self, name: str) -> Path:
        """The path of one of the run's files."""
        return self.path / name

    def history(self) -> list[dict[str, Any]]:
        """One record for each finished epoch."""
        return list(read_lines(self.file("history.jsonl")))

    def top1(self, part: str) -> Estimate | None:
        """The accuracy on a part, "val" or "test", with its interval; None where the run has no score on it.

        Raises:
            PocketlensError: the file of the scores cannot be read.
        """
        path = self.file(f"scores-{part}.json")
        if not path.exists():
            return None
        try:
            return Estimate.from_dict(read_json(path)["top1"])
        except (KeyError, TypeError) as error:
            raise PocketlensError(f"{path} must hold the scores of a run ({error!r}).") from None

    def timing(self) -> list[dict[str, Any]]:
        """Seconds and images per second of each epoch; no other file holds clock values."""
        return list(read_lines(self.file("timing.jsonl")))

    def status(self) -> tuple[str, str]:
        """(new | running | complete | stopped | killed | diverged | failed, the reason)."""
        path = self.file("status.json")
        value = read_json(path)
        if not isinstance(value, dict) or not {"status", "reason"} <= value.keys():
            raise PocketlensError(
                f'{path} must be like {{"status": "stopped", "reason": ""}}, it is {value!r}; repair it.'
            )
        status, reason = str(value["status"]), str(value["reason"])
        if status == "running" and not self.is_locked():
            return "killed", "its process was killed; resume continues from the last checkpoint"
        return status, reason

    @property
    def lacks_scores(self) -> bool:
        """Whether it is complete and has validation rows but no scores on them, as where memory ran out for these."""
        return self.status()[0] == "complete" and len(self.split.val) > 0 and not self.file("scores-val.json").exists()

    def set_status(self, status: str, reason: str = "") -> None:
        """Writes status.json."""
        write_json(self.file("status.json"), {"status": status, "reason": reason})

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keeps other processes from training this run; ends with the process, however it ends.

        Raises:
            PocketlensError: another process trains it, or the folder cannot be written.
        """
        try:
            held = try_lock(self.file("lock"))
        except OSError as error:
            raise PocketlensError(f"{self.path} must be a folder that can be written: {error.strerror}.") from None
        if held is None:
            process = owner_of(self.file("lock")) or "unknown"
            raise PocketlensError(f"run {self.id} is in use by process {process}; wait for it.")
        with held:
            for path in self.path.glob(".*.part"):  # of killed processes: this one alone may write these now
                if path.name[1:].startswith(_TRAINING_WRITES):
                    remove_file(path)
            yield

    def checkpoint(self) -> Checkpoint:
        """The newest checkpoint that can be read; damaged ones are skipped (`set_aside_broken` renames them).

        Raises:
            PocketlensError: there is none that can be read.
        """
        from pocketlens.training.checkpoint import read_checkpoint

        broken = []
        for path in reversed(self.checkpoint_files()):
            try:
                return read_checkpoint(path)
            except PocketlensError as error:
                broken.append((path, str(error)))
        why = "; ".join(text for _, text in broken) or "it has none yet"
        raise PocketlensError(f"run {self.id} must have a readable checkpoint: {why}")

    def checkpoint_files(self) -> list[Path]:
        """The checkpoints, oldest first."""
        return sorted(self.path.glob("checkpoint-*.safetensors"))

    def save_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Writes a checkpoint, keeps the one before it, and brings history.jsonl in line with it.

        Raises:
            OSError: the disk is full; the older checkpoints are unchanged.
        """
        from pocketlens.training.checkpoint import write_checkpoint

        write_checkpoint(self.file(f"checkpoint-{checkpoint.meta['step']:08d}.safetensors"), checkpoint)
        self.settle(checkpoint)

    def settle(self, checkpoint: Checkpoint) -> None:
        """Brings the folder in line with its newest checkpoint: the same history, and only one older checkpoint.

        A process that was killed after it wrote a checkpoint has not done so.
        """
        lines = "".join(to_json(record) + "\n" for record in checkpoint.meta["history"])
        history = self.file("history.jsonl")
        if not history.exists() or history.read_bytes() != lines.encode():
            write_text(history, lines)
        for old in self.checkpoint_files()[:-2]:
            remove_file(old)
        sync_folder(self.path)

    def set_aside_broken(self) -> list[str]:
        """Renames damaged checkpoints that are newer than the newest readable one; returns a message for each."""
        from pocketlens.training.checkpoint import read_checkpoint

        broken = []
        for path in reversed(self.checkpoint_files()):
            try:
                read_checkpoint(path)
                break
            except PocketlensError as error:
                broken.append((path, str(error)))
        else:
            return []  # all are damaged: nothing is renamed, and `checkpoint` raises an error that says why
        for path, _ in broken:
            replace_file(path, path.with_name(path.name + ".corrupt"))
        sync_folder(self.path)
        return [f"{why} It is renamed to {path.name}.corrupt, and the one before it is used." for path, why in broken]

    def add_timing(self, record: dict[str, Any]) -> None:
        """Appends a line to timing.jsonl."""
        append_json(self.file("timing.jsonl"), record)

    def weights_hash(self) -> str:
        """16 hexadecimal digits that identify the weights of the run's result."""
        return self.checkpoint().weights_hash()

    def _is_labelled(self, label: str) -> bool:
        try:
            return label != "" and self.experiment.label == label
        except PocketlensError:
            return False  # a broken folder must not hide other runs

    def is_locked(self) -> bool:
        """Whether a process is training it."""
        return is_locked(self.file("lock"))


def all_runs(runs: Path = RUNS) -> list[Run]:
    """The complete run folders below `runs`, in the order of their ids, which is the order of their creation."""
    if not runs.is_dir():
        return []
    return [Run(path) for path in sorted(runs.iterdir()) if (path / "experiment.json").is_file()]


class WatchedRun(Run):
    """A run as the ranks after the first see it: they read its files, and the first rank writes them."""

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Does nothing; the first rank holds the lock."""
        yield

    def set_status(self, status: str, reason: str = "") -> None:
        """Does nothing; the first rank writes it."""

    def save_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Does nothing; the first rank does it."""

    def settle(self, checkpoint: Checkpoint) -> None:
        """Does nothing; the first rank does it."""

    def set_aside_broken(self) -> list[str]:
        """Does nothing; the first rank does it, and reports it."""
        return []

    def add_timing(self, record: dict[str, Any]) -> None:
        """Does nothing; the first rank measures."""


def predictions_file(part: str) -> str:
    """The name of the file of predictions of a part."""
    return f"predictions-{part}.safetensors"


def store_scores(run: Run, scores: Scores) -> None:
    """Writes scores-<part>.json into the run's folder."""
    write_json(run.file(f"scores-{scores.part}.json"), scores.to_dict())


def store(run: Run, predictions: Predictions, scores: Scores) -> None:
    """Writes predictions-<part>.safetensors and scores-<part>.json into the run's folder."""
    write_predictions(run.file(predictions_file(predictions.part)), predictions)
    store_scores(run, scores)
