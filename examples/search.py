"""Search from Python: a learning rate and a batch size for the digits, and the selection bias of the best score."""

import sys
from pathlib import Path

import pocketlens as pl
from pocketlens.events import TrialEnded
from pocketlens.studies.process import Limits
from pocketlens.studies.search import read_search, run_search, start_search
from pocketlens.studies.spec import SearchSpec, make_spec

SPACE = "lr=log(0.005,0.5); batch_size=choice(64,128,256)"


def main(runs: Path, epochs: float, trials: int, repeats: int) -> None:
    """Random trials, then trials in ranges narrowed to the best, then the best and the base again with new seeds."""
    dataset, _ = pl.load("digits")
    split = pl.make_split(dataset)
    base = pl.read_recipe("small").changed(model="lens(width=0.25)", epochs=epochs)
    spec = make_spec(dataset, split, base, SearchSpec(SPACE, trials, repeats), label="rates")
    study = start_search(spec, split, runs)

    for event in run_search(study, Limits(threads=1)):
        if isinstance(event, TrialEnded) and event.score is not None:
            print(f"{event.trial.phase}: {event.score:.1%} with {event.trial.what}")

    found = read_search(study)
    print(f"best: {dict(found.winner.trial.changes)}")
    if found.selection_bias is not None:
        print(f"its {found.winner.score:.1%} are expected to be {100 * found.selection_bias:.1f} points too high")
    for verdict in found.final.verdicts if found.final else ():
        print(f"with new seeds it is {verdict.word} than the base: {verdict.difference.mean:+.1%}")


if __name__ == "__main__":
    main(Path("pocketlens-runs"), float(sys.argv[1]) if len(sys.argv) > 1 else 4.0, 12, 3)
