"""The network on whose features a head is fitted: opened before, and saved with that head after."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pocketlens.errors import PocketlensError
from pocketlens.text import counted
from pocketlens.training.checkpoint import Checkpoint
from pocketlens.training.classifier import Classifier, build_classifier
from pocketlens.training.features import new_body, prepared_shape
from pocketlens.training.run import Run
from pocketlens.training.warm_start import start_from

if TYPE_CHECKING:
    from pathlib import Path

    from pocketlens.data.dataset import Dataset
    from pocketlens.data.split import Split
    from pocketlens.recipe import Experiment
    from pocketlens.training.heads import FeatureHead
    from pocketlens.training.model_facts import FeatureHeadFacts, Shape


@dataclass(frozen=True, eq=False)
class OpenedNetwork:
    """The experiment with the hash of its source, and the network whose features are taken."""

    experiment: Experiment
    network: Classifier


def open_network(experiment: Experiment, dataset: Dataset, split: Split, runs: Path) -> OpenedNetwork:
    """Opens the run that the recipe starts from; where it names none, its model with its pretrained weights.

    Raises:
        PocketlensError: the source does not take such images, or was itself fitted on features.
    """
    if experiment.recipe.start is None:
        return OpenedNetwork(experiment, new_body(experiment, dataset, split.train))
    source = Run.open(experiment.recipe.start, runs)
    checkpoint = source.checkpoint()
    shape = prepared_shape(dataset, experiment.recipe.prepare)
    network = _network(checkpoint, source.id, experiment.recipe.prepare, shape, dataset.shape)
    return OpenedNetwork(start_from(source, checkpoint, experiment, runs).experiment, network)


def _network(checkpoint: Checkpoint, name: str, prepare: str, shape: Shape, image_shape: Shape) -> Classifier:
    """The source's classifier, built for images of `shape` after and `image_shape` before `prepare`."""
    source = build_classifier(checkpoint, f"run {name}")
    if source.facts.feature_head is not None:
        raise PocketlensError(
            f"run {name} is a classifier fitted on features; give the run that provides the features."
        )
    if shape[2] != source.shape[2]:
        raise PocketlensError(f"run {name} takes {counted(source.shape[2], 'channel')}, these images have {shape[2]}.")
    facts = replace(source.facts, prepare=prepare, shape=shape, image_shape=image_shape)
    height, width, _ = source.shape
    try:
        network = Classifier(facts)
        network.load_state_dict(source.state_dict())
    except RuntimeError:
        raise PocketlensError(
            f"{facts.model} of run {name} takes images of {height} x {width} px alone, these are {shape[0]} x "
            f"{shape[1]}; give --prepare 'resize({min(height, width)})'."
        ) from None
    return network.eval()


def head_checkpoint(
    head: FeatureHead, head_facts: FeatureHeadFacts, network: Classifier, dataset: Dataset, seed: int
) -> Checkpoint:
    """The network with the fitted head in place of its own, and what describes it."""
    facts = replace(
        network.facts,
        classes=dataset.classes,
        superclasses=dataset.superclasses,
        superclass_of=dataset.superclass_of,
        levels=dataset.levels,
        mean=tuple(network.mean.flatten().tolist()),  # of the state dict, which need not be those of the facts
        std=tuple(network.std.flatten().tolist()),
        seed=seed,
        feature_head=head_facts,
    )
    tensors = {f"weights/net.body.{name}": value for name, value in network.net.state_dict().items()}
    tensors |= {f"weights/net.head.{name}": value for name, value in head.state_dict().items()}
    tensors |= {"weights/mean": network.mean, "weights/std": network.std}
    meta = {"step": 0, "n_steps": 0, "n_seen": 0, "bad_epochs": 0, "history": [], "classifier": facts.to_dict()}
    return Checkpoint({name: value.detach().cpu().clone() for name, value in tensors.items()}, meta)
