"""Transfer: train on some digits, start from that on others, and put a forest on what the first network sees."""

import sys
from dataclasses import replace
from pathlib import Path

import pocketlens as pl
from pocketlens.events import finish
from pocketlens.files import read_json
from pocketlens.training.fit_head import HeadSpec, fit_head
from pocketlens.training.train import train as train_run


def main(runs: Path, epochs: float) -> None:
    """The source learns the digits 0 to 4; the target is 5 to 9, of which a fifth is trained on."""
    digits, _ = pl.load("digits")
    low, high = (digits.take((digits.labels // 5 == half).nonzero()[0]) for half in (0, 1))
    low, high = replace(low, classes=tuple("01234")), replace(high, labels=high.labels - 5, classes=tuple("56789"))
    recipe = pl.read_recipe("small").changed(model="lens(width=0.25)", epochs=epochs)
    source = train(low, recipe, 0.1, runs)
    started = recipe.changed(start=source.id, head="new")
    strategies = {"scratch": recipe, "full": started, "frozen": started.changed(freeze="body")}
    for name, strategy in strategies.items():
        run = train(high, strategy, 0.8, runs)
        print(f"{name:<8} {run.history()[-1]['val_accuracy']:.1%}")

    asked = replace(run.experiment, recipe=started)
    forest = finish(fit_head(asked, high, run.split, HeadSpec("forest", 100), runs=runs))
    print(f"forest   {read_json(forest.file('scores-val.json'))['top1']['value']:.1%}")


def train(dataset: pl.Dataset, recipe: pl.Recipe, val_fraction: float, runs: Path) -> pl.Run:
    """A finished run."""
    run = pl.Run.create(pl.Experiment("digits", recipe), pl.make_split(dataset, val_fraction=val_fraction), runs)
    list(train_run(run, dataset))  # all its events, to its end
    return run


if __name__ == "__main__":
    main(Path("pocketlens-runs"), float(sys.argv[1]) if len(sys.argv) > 1 else 4.0)
