"""What the calls are asked for, as frozen dataclasses: the command line fills them from words, Python from keywords."""

from __future__ import annotations

import dataclasses
import inspect
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from pocketlens.errors import PocketlensError, closest
from pocketlens.files import RUNS
from pocketlens.own_code import Nameable, from_function, name_code, name_typed
from pocketlens.recipe import Recipe, from_dict, looks_back, read_recipe
from pocketlens.text import path_hint

if TYPE_CHECKING:
    from pocketlens.data.dataset import Dataset
    from pocketlens.data.split import Split

Asked = TypeVar("Asked")
PRECISIONS = ("auto", "fp32", "bf16")
Code: TypeAlias = "Nameable | Sequence[Nameable]"  # files, or functions


@dataclass(frozen=True)
class DataRequest:
    """Which data, and how it is split.

    Attributes:
        dataset: a path, or a component text such as `cifar100(labels='coarse')`.
        data: the folder in which data sets are searched first; then $POCKETLENS_DATA, then the cache.
        val_fraction: the share of every class that is held out for validation, 0 up to and without 1; None: the
            validation rows that the data gives, such as a folder `val/` beside `train/` and `test/`, else 0.1.
        split_seed: decides which rows those are.
        rows: how many of the training rows are used, stratified; None uses all of them.
        relabel: corrected labels and dropped images, the labels.csv of `pocketlens review`.
    """

    dataset: str
    data: Path | None = None
    val_fraction: float | None = None
    split_seed: int = 0
    rows: int | None = None
    relabel: Path | None = None

    def check(self) -> None:
        """Checks all that can be checked without reading data.

        Raises:
            PocketlensError: a value is out of range, or a file or folder does not exist.
        """
        from pocketlens.datasets import component

        component(self.dataset, must_exist=True)
        if self.data is not None and not self.data.is_dir():
            raise PocketlensError(
                f"--data must be a folder that exists, got {str(self.data)!r}.{path_hint(self.data, '--data')}"
            )
        if self.val_fraction is not None and not 0 <= self.val_fraction < 1:
            raise PocketlensError(f"val_fraction must be at least 0 and below 1, got {self.val_fraction}.")
        if self.relabel is not None and not self.relabel.is_file():
            hint = path_hint(self.relabel, "--relabel")
            raise PocketlensError(f"--relabel must be a file that exists, got {str(self.relabel)!r}.{hint}")


@dataclass(frozen=True)
class ChosenRecipe:
    """A recipe and where it comes from, for a person; with `auto_precision`, its precision is still to be chosen."""

    recipe: Recipe
    source: str
    auto_precision: bool = False


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
        """The recipe with its changes, all its component texts checked; precision auto is left as the recipe has it.

        Raises:
            PocketlensError: a field or an option is unknown or out of range.
        """
        changes = dict(self.changes)
        if "precision" in changes and changes["precision"] not in PRECISIONS:
            raise PocketlensError(f"precision must be auto, fp32 or bf16, got {changes['precision']!r}.")
        if changes.get("precision") == "auto":
            del changes["precision"]
        return from_dict({**(base or self.base or Recipe()).to_dict(), **changes}, "the recipe")

    @property
    def auto_precision(self) -> bool:
        """Whether the faster precision is to be found: that is the default, unless a recipe in full says another one.

        A recipe in full is a file or a Recipe; one with a name says only where it needs bf16.
        """
        from pocketlens.recipe import named_recipes

        if "precision" in self.changes:
            return bool(self.changes["precision"] == "auto")
        if self.recipe is None:
            return True
        return isinstance(self.recipe, str) and self.recipe in named_recipes() and self.changed().precision == "fp32"

    def choose(self, dataset: Dataset, split: Split) -> ChosenRecipe:
        """The recipe for this data: the one that is named, else the usual one for so many rows, with the changes."""
        from pocketlens.recipe import SMALL, named_recipes, read_recipe, usual_recipe

        auto = self.auto_precision
        if self.recipe is not None:
            equal = (name for name in named_recipes() if read_recipe(name) == self.recipe)
            name = self.recipe if isinstance(self.recipe, str) else next(equal, "given")
            return ChosenRecipe(self.changed(), name, auto)
        usual = usual_recipe(len(split.train), dataset.shape[2])
        kind = "grey training images" if usual.name == "grey" else "training images"
        few = f"{'fewer than' if usual.name == 'small' else 'at least'} {SMALL:,} {kind}"
        return ChosenRecipe(self.changed(usual.recipe), f"{usual.name}, for {few}", auto)


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


