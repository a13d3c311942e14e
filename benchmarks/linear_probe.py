"""Seconds of the linear probe beside the same folds and penalties in scikit-learn, in one run on this machine.

python benchmarks/linear_probe.py                          made features: 10,000 rows, 1,280 features, 20 classes
python benchmarks/linear_probe.py --features FILE.npz      features x (N, D) and labels y (N,) of one's own
python benchmarks/linear_probe.py --rows 2000 --ours       without scikit-learn, which takes minutes

scikit-learn fits every penalty that ours tries on four folds of five, in its own way: `LogisticRegression` with
`max_iter=300`, `tol=1e-4`, each fit starting from the one before it. A fifth of the rows is held out, and both fits of
all other rows with the chosen penalty are scored on it. Made features are not negative and their scales fall with the
square root of their number, as in a body; a tenth of the labels is wrong, so that no penalty separates the classes.
"""

from __future__ import annotations

import argparse
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from pocketlens.events import finish
from pocketlens.scoring.metrics import log_probabilities
from pocketlens.scoring.temperature import fit_temperature
from pocketlens.training.linear_probe import PENALTIES, fit_linear_probe

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]
N_FOLDS = 5


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a way chose and how long it took: C, the log-loss in the folds, logits of the rows held out, seconds."""

    strength: float
    log_loss: float
    logits: Floats
    seconds: float


def made_features(n: int, width: int, n_classes: int) -> tuple[Floats, Labels]:
    """Features (n, width) and labels (n,)."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, n_classes, n)
    scales = np.arange(1, width + 1) ** -0.5
    centres = generator.normal(size=(n_classes, width)) * 0.12 * scales
    values = np.abs(generator.normal(size=(n, width))) * scales + centres[labels]
    rotation = np.linalg.qr(generator.normal(size=(width, width)))[0]
    wrong = generator.random(n) < 0.1
    labels[wrong] = generator.integers(0, n_classes, int(wrong.sum()))
    return (values @ rotation).astype(np.float32), labels.astype(np.int64)


def ours(features: Floats, labels: Labels, fold: Labels, held: Floats) -> Outcome:
    """By `fit_linear_probe`."""
    began = time.perf_counter()
    probe = finish(fit_linear_probe(features, labels, int(labels.max()) + 1, fold))
    seconds = time.perf_counter() - began
    best = min(probe.scores, key=lambda score: score.log_loss)
    return Outcome(best.strength, best.log_loss, probe.linear.logits(held), seconds)


def scikit_learns(features: Floats, labels: Labels, fold: Labels, held: Floats) -> Outcome:
    """By LogisticRegression along the path of penalties, fold by fold; a fold ends three penalties after its best."""
    began = time.perf_counter()
    logits = np.full((len(PENALTIES), len(labels), int(labels.max()) + 1), np.nan, np.float32)
    n_tried = len(PENALTIES)
    for number in range(N_FOLDS):
        out, losses = fold == number, list[float]()
        mean, spread = _scale(features[~out])
        model = LogisticRegression(max_iter=300, tol=1e-4, warm_start=True)
        for place, strength in enumerate(PENALTIES[:n_tried]):
            model.set_params(C=strength).fit((features[~out] - mean) / spread, labels[~out])
            logits[place, out] = model.decision_function((features[out] - mean) / spread)
            losses.append(_log_loss(logits[place, out], labels[out]))
            if place - int(np.argmin(losses)) >= 3:
                break
        n_tried = len(losses)
    scores = [_log_loss(each, labels) for each in logits[:n_tried]]
    best = int(np.argmin(scores))
    mean, spread = _scale(features)
    model = LogisticRegression(C=PENALTIES[best], max_iter=300, tol=1e-4).fit((features - mean) / spread, labels)
    said = model.decision_function((held - mean) / spread) / fit_temperature(logits[best], labels).value
    return Outcome(PENALTIES[best], scores[best], said.astype(np.float32), time.perf_counter() - began)


def _scale(features: Floats) -> tuple[Floats, np.float32]:
    return features.mean(0), np.float32(np.sqrt(features.var(0).mean()))


def _log_loss(logits: Floats, labels: Labels) -> float:
    cooled = logits / fit_temperature(logits, labels).value
    return float(-log_probabilities(cooled)[np.arange(len(labels)), labels].mean())


def main() -> None:
    """Measures and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--features", type=Path, help="npz with x (N, D) and y (N,)")
    parser.add_argument("--rows", type=int, default=10_000, help="of made features, without those held out")
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--classes", type=int, default=20)
    parser.add_argument("--ours", action="store_true", help="leave scikit-learn out")
    args = parser.parse_args()
    if args.features:
        kept = np.load(args.features)
        features, labels = kept["x"].astype(np.float32), kept["y"].astype(np.int64)
    else:
        features, labels = made_features(args.rows * 5 // 4, args.width, args.classes)
    order = np.random.default_rng(0).permutation(len(labels))
    held, rows = order[: len(labels) // 5], order[len(labels) // 5 :]
    fold = np.random.default_rng(1).permutation(len(rows)) % N_FOLDS
    ways = {"pocketlens": ours} if args.ours else {"pocketlens": ours, "scikit-learn": scikit_learns}
    n_classes = int(labels.max()) + 1
    print(
        f"{len(rows):,} rows, {features.shape[1]:,} features, {n_classes} classes; {torch.get_num_threads()} threads\n"
    )
    print("| way | seconds | C | log-loss in the folds | log-loss held out | accuracy held out |")
    print("|---|--:|--:|--:|--:|--:|")
    warnings.simplefilter("ignore", ConvergenceWarning)
    for name, way in ways.items():
        found = way(features[rows], labels[rows], fold, features[held])
        loss = float(-log_probabilities(found.logits)[np.arange(len(held)), labels[held]].mean())
        right = float((found.logits.argmax(1) == labels[held]).mean())
        print(
            f"| {name} | {found.seconds:.1f} | {found.strength:g} | {found.log_loss:.4f} | {loss:.4f} | {right:.2%} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
