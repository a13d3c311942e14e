"""The test: `pl.test` and `pocketlens test` open the sealed test rows of a finished run once, on the record.

With `on` they score it on other labelled data instead, and the test rows stay sealed.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pocketlens.api.calls import run_call
from pocketlens.api.requests import Code, Machine, build, check_place, check_runs, signed
from pocketlens.api.runs import command, find_run, quoted, typed_name
from pocketlens.api.shown import Shown
from pocketlens.errors import PocketlensError
from pocketlens.events import Doing, Events
from pocketlens.files import RUNS, ledger_file, read_json
from pocketlens.own_code import name_code, name_typed
from pocketlens.report.titles import short_name
from pocketlens.text import counted

if TYPE_CHECKING:
    from pocketlens.api.runs import RunLike
    from pocketlens.evaluation.score_on import ScoredOn
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
        lines += [f"  {self.run.pretraining_note}"] if self.run.pretraining_note else []
        if self.views is not None:
            top1, n = Estimate.from_dict(self.views["top1"]), self.views["views"]
            interval = show_interval(top1, "share")
            lines.append(
                f"  with test-time augmentation ({counted(n, 'view')}), scored separately: "
                f"{show(top1, 'share')} {interval}"
            )
        return [*lines, f"next: {command('report', self.run)}"]

    def to_dict(self) -> dict[str, Any]:
        """What `--json` gives."""
        return {
            "id": self.run.id,
            "path": str(self.run.path),
            "ledger": self.opening.to_dict(),
            "test": self.scores.to_dict(),
            "views": self.views,
            "next": command("report", self.run),
        }


@dataclass(frozen=True, eq=False)
class OnResult(Shown):
    """The scores on other data, the line of the ledger, and remarks about the data."""

    run: Run
    found: ScoredOn
    notes: tuple[str, ...]

    __test__ = False  # pytest: not a test

    @property
    def scores(self) -> Scores:
        """The scores over all images of the data."""
        return self.found.scores.scores

    @property
    def path(self) -> Path:
        """The file of scores in the run."""
        from pocketlens.evaluation.score_on import scores_file

        return self.run.file(scores_file(self.found.scores.fingerprint))

    def lines(self) -> list[str]:
        """The data, the ledger's line and the scores, for a person."""
        entry, times = self.found.opening, self.found.n_openings
        again = "" if times == 1 else f"; they have been scored {times} times"
        return [
            f"{'on':<9}{entry.data}; all its images count, whatever part they are in",
            *(f"{'':<9}{note}" for note in self.notes),
            f"{'ledger':<9}{entry.time}  run {entry.run}  recipe {entry.recipe}  weights {entry.weights}",
            f"{'':<9}images {entry.test}, written to {ledger_file()}{again}",
            *self.found.scores.lines(),
            f"{'scores':<9}{self.path}",
            f"next: {command('report', self.run)}",
        ]

    def to_dict(self) -> dict[str, Any]:
        """What `--json` gives."""
        return {
            "id": self.run.id,
            "path": str(self.run.path),
            "ledger": self.found.opening.to_dict(),
            "n_openings": self.found.n_openings,
            "on": self.found.scores.to_dict(),
            "scores": str(self.path),
            "notes": list(self.notes),
            "next": command("report", self.run),
        }


@dataclass(frozen=True, eq=False)
class TestRequest:
    """What `test` takes; see there."""

    run: RunLike
    on: str | Path | None = None
    views: int = 1
    data: Path | None = None
    machine: Machine = field(default_factory=Machine)
    runs: Path = RUNS
    code: Code = ()

    __test__ = False  # pytest: not a test


def test(run: RunLike, **options: Any) -> TestResult | OnResult:
    """Opens the sealed test rows for one finished run and scores it; with `on`, scores it on other data instead.

    Args:
        run: the run, its folder, id or label, or "last".
        options: `on`, a labelled data set of the same classes, such as a later folder of photos: all its images are
            scored, and the sealed test rows stay sealed; `views`, views of each image in test-time augmentation, 1
            (none), 2, 3 or 6, whose score is reported apart; `data`, where the run's data lies now, if it has moved,
            or for a data set with a name, the folder to search first; `device` and `threads`, or `machine`; `code`, the
            files of one's own that the run uses, or the functions, unchanged since it was made; and `runs`.

    Raises:
        PocketlensError: the run is not complete, or the data is not that of the run. The test part stays closed.
    """
    machine = options.pop("machine", None)
    request = build(TestRequest, {"run": run}, options)
    return run_call(testing(request if machine is None else replace(request, machine=machine)), verbose=False)


signed(test, TestRequest)
test.__test__ = False  # type: ignore[attr-defined]  # pytest: not a test


def testing(request: TestRequest) -> Events[TestResult | OnResult]:
    """The events of `test`."""
    check_runs(request.runs)
    check_place(request.data)
    name_code(request.code)
    if request.on is not None:
        name_typed(str(request.on))
        _check_on(str(request.on), request)
    found = find_run(request.run, request.runs)
    status, reason = found.status()
    if status != "complete":
        raise PocketlensError(
            f"only a complete run can be tested, {found.id} is {status}{f' ({reason})' if reason else ''}; "
            f"continue with: {command('resume', found)}"
        )
    found.require_code()
    data = short_name(found.experiment.data if request.on is None else str(request.on))
    yield Doing(f"loading PyTorch and reading {data}, to test {typed_name(found)}")
    device = request.machine.prepare()
    from pocketlens.training.device import keep_freed_memory

    keep_freed_memory()  # a page fault for each page of every batch takes as long as the network
    if request.on is None:
        return (yield from _test(found, request, device))
    return (yield from _test_on(found, request, device))


def _check_on(on: str, request: TestRequest) -> None:
    from pocketlens.datasets import component

    component(on, must_exist=True)
    if request.views != 1:
        raise PocketlensError("--views is for the run's own test rows; leave it out with --on.")


def _test(run: Run, request: TestRequest, device: str) -> Events[TestResult]:
    from pocketlens.data.duplicates import known_duplicates
    from pocketlens.evaluation.open_test import open_test, openings, require_images
    from pocketlens.training.run_data import load_of, require_same

    dataset, sealed = load_of(run, request.data, command("test", run))
    require_same(run, dataset)
    require_images(run, sealed)
    duplicates = known_duplicates(dataset, sealed)
    yield Doing(f"opening the sealed test set, {counted(len(sealed), 'image')}, on the record")
    scores = open_test(run, sealed, device=device, views=request.views, duplicates=duplicates)
    stored = read_json(run.file("scores-test-views.json")) if request.views != 1 else None
    return TestResult(run, scores, openings(sealed)[-1], stored)


def _test_on(run: Run, request: TestRequest, device: str) -> Events[OnResult]:
    from pocketlens.datasets import load_whole
    from pocketlens.evaluation.score_on import Known, form_of, score_on
    from pocketlens.training.run_data import load_of, require_same

    on, known, notes = str(request.on), None, []
    again = command("test", run, f" --on {quoted(on)}")
    try:
        dataset, sealed = load_of(run, request.data, again)
        require_same(run, dataset)
        known = Known(dataset.hashes, sealed.hashes)
    except PocketlensError as error:
        if request.data is not None:
            raise
        notes.append(f"the run's own images cannot be compared with these: {error}")
    folder = request.data if request.data is not None and request.data.is_dir() else None
    other = load_whole(on, form_of(run), folder, run.experiment.hold_out)
    yield Doing(f"scoring {counted(len(other), 'image')} of {short_name(on)}")
    scored = score_on(run, other, known, device=device)
    return OnResult(run, scored, (*scored.notes, *notes))