@dataclass(frozen=True)
class ResourcesRequest:
    """How trials are run.

    Attributes:
        jobs: trials at the same time; None: 1, on a cluster as many as have room.
        trial_minutes: after so long a trial counts as hung; None: ten times the slowest one, at least 10 minutes.
        trial_memory: GB that a trial may allocate; None: no limit.
        cluster: the address of a Ray cluster; None: processes of this machine.
        track: a tracker that mirrors the numbers, tensorboard or mlflow.
    """

    jobs: int | None = None
    trial_minutes: float | None = None
    trial_memory: float | None = None
    cluster: str | None = None
    track: str | None = None

    def check(self) -> None:
        """Checks the tracker and the address, before torch is imported.

        Raises:
            PocketlensError: the tracker is not installed, or the address is not one.
        """
        if self.track is not None:
            from pocketlens.training.tracking import check_tracker

            check_tracker(self.track)
        if self.cluster is not None:
            from pocketlens.studies.cluster import check_address

            check_address(self.cluster)


def name_request(code: Code, data: DataRequest, recipe: RecipeRequest | None = None, *texts: object) -> None:
    """Names the code of a request: the files that it lists, and those in component texts that a person has typed.

    Raises:
        PocketlensError: a file is absent, cannot be read, or is not Python.
    """
    name_code(code)
    name_typed(data.dataset, *(() if recipe is None else recipe.changes.values()), *texts)


def check_runs(runs: Path) -> None:
    """Refuses a folder of runs that cannot be one.

    Raises:
        PocketlensError: it, or a folder above it, is a file.
    """
    for folder in (runs, *runs.parents):
        if folder.exists() and not folder.is_dir():
            raise PocketlensError(f"--runs must be a folder, but {str(folder)!r} is a file.")


def check_place(data: Path | None) -> None:
    """Refuses a place of a run's data at which there is nothing.

    Raises:
        PocketlensError: it does not exist.
    """
    if data is not None and not os.path.exists(data.expanduser()):
        hint = path_hint(data, "--data")
        raise PocketlensError(f"--data must be a folder or a file that exists, got {str(data)!r}.{hint}")


def needs_validation(recipe: Recipe) -> bool:
    """Whether the recipe chooses by validation scores."""
    return recipe.keep == "best" or recipe.patience is not None or looks_back(recipe.schedule)


@dataclass(frozen=True)
class TrainRequest:
    """What is to be trained.

    Attributes:
        seed: of the order, the augmentation and the weights; the first of `repeat` seeds.
        repeat: how many seeds.
        minutes: the time limit for all seeds together; it becomes a number of steps before the first one.
        label: a name for the run, beside its id.
        save_every: a checkpoint every so many steps, beside those after every epoch.
        track: a tracker that mirrors the numbers, tensorboard or mlflow.
        cluster: the address of a Ray cluster on which the seeds are trained.
        code: files of one's own, or functions, whose code may run; those in component texts need not be named again.
        runs: the folder of runs.
    """

    data: DataRequest
    recipe: RecipeRequest = field(default_factory=RecipeRequest)
    machine: Machine = field(default_factory=Machine)
    seed: int = 0
    repeat: int = 1
    minutes: float | None = None
    label: str = ""
    save_every: int | None = None
    track: str | None = None
    cluster: str | None = None
    runs: Path = RUNS
    code: Code = ()

    def check(self) -> None:
        """Checks all that can be checked without torch and without reading data.

        Raises:
            PocketlensError: a value is out of range, or two of them exclude each other.
        """
        self.data.check()
        check_runs(self.runs)
        recipe = self.recipe.changed()
        if self.data.val_fraction == 0 and needs_validation(recipe):
            raise PocketlensError(
                "--val-fraction must be above 0 with keep=best, patience or schedule=plateau, which use validation "
                "scores."
            )
        if self.minutes is not None and recipe.is_probe:
            raise PocketlensError(
                "--minutes must be left out with head=probe, which has no steps to choose from; to use the minutes, "
                "train the body from the probe on: --recipe finetune."
            )
        if self.repeat < 1 or self.seed < 0:
            raise PocketlensError(f"repeat must be 1 or more and seed 0 or more, got {self.repeat} and {self.seed}.")
        if self.track is not None:
            from pocketlens.training.tracking import check_tracker

            check_tracker(self.track)
        if self.cluster is not None:
            self._check_cluster(self.cluster)

    def _check_cluster(self, address: str) -> None:
        from pocketlens.studies.cluster import check_address
        from pocketlens.training.ranks import asked_ranks

        check_address(address)
        if asked_ranks(os.environ).n > 1:
            raise PocketlensError("--cluster and torchrun cannot be combined; leave one of them out.")
        for name in ("minutes", "save_every"):
            if getattr(self, name) is not None:
                option = f"--{name.replace('_', '-')}"
                raise PocketlensError(f"{option} works only on this machine; leave it out with --cluster.")


