"""The audit: `pl.look` and `pocketlens look` say what is in a data set and what is wrong with it, on one page."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pocketlens.api.calls import run_call
from pocketlens.api.requests import Code, DataRequest, Machine, build, check_runs, name_request, signed
from pocketlens.api.runs import find_run
from pocketlens.api.shown import Shown
from pocketlens.components import parse_one, parse_pipe
from pocketlens.errors import PocketlensError
from pocketlens.events import Doing, Events, Fact, watched
from pocketlens.files import LOOKS, RUNS
from pocketlens.report.titles import short_name
from pocketlens.text import as_command, counted

if TYPE_CHECKING:
    from pocketlens.api.runs import RunLike
    from pocketlens.audit.audit import AuditReport
    from pocketlens.audit.body import Sight
    from pocketlens.audit.options import AuditOptions
    from pocketlens.data.dataset import Loaded


@dataclass(frozen=True)
class LookRequest:
    """How to look at the data.

    Attributes:
        quick: plain statistics and equal pixels alone; nothing is trained.
        skip: checks to leave out, separated by commas: duplicates, classes, outliers, labels, shift, augment.
        augment: the augmentation whose effect is drawn, or all; None takes that of the usual recipe.
        run: a run whose model gives the features for outliers.
        body: auto (the pretrained body that comes with pocketlens, on photos where it sees more) or none.
        seed: of what is trained or drawn.
        out: the folder of the page; None: a new one in LOOKS, named after the data.
        code: the files of one's own that the run uses.
    """

    data: DataRequest
    machine: Machine = field(default_factory=Machine)
    quick: bool = False
    skip: str = ""
    augment: str | None = None
    run: RunLike | None = None
    body: str = "auto"
    seed: int = 0
    out: Path | None = None
    runs: Path = RUNS
    code: Code = ()

    def check(self) -> None:
        """Checks all that can be checked without reading data.

        Raises:
            PocketlensError: a value is not what it must be.
        """
        self.data.check()
        check_runs(self.runs)
        if self.body not in ("auto", "none"):
            raise PocketlensError(f"--body must be auto or none, got {self.body!r}.")
        for folder in () if self.out is None else (self.out, *self.out.parents):
            if folder.exists() and not folder.is_dir():
                raise PocketlensError(f"--out must be a folder, but {str(folder)!r} is a file.")
        if self.out is not None and (self.out / "labels.csv").is_file():
            _check_labels(self.out / "labels.csv")
        if self.augment not in (None, "all"):
            parse_pipe(self.augment, "augment")


@dataclass(frozen=True, eq=False)
class LookResult(Shown):
    """The report of the audit, and its page."""

    report: AuditReport
    page: Path
    dataset: str

    @property
    def folder(self) -> Path:
        """The folder of the page, its JSON and its CSV files."""
        return self.page.parent

    def lines(self) -> list[str]:
        """What was found, and where the files are."""
        from pocketlens.report.audit.findings import findings

        report = self.report
        lines = [f"{'!' if finding.serious else ' '} {finding.text}" for finding in findings(report)]
        for reason in dict.fromkeys(why for why in report.skipped.values() if why != report.distrust):
            checks = [check for check, why in report.skipped.items() if why == reason]
            lines.append(f"  Skipped: {', '.join(checks)} ({reason}).")
        lines.append(f"page     {self.page}")
        if report.labels is not None and len(report.labels):
            lines.append(f"labels   {self.folder / 'labels.csv'}; to decide on them, type: {self.review_command}")
        return [*lines, f"next: open {self.page} in a browser, then {self.next}"]

    @property
    def next(self) -> str:
        """The command that trains on the data."""
        return as_command(["pocketlens", "train", self.dataset])

    @property
    def review_command(self) -> str:
        """The command with which a person decides on what was found."""
        return as_command(
            ["pocketlens", "review", self.dataset, *([] if self.is_found else ["--look", str(self.folder)])]
        )

    @property
    def is_found(self) -> bool:
        """Whether a review finds this look by itself."""
        return self.folder.parent == LOOKS

    def to_dict(self) -> dict[str, Any]:
        """What `--json` gives."""
        from pocketlens.report.audit.tables import to_dict

        found = {"page": str(self.page), "folder": str(self.folder), "look": to_dict(self.report)}
        return {**found, "next": self.next}


def _check_labels(path: Path) -> None:
    """Refuses to replace a labels.csv that holds a person's decisions, or that is none of ours."""
    from pocketlens.data.relabel import holds_decisions, read_corrections

    if holds_decisions(read_corrections(path)):
        raise PocketlensError(
            f"{path} holds your decisions, which a look there would overwrite; give --out another folder."
        )


