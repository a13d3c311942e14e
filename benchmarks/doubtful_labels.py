"""Doubtful labels on a copy of Fashion-MNIST with 5 % of the labels wrongly set by us: are they found?

    python benchmarks/doubtful_labels.py

Promise: at least 80 % of the wrong labels are among at most 10 % flagged rows. Prints recall, precision and seconds.
Whatever labels Fashion-MNIST itself has wrong count against the precision.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from pocketlens.audit.cross_validation import train_folds
from pocketlens.audit.label_issues import find_doubtful, need_cleanlab
from pocketlens.datasets import load
from pocketlens.events import finish
from pocketlens.scoring.metrics import proportion


def main() -> None:
    """Plants wrong labels, looks for them, and counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="where Fashion-MNIST lies")
    parser.add_argument("--share", type=float, default=0.05, help="of the labels are set wrongly (0.05)")
    parser.add_argument("--rows", type=int, help="use so many rows alone")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    need_cleanlab()
    dataset, _ = load("fashion_mnist", args.data)
    generator = np.random.default_rng(args.seed)
    if args.rows is not None:
        dataset = dataset.take(np.sort(generator.permutation(len(dataset))[: args.rows]))
    n, k = len(dataset), len(dataset.classes)
    wrong = np.sort(generator.choice(n, round(args.share * n), replace=False))
    labels = dataset.labels.copy()
    labels[wrong] = (labels[wrong] + generator.integers(1, k, len(wrong))) % k
    began = time.perf_counter()
    planted = replace(dataset, labels=labels)
    found = find_doubtful(planted, finish(train_folds(planted, seed=args.seed)))
    seconds = time.perf_counter() - began
    hits = np.isin(found.rows, wrong)
    mended = found.suggested[hits] == dataset.labels[found.rows[hits]]
    print(f"{n:,} rows, {len(wrong):,} labels wrongly set (seed {args.seed}); the models agree with {found.agreed:.1%}")
    print(f"flagged    {len(found):,} rows, {len(found) / n:.2%} of all (promise: at most 10 %)")
    for name, right, total in (
        ("recall", int(hits.sum()), len(wrong)),
        ("precision", int(hits.sum()), len(found)),
        ("mended", int(mended.sum()), int(hits.sum())),
    ):
        estimate = proportion(right, total)
        print(
            f"{name:<10} {right / max(total, 1):.2%} [{estimate.low:.2%}, {estimate.high:.2%}], {right:,} of {total:,}"
        )
    print(f"seconds    {seconds:.0f}")
    keeps = len(found) <= 0.1 * n and hits.sum() >= 0.8 * len(wrong)
    print("the promise is kept" if keeps else "the promise is NOT kept")


if __name__ == "__main__":
    main()
