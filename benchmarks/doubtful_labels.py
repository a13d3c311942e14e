"""Label issues in a copy of Fashion-MNIST in which we set 5 % of the labels wrongly: are they found?

    python benchmarks/doubtful_labels.py

Promise: at least 80 % of the wrong labels are among at most 10 % flagged rows. Prints recall, precision and seconds.
Labels that are wrong in Fashion-MNIST itself count against the precision.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from pocketlens.audit.cross_validation import cross_validate
from pocketlens.audit.label_issues import find_label_issues, require_cleanlab
from pocketlens.datasets import load
from pocketlens.events import finish
from pocketlens.scoring.metrics import proportion


def main() -> None:
    """Plants wrong labels, searches for them, and counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of Fashion-MNIST")
    parser.add_argument("--share", type=float, default=0.05, help="share of the labels to set wrongly (%(default)s)")
    parser.add_argument("--rows", type=int, help="use only this many rows")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    require_cleanlab()
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
    found = find_label_issues(planted, finish(cross_validate(planted, seed=args.seed)))
    seconds = time.perf_counter() - began
    hits = np.isin(found.rows, wrong)
    mended = found.suggested[hits] == dataset.labels[found.rows[hits]]
    print(
        f"{n:,} rows, {len(wrong):,} wrong labels planted (seed {args.seed}); the models predict {found.accuracy:.1%}"
    )
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
