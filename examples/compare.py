"""Compare from Python: does mirroring help on digits? The same seeds for both recipes, and a verdict."""

import sys
from pathlib import Path

import pocketlens as pl
from pocketlens.events import TrialEnded
from pocketlens.studies.compare import read_comparison, start_comparison
from pocketlens.studies.overrides import read_variant
from pocketlens.studies.pool import run_study
from pocketlens.studies.process import Limits
from pocketlens.studies.spec import ComparisonSpec, make_spec


def main(runs: Path, epochs: float, repeats: int) -> None:
    """Trains both recipes with each seed, and prints the scores, the verdict, and what a verdict would take."""
    dataset, _ = pl.load("digits")
    split = pl.make_split(dataset)
    base = pl.read_recipe("small").changed(model="lens(width=0.25)", epochs=epochs)
    variants = tuple(read_variant(text, base) for text in ("base", "augment=flip | crop(pad=1)"))
    spec = make_spec(dataset, split, base, ComparisonSpec(variants, repeats), label="mirrors")
    study = start_comparison(spec, split, runs)

    for event in run_study(study, Limits(threads=1)):  # each trial in a process of its own; a killed study continues
        if isinstance(event, TrialEnded):
            print(f"{event.trial.what}: {event.score:.1%}")

    for verdict in read_comparison(study).verdicts:
        seen = verdict.difference
        print(f"{verdict.second} against {verdict.first}: {verdict.word}, {seen.mean:+.1%}, p {verdict.p_holm:.2g}")
        print(verdict.missing)


if __name__ == "__main__":
    main(Path("pocketlens-runs"), float(sys.argv[1]) if len(sys.argv) > 1 else 4.0, 5)
