"""Pages: `pl.report` and `pocketlens report` write the page of one run, or several runs side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

from pocketlens.api.calls import run_call
from pocketlens.api.requests import Code, check_place, check_runs
from pocketlens.api.runs import command, find_run, typed_name
from pocketlens.errors import PocketlensError
from pocketlens.events import Doing, Events
from pocketlens.files import RUNS
from pocketlens.own_code import name_code
from pocketlens.report.titles import short_name
from pocketlens.text import counted

PageKind = Literal["usual", "slim", "features"]
SHOWN = ("run", "name", "test, result", "validation, result", "seconds")  # in the terminal

if TYPE_CHECKING:
    from pocketlens.api.runs import RunLike


@dataclass(frozen=True)
class ReportResult:
    """The files that were written, by kind, and lines about them.

    Kinds: html; of one run also png, its summary on one picture; of several runs also csv, md and tex.
    """

    paths: dict[str, Path]
    text: tuple[str, ...]
    facts: dict[str, Any]

    @property
    def path(self) -> Path:
        """The page."""
        return self.paths["html"]

    def lines(self) -> list[str]:
        """Where the files are, for a person."""
        return list(self.text)

    def to_dict(self) -> dict[str, Any]:
        """What `--json` gives."""
        return self.facts

    def __str__(self) -> str:
        return "\n".join(self.text)

    def _repr_html_(self) -> str:
        return f'<a href="{escape(self.path.as_uri())}">{escape(str(self.path))}</a>'


def report(
    run: RunLike | Sequence[RunLike],
    *,
    data: Path | None = None,
    out: Path | None = None,
    page: PageKind = "usual",
    code: Code = (),
    runs: Path = RUNS,
) -> ReportResult:
    """Writes one HTML page of a run and its summary on one picture, or a page of several runs side by side.

    Args:
        run: the run or runs: a Run, a result, a folder, an id, a label, or "last".
        data: where the data lies now, if it has moved; for a data set with a name, the folder to search first.
        out: where a comparison of several runs is written; the folder of runs.
        page: "slim" is a page without pictures, small enough to be sent by mail: report-slim.html, or of several runs
            comparison-slim.html. "features" computes the features of all images for the map of a run and for the
            nearest training images of its mistakes, however long that takes; "usual", of as many as take a few seconds.
        code: the files of one's own that the run uses; without them a page has no pictures of what the model does.
        runs: the folder of runs.

    Raises:
        PocketlensError: there is no such run, or no such page.
    """
    name_code(code)
    return run_call(reporting(run, data, out, runs, page), verbose=False)


def reporting(
    run: RunLike | Sequence[RunLike],
    data: Path | None,
    out: Path | None,
    runs: Path,
    page: PageKind = "usual",
) -> Events[ReportResult]:
    """The events of `report`."""
    if page not in get_args(PageKind):
        raise PocketlensError(f"page must be one of {', '.join(get_args(PageKind))}, got {page!r}.")
    check_runs(runs)
    check_place(data)
    named: list[RunLike] = [*run] if isinstance(run, (list, tuple)) else [cast("RunLike", run)]
    found = [find_run(each, runs) for each in named]
    if len(found) > 1:
        if page == "features":
            raise PocketlensError("--features is for the page of one run; leave it out with several runs.")
        yield Doing(f"reading {counted(len(found), 'run')} and {short_name(found[0].experiment.data)}")
        return _side_by_side(found, out or runs, data, page)
    if out is not None:
        raise PocketlensError("--out needs several runs; the report of one run is written to the run's folder.")
    yield Doing(f"reading {short_name(found[0].experiment.data)}, and drawing the page of {typed_name(found[0])}")
    return (yield from _one(found[0], data, page))


def _one(run: Any, data: Path | None, page: PageKind) -> Events[ReportResult]:
    from pocketlens.report.run.facts import read_facts
    from pocketlens.report.run.written import write_files
    from pocketlens.training.run_data import load_of

    lines, slim = [], page == "slim"
    try:
        dataset, sealed = load_of(run, data, command("report", run))
    except PocketlensError as error:
        lines += [] if slim else [f"the report has no images, as the data cannot be read: {error}"]
        dataset, sealed = None, None
    facts = read_facts(run, dataset, sealed)
    written = yield from write_files(run, facts, dataset, slim=slim, unlimited=page == "features")
    path = written.page
    lines += [f"summary  {written.summary}", f"report   {path}{_size(path) if slim else ''}"]
    tested = run.file("scores-test.json").exists()
    untestable = run.split.n_test == 0 or (sealed is not None and not len(sealed))
    to_test = command("test", run)
    following = f"open {path} in a browser" if tested or untestable else to_test
    if run.status()[0] in ("stopped", "killed"):
        following = command("resume", run)
    said = {"id": run.id, "path": str(run.path), "report": str(path), "summary": str(written.summary)}
    return ReportResult({"html": path, "png": written.summary}, (*lines, f"next: {following}"), said)


def _size(path: Path) -> str:
    """How large a file is, to follow its name."""
    n_bytes = path.stat().st_size
    return f" ({n_bytes / 1e6:.1f} MB)" if n_bytes >= 100_000 else f" ({n_bytes / 1e3:.0f} kB)"


def _side_by_side(runs: list[Any], folder: Path, data: Path | None, page: PageKind) -> ReportResult:
    from pocketlens.display.screen import table
    from pocketlens.report.run.side_by_side import HEADINGS, cells, read_lines, write_comparison
    from pocketlens.training.run_data import load_of

    try:
        dataset, _ = load_of(runs[0], data, "")
    except PocketlensError:
        dataset = None  # then there are the pictures that the runs keep
    paths = write_comparison(runs, folder, dataset, slim=page == "slim")
    columns = [HEADINGS.index(name) for name in SHOWN]
    rows = [cells(line) for line in read_lines(runs)]
    lines = table([tuple(row[i] for i in columns) for row in rows], tuple(HEADINGS[i] for i in columns))
    names = {"html": "page", "csv": "CSV", "md": "Markdown", "tex": "LaTeX"}
    lines += [f"{names[ending]:<9}{path}" for ending, path in paths.items()]
    lines.append(f"next: open {paths['html']} in a browser")
    facts = {"runs": [run.id for run in runs], **{ending: str(path) for ending, path in paths.items()}}
    return ReportResult(paths, tuple(lines), facts)
