"""Recipe: everything about how to train, and nothing else. Experiment: data + split + recipe + seed.

A recipe is flat and frozen; its fields are the options of the command line, their metadata is the help text, and its
JSON is both what a run stores and what `--recipe FILE` reads. The value typed is the value used.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from pocketlens.components import Component, names, option, parse_one, parse_pipe, signature, signature_of
from pocketlens.errors import PocketlensError, closest
from pocketlens.files import read_json
from pocketlens.own_code import CodeRecord, records_from, records_in
from pocketlens.text import path_hint

SMALL = 20_000  # training rows below which the recipe `small` is the better start
MIXING = ("cutmix", "fmix", "mixup")  # augmentations that mix an image with others of its batch


def _option(default: Any, help: str) -> Any:
    return field(default=default, metadata={"help": help})


@dataclass(frozen=True)
class Recipe:
    """How to train. Every field is an option of `pocketlens train`."""

    model: str = _option("lens", "network, such as lens or resnet(depth=18)")
    prepare: str = _option("none", "operations on every image, also in prediction and export, such as resize(32)")
    normalize: str = _option("standardize", "standardize (by training mean, std), body (as pretrained), minmax or none")
    augment: str = _option("flip | crop(pad=2)", "augmentations joined by |, or none")
    replicate: int = _option(0, "number of extra augmented copies of each training image in every epoch")
    refresh: int = _option(1, "redraw the augmentations every N epochs; 0 draws them only once")
    sizes: str = _option(
        "62.5%:0.15 75%:0.5 100%",
        "progressive resizing: pairs SIZE:UNTIL (px or % of full size; fraction of the steps), then SIZE; 100% is none",
    )
    loss: str = _option("cross_entropy(smoothing=0.25)", "loss function")
    class_weight: str = _option("none", "none, or balanced: weight the loss of each class by its inverse frequency")
    sampling: str = _option("none", "none, or balanced: draw equally many images of each class in an epoch")
    optimizer: str = _option(
        "muon(momentum=0.6, rest_lr=1.38)", "optimizer, then its modifiers after |, such as 'sgd | sam | ema'"
    )
    lr: float = _option(0.18, "peak learning rate")
    body_lr_scale: float = _option(1.0, "learning rate of all layers before the head, as a multiple of lr")
    weight_decay: float = _option(5e-4, "weight decay, added to the gradient (adamw: decoupled)")
    decay_on: str = _option("head", "parameters that decay: weights (never norms and biases), head, all or none")
    schedule: str = _option("triangle(warmup=0.25)", "learning-rate schedule")
    batch_size: int = _option(1024, "maximum batch size; an epoch is split into batches of equal size")
    epochs: float = _option(9.0, "passes over the training images; may be a fraction")
    keep: str = _option("last", "weights to keep: last, or best (of the epoch with the highest validation accuracy)")
    patience: int | None = _option(None, "early stopping: stop after N epochs without a better validation accuracy")
    start: str | None = _option(None, "warm start: a run (or last) whose weights are copied wherever they fit")
    freeze: str = _option(
        "none",
        "layers that are not trained: none, body (all but the head) or groups(N) (the first N groups of layers); "
        "statistics, or groups(N) | statistics, keeps the running statistics of every batch norm",
    )
    head: str = _option(
        "keep",
        "with start: keep (if it fits), new, or append (a new linear layer on the outputs of the source); probe: fit "
        "a logistic regression on the body's features first, and continue training from it unless freeze is body",
    )
    precision: str = _option("fp32", "fp32, or bf16 if the hardware supports it")

    def __post_init__(self) -> None:
        check_types(self)
        check_values(self)

    def check(self) -> None:
        """Checks every component text against its room, without importing it.

        Raises:
            PocketlensError: a component or an option is unknown, or two components do not go together.
        """
        for room, text in (("models", self.model), ("losses", self.loss), ("schedules", self.schedule)):
            parse_one(text, room)
        for room, text in (("operations", self.prepare), ("augment", self.augment)):
            parse_pipe(text, room)
        _, *modifiers = parse_optimizer(self.optimizer)
        parse_sizes(self.sizes)
        _check_views(self)
        if self.keep == "best" and "wise_ft" in [part.name for part in modifiers]:
            raise PocketlensError("keep must be last with wise_ft, which chooses weights by validation itself.")
        if self.normalize == "body" and parse_one(self.model, "models").name != "timm":
            raise PocketlensError(
                f"normalize=body needs a model of timm, which says how its pretrained weights want it, got "
                f"{self.model!r}; give --normalize standardize, or --model \"timm(name='resnet18', pretrained=True)\"."
            )

    @property
    def is_probe(self) -> bool:
        """Whether nothing is trained but a logistic regression on the features of a frozen body."""
        return self.head == "probe" and frozen_layers(self.freeze) == "body"

    @property
    def starts_from_probe(self) -> bool:
        """Whether such a probe comes first, and layers of the body are trained from there."""
        return self.head == "probe" and not self.is_probe

    @property
    def component_texts(self) -> tuple[str, ...]:
        """The fields that hold components."""
        return self.model, self.prepare, self.augment, self.loss, self.optimizer, self.schedule

    @property
    def id(self) -> str:
        """8 hexadecimal digits of the fields that differ from the defaults, so that new fields change no id."""
        defaults = Recipe()
        changed = {key: value for key, value in self.to_dict().items() if value != getattr(defaults, key)}
        return hashlib.blake2b(json.dumps(changed, sort_keys=True).encode(), digest_size=4).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """All fields, as JSON holds them."""
        return dataclasses.asdict(self)

    def changed(self, **changes: Any) -> Recipe:
        """This recipe with some fields changed.

        Raises:
            PocketlensError: a field is unknown or a value is not allowed.
        """
        return from_dict({**self.to_dict(), **changes}, "recipe")


@dataclass(frozen=True)
class Experiment:
    """What experiment.json holds: data, recipe, split and seed, and the number of steps that follows from them."""

    data: str  # component text of the data set
    recipe: Recipe
    seed: int = 0
    val_fraction: float = 0.1
    split_seed: int = 0
    data_fingerprint: str = ""
    n_steps: int | None = None  # None: from recipe.epochs
    stop_step: int | None = None  # the schedule is for n_steps, but training ends here (a refit to the best epoch)
    label: str = ""  # a person's name for the run; never a path
    made_by: str = ""  # the command or run that this one comes from
    minutes: float | None = None  # the time limit from which n_steps was computed, where there was one
    factors: tuple[float, ...] | None = None  # of each epoch: a schedule that looked back, replayed by a refit
    alpha: float | None = None  # of the interpolation that another run has chosen, for a refit without validation rows
    relabel_hash: str = ""  # of the corrected labels in the run's relabel.csv, where there are any
    n_relabelled: int = 0  # how many labels those are
    rows: int | None = None  # training rows that were kept of the split's, where not all were
    start_weights: str = ""  # hash of the weights of recipe.start, where there is one; noted when the run is made
    start_outputs: tuple[int, ...] = ()  # outputs of the nets below the head, where it was appended to one
    features_of: str = ""  # what was fitted on the features of the run recipe.start, and nothing trained: logistic(..)
    code: tuple[CodeRecord, ...] = ()  # the files behind components of one's own; noted when the run is made
    hold_out: int = 1  # version of the rule by which the data's test rows are held out; absent in runs of before

    def to_dict(self) -> dict[str, Any]:
        """What experiment.json holds."""
        value = {**dataclasses.asdict(self), "recipe": self.recipe.to_dict(), "recipe_id": self.recipe.id}
        if self.hold_out == 1:
            del value["hold_out"]
        if self.alpha is None:
            del value["alpha"]
        if not self.code:
            del value["code"]
        return value

    def with_code(self) -> Experiment:
        """The experiment with the hashes of the files behind its components, where there are any."""
        texts = self.data, *self.recipe.component_texts
        return dataclasses.replace(self, code=records_in(*texts, kept=self.code))

    @staticmethod
    def from_dict(value: Any, source: str = "experiment") -> Experiment:
        """The reverse of `to_dict`.

        Raises:
            PocketlensError: a key is missing, unknown, or of the wrong type.
        """
        if not isinstance(value, dict) or not isinstance(value.get("recipe"), dict):
            raise PocketlensError(f"{source} must be a JSON object with the key 'recipe'.")
        known = {f.name for f in dataclasses.fields(Experiment)}
        extra = set(value) - known - {"recipe_id"}
        if extra or "data" not in value:
            problem = f"unknown key {sorted(extra)[0]!r}" if extra else "the key 'data' is missing"
            raise PocketlensError(f"{source}: {problem}.")
        rest = {key: value[key] for key in known & set(value) if key != "recipe"}
        if rest.get("factors") is not None:
            rest["factors"] = _factors(rest["factors"], source)
        rest["start_outputs"] = tuple(rest.get("start_outputs", ()))
        rest["code"] = records_from(rest.get("code", []), source)
        return Experiment(recipe=from_dict(value["recipe"], source), **rest)


def _factors(value: Any, source: str) -> tuple[float, ...]:
    if not (isinstance(value, list) and value and all(isinstance(f, (int, float)) and 0 <= f <= 1 for f in value)):
        raise PocketlensError(f"{source}: factors must be a list of numbers in 0..1, one for each epoch.")
    return tuple(float(factor) for factor in value)


def from_dict(value: Any, source: str) -> Recipe:
    """A recipe from JSON's object; `source` names it in errors."""
    if not isinstance(value, dict):
        raise PocketlensError(f"{source} must be a JSON object of recipe fields, got {type(value).__name__}.")
    known = [f.name for f in dataclasses.fields(Recipe)]
    for key in value:
        if key not in known:
            raise PocketlensError(f"{source}: a recipe has no field {key!r}.{closest(str(key), known)}")
    recipe = Recipe(**value)
    recipe.check()
    return recipe


