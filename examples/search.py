"""Search from Python: a learning rate and a batch size for the digits, and the selection bias of the best score."""

import sys
from pathlib import Path

import pocketlens as pl

SPACE = {"lr": "log(0.005,0.5)", "batch_size": "choice(64,128,256)"}


def main(runs: Path, epochs: float, trials: int, repeats: int) -> None:
    """Random trials, then trials in ranges cut to the best, then the best and the base with new seeds."""
    search = pl.search(
        "digits",
        SPACE,
        trials=trials,
        repeat=repeats,
        recipe="small",
        model="lens(width=0.25)",
        epochs=epochs,
        threads=1,
        label="rates",
        runs=runs,
    )
    print(f"best: {search.winner}")
    found = search.found
    if found.selection_bias is not None:
        print(f"of its {found.winner.score:.1%}, {100 * found.selection_bias:.1f} points are expected to be selection")
    for verdict in found.final.verdicts if found.final else ():
        print(f"with new seeds it is {verdict.word} than the base: {verdict.difference.mean:+.1%}")


if __name__ == "__main__":
    main(Path("pocketlens-runs"), float(sys.argv[1]) if len(sys.argv) > 1 else 4.0, 12, 3)
