"""What calls that train give back: a run with its scores, or several of them; they show themselves in a notebook."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pocketlens.api.runs import next_command, runs_option
from pocketlens.errors import PocketlensError
from pocketlens.files import read_json
from pocketlens.text import clock, counted

if TYPE_CHECKING:
    from pocketlens.api.export import ExportResult
    from pocketlens.api.predict import Images, PredictResult
    from pocketlens.api.report import PageKind, ReportResult
    from pocketlens.api.test import OnResult, TestResult
    from pocketlens.scoring.scores import Scores
    from pocketlens.training.run import Run


@dataclass(frozen=True, eq=False)
class RunResult:
    """A run: its folder, how it ended, and its scores on the validation rows."""

    run: Run

    @property
    def id(self) -> str:
        """The name of its folder."""
        return self.run.id

    @property
    def path(self) -> Path:
        """Its folder."""
        return self.run.path

    @property
    def status(self) -> str:
        """new, running, complete, stopped, killed, diverged or failed."""
        return self.run.status()[0]

    @property
    def next(self) -> str:
        """The command that usually follows."""
        return next_command(self.run)

    @cached_property
    def history(self) -> list[dict[str, Any]]:
        """One record for each finished epoch."""
        return self.run.history()

    @cached_property
    def val(self) -> Scores | None:
        """The scores on the validation rows; None where there are none."""
        from pocketlens.scoring.scores import Scores

        path = self.run.file("scores-val.json")
        return Scores.from_dict(read_json(path), str(path)) if path.exists() else None

    def test(self, *, on: str | Path | None = None, views: int = 1, data: Path | None = None) -> TestResult | OnResult:
        """Opens the sealed test rows once, on the record, or with `on` scores other data; see `pl.test`."""
        from pocketlens.api.test import test

        return test(self.run, on=on, views=views, data=data)

    def predict(self, images: Images, *, top: int = 5) -> PredictResult:
        """The classes of image files; see `pl.predict`."""
        from pocketlens.api.predict import predict

        return predict(self.run, images, top=top)

    def report(self, *, page: PageKind = "usual") -> ReportResult:
        """Writes the HTML page of the run, and its summary on one picture; see `pl.report`."""
        from pocketlens.api.report import report

        return report(self.run, page=page)

    def export(self, *, format: str = "onnx", out: Path | None = None) -> ExportResult:
        """Writes the model as one file; see `pl.export`."""
        from pocketlens.api.export import export

        return export(self.run, format=format, out=out)

    def best_lines(self) -> list[str]:
        """The best accuracy and the lowest loss on validation, each with its epoch."""
        rated = [each for each in self.history if each["val_accuracy"] is not None and each["val_loss"] is not None]
        if not rated:
            return []
        accuracy = max(rated, key=lambda record: float(record["val_accuracy"]))
        loss = min(rated, key=lambda record: float(record["val_loss"]))
        return [
            f"highest validation accuracy {accuracy['val_accuracy']:.2%} in epoch {accuracy['epoch']}, "
            f"lowest validation loss {loss['val_loss']:.4f} in epoch {loss['epoch']}"
        ]

    def lines(self) -> list[str]:
        """The validation scores, the run's folder, and the next command."""
        seconds = sum(float(line["seconds"]) for line in self.run.timing())
        return [
            *(self.val.lines() if self.val is not None else ()),
            f"trained in {clock(seconds)}; the run is in {self.path}",
            f"next: {self.next}{runs_option(self.run)}",
        ]

    def to_dict(self) -> dict[str, Any]:
        """What `--json` gives for a run."""
        status, reason = self.run.status()
        scores = self.run.file("scores-val.json")
        values = read_json(scores) if scores.exists() else None
        return {
            "id": self.id,
            "path": str(self.path),
            "status": status,
            "reason": reason,
            "seed": self.run.experiment.seed,
            "recipe": self.run.experiment.recipe.id,
            "step": self._step(),
            "val": None if values is None else {name: values[name] for name in ("n", "top1", "top5", "nll", "coarse")},
        }

    def _step(self) -> int:
        """The step of the newest checkpoint; 0 where there is none."""
        files = self.run.checkpoint_files()
        return int(files[-1].stem.removeprefix("checkpoint-")) if files else 0

    def __str__(self) -> str:
        return "\n".join([f"run {self.id}: {self.status}", *self.lines()])

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"


@dataclass(frozen=True)
class OverSeeds:
    """Validation accuracy over the seeds of one recipe: mean, deviation and its 95 % interval, each 0..1."""

    n: int
    mean: float
    sd: float | None
    low: float | None
    high: float | None
    values: tuple[float, ...]

    def __str__(self) -> str:
        spread = "" if self.sd is None else f" ± {100 * self.sd:.2f}"
        interval = ""
        if self.low is not None and self.high is not None:
            interval = f", 95 % interval {100 * self.low:.2f} to {100 * min(self.high, 1.0):.2f}"
        shown = ", ".join(f"{100 * value:.2f}" for value in self.values)
        return (
            f"validation accuracy over {counted(self.n, 'seed')}: {100 * self.mean:.2f}{spread} %{interval} ({shown})"
        )

    def to_dict(self) -> dict[str, Any]:
        """What `--json` gives."""
        return {"n": self.n, "mean": self.mean, "sd": self.sd, "low": self.low, "high": self.high}


@dataclass(frozen=True, eq=False)
class TrainResult:
    """The runs of one recipe, one for each seed; `signal` is what stopped them, or None.

    A result of a single run has that run's attributes and methods.
    """

    runs: tuple[RunResult, ...]
    signal: int | None = None

    @property
    def last(self) -> RunResult:
        """The run that was trained last.

        Raises:
            PocketlensError: none was started.
        """
        if not self.runs:
            raise PocketlensError("training was stopped before its first run started.")
        return self.runs[-1]

    @property
    def run(self) -> Run:
        """The folder of the last run."""
        return self.last.run

    @property
    def complete(self) -> tuple[RunResult, ...]:
        """The runs that are complete."""
        return tuple(each for each in self.runs if each.status == "complete")

    @cached_property
    def over_seeds(self) -> OverSeeds | None:
        """Mean and interval over the seeds; None for a single run, or where there are no validation rows."""
        return over_seeds(self.runs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in dir(RunResult):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self.last, name)

    def to_dict(self) -> dict[str, Any]:
        """What `--json` gives."""
        over = self.over_seeds
        return {
            "runs": [each.to_dict() for each in self.runs],
            "over_seeds": None if over is None else over.to_dict(),
        }

    def __str__(self) -> str:
        lines = [str(each) for each in self.runs]
        return "\n".join([*lines, *([str(self.over_seeds)] if self.over_seeds else [])])

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"


def over_seeds(runs: Sequence[RunResult]) -> OverSeeds | None:
    """Mean and interval of the validation accuracy over several runs; None where there are fewer than two scores."""
    import numpy as np

    from pocketlens.scoring.significance import mean_interval

    scores = [each.val.top1.value for each in runs if each.val is not None]
    values = tuple(value for value in scores if value is not None)
    if len(runs) < 2 or not values:
        return None
    mean, sd, low, high = mean_interval(np.array(values))
    return OverSeeds(len(values), mean, sd, low, high, values)
