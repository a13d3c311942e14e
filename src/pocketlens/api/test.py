"""The test: `pl.test` and `pocketlens test` open the sealed test rows of a finished run once, on the record."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pocketlens.api.requests import Code, Machine, check_runs
from pocketlens.api.runs import find_run, runs_option
from pocketlens.api.shown import Shown
from pocketlens.errors import PocketlensError
from pocketlens.files import RUNS, ledger_file, read_json
from pocketlens.own_code import name_code

if TYPE_CHECKING:
    from pocketlens.api.runs import RunLike
    from pocketlens.scoring.ledger import Opening
    from pocketlens.scoring.scores import Scores
    from pocketlens.training.run import Run


@dataclass(frozen=True, eq=False)
class TestResult(Shown):
    """The scores on the test rows, and the line of the ledger.

    Attributes:
        views: the score by test-time augmentation, apart from the plain one; None without it.
    """

    run: Run
    scores: Scores
    opening: Opening
    views: dict[str, Any] | None

    __test__ = False  # pytest: not a test

    def lines(self) -> list[str]:
        """The ledger's line and the scores, for a person."""
        from pocketlens.scoring.metrics import Estimate
        from pocketlens.scoring.scores import show, show_interval

        entry = self.opening
        lines = [
            f"{'ledger':<9}{entry.time}  run {entry.run}  recipe {entry.recipe}  weights {entry.weights}",
            f"{'':<9}test images {entry.test}, written to {ledger_file()}",
            *self.scores.lines(),
        ]
        if self.views is not None:
            top1, n = Estimate.from_dict(self.views["top1"]), self.views["views"]
            interval = show_interval(top1, "share")
            lines.append(
                f"  with test-time augmentation ({n} views), scored separately: {show(top1, 'share')} {interval}"
            )
        return [*lines, f"next: pocketlens report {self.run.id}{runs_option(self.run)}"]

    def to_dict(self) -> dict[str, Any]:
        """What `--json` gives."""
        return {
            "id": self.run.id,
            "path": str(self.run.path),
            "ledger": vars(self.opening),
            "test": self.scores.to_dict(),
            "views": self.views,
            "next": f"pocketlens report {self.run.id}",
        }


def test(
    run: RunLike,
    *,
    views: int = 1,
    data: Path | None = None,
    machine: Machine | None = None,
    code: Code = (),
    runs: Path = RUNS,
) -> TestResult:
    """Opens the sealed test rows for one finished run and scores it: `pocketlens test`.

    Args:
        run: the run, its folder, id or label, or "last".
        views: views of each image in test-time augmentation: 1 (none), 2, 3 or 6; that score is reported apart.
        data: the folder in which data sets are searched first.
        machine: where to compute.
        code: the files of one's own that the run uses, or the functions; unchanged since it was made.
        runs: the folder of runs.

    Raises:
        PocketlensError: the run is not complete, or the data is not that of the run. The test part stays closed.
    """
    check_runs(runs)
    name_code(code)
    found = find_run(run, runs)
    status, reason = found.status()
    if status != "complete":
        raise PocketlensError(
            f"only a complete run can be tested, {found.id} is {status}{f' ({reason})' if reason else ''}; "
            f"continue with: pocketlens resume {found.id}{runs_option(found)}"
        )
    found.require_code()
    device = (machine or Machine()).prepare(found.experiment.recipe)
    from pocketlens.data.duplicates import known_duplicates
    from pocketlens.datasets import load
    from pocketlens.evaluation.open_test import open_test, openings

    dataset, sealed = load(found.experiment.data, data, version=found.experiment.hold_out, aim=None)
    duplicates = known_duplicates(dataset, sealed)
    scores = open_test(found, sealed, device=device, views=views, duplicates=duplicates)
    stored = read_json(found.file("scores-test-views.json")) if views != 1 else None
    return TestResult(found, scores, openings(sealed)[-1], stored)


test.__test__ = False  # type: ignore[attr-defined]  # pytest: not a test
