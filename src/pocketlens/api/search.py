"""Searches: `pl.search` searches a space of recipes and estimates the selection bias of the best."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pocketlens.api.calls import run_call
from pocketlens.api.requests import build, name_request, signed
from pocketlens.api.resources import reserve
from pocketlens.api.study import StudyRequest, load_study_data, run_search
from pocketlens.events import Doing, Events, Fact
from pocketlens.text import counted, shorten

if TYPE_CHECKING:
    from pocketlens.api.study_results import SearchResult
    from pocketlens.studies.spec import SearchSpec

METHODS = ("coarse-to-fine", "tpe", "random", "grid")
TRIALS, MOST_TRIALS = 32, 10_000  # where no number is given: as such, and where the minutes decide


@dataclass(frozen=True)
class SearchRequest:
    """A search.

    Attributes:
        space: domains by address, `lr=log(0.01,1); batch_size=choice(64,128)`, or a mapping of address to domain.
        trials: of the search; None: 32, or with `minutes` as many as fit.
        minutes: no trial is begun that would not fit into so many.
        method: how values are chosen, one of METHODS.
        rounds: of coarse-to-fine.
        rungs: of successive halving: rising fractions of the epochs that end with 1.
        prune: the part of a rung's trials that is promoted to the next.
        repeat: new seeds for the best three and the base.
        source: a run from whose weights every trial starts.
    """

    study: StudyRequest
    space: str | Mapping[str, str] = ""
    trials: int | None = None
    minutes: float | None = None
    method: str = METHODS[0]
    rounds: int = 2
    rungs: tuple[float, ...] = (1.0,)
    prune: float = 0.5
    repeat: int = 3
    source: str | None = None

    def design(self, jobs: int) -> SearchSpec:
        """The design of the study."""
        from pocketlens.studies.spec import SearchSpec

        open_ended = self.minutes is not None and self.method != "grid"
        return SearchSpec(
            space=self.space_text,
            trials=self.trials or (MOST_TRIALS if open_ended else TRIALS),
            repeats=self.repeat,
            seed=self.study.seed,
            minutes=self.minutes,
            method=self.method,
            rounds=self.rounds,
            rungs=tuple(self.rungs),
            keep_fraction=self.prune,
            jobs=jobs,
        )

    @property
    def space_text(self) -> str:
        """The space as text."""
        if isinstance(self.space, str):
            return self.space
        return "; ".join(f"{address}={domain}" for address, domain in self.space.items())


def search(
    dataset: str | Path, space: str | Mapping[str, str], *, verbose: bool = True, **options: Any
) -> SearchResult:
    """Searches a space of recipes, and trains the best again with new seeds: `pocketlens search`.

    Args:
        dataset: a path, or a component text such as `cifar100(labels='coarse')`.
        space: domains by address: "lr=log(0.01,1); batch_size=choice(64,128)", or a mapping of address to domain.
        verbose: show the progress.
        options: the fields of SearchRequest and of the requests in it, and the fields of Recipe that differ.

    Raises:
        PocketlensError: an option or the data is not what it must be.
    """
    return run_call(searching(build(SearchRequest, {"dataset": dataset, "space": space}, options)), verbose=verbose)


signed(search, SearchRequest)


def searching(request: SearchRequest) -> Events[SearchResult]:
    """The events of `search`."""
    from pocketlens.studies.space import models_in, read_space

    name_request(request.study.code, request.study.data, request.study.recipe, request.space_text)
    request = _with_source(request)
    known = request.study.check()
    space = read_space(request.space_text, known)
    if request.method == "tpe":
        from pocketlens.studies.tpe import load_optuna

        load_optuna()
    yield Doing("loading PyTorch and the data")
    with reserve(request.study.wanted) as reserved:
        yield from reserved.facts
        from pocketlens.studies.search import start_search
        from pocketlens.studies.spec import make_spec
        from pocketlens.training.dry_run import try_all_weights, try_recipe

        try_all_weights(models_in(space, known))
        data = yield from load_study_data(request.study, reserved.resources.limits.device)
        dataset, split, base = data.loaded.dataset, data.loaded.split, data.base
        n = try_recipe(base, dataset.shape, len(dataset.classes))
        named = f"{base.id} ({data.source}): {shorten(base.model)}"
        yield Fact("base", f"{named} with {counted(n, 'parameter')}, {counted(base.epochs, 'epoch')}")
        design = request.design(reserved.resources.jobs)
        spec = make_spec(dataset, split, base, design, label=request.study.label, made_by=request.study.made_by)
        study = start_search(spec, split, request.study.runs)
        n_trials = study.spec.search.trials
        said = "as many trials as fit" if n_trials == MOST_TRIALS else counted(n_trials, "trial")
        yield Fact("study", f"{study.id}: {request.method}, {said}, in {study.path}")
        return (yield from run_search(study, reserved.resources))


def _with_source(request: SearchRequest) -> SearchRequest:
    """With a source, every trial starts from its weights, and its recipe is the base where none is named."""
    if request.source is None:
        return request
    from pocketlens.training.run import Run

    run = Run.open(request.source, request.study.runs)
    run.bind_code()
    recipe = request.study.recipe
    base = run.experiment.recipe if recipe.recipe is None else recipe.recipe
    changes = {**recipe.changes, "start": str(run.path.resolve())}
    study = replace(request.study, recipe=replace(recipe, recipe=base, changes=changes))
    return replace(request, study=study)
