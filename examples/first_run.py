"""A first run from Python: train on the digits, watch it, open the test rows once, write the page."""

import sys
from pathlib import Path

import pocketlens as pl


def main(runs: Path, epochs: float) -> Path:
    """Trains the recipe `small` for some epochs and returns the page's path."""
    dataset, sealed = pl.load("digits")
    split = pl.make_split(dataset, val_fraction=0.1, seed=0)
    recipe = pl.read_recipe("small").changed(epochs=epochs)
    experiment = pl.Experiment(dataset.text, recipe, data_fingerprint=dataset.fingerprint, label="first run")

    run = pl.Run.create(experiment, split, runs)
    for event in pl.train(run, dataset):  # one event after each step, each epoch and each note
        if isinstance(event, pl.Epoch):
            record = event.record
            print(f"epoch {event.number}: loss {record['train_loss']:.3f}, validation {record['val_accuracy']:.1%}")

    scores = pl.open_test(run, sealed)  # written down first: `scores.openings` counts
    print("\n".join(scores.lines()))
    return pl.write_report(run, dataset)


if __name__ == "__main__":
    page = main(Path("pocketlens-runs"), float(sys.argv[1]) if len(sys.argv) > 1 else 8.0)
    print(f"the page: {page}")
