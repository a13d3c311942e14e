"""probe: a training that fits the head alone, by logistic regression on the features of a frozen body.

It is what `head="probe"` of a recipe asks for: no step, no augmentation; the penalty is chosen by cross-validation
inside the training rows. The run that is left has a plain linear head on its body, so whatever can be done with a
trained run (predict, export, serve, explain, warm starts) can be done with it.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from pocketlens.data.folds import folds_of_rows
from pocketlens.errors import PocketlensError
from pocketlens.events import Epoch, Note, Step, Work
from pocketlens.files import write_json
from pocketlens.scoring.metrics import own_log_probability
from pocketlens.scoring.row_blocks import rows_in_block
from pocketlens.training.checkpoint import Checkpoint
from pocketlens.training.classifier import Classifier
from pocketlens.training.features import FeatureStore, compute_features, new_body
from pocketlens.training.linear_probe import N_FOLDS, Linear, Probe, fit_linear_probe
from pocketlens.training.validation_scores import leave_scores_if_they_fit

if TYPE_CHECKING:
    from pocketlens.data.dataset import Dataset
    from pocketlens.training.run import Run
    from pocketlens.training.warm_start import WarmStart


def train_probe(
    run: Run, dataset: Dataset, device: str, source: WarmStart | None
) -> Generator[Step | Note | Epoch, None, None]:
    """Fits the head of a run whose recipe has `head="probe"`, and scores it on the validation rows.

    Features that are in the cache are not computed again, so a killed run goes on where it was.

    Raises:
        PocketlensError: the head of the model is not one linear layer, or the cache has no room for the features.
    """
    began, experiment, split = time.perf_counter(), run.experiment, run.split
    classifier = new_body(experiment, dataset, split.train)
    if source is not None:
        from pocketlens.training.warm_start import warm_start

        warm_start(classifier, source.checkpoint, experiment.recipe, source.id)
    rows = np.concatenate([split.train, split.val])
    store = yield from _features(classifier, dataset, rows, device, experiment.recipe.precision)
    probe = yield from _fit(classifier, dataset, split.train, store)
    seconds = time.perf_counter() - began
    record = _record(run, dataset, classifier, probe.linear, store)
    run.save_checkpoint(_checkpoint(classifier, record))
    write_json(run.file("probe.json"), _choice(probe))
    run.add_timing({"epoch": 1, "seconds": seconds, "images_per_second": None})
    yield Note(_in_words(probe))
    yield Epoch(1, 1, record, 0, None)
    val_logits = probe.linear.logits(store.take(split.val)) if len(split.val) else None
    yield from leave_scores_if_they_fit(run, dataset, device, val_logits)


def fit_probe(
    classifier: Classifier, dataset: Dataset, rows: NDArray[np.int64], device: str, precision: str
) -> Generator[Step | Note, None, None]:
    """Sets the head of a classifier to the probe that is fitted on some rows; raises as `train_probe` does."""
    store = yield from _features(classifier, dataset, rows, device, precision)
    yield Note(_in_words((yield from _fit(classifier, dataset, rows, store))))


def _features(
    classifier: Classifier, dataset: Dataset, rows: NDArray[np.int64], device: str, precision: str
) -> Work[FeatureStore]:
    if not isinstance(getattr(classifier.net, "head", None), nn.Linear):
        raise PocketlensError(
            f"head=probe needs a model whose head is one linear layer, that of {classifier.facts.model} is not; "
            "choose a model of timm, or --head new."
        )
    return (yield from compute_features(classifier, dataset, rows, device=device, precision=precision))


def _fit(classifier: Classifier, dataset: Dataset, rows: NDArray[np.int64], store: FeatureStore) -> Work[Probe]:
    fold = folds_of_rows(dataset, rows, N_FOLDS)
    probe = yield from fit_linear_probe(store.take(rows), dataset.labels[rows], len(dataset.classes), fold)
    head = classifier.net.head
    assert isinstance(head, nn.Linear)
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(probe.linear.weight))
        head.bias.copy_(torch.from_numpy(probe.linear.bias))
    return probe


def _record(
    run: Run, dataset: Dataset, classifier: Classifier, linear: Linear, store: FeatureStore
) -> dict[str, object]:
    """The one line of the history: loss and accuracy on the training and on the validation rows."""
    found: dict[str, float | None] = {}
    step = rows_in_block(len(dataset.classes))
    for part, rows in (("train", run.split.train), ("val", run.split.val)):
        losses, right = [], []
        for start in range(0, len(rows), step):
            some = rows[start : start + step]
            logits, labels = linear.logits(store.take(some)), dataset.labels[some]
            losses.append(-own_log_probability(logits, labels))
            right.append(logits.argmax(1) == labels)
        found[f"{part}_loss"] = float(np.concatenate(losses).mean()) if losses else None
        found[f"{part}_accuracy"] = float(np.concatenate(right).mean()) if right else None
    size = min(classifier.shape[:2])
    return {
        "epoch": 1,
        "step": 1,
        "size": size,
        **found,
        "best": len(run.split.val) > 0,
    }


def _checkpoint(classifier: Classifier, record: dict[str, object]) -> Checkpoint:
    tensors = {f"weights/{name}": value.detach().cpu().clone() for name, value in classifier.state_dict().items()}
    meta = {"step": 1, "n_steps": 1, "n_seen": 0, "bad_epochs": 0, "history": [record]}
    return Checkpoint(tensors, {**meta, "classifier": classifier.facts.to_dict()})


def _choice(probe: Probe) -> dict[str, object]:
    """What probe.json holds: the penalty and the scores by which it was chosen."""
    return {
        "C": probe.linear.strength,
        "temperature": probe.temperature,
        "folds": N_FOLDS,
        "scores": [asdict(score) for score in probe.scores],
    }


def _in_words(probe: Probe) -> str:
    if not probe.scores:
        return f"the head is fitted with C {probe.linear.strength:g}; there are too few rows to choose it by folds"
    best = next(score for score in probe.scores if score.strength == probe.linear.strength)
    loss, n = max(best.log_loss, 0.0), len(np.unique(probe.fold[probe.held]))
    how = f"in {N_FOLDS}-fold cross-validation inside the training rows"
    if n < N_FOLDS:
        how = f"on {n} of {N_FOLDS} folds of the training rows, {'left out of its fit' if n == 1 else 'each left out'}"
    return (
        f"the head is fitted with C {best.strength:g}, which has the smallest log-loss of {len(probe.scores)} {how}: "
        f"{loss:.4f}, accuracy {best.accuracy:.2%}"
    )