def named_recipes() -> dict[str, Path]:
    """The recipes that come with pocketlens, by name: the files of the folder `recipes`."""
    return {path.stem: path for path in sorted((Path(__file__).parent / "recipes").glob("*.json"))}


@dataclass(frozen=True)
class NamedRecipe:
    """A recipe that comes with pocketlens, and its name."""

    name: str
    recipe: Recipe


def usual_recipe(n_train: int, channels: int) -> NamedRecipe:
    """The recipe to start with for `n_train` training rows of colour or (one channel) grey images."""
    name = "small" if n_train < SMALL else "grey" if channels == 1 else "default"
    return NamedRecipe(name, read_recipe(name))


def read_recipe(name_or_file: str) -> Recipe:
    """A named recipe, a recipe's JSON file, or the recipe of an experiment.json."""
    named = named_recipes()
    path = named.get(name_or_file, Path(name_or_file))
    if name_or_file not in named and not path.exists():
        hint = path_hint(name_or_file) or closest(name_or_file, [*named])
        raise PocketlensError(f"recipe must be a known name or a file that exists, got {name_or_file!r}.{hint}")
    value = read_json(path)
    if isinstance(value, dict) and "recipe" in value:
        return Experiment.from_dict(value, str(path)).recipe
    return from_dict(value, str(path))


