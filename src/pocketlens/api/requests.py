"""What the calls are asked for, as frozen dataclasses: the command line fills them from words, Python from keywords."""

from __future__ import annotations

import dataclasses
import inspect
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pocketlens.errors import PocketlensError, closest
from pocketlens.recipe import Recipe, from_dict, looks_back, read_recipe

if TYPE_CHECKING:
    from pocketlens.data.dataset import Dataset
    from pocketlens.data.split import Split

Asked = TypeVar("Asked")


@dataclass(frozen=True)
class DataRequest:
    """Which data, and how it is split.

    Attributes:
        dataset: a path, or a component text such as `cifar100(labels='coarse')`.
        data: the folder in which data sets are searched first; then $POCKETLENS_DATA, then the cache.
        val_fraction: the share of every class that is held out for validation, 0 up to and without 1.
        split_seed: decides which rows those are.
        rows: how many of the training rows are used, stratified; None uses all of them.
        relabel: corrected labels, the labels.csv that `pocketlens look` writes.
    """

    dataset: str
    data: Path | None = None
    val_fraction: float = 0.1
    split_seed: int = 0
    rows: int | None = None
    relabel: Path | None = None

    def check(self) -> None:
        """Checks all that can be checked without reading data.

        Raises:
            PocketlensError: a value is out of range, or a file or folder does not exist.
        """
        from pocketlens.datasets import component

        component(self.dataset)
        if self.data is not None and not self.data.is_dir():
            raise PocketlensError(f"--data must be a folder that exists, got {str(self.data)!r}.")
        if not 0 <= self.val_fraction < 1:
            raise PocketlensError(f"val_fraction must be at least 0 and below 1, got {self.val_fraction}.")
        if self.relabel is not None and not self.relabel.is_file():
            raise PocketlensError(f"--relabel must be a file that exists, got {str(self.relabel)!r}.")


@dataclass(frozen=True)
class ChosenRecipe:
    """A recipe and where it comes from, for a person."""

    recipe: Recipe
    source: str


@dataclass(frozen=True)
class RecipeRequest:
    """Which recipe: a name, a file or a Recipe, None for the usual one; and the fields that differ from it."""

    recipe: str | Recipe | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def base(self) -> Recipe | None:
        """The recipe before its changes; None where the size of the data decides.

        Raises:
            PocketlensError: there is no such recipe.
        """
        return read_recipe(self.recipe) if isinstance(self.recipe, str) else self.recipe

    def changed(self, base: Recipe | None = None) -> Recipe:
        """The recipe with its changes, all its component texts checked.

        Raises:
            PocketlensError: a field or an option is unknown or out of range.
        """
        return from_dict({**(base or self.base or Recipe()).to_dict(), **self.changes}, "the recipe")

    def choose(self, dataset: Dataset, split: Split) -> ChosenRecipe:
        """The recipe for this data: the one that is named, else the usual one for so many rows, with the changes."""
        from pocketlens.recipe import SMALL, usual_name

        if self.recipe is not None:
            name = self.recipe if isinstance(self.recipe, str) else "given"
            return ChosenRecipe(self.changed(), name)
        name = usual_name(len(split.train), dataset.shape[2])
        kind = " of grey images" if name == "grey" else ""
        few = f"{'fewer than' if name == 'small' else 'at least'} {SMALL:,} rows"
        return ChosenRecipe(self.changed(read_recipe(name)), f"{name}, as there are {few}{kind}")


@dataclass(frozen=True)
class Machine:
    """Where to compute: auto, cpu, cuda or mps, and with how many CPU threads (None: as many as torch takes)."""

    device: str = "auto"
    threads: int | None = None

    def prepare(self, recipe: Recipe | None = None) -> str:
        """Loads torch, sets its threads, tries the options of the recipe's components; gives the device's name.

        Raises:
            PocketlensError: this machine has no such device, or a component refuses its options.
        """
        # A waiting OpenMP thread spins for milliseconds by default, which on a shared machine made steps 20 times
        # slower; the library reads this when torch loads it.
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")
        from pocketlens.training.device import prepare_machine

        device = prepare_machine(self.device, self.threads)
        if recipe is not None:
            from pocketlens.training.dry_run import try_options

            try_options(recipe)
        return device


def check_runs(runs: Path) -> None:
    """Refuses a folder of runs that cannot be one.

    Raises:
        PocketlensError: it, or a folder above it, is a file.
    """
    for folder in (runs, *runs.parents):
        if folder.exists() and not folder.is_dir():
            raise PocketlensError(f"--runs must be a folder, {str(folder)!r} is a file.")


def needs_validation(recipe: Recipe) -> bool:
    """Whether the recipe chooses by validation scores."""
    return recipe.keep == "best" or recipe.patience is not None or looks_back(recipe.schedule)


def build(kind: type[Asked], dataset: str, options: Mapping[str, Any]) -> Asked:
    """A request from a data set and flat keywords: its own fields, those of the requests in it, and recipe fields.

    Raises:
        PocketlensError: a keyword is unknown.
    """
    places = _places(kind)
    recipe_fields = [each.name for each in dataclasses.fields(Recipe)] if "recipe" in places else []
    given: dict[str, dict[str, Any]] = {"data": {"dataset": str(dataset)}}
    changes: dict[str, Any] = {}
    for name, value in options.items():
        if name in places:
            given.setdefault(places[name], {})[name] = _as_path(name, value)
        elif name in recipe_fields:
            changes[name] = _as_text(value)
        else:
            known = sorted({*places, *recipe_fields} - {"changes", "dataset"})
            raise PocketlensError(f"there is no option {name!r}.{closest(name, known)}")
    if changes:
        given.setdefault("recipe", {})["changes"] = changes
    own = given.pop("", {})
    parts = _parts(kind)
    return kind(**own, **{part: parts[part](**values) for part, values in given.items()})


def signed(call: Callable[..., Any], kind: type) -> None:
    """Gives a call that takes `**options` the signature of its request, for `help` and completion."""
    options = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default)
        for name, default in _defaults(kind).items()
    ]
    first = [each for each in inspect.signature(call).parameters.values() if each.kind is not each.VAR_KEYWORD]
    rest = inspect.Parameter("recipe_fields", inspect.Parameter.VAR_KEYWORD)
    call.__signature__ = inspect.Signature([*first, *options, rest])  # type: ignore[attr-defined]


def _parts(kind: Any) -> dict[str, Any]:
    """The requests within a request, by the names of their fields."""
    known = {part.__name__: part for part in (DataRequest, RecipeRequest, Machine)}
    return {each.name: known[str(each.type)] for each in dataclasses.fields(kind) if str(each.type) in known}


def _places(kind: Any) -> dict[str, str]:
    """By each flat keyword, the name of the request within `kind` that takes it; "" for `kind` itself."""
    parts = _parts(kind)
    places = {each.name: "" for each in dataclasses.fields(kind) if each.name not in parts}
    for name, part in parts.items():
        places |= {each.name: name for each in dataclasses.fields(part)}
    return places


def _defaults(kind: Any) -> dict[str, Any]:
    found = {}
    for owner in (kind, *_parts(kind).values()):
        for each in dataclasses.fields(owner):
            if each.name not in (*_parts(kind), "changes", "dataset"):
                found[each.name] = None if each.default is dataclasses.MISSING else each.default
    return found


def _as_path(name: str, value: Any) -> Any:
    return Path(value) if name in ("data", "runs", "relabel", "out") and value is not None else value


def _as_text(value: Any) -> Any:
    return value
