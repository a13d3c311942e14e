"""Where a training starts: the weights of another run, what of them fits, and which layers then stand still.

`keep` and `new` take what fits by name and shape, `new` without the head. `append` takes the source's whole net, its
head among it, and a new linear layer from its classes to the new ones stands on top. The source's normalisation of the
pixels is taken with its weights.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pocketlens.components import parse_one, resolve
from pocketlens.errors import PocketlensError
from pocketlens.recipe import Experiment, Recipe
from pocketlens.training.classifier import Classifier
from pocketlens.training.run import Run

if TYPE_CHECKING:
    from pocketlens.training.checkpoint import Checkpoint

LISTED = 6  # tensors that a line names, at most


@dataclass(frozen=True)
class Fit:
    """What of a source's weights a classifier takes over.

    Attributes:
        taken: names of the tensors that fit.
        left: names of our tensors that stay as they are, each with the reason.
        unused: names of the source's tensors that have no place here.
        n_taken, n_all: how many numbers are taken, and how many the classifier has.
    """

    taken: tuple[str, ...]
    left: tuple[tuple[str, str], ...]
    unused: tuple[str, ...]
    n_taken: int
    n_all: int

    def __str__(self) -> str:
        left = [f"{name} ({why})" for name, why in self.left]
        text = (
            f"{len(self.taken)} of {len(self.taken) + len(left)} tensors fit ({self.n_taken:,} of {self.n_all:,} "
            f"numbers); not taken: {_listed(left)}"
        )
        return f"{text}; without a place here: {_listed(list(self.unused))}" if self.unused else text


def note_source(experiment: Experiment, source: Checkpoint, name: str) -> Experiment:
    """The experiment with the hash of the weights that it starts from, and with the outputs of the nets below its head.

    Raises:
        PocketlensError: the source cannot be started from, or is no longer the one that was noted.
    """
    facts, head, weights = source.meta["classifier"], experiment.recipe.head, source.weights_hash()
    if facts.get("judge"):
        raise PocketlensError(f"run {name} was fitted on features; start from the run whose features they are.")
    if experiment.start_weights not in ("", weights):
        raise PocketlensError(
            f"run {name} has other weights now ({weights}) than those to start from ({experiment.start_weights})."
        )
    below = [*facts.get("appended", []), *([len(facts["classes"])] if head == "append" else [])]
    if head == "append" and facts["model"] != experiment.recipe.model:
        raise PocketlensError(
            f"head='append' puts a layer on the whole net of run {name}; --model must be its {facts['model']!r}, got "
            f"{experiment.recipe.model!r}."
        )
    return replace(experiment, start_weights=weights, start_outputs=tuple(below))


def check_source(source: Checkpoint, name: str, recipe: Recipe, channels: int | None = None) -> None:
    """Refuses a source of which nothing fits, before anything slow is done; `channels` are those of the new images.

    Raises:
        PocketlensError: the images have other channels, or no tensor but biases fits; it says what would.
    """
    facts = source.meta["classifier"]
    shape = tuple(facts["shape"])
    if channels not in (None, shape[2]):
        raise PocketlensError(
            f"run {name} takes images with {_channels(shape[2])}, these have {_channels(channels or 0)}: its first "
            "layer cannot see them; start from a run on such images."
        )
    part = parse_one(recipe.model, "models")
    with torch.device("meta"):  # shapes without memory
        net = resolve(part, "models")(shape, len(facts["classes"]), **dict(part.options))
    own = {f"net.{key}": value for key, value in net.state_dict().items()}
    above = "net." + "body." * len(facts.get("appended", []))
    given = {f"net.{key.removeprefix(above)}": value for key, value in source.result().items() if key.startswith(above)}
    _require_some(fit_of(own, given, "keep"), own, name, recipe, facts)


def warm_start(classifier: Classifier, source: Checkpoint, recipe: Recipe, name: str) -> Fit:
    """Takes over all weights that fit and says which they are.

    Raises:
        PocketlensError: none of them fits, or with `append` one does not.
    """
    check_source(source, name, recipe, classifier.shape[2])
    own, given = classifier.state_dict(), source.result()
    if recipe.head == "append":
        given = {key.replace("net.", "net.body.", 1) if key.startswith("net.") else key: v for key, v in given.items()}
    fit = fit_of(own, given, recipe.head)
    wrong = [key for key, _ in fit.left if not key.startswith("net.head.")]
    if recipe.head == "append" and wrong:
        raise PocketlensError(f"head='append' needs the whole net of run {name}; {_listed(wrong)} does not fit.")
    with torch.no_grad():
        for key in fit.taken:
            own[key].copy_(given[key])
    return fit


def fit_of(own: dict[str, Tensor], given: dict[str, Tensor], head: str) -> Fit:
    """Which of the given tensors fit into our own, by name and shape."""
    taken, left = [], []
    for name, value in own.items():
        if name.startswith("net.head.") and head != "keep":
            left.append((name, "new"))
        elif name not in given:
            left.append((name, "absent there"))
        elif given[name].shape != value.shape:
            left.append((name, f"{_shape(given[name])} there, {_shape(value)} here"))
        else:
            taken.append(name)
    n_taken, n_all = (sum(own[name].numel() for name in names) for names in (taken, own))
    return Fit(tuple(taken), tuple(left), tuple(name for name in given if name not in own), n_taken, n_all)


def _require_some(fit: Fit, own: dict[str, Tensor], name: str, recipe: Recipe, facts: dict[str, Any]) -> None:
    if not any(key.startswith("net.") and own[key].ndim > 1 for key in fit.taken):  # a bias alone fits by chance
        raise PocketlensError(
            f"none of the weights of run {name} ({facts['model']}) fits {recipe.model}; what can start from it is "
            f"--model {facts['model']!r}."
        )


def _shape(value: Tensor) -> str:
    return " x ".join(map(str, value.shape)) or "one number"


def _channels(n: int) -> str:
    return "one grey channel" if n == 1 else f"{n} channels"


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return (", ".join(names[:LISTED]) or "none") + more


def with_source(experiment: Experiment, runs: Path) -> Experiment:
    """The experiment with its `start`, if it has one, as that run's id or path, and the hash of its weights.

    Raises:
        PocketlensError: it is not a run, has no weights, or has others than were noted before.
    """
    if experiment.recipe.start is None:
        return experiment
    source = Run.open(experiment.recipe.start, runs)
    start = source.id if (runs / source.id).is_dir() else str(source.path.resolve())
    fixed = replace(experiment, recipe=experiment.recipe.changed(start=start))
    return note_source(fixed, source.checkpoint(), source.id)