def build(kind: type[Asked], first: Mapping[str, Any], options: Mapping[str, Any]) -> Asked:
    """A request from flat keywords: its own fields, those of the requests in it, and recipe fields.

    Args:
        kind: the class of the request.
        first: what the call takes by position.
        options: what it takes by keyword.

    Raises:
        PocketlensError: a keyword is unknown.
    """
    known = _defaults(kind)
    recipe_fields = [each.name for each in dataclasses.fields(Recipe)] if "recipe" in known else []
    given: dict[str, Any] = {name: _typed(name, value) for name, value in first.items()}
    given["changes"] = {}
    for name, value in options.items():
        if name in known and name not in first:
            given[name] = _typed(name, value)
        elif name in recipe_fields:
            given["changes"][name] = from_function(value) if callable(value) else value
        else:
            raise PocketlensError(f"there is no option {name!r}.{closest(name, [*known, *recipe_fields])}")
    made: Asked = _make(kind, given)
    return made


_PATHS, _TEXTS = ("data", "runs", "relabel", "out", "look"), ("dataset", "recipe", "source")


def _typed(name: str, value: Any) -> Any:
    """A value as the request has it: a path may be given as a text, and a text that names a file as a path."""
    if name == "dataset" and callable(value):
        return from_function(value)
    if name in _PATHS and value is not None:
        return Path(value)
    return str(value) if name in _TEXTS and isinstance(value, Path) else value


def signed(call: Callable[..., Any], kind: type) -> None:
    """Gives a call that takes `**options` the signature of its request, for `help` and completion."""
    first = [each for each in inspect.signature(call).parameters.values() if each.kind is not each.VAR_KEYWORD]
    options = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default)
        for name, default in _defaults(kind).items()
        if name not in [each.name for each in first]
    ]
    takes_recipe = "recipe" in _defaults(kind)
    rest = [inspect.Parameter("recipe_fields", inspect.Parameter.VAR_KEYWORD)] if takes_recipe else []
    call.__signature__ = inspect.Signature([*first, *options, *rest])  # type: ignore[attr-defined]


def _part(kind: Any, each: dataclasses.Field[Any]) -> Any:
    """The request behind a field that holds one, else None."""
    found = getattr(sys.modules[kind.__module__], str(each.type), None)
    return found if dataclasses.is_dataclass(found) else None


def _make(kind: Any, given: Mapping[str, Any]) -> Any:
    values = {}
    for each in dataclasses.fields(kind):
        part = _part(kind, each)
        if part is not None:
            values[each.name] = _make(part, given)
        elif each.name in given:
            values[each.name] = given[each.name]
    return kind(**values)


def _defaults(kind: Any) -> dict[str, Any]:
    """Every flat keyword that a request takes, with its default."""
    found: dict[str, Any] = {}
    for each in dataclasses.fields(kind):
        part = _part(kind, each)
        if part is not None:
            found |= _defaults(part)
        elif each.name not in ("dataset", "changes", "made_by"):
            found[each.name] = None if each.default is dataclasses.MISSING else each.default
    return found
