"""Prediction: `pl.predict` and `pocketlens predict` say which classes image files show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pocketlens.api.calls import run_call
from pocketlens.api.requests import Code, Machine, build, check_runs, signed
from pocketlens.api.runs import find_run
from pocketlens.events import Events, Step
from pocketlens.files import RUNS
from pocketlens.own_code import name_code
from pocketlens.text import counted

if TYPE_CHECKING:
    from pocketlens.api.runs import RunLike
    from pocketlens.data.images import DecodeOptions
    from pocketlens.inference.predict import Files, Predictor, Row

_COUNTED = {"its first frame is used": "animated"}
Images = str | Path | Sequence[str | Path]


@dataclass(frozen=True, eq=False)
class PredictResult(Sequence["Row"]):
    """A row for every file, also for those that cannot be read (they have a reason)."""

    rows: tuple[Row, ...]
    model: str
    calibration: str

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> Any:
        return self.rows[index]

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __str__(self) -> str:
        return "\n".join(f"{row.file}  {_said(row)}" for row in self.rows)

    def _repr_html_(self) -> str:
        lines = [f"<tr><td>{escape(row.file)}</td><td>{escape(_said(row))}</td></tr>" for row in self.rows]
        return f"<table>{''.join(lines)}</table>"


@dataclass(frozen=True, eq=False)
class PredictRequest:
    """What `predict` takes; see there."""

    run: RunLike
    images: Images
    top: int = 5
    batch_size: int = 500
    max_pixels: int = 25_000_000
    machine: Machine = field(default_factory=Machine)
    runs: Path = RUNS
    code: Code = ()


def predict(run: RunLike, images: Images, **options: Any) -> PredictResult:
    """The likeliest classes of image files.

    Args:
        run: a run, its folder, id or label, "last", or a .safetensors file that `export` wrote.
        images: a file, a folder, a glob, or several of them.
        options: `top`, classes for each image (5); `batch_size`, images that are computed together (500);
            `max_pixels`, above which an image is decoded smaller if it is a JPEG, and else refused (25 million);
            `device` and `threads`; `code`, the files of one's own that the model uses, unchanged since it was made;
            and `runs`.

    Raises:
        PocketlensError: there is no such model, or no image.
    """
    request = build(PredictRequest, {"run": run, "images": images}, options)
    name_code(request.code)
    named = [images] if isinstance(images, (str, Path)) else list(images)
    from pocketlens.data.images import DecodeOptions

    decoding = DecodeOptions(request.max_pixels)
    names = [str(each) for each in named]
    task = open_model(run, names, runs=request.runs, machine=request.machine, options=decoding)
    return run_call(predicting(task, top=request.top, batch_size=request.batch_size), verbose=False)


signed(predict, PredictRequest)


@dataclass(frozen=True, eq=False)
class PredictTask:
    """An open model, the files that it is to judge, and the device on which it does."""

    predictor: Predictor
    files: Files
    device: str

    @property
    def about(self) -> str:
        """What the model takes and what it tells apart."""
        height, width, channels = self.predictor.classifier.image_shape
        return f"{counted(len(self.predictor.classifier.classes), 'class')}, images of {height} x {width} x {channels}"

    def rows(self, *, top: int = 5, batch_size: int = 500) -> Iterator[Row]:
        """A row for each file, computed batch by batch."""
        from pocketlens.inference.predict import predict_files

        paths = self.files.paths
        return predict_files(self.predictor, paths, device=self.device, batch_size=batch_size, top=top)


def open_model(
    run: RunLike,
    names: Sequence[str] | Files,
    *,
    runs: Path = RUNS,
    machine: Machine | None = None,
    options: DecodeOptions | None = None,
) -> PredictTask:
    """Finds the model and the files, and opens the model.

    Raises:
        PocketlensError: there is no such model, or no image.
    """
    from pocketlens.data.images import DecodeOptions
    from pocketlens.inference.predict import Files, find_files, find_model, open_predictor

    check_runs(runs)
    model = find_model(str(run), runs) if isinstance(run, (str, Path)) else find_run(run, runs)
    files = names if isinstance(names, Files) else find_files(list(names))
    device = (machine or Machine()).prepare()
    return PredictTask(open_predictor(model, runs, options or DecodeOptions()), files, device)


def predicting(task: PredictTask, *, top: int = 5, batch_size: int = 500) -> Events[PredictResult]:
    """The events of `predict`."""
    rows, total = [], len(task.files.paths)
    for done, row in enumerate(task.rows(top=top, batch_size=batch_size), 1):
        rows.append(row)
        yield Step("predicting", done, total)
    return PredictResult(tuple(rows), task.predictor.name, task.predictor.calibration)


def count_row(counted: Counter[str], row: Row) -> None:
    """Counts a row as predicted or unreadable, and each of its notes: resized, animated, or a note's own words."""
    counted["predicted" if row.reason is None else "unreadable"] += 1
    counted.update(_COUNTED.get(note, "resized" if note.startswith("resized") else note) for note in row.notes)


def _said(row: Row) -> str:
    if row.reason is not None:
        return f"unreadable: {row.reason}"
    return ", ".join(row.cells)
