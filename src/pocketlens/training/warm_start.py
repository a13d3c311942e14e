"""Warm starts: a training that begins with the weights of another run, its source.

With `head="keep"` and `head="new"`, every tensor whose name and shape fit is taken, with `new` except the head's. With
`head="append"`, the source's whole network is taken, including its head, and a new linear layer maps its outputs to the
new classes. The source's normalisation of the pixels is taken together with its weights.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from pocketlens.components import parse_one, resolve
from pocketlens.errors import PocketlensError
from pocketlens.recipe import Experiment, Recipe
from pocketlens.text import counted, listed
from pocketlens.training.classifier import Classifier
from pocketlens.training.model_facts import ModelFacts
from pocketlens.training.run import Run

if TYPE_CHECKING:
    from pocketlens.data.dataset import Dataset
    from pocketlens.data.split import Split
    from pocketlens.training.checkpoint import Checkpoint

MAX_LISTED = 6  # tensors that a message names, at most


@dataclass(frozen=True, eq=False)
class WarmStart:
    """The source of a warm start, read once.

    Attributes:
        id: the source run's id.
        experiment: the experiment that starts from it, with `start`, `start_weights` and `start_outputs` filled in.
        checkpoint: the source's newest checkpoint.
    """

    id: str
    experiment: Experiment
    checkpoint: Checkpoint


@dataclass(frozen=True)
class WeightMatch:
    """Which of a source's tensors a classifier takes.

    Attributes:
        taken: names of the tensors that fit.
        left: names of the classifier's other tensors, each with the reason why it keeps its initial value.
        unused: names of the source's tensors that the classifier does not have.
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
        return f"{text}; not in this model: {_listed(list(self.unused))}" if self.unused else text


def count_seen(source: Run, dataset: Dataset, split: Split) -> int:
    """How many of the validation images of a split a run was trained on; 0 where its images were others."""
    if source.experiment.data_fingerprint != dataset.fingerprint:
        return 0
    return len(np.intersect1d(source.split.train, split.val))


def describe_seen(source: Run, dataset: Dataset, split: Split, *, head: bool) -> str | None:
    """A warning where validation images are among those that a run was trained on, with what to type; else None.

    Args:
        head: whether its head is taken, too; the body of a linear probe has not been trained.
    """
    n_seen = count_seen(source, dataset, split)
    if not n_seen or (source.experiment.recipe.is_probe and not head):
        return None
    warning = (
        f"! run {source.id} was trained on {n_seen:,} of the {counted(len(split.val), 'validation image')}, so "
        "validation scores are too high"
    )
    if not len(source.split.val):
        return f"{warning}; it has no validation images, so only a test score is fair"
    given = f"--val-fraction {source.experiment.val_fraction:g} --split-seed {source.experiment.split_seed}"
    return f"{warning}; with {given} they are images that it was not trained on"


def open_source(experiment: Experiment, runs: Path) -> WarmStart | None:
    """Opens the source of an experiment and reads its checkpoint; None where the experiment has no warm start.

    Raises:
        PocketlensError: the source is not a run, has no weights, has other weights than the experiment's
            `start_weights`, or cannot be started from.
    """
    if experiment.recipe.start is None:
        return None
    source = Run.open(experiment.recipe.start, runs)
    return start_from(source, source.checkpoint(), experiment, runs)


def start_from(source: Run, checkpoint: Checkpoint, experiment: Experiment, runs: Path) -> WarmStart:
    """The warm start of an experiment from a run whose checkpoint has been read; raises as `open_source` does."""
    start = source.id if (runs / source.id).is_dir() else str(source.path.resolve())
    fixed = replace(experiment, recipe=experiment.recipe.changed(start=start))
    return WarmStart(source.id, _with_weights(fixed, checkpoint, source.id), checkpoint)


def reuse_source(source: WarmStart, experiment: Experiment) -> WarmStart:
    """The same source for another experiment that starts from it, such as one with the final recipe; reads no file.

    Raises:
        PocketlensError: the source has other weights than the experiment's `start_weights`, or cannot be started from.
    """
    fixed = replace(experiment, recipe=experiment.recipe.changed(start=source.experiment.recipe.start))
    return replace(source, experiment=_with_weights(fixed, source.checkpoint, source.id))


def with_source(experiment: Experiment, runs: Path) -> Experiment:
    """The experiment with the id or path of its source and the hash of its weights, ready for `Run.create`.

    An experiment without a warm start is returned as it is. Raises as `open_source` does.
    """
    source = open_source(experiment, runs)
    return experiment if source is None else source.experiment


