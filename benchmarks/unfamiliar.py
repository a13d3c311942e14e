"""How many pictures of other data a run marks as unlike anything in training, by three scores.

    python benchmarks/unfamiliar.py pocketlens-runs/RUN

Takes 500 images each of digits, Fashion-MNIST, CIFAR-100 and STL-10, as far as they are there and the run was not
trained on them, and of noise, brings them to the size and colour of the run, and prints for each score the share of
them above that of 99 % of the validation images, and the area under the ROC curve (0.5 is chance).
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pocketlens.data.dataset import Images
from pocketlens.datasets import load
from pocketlens.errors import PocketlensError
from pocketlens.inference.predict import compute_logits, open_predictor
from pocketlens.scoring.familiarity import SHARE, energies
from pocketlens.scoring.metrics import Floats, log_probabilities
from pocketlens.scoring.predictions import read_predictions
from pocketlens.training.run import Run

N_IMAGES = 500
NAMES = ("digits", "fashion_mnist", "cifar100", "stl10")


@dataclass(frozen=True, eq=False)
class Others:
    """Images (N, H, W, C) uint8 of other data."""

    name: str
    images: Images


def raw_energies(logits: NDArray[Any]) -> Floats:
    """(N,) minus the log-sum-exp of the logits as they are."""
    from scipy.special import logsumexp

    return np.asarray(-logsumexp(logits.astype(np.float64), axis=1))


SCORES: dict[str, Callable[[NDArray[Any]], Floats]] = {
    "energy, mean taken off": energies,
    "energy": raw_energies,
    "1 - highest probability": lambda logits: 1 - np.exp(log_probabilities(logits).max(axis=1)),
}


def others(run: Run, shape: tuple[int, int, int], data: Path | None) -> Iterator[Others]:
    """Noise, and the first images of each data set that is there and is not the run's."""
    yield Others("noise", np.random.default_rng(0).integers(0, 256, (N_IMAGES, *shape), dtype=np.uint8))
    for name in NAMES:
        if run.experiment.data.startswith(name):
            continue
        try:
            images = load(name, data)[0].images[:N_IMAGES]
        except PocketlensError as error:
            print(f"{name} is left out: {error}")
            continue
        yield Others(name, np.stack([_fitted(image, shape) for image in images]))


def _fitted(image: Images, shape: tuple[int, int, int]) -> Images:
    height, width, channels = shape
    opened = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
    pixels = np.asarray(
        opened.convert("L" if channels == 1 else "RGB").resize((width, height), Image.Resampling.BICUBIC)
    )
    return pixels[..., None] if channels == 1 else pixels


def area(familiar: Floats, other: Floats) -> float:
    """The share of pairs in which the other picture has the higher score."""
    from scipy.stats import mannwhitneyu

    return float(mannwhitneyu(other, familiar).statistic) / (len(other) * len(familiar))


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", type=Path, help="folder of the data sets")
    args = parser.parse_args()
    run = Run(args.run)
    predictor, val = open_predictor(run), read_predictions(run.file("predictions-val.safetensors"))
    right = float((val.predicted == val.labels).mean())
    print(f"{run.experiment.data}, {run.experiment.recipe.model}: {right:.1%} of {len(val.rows):,} validation images")
    print("| data | score | marked | area |\n|---|---|---|---|")
    for other in others(run, predictor.classifier.image_shape, args.data):
        logits = compute_logits(predictor, other.images, "cpu")
        for name, score in SCORES.items():
            familiar, found = np.sort(score(val.logits)), score(logits)
            threshold = familiar[math.ceil((len(familiar) + 1) * SHARE) - 1]
            print(
                f"| {other.name} | {name} | {(found > threshold).mean():.1%} | {area(familiar, found):.3f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
