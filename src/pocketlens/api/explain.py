"""What a run sees and what it withstands: `pl.explain` and `pl.robustness`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pocketlens.api.calls import run_call
from pocketlens.api.requests import Code, Machine, build, check_place, check_runs, signed
from pocketlens.api.runs import command, find_run
from pocketlens.api.shown import Shown
from pocketlens.display.screen import table
from pocketlens.errors import PocketlensError
from pocketlens.events import Doing, Events
from pocketlens.files import RUNS
from pocketlens.own_code import name_code
from pocketlens.text import counted

if TYPE_CHECKING:
    from pocketlens.api.runs import RunLike
    from pocketlens.evaluation.robustness import Robustness
    from pocketlens.training.run import Run


@dataclass(frozen=True, eq=False)
class ExplainResult:
    """The page that shows what a run sees."""

    run: Run
    page: Path

    def lines(self) -> list[str]:
        """Where the page is, for a person."""
        report = command("report", self.run)
        return [f"{'page':<9}{self.page}", f"next: open {self.page} in a browser, or {report}"]

    def to_dict(self) -> dict[str, Any]:
        """What `--json` gives."""
        return {"id": self.run.id, "path": str(self.run.path), "explain": str(self.page)}

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def _repr_html_(self) -> str:
        return f'<a href="{escape(self.page.as_uri())}">{escape(str(self.page))}</a>'


def explain(
    run: RunLike,
    *,
    rows: Sequence[int] | None = None,
    worst: int = 8,
    data: Path | None = None,
    code: Code = (),
    runs: Path = RUNS,
) -> ExplainResult:
    """Writes a page with feature maps, filters, class activation maps and deep features.

    Args:
        run: the run, its folder, id or label, or "last".
        rows: row numbers of development images; without them the `worst` mistakes on the validation rows.
        worst: how many of these.
        data: where the data lies now, if it has moved; for a data set with a name, the folder to search first.
        code: the files of one's own that the run uses, or the functions; unchanged since it was made.
        runs: the folder of runs.

    Raises:
        PocketlensError: there is no such run or row, or the data is not that of the run.
    """
    name_code(code)
    return run_call(explaining(run, rows, worst, data, runs))


def explaining(
    run: RunLike, rows: Sequence[int] | None, worst: int, data: Path | None, runs: Path
) -> Events[ExplainResult]:
    """The events of `explain`."""
    check_runs(runs)
    check_place(data)
    found = find_run(run, runs)
    yield Doing("loading PyTorch and the data of the run")
    from pocketlens.report.run.explanations import write_explanations
    from pocketlens.training.run_data import load_of

    dataset, _ = load_of(found, data, command("explain", found))
    wanted = found.experiment.data_fingerprint
    if wanted not in ("", dataset.fingerprint):
        raise PocketlensError(f"the data set must be that of run {found.id}, {wanted}; got {dataset.fingerprint}.")
    return ExplainResult(found, (yield from write_explanations(found, dataset, rows, worst)))


@dataclass(frozen=True, eq=False)
class RobustnessResult(Shown):
    """The accuracy of a run under each corruption and severity, on validation rows."""

    run: Run
    found: Robustness

    def lines(self) -> list[str]:
        """The table, for a person."""
        from pocketlens.scoring.scores import show, show_interval

        found = self.found
        rows = [
            (row.family, row.name, *(show(estimate, "share") for estimate in row.by_severity), show(row.mean, "share"))
            for row in found.corruptions
        ]
        lines = table(rows, ("", "corruption", *(f"sev. {severity}" for severity in range(1, 6)), "mean"))
        for name, estimate in (("clean", found.clean), ("mean", found.mean)):
            said = f"{show(estimate, 'share')} {show_interval(estimate, 'share')}"
            lines.append(
                f"{name:<9}{said}  of {counted(found.n, 'validation image')}{', all corruptions' * (name == 'mean')}"
            )
        lines.append(f"{'files':<9}{self.run.file('robustness.json')} and robustness.csv")
        return [*lines, f"next: {command('report', self.run)}"]

    def to_dict(self) -> dict[str, Any]:
        """What `--json` gives."""
        return {"id": self.run.id, "path": str(self.run.path), "robustness": self.found.to_dict()}


@dataclass(frozen=True, eq=False)
class RobustnessRequest:
    """Which run is measured, and where.

    Attributes:
        rows: how many validation rows at most.
        data: where the data lies now, if it has moved; for a data set with a name, the folder to search first.
        code: the files of one's own that the run uses, or the functions; unchanged since it was made.
    """

    run: RunLike
    machine: Machine = field(default_factory=Machine)
    rows: int = 1000
    data: Path | None = None
    runs: Path = RUNS
    code: Code = ()


def robustness(run: RunLike, *, verbose: bool = True, **options: Any) -> RobustnessResult:
    """Measures a run under 15 corruptions at 5 severities, on validation rows: `pocketlens robustness`.

    Args:
        run: the run, its folder, id or label, or "last".
        verbose: show the progress.
        options: the fields of RobustnessRequest; `device` and `threads`.

    Raises:
        PocketlensError: there is no such run, or it has no validation rows.
    """
    return run_call(measuring_robustness(build(RobustnessRequest, {"run": run}, options)), verbose=verbose)


signed(robustness, RobustnessRequest)


def measuring_robustness(request: RobustnessRequest) -> Events[RobustnessResult]:
    """The events of `robustness`."""
    name_code(request.code)
    check_runs(request.runs)
    check_place(request.data)
    found = find_run(request.run, request.runs)
    found.require_code()
    yield Doing("loading PyTorch and the data of the run")
    device = request.machine.prepare()
    from pocketlens.evaluation.robustness import measure_robustness
    from pocketlens.training.run_data import load_of

    dataset, _ = load_of(found, request.data, command("robustness", found))
    return RobustnessResult(found, (yield from measure_robustness(found, dataset, n_rows=request.rows, device=device)))
