"""Compare from Python: does mirroring help on digits? The same seeds for both recipes, and a verdict."""

import sys
from pathlib import Path

import pocketlens as pl


def main(runs: Path, epochs: float, repeats: int) -> None:
    """Trains both recipes with each seed, and prints the verdict and what a verdict would take."""
    found = pl.compare(
        "digits",
        ["base", "augment=flip | crop(pad=1)"],
        repeat=repeats,
        recipe="small",
        model="lens(width=0.25)",
        epochs=epochs,
        threads=1,
        label="mirrors",
        runs=runs,
    )
    for verdict in found.verdicts:
        seen = verdict.difference
        print(f"{verdict.second} against {verdict.first}: {verdict.word}, {seen.mean:+.1%}, p {verdict.p_holm:.2g}")
        print(verdict.missing)


if __name__ == "__main__":
    main(Path("pocketlens-runs"), float(sys.argv[1]) if len(sys.argv) > 1 else 4.0, 5)
