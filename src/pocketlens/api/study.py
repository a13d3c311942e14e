"""What the calls that make studies share, and `pl.study`, which continues one.

A comparison, a sweep, a search or a transfer is a request; from it follows a study in the folder of runs; its trials
are run; and the result is what is known so far. A study that was stopped or killed is continued from its folder.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pocketlens.api.calls import run_call
from pocketlens.api.precision import with_precision
from pocketlens.api.requests import (
    Code,
    DataRequest,
    Machine,
    RecipeRequest,
    ResourcesRequest,
    build,
    check_place,
    check_runs,
    signed,
)
from pocketlens.api.resources import Wanted, reserve
from pocketlens.api.runs import quoted
from pocketlens.errors import PocketlensError
from pocketlens.events import Events, Fact, Line, StudyStarted, TrialEnded, TrialEvent, until_stopped
from pocketlens.files import RUNS, write_json
from pocketlens.own_code import name_code
from pocketlens.studies.overrides import Variant, named_in_precision
from pocketlens.text import as_command, counted

if TYPE_CHECKING:
    from pocketlens.api.data import LoadedData
    from pocketlens.api.study_results import ComparisonResult, SearchResult
    from pocketlens.recipe import Recipe
    from pocketlens.studies.executors import Resources
    from pocketlens.studies.store import Study
    from pocketlens.training.run import Run


@dataclass(frozen=True)
class StudyRequest:
    """What every study is asked for.

    Attributes:
        seed: the first seed.
        label: a name for the study, beside its id.
        made_by: the command that makes it.
        code: files of one's own whose code may run; those in component texts need not be named again.
        runs: the folder of runs; studies lie in `runs`/studies.
    """

    data: DataRequest
    recipe: RecipeRequest = field(default_factory=RecipeRequest)
    machine: Machine = field(default_factory=Machine)
    resources: ResourcesRequest = field(default_factory=ResourcesRequest)
    seed: int = 0
    label: str = ""
    made_by: str = "pocketlens from Python"
    runs: Path = RUNS
    code: Code = ()

    def check(self) -> Recipe:
        """Checks all that can be checked without torch and without reading data; gives the base recipe as it is known.

        Raises:
            PocketlensError: a value is out of range.
        """
        self.data.check()
        check_runs(self.runs)
        self.resources.check()
        if self.data.val_fraction == 0:
            raise PocketlensError("--val-fraction must be above 0 in a study, which compares validation scores.")
        if self.data.relabel is not None:
            raise PocketlensError(
                "relabel must be one of the recipes that are compared, because all rows of a study share their labels: "
                f'compare(dataset, ["base", "relabel={self.data.relabel}"]).'
            )
        return self.recipe.changed()

    def in_precision(self, variants: Sequence[Variant], base: Recipe) -> list[Variant]:
        """The variants, those that are a recipe with a name in the precision that was chosen for the base."""
        if not self.recipe.auto_precision:
            return [*variants]
        return [named_in_precision(each, base.precision) for each in variants]

    @property
    def wanted(self) -> Wanted:
        """What its trials run on."""
        return Wanted(self.resources, self.machine, self.data.data, self.runs)


@dataclass(frozen=True, eq=False)
class StudyData:
    """The data of a study, its base recipe, and where that comes from."""

    loaded: LoadedData
    base: Recipe
    source: str


def load_study_data(request: StudyRequest, device: str, sources: Sequence[Run] = ()) -> Events[StudyData]:
    """Loads and splits the data, and chooses the base recipe; `sources` are runs to start from, beside the recipe's.

    Raises:
        PocketlensError: the data cannot be read, or the recipe does not start from a run that fits.
    """
    from pocketlens.api.data import aim_at, load_data, sources_of
    from pocketlens.studies.compare import fixed_start

    typed = request.recipe.changed()
    sources = (*sources, *sources_of(typed, request.runs))
    aim = aim_at(typed, sources, device=device)
    loaded = yield from load_data(request.data, aim, sources)
    chosen = request.recipe.choose(loaded.dataset, loaded.split)
    if request.resources.cluster is None:
        made = with_precision(chosen, loaded.dataset, len(loaded.split.train), device)
        chosen = made.chosen
        for line in made.lines:
            yield Fact("", line)
    base = fixed_start(chosen.recipe, loaded.dataset, loaded.split, request.runs)
    return StudyData(loaded, base, chosen.source)


def run_comparison(study: Study, resources: Resources) -> Events[ComparisonResult]:
    """Runs what is missing of a comparison, a sweep or a transfer; writes result.json and the page."""
    from pocketlens.api.study_results import ComparisonResult
    from pocketlens.studies.compare import read_comparison, trials_of
    from pocketlens.studies.pool import run_study

    study.enqueue(trials_of(study))  # those that a damaged journal has lost
    events = run_study(study, resources.limits, jobs=resources.jobs, executor=resources.executor)
    signal = yield from _run_trials(study, events, resources)
    result = ComparisonResult(study, read_comparison(study), signal)
    yield from _say(result.lines())
    if signal is None:
        page = record_result(result)
        yield Line(f"report   {page}")
        yield Line(f"next: open {page} in a browser")
    return result


def run_search(study: Study, resources: Resources) -> Events[SearchResult]:
    """Runs what is missing of a search; writes result.json, winner.json and the page."""
    from pocketlens.api.study_results import SearchResult
    from pocketlens.studies.search import read_search
    from pocketlens.studies.search import run_search as search_trials

    events = search_trials(study, resources.limits, resources.jobs, resources.executor)
    signal = yield from _run_trials(study, events, resources)
    result = SearchResult(study, read_search(study), signal)
    yield from _say(result.lines())
    if signal is None:
        yield Line(f"report   {record_result(result)}")
        yield Line(f"trials   {study.path / 'trials.csv'}")
        if result.found.winner is not None:
            command = ["pocketlens", "train", study.spec.data, "--recipe", str(study.path / "winner.json")]
            yield Line(f"next: {as_command(command)}")
    return result


def record_result(result: ComparisonResult | SearchResult) -> Path:
    """Writes a study's result.json, its page and, of a search, the recipe of the winner; gives the page's path."""
    from pocketlens.api.study_results import SearchResult
    from pocketlens.report.study.page import write_study_page

    folder = result.study.path
    write_json(folder / "result.json", result.values())
    winner = result.found.winner if isinstance(result, SearchResult) else None
    if winner is not None:
        write_json(folder / "winner.json", winner.trial.recipe.to_dict())
    return write_study_page(result.study)


def study(name: str, *, verbose: bool = True, **options: Any) -> ComparisonResult | SearchResult:
    """Continues a study that was stopped or killed, and gives what is known: `pocketlens study`.

    Args:
        name: the study's folder, its id, its label, or "last".
        verbose: show the progress.
        options: `device`, `threads`, `data`, `runs`, `code` (the files of one's own that the study uses), and the
            fields of ResourcesRequest.

    Raises:
        PocketlensError: there is no such study.
    """
    wanted = build(Wanted, {}, options)
    return run_call(continuing(name, wanted), verbose=verbose)


signed(study, Wanted)


def continuing(name: str, wanted: Wanted) -> Events[ComparisonResult | SearchResult]:
    """The events of `study`."""
    from pocketlens.studies.store import Study
    from pocketlens.studies.study_data import require_data

    check_runs(wanted.runs)
    check_place(wanted.data)
    wanted.request.check()
    name_code(wanted.code)
    found = Study.open(name, wanted.runs)
    found.require_code()
    kind, records = found.spec.kind, found.records()
    if not all(record.is_ended for record in records):
        where = "" if wanted.runs == RUNS else f" --runs {quoted(str(wanted.runs))}"
        require_data(found, wanted.data, f"pocketlens study {found.id}{where}")
    n_ended = sum(record.is_ended for record in records)
    yield Fact("study", f"{found.id}: {kind}, {n_ended} of {counted(len(records), 'trial has', 'trials have')} ended")
    if found.journal.n_unreadable():
        yield Fact("", f"{counted(found.journal.n_unreadable(), 'unreadable line')} of the journal ignored")
    with reserve(wanted) as reserved:
        yield from reserved.facts
        return (yield from (run_search if kind == "search" else run_comparison)(found, reserved.resources))


def _run_trials(study: Study, events: Generator[TrialEvent, None, None], resources: Resources) -> Events[int | None]:
    """The trials' events; those that have ended are mirrored by the tracker. Gives the signal that stopped them."""
    from pocketlens.training.run import Run

    tracker = resources.tracker
    yield StudyStarted(study.id)
    if tracker is not None:
        for record in study.records():
            if record.is_ended:
                yield from _say([tracker.follow(study.run(record.trial))])

    def mirrored() -> Generator[TrialEvent | Line, None, None]:
        with contextlib.closing(events):
            for event in events:
                yield event
                if tracker is not None and isinstance(event, TrialEnded):
                    yield from _say([tracker.follow(Run(event.trial.folder))])

    return (yield from until_stopped(mirrored())).signal


def _say(lines: Any) -> Generator[Line, None, None]:
    for line in lines:
        if line is not None:
            yield Line(line)
