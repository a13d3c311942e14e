"""Comparisons: `pl.compare` trains recipes in pairs and gives verdicts, `pl.sweep` tries values around a base."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pocketlens.api.calls import run_call
from pocketlens.api.requests import build, name_request, signed
from pocketlens.api.resources import reserve
from pocketlens.api.shown import Shown
from pocketlens.api.study import StudyRequest, load_study_data, run_comparison
from pocketlens.display.screen import table
from pocketlens.errors import PocketlensError
from pocketlens.events import Doing, Events, Fact
from pocketlens.recipe import Recipe
from pocketlens.studies.overrides import Variant, grid, pointwise, read_lists, read_variant
from pocketlens.text import counted, listed, path_hint

if TYPE_CHECKING:
    from pocketlens.api.study_results import ComparisonResult
    from pocketlens.data.dataset import Dataset
    from pocketlens.studies.spec import ComparisonSpec

MOST_RECIPES = 1000
_PLANNED = (2, 3, 5, 8, 10, 15, 20)  # repeats in the table of a plan
Values = str | Mapping[str, Sequence[Any]]


@dataclass(frozen=True)
class CompareRequest:
    """Recipes to compare: names, files, Recipes, "base", or changes such as `lr=0.1; optimizer.momentum=0.9`.

    `relabel=labels.csv` among the changes trains on corrected labels, by which all candidates are then scored.
    """

    study: StudyRequest
    recipes: tuple[str | Recipe, ...] = ()
    repeat: int = 5

    @property
    def typed(self) -> tuple[object, ...]:
        """The texts in which a person may have named code."""
        return self.recipes

    def variants(self, base: Recipe) -> list[Variant]:
        """The recipes by their names; a single one is compared with the base.

        Raises:
            PocketlensError: a recipe is not one.
        """
        found = [
            Variant(f"recipe {each.id}", each) if isinstance(each, Recipe) else read_variant(each, base)
            for each in self.recipes
        ]
        for each in found:
            if each.relabel and not Path(each.relabel).is_file():
                raise PocketlensError(
                    f"relabel must be a file that exists, got {each.relabel!r}.{path_hint(each.relabel)}"
                )
        found = self.study.in_precision(found, base)
        return [Variant("base", base), *found] if len(found) == 1 else found

    def design(self, base: Recipe) -> ComparisonSpec:
        """All pairs of the recipes."""
        from pocketlens.studies.spec import ComparisonSpec

        return ComparisonSpec(
            tuple(self.variants(base)), self.repeat, self.study.seed, pairs="all pairs", kind="compare"
        )


@dataclass(frozen=True)
class SweepRequest:
    """Values to try by address, as text (`lr=0.1,0.2; optimizer=sgd,adam`) or a mapping; one at a time, or all pairs.

    Attributes:
        grid: all combinations of the values, instead of one value at a time.
    """

    study: StudyRequest
    values: Values = ""
    grid: bool = False
    repeat: int = 3

    @property
    def typed(self) -> tuple[object, ...]:
        """The texts in which a person may have named code."""
        return (self.values,) if isinstance(self.values, str) else tuple(chain.from_iterable(self.values.values()))

    def variants(self, base: Recipe) -> list[Variant]:
        """The base and the recipes with other values.

        Raises:
            PocketlensError: an address or a value is not one, or there are too many recipes.
        """
        values = self.values
        lists = read_lists(values) if isinstance(values, str) else {name: list(each) for name, each in values.items()}
        found = (grid if self.grid else pointwise)(base, lists)
        if len(found) > MOST_RECIPES:
            raise PocketlensError(
                f"a sweep must have at most {MOST_RECIPES:,} recipes, got {len(found):,}; give fewer values."
            )
        return self.study.in_precision(found, base)

    def design(self, base: Recipe) -> ComparisonSpec:
        """Each recipe with the base."""
        from pocketlens.studies.spec import ComparisonSpec

        return ComparisonSpec(tuple(self.variants(base)), self.repeat, self.study.seed, pairs="base", kind="sweep")


def compare(
    dataset: str | Path, recipes: Sequence[str | Path | Recipe], *, verbose: bool = True, **options: Any
) -> ComparisonResult:
    """Trains recipes with the same seeds and says which is better, or that it cannot tell: `pocketlens compare`.

    Args:
        dataset: a path, or a component text such as `cifar100(labels='coarse')`.
        recipes: names, files, Recipes, "base", or changes such as "lr=0.1; optimizer.momentum=0.9"; with
            "relabel=labels.csv" on corrected labels, by which all are then scored, and by the given ones too.
        verbose: show the progress.
        options: `repeat`, the fields of StudyRequest and of the requests in it, and the fields of Recipe that differ.

    Raises:
        PocketlensError: an option or the data is not what it must be.
    """
    several = (recipes,) if isinstance(recipes, (str, Path, Recipe)) else tuple(recipes)
    named = tuple(str(each) if isinstance(each, Path) else each for each in several)
    return run_call(comparing(build(CompareRequest, {"dataset": dataset, "recipes": named}, options)), verbose=verbose)


def sweep(dataset: str | Path, values: Values, *, verbose: bool = True, **options: Any) -> ComparisonResult:
    """Tries values around a base recipe, each with several seeds: `pocketlens sweep`.

    Args:
        dataset: a path, or a component text such as `cifar100(labels='coarse')`.
        values: "lr=0.1,0.2; optimizer=sgd,adam", or {"lr": [0.1, 0.2], "optimizer": ["sgd", "adam"]}.
        verbose: show the progress.
        options: `grid`, `repeat`, the fields of StudyRequest and of the requests in it, and fields of Recipe.

    Raises:
        PocketlensError: an option or the data is not what it must be.
    """
    return run_call(comparing(build(SweepRequest, {"dataset": dataset, "values": values}, options)), verbose=verbose)


signed(compare, CompareRequest)
signed(sweep, SweepRequest)


def comparing(request: CompareRequest | SweepRequest) -> Events[ComparisonResult]:
    """The events of `compare` and of `sweep`."""
    name_request(request.study.code, request.study.data, request.study.recipe, *request.typed)
    variants = request.variants(request.study.check())
    yield Doing("loading PyTorch and the data")
    with reserve(request.study.wanted) as reserved:
        yield from reserved.facts
        from pocketlens.studies.compare import start_comparison
        from pocketlens.studies.relabelled import relabelling_for
        from pocketlens.studies.spec import make_spec
        from pocketlens.training.dry_run import try_all_weights, try_recipe

        try_all_weights(each.recipe for each in variants)
        data = yield from load_study_data(request.study, reserved.resources.limits.device)
        dataset, split = data.loaded.dataset, data.loaded.split
        design = request.design(data.base)
        relabelling = relabelling_for(design.candidates, dataset, split)
        if relabelling is not None:
            yield Fact("relabel", relabelling.said())
            design = _with_copies(design, relabelling.corrections.hash)
        for variant in design.candidates:
            n = try_recipe(variant.recipe, dataset.shape, len(dataset.classes))
            yield Fact("recipe", f"{variant.name} ({variant.recipe.id}): {counted(n, 'parameter')}")
        yield from _sizes_note(request.study.data.dataset, dataset, design)
        spec = make_spec(dataset, split, data.base, design, label=request.study.label, made_by=request.study.made_by)
        study = start_comparison(spec, split, request.study.runs, relabelling)
        n_recipes = len(design.candidates)
        yield Fact(
            "study", f"{study.id}: {counted(n_recipes, 'recipe')}, {counted(request.repeat, 'repeat')}, in {study.path}"
        )
        return (yield from run_comparison(study, reserved.resources))


def _with_copies(design: ComparisonSpec, digest: str) -> ComparisonSpec:
    """The design with the hash of the corrections, of which the study keeps a copy, in the place of their file."""
    candidates = (replace(each, relabel=digest if each.relabel else "") for each in design.candidates)
    return replace(design, candidates=tuple(candidates))


def _sizes_note(typed: str, dataset: Dataset, design: ComparisonSpec) -> Events[None]:
    """Says where images have a size that was chosen for the base, and pretrained candidates would get a larger one."""
    from pocketlens.api.data import aim_at
    from pocketlens.data.sizes import is_pretrained, size_for
    from pocketlens.datasets import component

    if dataset.sizes is None or str(component(typed)) == dataset.text:
        return
    side = min(dataset.shape[:2])
    wanted = {
        each.name: size_for(dataset.sizes, aim_at(each.recipe)) or side
        for each in design.candidates
        if is_pretrained(each.recipe.model)
    }
    larger = [name for name, size in wanted.items() if size > side]
    if larger:
        size = max(wanted.values())
        yield Fact(
            "sizes",
            f"the images have {side} px, chosen for the base recipe, and {listed(larger)} would get {size} px; to "
            f"compare at that size, type size={size} as an option of the data set",
        )


class PlannedRepeats(NamedTuple):
    """A number of repeats, and the difference in points that it detects in 80 and in 90 % of studies."""

    n: int
    visible_80: float
    visible_90: float


@dataclass(frozen=True)
class ComparisonPlan(Shown):
    """Which true difference a comparison would detect, in points, for several numbers of repeats."""

    spread: float
    n_pairs: int
    rows: tuple[PlannedRepeats, ...]

    def lines(self) -> list[str]:
        """The table, for a person."""
        pairs = counted(self.n_pairs, "pair") + (" (Holm's correction)" if self.n_pairs > 1 else "")
        first = f"smallest detectable difference in points, with a spread of {self.spread:g} over seeds and {pairs}:"
        rows = [(str(n), f"{a:.2f}", f"{b:.2f}") for n, a, b in self.rows]
        return [first, *(f"  {line}" for line in table(rows, ("repeats", "in 80 % of studies", "in 90 %")))]

    def to_dict(self) -> dict[str, Any]:
        """What `--json` gives."""
        plan = [{"repeats": n, "visible_80": round(a, 2), "visible_90": round(b, 2)} for n, a, b in self.rows]
        return {"spread": self.spread, "n_pairs": self.n_pairs, "plan": plan}


def plan_comparison(request: CompareRequest | SweepRequest, spread: float | None) -> ComparisonPlan:
    """What a comparison would detect, without training; `spread` is a recipe's deviation over seeds, in points.

    Raises:
        PocketlensError: the recipes are not what they must be, or no spread is given.
    """
    name_request(request.study.code, request.study.data, request.study.recipe, *request.typed)
    n = len(request.variants(request.study.check()))
    if spread is None:
        raise PocketlensError("--plan needs --spread POINTS, the standard deviation of a recipe's accuracy over seeds.")
    from pocketlens.scoring.significance import detectable_difference

    n_pairs = max(1, n * (n - 1) // 2 if isinstance(request, CompareRequest) else n - 1)
    counts = [each for each in sorted({*_PLANNED, request.repeat}) if each > 1]
    rows = tuple(
        PlannedRepeats(
            n, detectable_difference(spread, n, n_pairs, 0.8), detectable_difference(spread, n, n_pairs, 0.9)
        )
        for n in counts
    )
    return ComparisonPlan(spread, n_pairs, rows)
