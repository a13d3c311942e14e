"""The learning-rate range test: `pl.lr_range` and `pocketlens lr-range`. It makes no run."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pocketlens.api.calls import run_call
from pocketlens.api.requests import (
    Code,
    DataRequest,
    Machine,
    RecipeRequest,
    build,
    check_runs,
    name_request,
    signed,
)
from pocketlens.api.shown import Shown
from pocketlens.api.train import describe_recipe
from pocketlens.components import Component, option
from pocketlens.errors import PocketlensError
from pocketlens.events import Doing, Events
from pocketlens.files import RUNS, write_bytes, write_json, write_text
from pocketlens.recipe import Experiment, Recipe, parse_optimizer
from pocketlens.text import as_command, counted

if TYPE_CHECKING:
    from pocketlens.training.lr_range import LrRange


@dataclass(frozen=True)
class LrRangeRequest:
    """The range of rates from `low` to `high` in so many `steps`; `out` is the folder of the files."""

    data: DataRequest
    recipe: RecipeRequest = field(default_factory=RecipeRequest)
    machine: Machine = field(default_factory=Machine)
    low: float = 1e-4
    high: float = 10.0
    steps: int = 100
    seed: int = 0
    out: Path | None = None
    runs: Path = RUNS
    code: Code = ()

    def check(self) -> None:
        """Checks all that can be checked without reading data.

        Raises:
            PocketlensError: a value is out of range.
        """
        self.data.check()
        check_runs(self.runs)
        if self.low >= self.high:
            raise PocketlensError(f"--high must be above --low, got {self.high:g} and {self.low:g}.")
        if self.steps < 10:
            raise PocketlensError(f"--steps must be 10 or more, got {self.steps}.")


@dataclass(frozen=True, eq=False)
class LrRangeResult(Shown):
    """What was measured, the files that hold it, and the command that trains with the suggested rate."""

    found: LrRange
    recipe: Recipe
    files: tuple[Path, ...]
    next: str

    @property
    def suggested(self) -> float | None:
        """The learning rate to start with; None where the loss hardly fell."""
        return self.found.suggested

    def lines(self) -> list[str]:
        """What was measured, for a person."""
        found, at = self.found, self.found.diverged
        end = "it did not diverge; try a larger --high" if at is None else f"it diverged at {at:.3g}"
        steps = f"{counted(len(found.lr), 'step')} at {found.size} px, rates {found.lr[0]:.3g} to {found.lr[-1]:.3g}"
        lowest = f"running mean of the loss {min(found.smooth):.4f}, at lr {found.lowest:.3g}"
        lines = [f"{'measured':<9}{steps}: {end}", f"{'lowest':<9}{lowest}"]
        if found.suggested is None:
            why = f"nothing: the loss fell by only {found.fell:.1%}, too little to locate its minimum"
            lines.append(f"{'suggest':<9}{why}; give more --steps")
        else:
            rest = _rest_lr(self.recipe, found.suggested)
            lines.append(f"{'suggest':<9}lr {found.suggested:g}, a third of that; the recipe has {self.recipe.lr:g}")
            if rest is not None:
                lines.append(f"{'':<9}rest_lr was scaled with lr: use {rest:g} with lr {found.suggested:g}")
        names = ", ".join(path.name for path in self.files)
        return [*lines, f"files: {names} in {self.files[0].parent}", f"next: {self.next}"]

    def to_dict(self) -> dict[str, Any]:
        """What `--json` gives."""
        return {**self.found.to_dict(), "files": [str(path) for path in self.files], "next": self.next}


def lr_range(dataset: str | Path, *, verbose: bool = True, **options: Any) -> LrRangeResult:
    """Measures the training loss while the learning rate rises, until it diverges, and suggests a rate.

    Args:
        dataset: a path, or a component text such as `cifar100(labels='coarse')`.
        verbose: show the progress.
        options: the fields of LrRangeRequest and of the requests in it, and the fields of Recipe that differ.

    Raises:
        PocketlensError: an option or the data is not what it must be.
    """
    return run_call(measuring(build(LrRangeRequest, {"dataset": dataset}, options)), verbose=verbose)


signed(lr_range, LrRangeRequest)


def measuring(request: LrRangeRequest) -> Events[LrRangeResult]:
    """The events of `lr_range`."""
    name_request(request.code, request.data, request.recipe)
    request.check()
    from pocketlens.api.data import aim_at, load_data
    from pocketlens.datasets import sized_as

    typed = request.recipe.changed()
    yield Doing("loading PyTorch and the data")
    device = request.machine.prepare(typed)
    data = yield from load_data(request.data, aim_at(typed, device=device))
    chosen = request.recipe.choose(data.dataset, data.split)
    recipe = chosen.recipe
    yield from describe_recipe(chosen, data.dataset)
    from pocketlens.training.lr_range import lr_range as measure

    experiment = Experiment(data.dataset.text, recipe, request.seed, data_fingerprint=data.dataset.fingerprint)
    limits = (request.low, request.high)
    work = measure(experiment, data.dataset, data.split, limits=limits, n_steps=request.steps, device=device)
    found = yield from work
    sized = f"-{sized_as(data.dataset.text)}" if data.dataset.is_resized else ""
    name = f"lr-range-{data.dataset.fingerprint[:8]}{sized}-{recipe.id}-{request.seed}"
    files = _write(request.out or request.runs / name, found)
    return LrRangeResult(found, recipe, tuple(files), _next_command(request, recipe, found))


def _write(folder: Path, result: LrRange) -> list[Path]:
    from pocketlens.report.run.lr_range_plot import draw_lr_range

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PocketlensError(f"--out must be a folder that can be written, {folder}: {error.strerror}.") from None
    svg, png = draw_lr_range(result)
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["step", "lr", "loss", "running_mean"])
    writer.writerows(
        (n, *row) for n, row in enumerate(zip(result.lr, result.loss, result.smooth, strict=True), start=1)
    )
    files = [folder / f"lr-range.{kind}" for kind in ("json", "csv", "svg", "png")]
    write_json(files[0], result.to_dict())
    write_text(files[1], table.getvalue())
    write_bytes(files[2], svg)
    write_bytes(files[3], png)
    return files


def _rest_lr(recipe: Recipe, lr: float) -> float | None:
    """The rate that stands beside `lr` in some optimizers, as far from the recipe's as `lr` is."""
    rest = option(parse_optimizer(recipe.optimizer)[0], "optimizers", "rest_lr")
    return None if rest is None else float(f"{rest * lr / recipe.lr:.2g}")


def _next_command(request: LrRangeRequest, recipe: Recipe, result: LrRange) -> str:
    """The training at the suggested rate, with the same recipe and data; another range test where there is none."""
    dataset, name = request.data.dataset, request.recipe.recipe
    changes, command = dict(request.recipe.changes), ["pocketlens", "train", dataset]
    if result.suggested is None:
        command = ["pocketlens", "lr-range", dataset, "--steps", str(3 * request.steps)]
        command += ["--low", f"{request.low:g}", "--high", f"{request.high:g}"]
    else:
        base, *others = parse_optimizer(recipe.optimizer)
        rest = _rest_lr(recipe, result.suggested)
        changes["lr"] = f"{result.suggested:g}"
        if rest is not None:
            named = Component(base.name, tuple({**dict(base.options), "rest_lr": rest}.items()))
            changes["optimizer"] = " | ".join(map(str, (named, *others)))
    command += ["--recipe", name] if isinstance(name, str) else []
    for key, value in changes.items():
        command += [f"--{key.replace('_', '-')}", "none" if value is None else str(value)]
    return as_command(command)