def check_source(source: Checkpoint, name: str, recipe: Recipe, channels: int | None = None) -> None:
    """Makes sure, before anything slow is done, that some of a source's weights fit a recipe's model.

    Args:
        source: the checkpoint of the run `name`.
        recipe: how the new run trains.
        channels: of the new images, where they are known.

    Raises:
        PocketlensError: the images have another number of channels, or no tensor fits except biases.
    """
    facts = ModelFacts.of(source, f"run {name}")
    shape = facts.shape
    if channels not in (None, shape[2]):
        raise PocketlensError(
            f"run {name} takes images with {_channels(shape[2])}, these have {_channels(channels or 0)}: its first "
            "layer cannot take them; start from a run on such images."
        )
    part = parse_one(recipe.model, "models")
    with torch.device("meta"):  # shapes without memory
        net = resolve(part, "models")(shape, len(facts.classes), **dict(part.options))
    own = {f"net.{key}": value for key, value in net.state_dict().items()}
    above = "net." + "body." * len(facts.appended)
    given = {f"net.{key.removeprefix(above)}": value for key, value in source.result().items() if key.startswith(above)}
    match = match_weights(own, given, "keep")
    if not any(key.startswith("net.") and own[key].ndim > 1 for key in match.taken):  # a bias alone fits by chance
        raise PocketlensError(
            f"the model must fit some weights of run {name} ({facts.model}), {recipe.model} fits none; give "
            f"--model {facts.model!r}."
        )


def warm_start(classifier: Classifier, source: Checkpoint, recipe: Recipe, name: str) -> WeightMatch:
    """Copies all weights that fit from a source's checkpoint into a classifier, and tells which they are.

    Raises:
        PocketlensError: none of them fits, or with `head="append"` one does not.
    """
    check_source(source, name, recipe, classifier.shape[2])
    own, given = classifier.state_dict(), source.result()
    if recipe.head == "append":
        given = {key.replace("net.", "net.body.", 1) if key.startswith("net.") else key: v for key, v in given.items()}
    match = match_weights(own, given, recipe.head)
    wrong = [key for key, _ in match.left if not key.startswith("net.head.")]
    if recipe.head == "append" and wrong:
        raise PocketlensError(f"head='append' needs the whole net of run {name}; {_listed(wrong)} does not fit.")
    with torch.no_grad():
        for key in match.taken:
            own[key].copy_(given[key])
    return match


def match_weights(own: dict[str, Tensor], given: dict[str, Tensor], head: str) -> WeightMatch:
    """Which of the tensors `given` fit those of `own`, by name and shape."""
    taken, left = [], []
    for name, value in own.items():
        if name.startswith("net.head.") and head != "keep":
            left.append((name, "new"))
        elif name not in given:
            left.append((name, "missing there"))
        elif given[name].shape != value.shape:
            left.append((name, f"{_shape(given[name])} there, {_shape(value)} here"))
        else:
            taken.append(name)
    n_taken, n_all = (sum(own[name].numel() for name in names) for names in (taken, own))
    return WeightMatch(tuple(taken), tuple(left), tuple(name for name in given if name not in own), n_taken, n_all)


def _with_weights(experiment: Experiment, source: Checkpoint, name: str) -> Experiment:
    """The experiment with the hash of the source's weights and the outputs of the networks below its head."""
    facts, head, weights = ModelFacts.of(source, f"run {name}"), experiment.recipe.head, source.weights_hash()
    if facts.feature_head is not None:
        raise PocketlensError(
            f"run {name} is a classifier fitted on features; start from the run that provides the features."
        )
    if experiment.start_weights not in ("", weights):
        raise PocketlensError(
            f"run {name} has other weights now ({weights}) than those to start from ({experiment.start_weights})."
        )
    if head == "append" and facts.model != experiment.recipe.model:
        raise PocketlensError(
            f"head='append' puts a layer on the whole net of run {name}; --model must be its {facts.model!r}, got "
            f"{experiment.recipe.model!r}."
        )
    below = (*facts.appended, *([len(facts.classes)] if head == "append" else []))
    return replace(experiment, start_weights=weights, start_outputs=below)


def _shape(value: Tensor) -> str:
    return " x ".join(map(str, value.shape)) or "one number"


def _channels(n: int) -> str:
    return "one grey channel" if n == 1 else counted(n, "channel")


def _listed(names: list[str]) -> str:
    return listed(names, MAX_LISTED) or "none"
