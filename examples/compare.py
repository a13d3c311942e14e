"""Compare from Python: does mirroring help on digits? The same seeds for both recipes, and a verdict."""

import sys
from pathlib import Path

import pocketlens as pl
from pocketlens.studies.compare import question, read_comparison, start_comparison
from pocketlens.studies.overrides import read_variant
from pocketlens.studies.pool import Ended, run_study
from pocketlens.studies.process import Limits


def main(runs: Path, epochs: float, repeats: int) -> None:
    """Trains both recipes with each seed, and prints the scores, the verdict, and what a verdict would take."""
    dataset, _ = pl.load("digits")
    split = pl.make_split(dataset)
    base = pl.read_recipe("small").changed(model="lens(width=0.25)", epochs=epochs)
    variants = [read_variant(text, base) for text in ("base", "augment=flip | crop(pad=1)")]
    asked = question(dataset, split, base, kind="compare", repeats=repeats, seed=0, judge="all pairs", label="mirrors")
    study = start_comparison({**asked, "made_by": "examples/compare.py"}, split, variants, runs)

    for event in run_study(study, Limits(threads=1)):  # each trial in a process of its own; killed, it can go on
        if isinstance(event, Ended):
            print(f"{event.record.trial.arm}, seed {event.record.trial.seed}: {event.record.score:.1%}")

    for verdict in read_comparison(study).verdicts:
        seen = verdict.difference
        print(f"{verdict.second} against {verdict.first}: {verdict.word}, {seen.mean:+.1%}, p {verdict.p_holm:.2g}")
        print(verdict.missing)


if __name__ == "__main__":
    main(Path("pocketlens-runs"), float(sys.argv[1]) if len(sys.argv) > 1 else 4.0, 5)
