"""Tiny trainings for tests: a few steps an epoch, with every kind of component that has a state to be restored."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from pocketlens.data.dataset import Dataset, hash_images
from pocketlens.data.split import make_split
from pocketlens.recipe import Experiment, Recipe
from pocketlens.training.run import Run


def _has_bf16() -> bool:
    """Whether this processor has bf16 arithmetic, without loading torch."""
    try:
        return "_bf16" in Path("/proc/cpuinfo").read_text(encoding="ascii", errors="ignore")
    except OSError:
        return False


PLAIN = Recipe(
    model="mlp(hidden=(16,))", augment="none", sizes="100%", optimizer="sgd", lr=0.05, batch_size=16, epochs=3.0
)
RECIPES = {
    "lens, muon, cutmix, two sizes": Recipe(
        model="lens(width=0.125)",
        augment="flip | crop(pad=1) | cutmix(p=0.5, until=0.8)",
        sizes="67%:0.4 100%",
        batch_size=16,
        epochs=2.0,
    ),
    "dropout, adamw, mixup, copies, best with patience": PLAIN.changed(
        model="mlp(hidden=(16,), dropout=0.3, batch_norm=True)",
        augment="mixup",
        optimizer="adamw",
        lr=0.01,
        schedule="constant",
        replicate=1,
        refresh=2,
        epochs=6.0,
        keep="best",
        patience=2,
    ),
    "lenet, sgd, cutout, part of an epoch": PLAIN.changed(
        model="lenet", augment="cutout(size=3) | flip(alternate=False)", schedule="cosine", epochs=2.5, keep="best"
    ),
    "mlp, adam": PLAIN.changed(optimizer="adam", lr=0.01, decay_on="weights", schedule="step"),
    "sam, lookahead and ema behind adam, dropout, batch norm": PLAIN.changed(
        model="mlp(hidden=(16,), dropout=0.3, batch_norm=True)",
        optimizer="adam | sam(rho=0.1) | lookahead(k=2) | ema(decay=0.8)",
        lr=0.01,
        epochs=2.5,
    ),
    "adamw, rates by depth, kept statistics, interpolated": PLAIN.changed(
        model="mlp(hidden=(16,), batch_norm=True)",
        optimizer="adamw | layer_decay(factor=0.5) | ema(decay=0.8) | wise_ft(points=3)",
        lr=0.01,
        freeze="statistics",
        epochs=2.5,
    ),
    "plateau, best averages, balanced sampling": PLAIN.changed(
        optimizer="sgd | ema(decay=0.7)", schedule="plateau(patience=0, gamma=0.5)", keep="best", sampling="balanced"
    ),
    "views for jsd, lookahead, class weights": PLAIN.changed(
        augment="crop(pad=1) | cutout(size=4)",
        loss="jsd(views=2)",
        optimizer="sgd | lookahead(k=2)",
        class_weight="balanced",
        epochs=2.0,
    ),
}
if _has_bf16():
    RECIPES["lens in bf16, two sizes"] = RECIPES["lens, muon, cutmix, two sizes"].changed(
        augment="crop(pad=1)", precision="bf16"
    )
OF_THE_CLOCK = ("timing.jsonl", "lock")  # the only files of a run that may differ between equal trainings


def made_data(n: int = 64, shape: tuple[int, int, int] = (12, 12, 3), n_classes: int = 4) -> Dataset:
    """Noise with a bright row that tells the class."""
    generator = np.random.default_rng(n)
    labels = np.arange(n, dtype=np.int64) % n_classes
    images = generator.integers(0, 120, (n, *shape)).astype(np.uint8)
    images[np.arange(n), labels] += 100
    return Dataset("made", images, labels, tuple("abcdefgh"[:n_classes]), hash_images(images))


def new_run(runs: Path, recipe: Recipe = PLAIN, dataset: Dataset | None = None, **options: Any) -> Run:
    """A run before its training; options: val_fraction, and the fields of the experiment."""
    from pocketlens.training.warm_start import with_source

    dataset = made_data() if dataset is None else dataset
    val_fraction = options.pop("val_fraction", 0.25)
    split = make_split(dataset, val_fraction=val_fraction)
    options = {"data_fingerprint": dataset.fingerprint, **options}
    experiment = Experiment("made", recipe, val_fraction=val_fraction, **options)
    return Run.create(with_source(experiment, runs), split, runs)


def finish(run: Run, dataset: Dataset | None = None, save_every: int | None = None) -> list[Any]:
    """Trains a run to its end; gives the events."""
    from pocketlens.training.train import train

    return list(train(run, made_data() if dataset is None else dataset, save_every=save_every))


def contents(run: Run) -> dict[str, str]:
    """The hash of every file of a run but those that hold clock values: equal trainings have equal contents."""
    paths = [path for path in run.path.iterdir() if path.name not in OF_THE_CLOCK]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest()[:16] for path in sorted(paths)}