def parse_optimizer(text: str) -> tuple[Component, ...]:
    """The base optimizer of `sgd | sam(rho=0.05) | ema`, then the modifiers that change it.

    Raises:
        PocketlensError: a part is unknown, in the wrong place, or repeated.
    """
    parts = parse_pipe(text, "optimizers")
    found = [part.name for part in parts]
    if not parts:
        raise PocketlensError(f"optimizer must be given, such as sgd or adam, got {text!r}.")
    if _changes_another(parts[0], False):
        raise PocketlensError(
            f"optimizer: {found[0]} modifies the optimizer before it and cannot come first; try 'sgd | {found[0]}'."
        )
    for part in parts[1:]:
        if not _changes_another(part, True):
            changing = ", ".join(name for name in names("optimizers") if is_modifier(name))
            raise PocketlensError(f"optimizer: {part.name} in {text!r} must come first; only {changing} may follow it.")
        if found.count(part.name) > 1:
            raise PocketlensError(f"optimizer: {part.name} must occur only once, got {text!r}.")
    return parts


def _changes_another(part: Component, unknown: bool) -> bool:
    """Whether a component changes the optimizer before it; `unknown` where it is one's own and was not named."""
    known = signature_of(part, "optimizers")
    return unknown if known is None else known.inputs == ("classifier",)


def is_modifier(name: str) -> bool:
    """Whether a file of the room `optimizers` changes the optimizer before it, instead of being one."""
    return signature("optimizers", name).inputs == ("classifier",)


def looks_back(schedule: str) -> bool:
    """Whether a schedule follows the validation scores of earlier epochs."""
    known = signature_of(parse_one(schedule, "schedules"), "schedules")
    return known is not None and known.inputs == ("history",)


def n_views(loss: str) -> int:
    """How many views of each image a loss compares; 1 for most."""
    views = option(parse_one(loss, "losses"), "losses", "views")
    return views if isinstance(views, int) else 1


class SizeStage(NamedTuple):
    """A stage in which images have `size` px, or percent where it is relative, until a fraction of the steps."""

    size: float
    until: float
    relative: bool


