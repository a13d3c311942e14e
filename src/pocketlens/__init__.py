"""pocketlens: from a data set of small images to the best classifier in the time given, judged honestly.

The public names are imported when they are first used, so that `import pocketlens` is instant.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pocketlens.data.dataset import Dataset, SealedTest
    from pocketlens.data.split import Split, make_split
    from pocketlens.datasets import load
    from pocketlens.errors import PocketlensError
    from pocketlens.evaluation.open_test import open_test
    from pocketlens.events import Epoch, Progress
    from pocketlens.inference.predict import predict
    from pocketlens.pipeline import auto
    from pocketlens.recipe import Experiment, Recipe, read_recipe
    from pocketlens.report import write_report
    from pocketlens.scoring.predictions import Predictions
    from pocketlens.scoring.scores import Scores, score
    from pocketlens.training.classifier import Classifier, load_classifier
    from pocketlens.training.fit import fit
    from pocketlens.training.run import Run, all_runs
    from pocketlens.training.train import refit, train

__version__ = "0.1.0"
__all__ = [
    "Classifier",
    "Dataset",
    "Epoch",
    "Experiment",
    "PocketlensError",
    "Predictions",
    "Progress",
    "Recipe",
    "Run",
    "Scores",
    "SealedTest",
    "Split",
    "all_runs",
    "auto",
    "fit",
    "load",
    "load_classifier",
    "make_split",
    "open_test",
    "predict",
    "read_recipe",
    "refit",
    "score",
    "train",
    "write_report",
]

_MODULE_OF = {
    "Classifier": "training.classifier",
    "Dataset": "data.dataset",
    "Epoch": "training.fit",
    "Experiment": "recipe",
    "PocketlensError": "errors",
    "Predictions": "scoring.predictions",
    "Progress": "training.fit",
    "Recipe": "recipe",
    "Run": "training.run",
    "Scores": "scoring.scores",
    "SealedTest": "data.dataset",
    "Split": "data.split",
    "all_runs": "training.run",
    "auto": "pipeline",
    "fit": "training.fit",
    "load": "datasets",
    "load_classifier": "training.classifier",
    "make_split": "data.split",
    "open_test": "evaluation.open_test",
    "predict": "inference.predict",
    "read_recipe": "recipe",
    "refit": "training.train",
    "score": "scoring.scores",
    "train": "training.train",
    "write_report": "report",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'pocketlens' has no attribute {name!r}")
    return getattr(import_module(f"pocketlens.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
