"""The loop from Python, for those who want it: one event after each step and each epoch; stopping is `break`."""

import sys
from pathlib import Path

import pocketlens as pl
from pocketlens.training.train import train


def main(runs: Path, epochs: float) -> pl.Run:
    """Trains on the digits until validation is above 90 %, and resumes to the end."""
    dataset, _ = pl.load("digits")
    split = pl.make_split(dataset, val_fraction=0.1, seed=0)
    recipe = pl.read_recipe("small").changed(epochs=epochs)
    run = pl.Run.create(pl.Experiment(dataset.text, recipe, data_fingerprint=dataset.fingerprint), split, runs)

    for event in train(run, dataset):
        if isinstance(event, pl.Epoch):
            print(f"epoch {event.number}: validation {event.record['val_accuracy']:.1%}")
            if event.record["val_accuracy"] > 0.9:
                break  # the run saves itself
    print(run.status()[0])

    for _ in train(run, dataset):  # the same call resumes, to the same bytes as without a break
        pass
    print(run.status()[0])
    return run


if __name__ == "__main__":
    main(Path("pocketlens-runs"), float(sys.argv[1]) if len(sys.argv) > 1 else 8.0)
