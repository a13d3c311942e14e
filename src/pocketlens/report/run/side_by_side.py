"""Runs side by side: what each reached and what it cost, as a page, CSV, Markdown and LaTeX.

A run is on the Pareto front where no other run here is at least as accurate on validation and cheaper. Single runs
differ by chance: this table shows, and `pocketlens compare` decides.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pocketlens.errors import PocketlensError
from pocketlens.files import csv_text, write_text
from pocketlens.report.figures import Point
from pocketlens.report.run.curves import RunCost, RunCurve, draw_cost, draw_runs
from pocketlens.report.run.differences import PairOfRuns, Setting, compare_with_first, settings_that_differ
from pocketlens.report.shell import placed, render_page
from pocketlens.report.tables import to_latex, to_markdown
from pocketlens.scoring.metrics import Estimate
from pocketlens.scoring.scores import show, show_interval
from pocketlens.text import format_duration
from pocketlens.training.model_facts import ModelFacts
from pocketlens.training.model_summary import layer_table

if TYPE_CHECKING:
    from pocketlens.data.dataset import Dataset
    from pocketlens.training.run import Run

_NAMES = (  # (field, heading, kind)
    ("number", "run", "count"),
    ("name", "name", "text"),
)
_RESULTS = ("test, result", "validation, result")  # they come next, so that they are in view
_REST = (
    ("val_loss", "lowest val loss", "loss"),
    ("val_accuracy", "highest val accuracy", "share"),
    ("train_loss", "lowest train loss", "loss"),
    ("train_accuracy", "highest train accuracy", "share"),
    ("best_epoch", "best epoch", "count"),
    ("n_epochs", "epochs", "count"),
    ("gap", "gap at best, points", "points"),
    ("n_parameters", "parameters", "count"),
    ("multiply_adds", "multiply-adds", "count"),
    ("seconds", "seconds", "seconds"),
    ("fast", "Pareto: time", "mark"),
    ("light", "Pareto: multiply-adds", "mark"),
    ("model", "model", "text"),
)
_COLUMNS = (*_NAMES, *_REST)
HEADINGS = [*(name for _, name, _ in _NAMES), *_RESULTS, *(name for _, name, _ in _REST)]


@dataclass(frozen=True)
class Line:
    """One run.

    Attributes:
        number: its number on this page, from 1.
        name: its label, else its id.
        val_loss, val_accuracy, train_loss, train_accuracy: the best of any epoch, or None.
        best_epoch: the epoch of the highest validation accuracy.
        gap: training minus validation accuracy in that epoch, in points.
        fast, light: on the Pareto front of validation accuracy and seconds, or multiply-adds.
        val, test: the scores of its result; the test scores where its test part was opened.
        curve, loss_curve: (epoch, accuracy, or loss, on validation images); empty without validation.
        train_curve: (epoch, accuracy on training images).
    """

    number: int
    id: str
    name: str
    data: str
    fingerprint: str
    status: str
    model: str
    recipe: str
    seed: int
    val_loss: float | None
    val_accuracy: float | None
    train_loss: float | None
    train_accuracy: float | None
    best_epoch: int | None
    n_epochs: int
    gap: float | None
    n_parameters: int | None
    multiply_adds: int | None
    seconds: float
    val: Estimate | None
    test: Estimate | None
    fast: bool = False
    light: bool = False
    curve: tuple[Point, ...] = ()
    loss_curve: tuple[Point, ...] = ()
    train_curve: tuple[Point, ...] = ()


def write_comparison(
    runs: Sequence[Run], folder: Path, dataset: Dataset | None = None, *, slim: bool = False
) -> dict[str, Path]:
    """Writes comparison.html, .csv, .md and .tex into a folder and gives their paths by ending.

    Args:
        runs: at least two different ones.
        folder: where the files go; it is made where it is absent.
        dataset: the development rows of the first run, for pictures of validation images.
        slim: writes comparison-slim.html, which holds no pictures, in the place of comparison.html.

    Raises:
        PocketlensError: there are fewer than two runs, or a file of a run cannot be read.
    """
    if len({run.id for run in runs}) < 2:
        raise PocketlensError("a comparison must have at least two different runs.")
    lines = read_lines(runs)
    rows = [cells(line) for line in lines]
    texts = {
        "html": _render(lines, _warnings(runs, lines), _Differences.of(runs, dataset, slim)),
        "csv": _csv(lines),
        "md": to_markdown(HEADINGS, rows),
        "tex": to_latex(HEADINGS, rows),
    }
    folder.mkdir(parents=True, exist_ok=True)
    paths = {ending: folder / f"comparison.{ending}" for ending in texts}
    if slim:
        paths["html"] = folder / "comparison-slim.html"
    for ending, text in texts.items():
        write_text(paths[ending], text)
    return paths


def read_lines(runs: Sequence[Run]) -> list[Line]:
    """What each run reached and cost; each run once, in the order given."""
    different = list({run.id: run for run in runs}.values())
    lines = [_line(number, run) for number, run in enumerate(different, 1)]
    found: dict[int, tuple[bool, bool]] = {}
    for data in {line.fingerprint for line in lines}:  # runs of other data are no rivals
        group = [line for line in lines if line.fingerprint == data]
        fast = pareto([(line.val_accuracy, line.seconds or None) for line in group])
        light = pareto([(line.val_accuracy, line.multiply_adds) for line in group])
        found |= {line.number: marks for line, marks in zip(group, zip(fast, light, strict=True), strict=True)}
    return [replace(line, fast=found[line.number][0], light=found[line.number][1]) for line in lines]


def pareto(points: Sequence[tuple[float | None, float | None]]) -> list[bool]:
    """For each (gain, cost) whether no other point has as much gain for less cost, or more for as much."""

    def beaten(gain: float, cost: float) -> bool:
        return any(
            g is not None and c is not None and g >= gain and c <= cost and (g > gain or c < cost) for g, c in points
        )

    return [gain is not None and cost is not None and not beaten(gain, cost) for gain, cost in points]


def cells(line: Line) -> list[str]:
    """A row of the table as a person reads it."""
    names, rest = ([_cell(getattr(line, field), kind) for field, _, kind in part] for part in (_NAMES, _REST))
    return [*names, _score_text(line.test), _score_text(line.val), *rest]


def _line(number: int, run: Run) -> Line:
    history = run.history()
    best = max(
        (record for record in history if record.get("val_accuracy") is not None),
        key=lambda record: record["val_accuracy"],
        default=None,
    )
    gap = None
    if best is not None and best.get("train_accuracy") is not None:
        gap = 100 * (best["train_accuracy"] - best["val_accuracy"])
    experiment = run.experiment
    n_parameters, multiply_adds = _cost(run)
    return Line(
        number=number,
        id=run.id,
        name=experiment.label or run.id,
        data=experiment.data,
        fingerprint=experiment.data_fingerprint or experiment.data,
        status=run.status()[0],
        model=experiment.recipe.model,
        recipe=experiment.recipe.id,
        seed=experiment.seed,
        val_loss=_extreme(history, "val_loss", min),
        val_accuracy=_extreme(history, "val_accuracy", max),
        train_loss=_extreme(history, "train_loss", min),
        train_accuracy=_extreme(history, "train_accuracy", max),
        best_epoch=None if best is None else int(best["epoch"]),
        n_epochs=len(history),
        gap=gap,
        n_parameters=n_parameters,
        multiply_adds=multiply_adds,
        seconds=float(sum(entry.get("seconds") or 0.0 for entry in run.timing())),
        val=run.top1("val"),
        test=run.top1("test"),
        curve=_curve(history, "val_accuracy"),
        loss_curve=_curve(history, "val_loss"),
        train_curve=_curve(history, "train_accuracy"),
    )


def _curve(history: list[dict[str, Any]], key: str) -> tuple[Point, ...]:
    known = [record for record in history if record.get(key) is not None and math.isfinite(record[key])]
    return tuple(Point(int(record["epoch"]), float(record[key])) for record in known)


def _extreme(history: list[dict[str, Any]], key: str, choose: Any) -> float | None:
    values = [record[key] for record in history if record.get(key) is not None and math.isfinite(record[key])]
    return choose(values) if values else None


def _cost(run: Run) -> tuple[int | None, int | None]:
    """Parameters and multiply-adds of one image, or None where there is no checkpoint yet or its model is unknown."""
    try:
        facts = ModelFacts.of(run.checkpoint(), f"run {run.id}")
        layers = layer_table(facts.model, facts.shape, len(facts.classes))
    except PocketlensError:
        return None, None
    return sum(layer.n_parameters for layer in layers), sum(layer.multiply_adds for layer in layers)


def _warnings(runs: Sequence[Run], lines: Sequence[Line]) -> list[str]:
    """Why the numbers of these runs may not be comparable."""
    said = []
    if len({line.fingerprint for line in lines}) > 1:
        said.append("These runs are of different data: their numbers cannot be compared.")
    elif len({run.split.val.tobytes() for run in runs}) > 1:
        said.append("These runs have different validation sets, which may explain small differences.")
    unfinished = [run.id for run in runs if run.status()[0] != "complete"]
    if unfinished:
        said.append(f"Not finished: {', '.join(unfinished)}.")
    return said


@dataclass(frozen=True)
class _Differences:
    """In what the runs differ, and each of them beside the first."""

    settings: tuple[Setting, ...]
    pairs: tuple[PairOfRuns, ...]

    @staticmethod
    def of(runs: Sequence[Run], dataset: Dataset | None, slim: bool) -> _Differences:
        different = list({run.id: run for run in runs}.values())
        pairs = compare_with_first(different, dataset)
        return _Differences(
            settings_that_differ(different), tuple(pair.without_pictures() for pair in pairs) if slim else pairs
        )


_CURVES = (  # (field, title, unit)
    ("curve", "Validation accuracy", "%"),
    ("loss_curve", "Validation loss", "nats"),
    ("train_curve", "Training accuracy", "%"),
)


def _render(lines: Sequence[Line], warnings: Sequence[str], differences: _Differences) -> str:
    figures = []
    for field, title, unit in _CURVES:
        curves = [RunCurve(line.number, getattr(line, field)) for line in lines]
        figures += [draw_runs(curves, title, unit)] if any(curve.points for curve in curves) else []
    for field, name in (("seconds", "training time, s"), ("multiply_adds", "multiply-adds of one image, millions")):
        scale = 1.0 if field == "seconds" else 1e-6
        known = [
            RunCost(line.number, scale * getattr(line, field), 100 * line.val_accuracy)
            for line in lines
            if getattr(line, field) and line.val_accuracy is not None
        ]
        front = {line.number for line in lines if (line.fast if field == "seconds" else line.light)}
        if known and len({line.fingerprint for line in lines}) == 1:
            figures.append(draw_cost(known, front, name))
    values = [_values(line) for line in lines]
    kinds = [*(kind for _, _, kind in _NAMES), "share", "share", *(kind for _, _, kind in _REST)]
    rows = [list(zip(cells(line), known, strict=True)) for line, known in zip(lines, values, strict=True)]
    return render_page(
        "comparison.html.j2",
        ("sort.js.j2", "downloads.js.j2"),
        {
            "lines": lines,
            "header": HEADINGS,
            "rows": rows,
            "kinds": kinds,
            "differences": differences,
            "warnings": warnings,
            "figures": placed(figures, "runs"),
            "format_duration": format_duration,
            "points": _points,
        },
    )


def _values(line: Line) -> list[Any]:
    """What `cells` shows, as values to sort by."""
    scores = [None if estimate is None else estimate.value for estimate in (line.test, line.val)]
    names, rest = ([getattr(line, field) for field, _, _ in part] for part in (_NAMES, _REST))
    return [*names, *scores, *rest]


def _csv(lines: Sequence[Line]) -> str:
    fields = [field for field, _, _ in _COLUMNS]
    header = ["id", *fields[1:], "data", "status", "recipe", "seed"]
    header += [f"{part}_top1{end}" for part in ("val", "test") for end in ("", "_low", "_high")]
    rows = []
    for line in lines:
        values = [getattr(line, field) for field in fields[1:]]
        values = ["yes" if value is True else "no" if value is False else value for value in values]
        estimates = [estimate or Estimate(None) for estimate in (line.val, line.test)]
        numbers = [number for estimate in estimates for number in (estimate.value, estimate.low, estimate.high)]
        rows.append([line.id, *values, line.data, line.status, line.recipe, line.seed, *numbers])
    return csv_text(header, rows)


def _cell(value: Any, kind: str) -> str:
    if kind == "mark":
        return "●" if value else ""
    if value is None:
        return "n/a"
    shown = {"share": "{:.2f} %", "loss": "{:.4f}", "points": "{:.2f}", "seconds": "{:.1f}", "count": "{:,}"}
    return shown.get(kind, "{}").format(100 * value if kind == "share" else value)


def _score_text(estimate: Estimate | None) -> str:
    return "" if estimate is None else f"{show(estimate, 'share')} {show_interval(estimate, 'share')}".strip()


def _points(share: float, digits: int = 2) -> str:
    """A difference of shares in points, with its sign and a true minus."""
    return f"{100 * share:+.{digits}f}".replace("-", "\u2212")
