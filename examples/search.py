"""Search from Python: a learning rate and a batch size for the digits, and how much of the best score is luck."""

import sys
from pathlib import Path

import pocketlens as pl
from pocketlens.studies.compare import question
from pocketlens.studies.pool import Ended
from pocketlens.studies.process import Limits
from pocketlens.studies.search import read_search, run_search, start_search

SPACE = "lr=log(0.005,0.5); batch_size=choice(64,128,256)"


def main(runs: Path, epochs: float, trials: int, repeats: int) -> None:
    """Random trials, then trials in ranges cut to the best, then the best and the base anew with other seeds."""
    dataset, _ = pl.load("digits")
    split = pl.make_split(dataset)
    base = pl.read_recipe("small").changed(model="lens(width=0.25)", epochs=epochs)
    how = {"method": "coarse-to-fine", "rounds": 2, "trials": trials, "minutes": None, "rungs": [1.0], "keep": 0.5}
    named = {"repeats": repeats, "jobs": 1, "seed": 0, "label": "rates", "made_by": "examples/search.py"}
    study = start_search(question(dataset, split, base, kind="search", space=SPACE, **how, **named), split, runs)

    for event in run_search(study, Limits(threads=1)):
        if isinstance(event, Ended) and event.record.score is not None:
            print(f"{event.record.trial.phase}: {event.record.score:.1%} with {dict(event.record.trial.changes)}")

    found = read_search(study)
    print(f"best: {dict(found.winner.trial.changes)}")
    if found.luck is not None:
        print(f"of its {found.winner.score:.1%}, {100 * found.luck:.1f} points are expected to be luck")
    for verdict in found.final.verdicts if found.final else ():
        print(f"with new seeds it is {verdict.word} than the base: {verdict.difference.mean:+.1%}")


if __name__ == "__main__":
    main(Path("pocketlens-runs"), float(sys.argv[1]) if len(sys.argv) > 1 else 4.0, 12, 3)