def parse_sizes(text: str) -> tuple[SizeStage, ...]:
    """The stages of `62.5%:0.15 24:0.5 100%`.

    Raises:
        PocketlensError: a stage is not SIZE:UNTIL, or the fractions do not rise to 1.
    """
    stages = []
    for word in text.split():
        size, _, until = word.partition(":")
        try:
            stages.append(SizeStage(float(size.rstrip("%")), float(until or 1.0), size.endswith("%")))
        except ValueError:
            raise PocketlensError(f"sizes: {word!r} must be SIZE or SIZE:UNTIL, like 24:0.5 or 75%:0.5.") from None
    untils = [stage.until for stage in stages]
    if not stages or sorted(set(untils)) != untils or untils[-1] != 1.0 or not all(0 < u <= 1 for u in untils):
        raise PocketlensError(f"sizes: the fractions of {text!r} must rise and end at 1 (the last stage needs none).")
    if not all(stage.size > 0 and math.isfinite(stage.size) for stage in stages):
        raise PocketlensError(f"sizes: every size of {text!r} must be above 0.")
    return tuple(stages)


def _check_views(recipe: Recipe) -> None:
    parts = parse_pipe(recipe.augment, "augment")
    if n_views(recipe.loss) == 1:
        return
    if not parts or parts[-1].name in MIXING:
        raise PocketlensError(
            f"augment must end with an augmentation that does not mix images, such as 'flip | crop(pad=2) | augmix', "
            f"because the loss {recipe.loss} compares views that differ in it; got {recipe.augment!r}."
        )


def frozen_groups(freeze: str) -> int | None:
    """The n of `groups(n)`; None for every other text."""
    found = re.fullmatch(r"groups\((\d{1,6})\)", frozen_layers(freeze))
    return int(found.group(1)) if found else None


def frozen_layers(freeze: str) -> str:
    """What `freeze` says about layers: none, body or groups(n)."""
    if freeze.strip() == "statistics":
        return "none"
    return re.sub(r"\s*\|\s*statistics\s*$", "", freeze)


def check_types(recipe: Any) -> None:
    """A whole number may stand for a float; nothing else is changed.

    Raises:
        PocketlensError: a field has another type than its annotation says.
    """
    for spec in dataclasses.fields(recipe):
        value = getattr(recipe, spec.name)
        kinds = {part.strip() for part in str(spec.type).split("|")}
        kind = type(value).__name__ if value is not None else "None"
        if kind == "int" and "float" in kinds:
            object.__setattr__(recipe, spec.name, float(value))
        elif kind not in kinds:
            raise PocketlensError(f"{spec.name} must be {spec.type}, got {value!r}.")


def check_values(recipe: Any) -> None:
    """Raises a PocketlensError where a number is out of range or a word is none of those that the field allows."""

    def must(holds: bool, name: str, what: str) -> None:
        if not holds:
            raise PocketlensError(f"{name} must be {what}, got {getattr(recipe, name)!r}.")

    for name in ("lr", "epochs"):
        value = getattr(recipe, name)
        must(0 < value <= 1e30, name, "a number above 0 that float32 can hold")
    for name in ("weight_decay", "body_lr_scale"):
        value = getattr(recipe, name)
        must(math.isfinite(value) and value >= 0, name, "a number, 0 or more")
    must(recipe.batch_size >= 1, "batch_size", "1 or more")
    must(recipe.replicate >= 0, "replicate", "0 or more")
    must(recipe.refresh >= 0, "refresh", "0 or more")
    must(recipe.patience is None or recipe.patience >= 1, "patience", "1 or more, or none")
    allowed = {
        "normalize": ("standardize", "body", "minmax", "none"),
        "class_weight": ("none", "balanced"),
        "sampling": ("none", "balanced"),
        "decay_on": ("weights", "head", "all", "none"),
        "keep": ("last", "best"),
        "head": ("keep", "new", "append", "probe"),
        "precision": ("fp32", "bf16"),
    }
    for name, values in allowed.items():
        must(getattr(recipe, name) in values, name, " or ".join(values))
    layers = frozen_layers(recipe.freeze)
    must(
        layers in ("none", "body") or bool(frozen_groups(layers)),
        "freeze",
        "none, body, statistics, groups(n) with n from 1 on, or groups(n) | statistics",
    )
    must(recipe.head != "append" or recipe.start is not None, "start", "a run if head is append")
