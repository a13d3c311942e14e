"""Run folders made by hand, for tests of what reads them: judged numbers and the page need no training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pocketlens.data.dataset import Dataset, SealedTest, hash_images, seal
from pocketlens.data.split import make_split
from pocketlens.files import append_json, write_json
from pocketlens.recipe import Experiment, Recipe
from pocketlens.scoring.predictions import Predictions
from pocketlens.scoring.scores import score
from pocketlens.training.run import Run, store

ENVIRONMENT = {"python": "3.11.9", "torch": "2.14.0", "numpy": "2.4.6", "device": "cpu", "threads": 2, "cpu": "a CPU"}


class MadeRun(Run):
    """A run whose files a test wrote; it has no checkpoint, so the hash of its weights is made up."""

    def weights_hash(self) -> str:
        return "0123456789abcdef"


def make_dataset(
    n: int, classes: tuple[str, ...], shape: tuple[int, int, int] = (32, 32, 3), **options: Any
) -> Dataset:
    """Random pictures, each with a bright blot where its class says, so that they look different by class."""
    generator = np.random.default_rng(len(classes) + n)
    labels = np.arange(n) % len(classes)
    images = generator.integers(0, 120, (n, *shape), dtype=np.uint8)
    images[np.arange(n), labels % shape[0], labels // shape[0] % shape[1]] = 255
    return Dataset(options.pop("text", "made"), images, labels, classes, hash_images(images), **options)


def make_logits(labels: np.ndarray, n_classes: int, *, skill: float = 3.0, seed: int = 0) -> np.ndarray:
    """(N, K) float32 logits of a classifier that is right more often the greater its skill."""
    logits = np.random.default_rng(seed).normal(size=(len(labels), n_classes)).astype(np.float32)
    logits[np.arange(len(labels)), labels] += skill
    return logits


def make_run(
    folder: Path, dataset: Dataset, *, n_epochs: int = 5, val_fraction: float = 0.2, **options: Any
) -> MadeRun:
    """A finished run of `dataset` below `folder`; options: recipe, label, state, skill, id."""
    name, state = options.pop("id", "20250101-000000-abcd"), options.pop("state", ("complete", ""))
    skill = options.pop("skill", 3.0)
    split = make_split(dataset, val_fraction=val_fraction)
    recipe = options.pop("recipe", None) or Recipe(epochs=float(n_epochs or 9))
    fingerprint = dataset.fingerprint
    experiment = Experiment(dataset.text, recipe, val_fraction=val_fraction, data_fingerprint=fingerprint, **options)
    run = MadeRun(folder / name)
    run.path.mkdir(parents=True)
    run.set_status(*state)
    write_json(run.file("experiment.json"), experiment.to_dict())
    write_json(run.file("split.json"), split.to_dict())
    write_json(run.file("environment.json"), ENVIRONMENT)
    steps = -(-len(split.train) // recipe.batch_size)
    for epoch in range(1, n_epochs + 1):
        append_json(run.file("history.jsonl"), make_record(epoch, n_epochs, steps, has_val=len(split.val) > 0))
        append_json(run.file("timing.jsonl"), {"epoch": epoch, "seconds": 61.5 + epoch, "images_per_second": 820.0})
    if len(split.val):
        labels = dataset.labels[split.val]
        predictions = Predictions("val", split.val, labels, make_logits(labels, len(dataset.classes), skill=skill))
        store(run, predictions, score(predictions, dataset.classes, dataset.superclasses, dataset.superclass_of))
    return run


def make_record(epoch: int, n_epochs: int, steps: int, *, has_val: bool) -> dict[str, Any]:
    """One line of history.jsonl with plausible numbers."""
    share = epoch / n_epochs
    val = {"val_loss": 1.1 + 3 * 0.3 ** (3 * share) + 0.1 * np.sin(epoch), "val_accuracy": 0.72 * share**0.5}
    return {
        "epoch": epoch,
        "step": epoch * steps,
        "lr": 0.18 * min(4 * share, (1 - share) / 0.75 + 1e-3),
        "size": 20 if share <= 0.15 else 24 if share <= 0.5 else 32,
        "train_loss": 1.4 + 3 * 0.3 ** (3 * share),
        "train_accuracy": 0.8 * share**0.6,
        **(val if has_val else {"val_loss": None, "val_accuracy": None}),
        "best": has_val and epoch == n_epochs,
    }


def make_sealed(n: int, classes: tuple[str, ...], **options: Any) -> SealedTest:
    """A sealed test part of random pictures."""
    return seal(make_dataset(n, classes, **options))
