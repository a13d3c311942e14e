"""A first run from Python: train on the digits, open the test rows once, write the page."""

import sys
from pathlib import Path

import pocketlens as pl


def main(runs: Path, epochs: float) -> Path:
    """Trains the recipe `small` for some epochs and returns the page's path."""
    run = pl.train("digits", recipe="small", epochs=epochs, label="first run", runs=runs)
    print(f"validation: {run.val.top1.value:.1%}")

    scores = run.test().scores  # written down first: `scores.openings` counts
    print("\n".join(scores.lines()))
    return run.report().path


if __name__ == "__main__":
    page = main(Path("pocketlens-runs"), float(sys.argv[1]) if len(sys.argv) > 1 else 8.0)
    print(f"the page: {page}")
