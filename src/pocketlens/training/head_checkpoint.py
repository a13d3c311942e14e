"""The checkpoint of a classifier whose head was fitted on the features of a network."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pocketlens.training.checkpoint import Checkpoint

if TYPE_CHECKING:
    from pocketlens.data.dataset import Dataset
    from pocketlens.training.classifier import Classifier
    from pocketlens.training.heads import FeatureHead
    from pocketlens.training.model_facts import FeatureHeadFacts


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
