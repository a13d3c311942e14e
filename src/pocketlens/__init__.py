"""pocketlens: from a data set of small images to the best classifier in the time given, judged honestly.

The public names are imported when they are first used, so that `import pocketlens` is instant.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pocketlens.auto import auto
    from pocketlens.classifier import Classifier, load_classifier
    from pocketlens.dataset import Dataset, SealedTest
    from pocketlens.datasets import load
    from pocketlens.errors import PocketlensError
    from pocketlens.evaluate import open_test
    from pocketlens.fit import Epoch, Progress, fit
    from pocketlens.predict import predict
    from pocketlens.predictions import Predictions
    from pocketlens.recipe import Experiment, Recipe, read_recipe
    from pocketlens.report import write_report
    from pocketlens.run import Run, all_runs
    from pocketlens.scores import Scores, score
    from pocketlens.split import Split, make_split
    from pocketlens.train import refit, train

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
    "Classifier": "classifier",
    "Dataset": "dataset",
    "Epoch": "fit",
    "Experiment": "recipe",
    "PocketlensError": "errors",
    "Predictions": "predictions",
    "Progress": "fit",
    "Recipe": "recipe",
    "Run": "run",
    "Scores": "scores",
    "SealedTest": "dataset",
    "Split": "split",
    "all_runs": "run",
    "auto": "auto",
    "fit": "fit",
    "load": "datasets",
    "load_classifier": "classifier",
    "make_split": "split",
    "open_test": "evaluate",
    "predict": "predict",
    "read_recipe": "recipe",
    "refit": "train",
    "score": "scores",
    "train": "train",
    "write_report": "report",
}


class _Package(ModuleType):
    """The package itself: `pocketlens.train` is the function, also after the file train.py was imported."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _MODULE_OF and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'pocketlens' has no attribute {name!r}")
    return getattr(import_module(f"pocketlens.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)


sys.modules[__name__].__class__ = _Package