def look(dataset: str | Path, *, verbose: bool = True, **options: Any) -> LookResult:
    """Finds outliers, label issues, duplicates within and across parts, and distribution shift in a data set.

    Args:
        dataset: a path, or a component text such as `cifar100(labels='coarse')`.
        verbose: show the progress.
        options: the fields of LookRequest and of the requests in it.

    Raises:
        PocketlensError: an option or the data is not what it must be.
    """
    return run_call(looking(build(LookRequest, {"dataset": dataset}, options)), verbose=verbose)


signed(look, LookRequest)


def looking(request: LookRequest) -> Events[LookResult]:
    """The events of `look`."""
    name_request(request.code, request.data, None, request.augment)
    request.check()
    run = None if request.run is None else find_run(request.run, request.runs)
    if run is not None:
        run.require_code()
    yield Doing(f"loading PyTorch and reading {short_name(request.data.dataset)}, to look at it")
    device = request.machine.prepare(None if run is None else run.experiment.recipe)
    from pocketlens.api.data import aim_at, version_for
    from pocketlens.audit.options import AuditOptions, read_checks
    from pocketlens.audit.plan import plan
    from pocketlens.data.dataset import Loaded
    from pocketlens.data.sizes import FROM_SCRATCH
    from pocketlens.datasets import load_to_look
    from pocketlens.report.audit.page import write_audit_page

    options = AuditOptions(request.quick, read_checks(request.skip), run, request.augment, request.seed, device)
    sources = () if run is None else (run,)
    version = version_for(request.data.dataset, sources)
    aim = FROM_SCRATCH if run is None else aim_at(run.experiment.recipe, sources)
    read = partial(load_to_look, request.data.dataset, request.data.data, version=version, aim=aim)
    dataset, sealed = yield from watched(lambda tally: read(tally=tally))
    height, width, channels = dataset.shape
    text = (
        f"{dataset.text}: {counted(len(dataset), 'image')} of {height} x {width} x {channels}, "
        f"{counted(len(dataset.classes), 'class')}"
    )
    kept_apart = f"{counted(len(sealed), 'test image')}, whose labels stay sealed" if len(sealed) else "no test images"
    yield Fact("data", f"{text}; {kept_apart}")
    for note in dataset.notes:
        yield Fact("", note)
    looked_at = Loaded(dataset, sealed)
    sight = yield from watched(lambda tally: _choose_sight(request, options, looked_at, partial(read, tally=tally)))
    if sight.line:
        yield Fact("sight", sight.line)
    for number, line in enumerate(plan(options, len(dataset) + len(sealed), with_body=sight.view is not None), 1):
        yield Fact("plan" if number == 1 else "", f"{number}. {line}")
    found = yield from _audited(looked_at, options, sight)
    report = replace(found, sight=sight.line)
    page = write_audit_page(report, request.out or _new_folder(dataset.text))
    return LookResult(report, page, request.data.dataset)


def _audited(looked_at: Loaded, options: AuditOptions, sight: Sight) -> Events[AuditReport]:
    """The audit, which goes on behind the phases that an audit of the same data has finished before it was stopped."""
    from pocketlens.audit.audit import audit
    from pocketlens.audit.phases import Phases

    phases = Phases() if options.quick else Phases.of(*looked_at, options.seed, options.device)
    if phases.finished():
        yield Fact("resume", f"kept from an interrupted look at this data: {', '.join(phases.finished())}")
    try:
        return (yield from audit(*looked_at, options, sight.view))
    except KeyboardInterrupt:
        if phases.finished():
            raise KeyboardInterrupt("stopped; the same command continues after the last finished phase") from None
        raise


def _choose_sight(request: LookRequest, options: AuditOptions, looked_at: Loaded, read: Callable[..., Loaded]) -> Sight:
    """Whether a pretrained body is used, which sees the same rows at its own size; `read` takes that as `aim`."""
    from pocketlens.audit.body import Sight, choose_sight, small_models
    from pocketlens.audit.predictors import body_is_needed

    if not body_is_needed(options):
        return Sight(None, "")
    if request.body == "none":
        return small_models("as requested")
    return choose_sight(*looked_at, lambda aim: read(aim=aim))


def _new_folder(text: str) -> Path:
    """A new folder in `pocketlens-looks`, named after the data and numbered."""
    component = parse_one(text, "datasets")
    path = dict(component.options).get("path")
    words = f"{component.name} {Path(str(path)).stem if path else ''}"
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", words.strip())[:60].strip("-")
    number = 1
    while (folder := LOOKS / f"{name}-{number}").exists():
        number += 1
    return folder
