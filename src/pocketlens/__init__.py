"""pocketlens: from a data set of small images to the best classifier in the time given, judged honestly.

One call for each command (`pl.auto`, `pl.train`, `pl.compare`, ...), and the nouns that they work on. The public names
are imported when they are first used, so that `import pocketlens` is instant.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pocketlens.api.compare import compare, sweep
    from pocketlens.api.explain import explain, robustness
    from pocketlens.api.export import export
    from pocketlens.api.features import features
    from pocketlens.api.look import look
    from pocketlens.api.lr_range import lr_range
    from pocketlens.api.predict import predict
    from pocketlens.api.report import report
    from pocketlens.api.requests import Machine
    from pocketlens.api.resume import refit, reproduce, resume
    from pocketlens.api.review import review
    from pocketlens.api.search import search
    from pocketlens.api.serve import serve
    from pocketlens.api.show import list_kind, list_studies, show
    from pocketlens.api.study import study
    from pocketlens.api.test import test
    from pocketlens.api.train import train
    from pocketlens.api.transfer import transfer
    from pocketlens.data.dataset import Dataset, SealedTest
    from pocketlens.data.split import Split, make_split
    from pocketlens.datasets import load
    from pocketlens.errors import PocketlensError
    from pocketlens.evaluation.open_test import open_test
    from pocketlens.events import Epoch, Progress
    from pocketlens.pipeline.auto import auto
    from pocketlens.pipeline.opened import open_runs
    from pocketlens.recipe import Experiment, Recipe, read_recipe
    from pocketlens.scoring.predictions import Predictions
    from pocketlens.scoring.scores import Scores, score
    from pocketlens.training.classifier import Classifier, load_classifier
    from pocketlens.training.fit import fit
    from pocketlens.training.run import Run, all_runs

__version__ = "0.1.0"

_MODULE_OF_CALL = {  # one call for each command
    "auto": "pipeline.auto",
    "compare": "api.compare",
    "explain": "api.explain",
    "export": "api.export",
    "features": "api.features",
    "list_kind": "api.show",
    "list_studies": "api.show",
    "look": "api.look",
    "lr_range": "api.lr_range",
    "open_runs": "pipeline.opened",
    "predict": "api.predict",
    "refit": "api.resume",
    "report": "api.report",
    "reproduce": "api.resume",
    "resume": "api.resume",
    "review": "api.review",
    "robustness": "api.explain",
    "search": "api.search",
    "serve": "api.serve",
    "show": "api.show",
    "study": "api.study",
    "sweep": "api.compare",
    "test": "api.test",
    "train": "api.train",
    "transfer": "api.transfer",
}
_MODULE_OF_NOUN = {  # what the calls work on, and the functions below them
    "Classifier": "training.classifier",
    "Dataset": "data.dataset",
    "Epoch": "events",
    "Experiment": "recipe",
    "Machine": "api.requests",
    "PocketlensError": "errors",
    "Predictions": "scoring.predictions",
    "Progress": "events",
    "Recipe": "recipe",
    "Run": "training.run",
    "Scores": "scoring.scores",
    "SealedTest": "data.dataset",
    "Split": "data.split",
    "all_runs": "training.run",
    "fit": "training.fit",
    "load": "datasets",
    "load_classifier": "training.classifier",
    "make_split": "data.split",
    "open_test": "evaluation.open_test",
    "read_recipe": "recipe",
    "score": "scoring.scores",
}
_MODULE_OF = _MODULE_OF_CALL | _MODULE_OF_NOUN
__all__ = [
    "Classifier",
    "Dataset",
    "Epoch",
    "Experiment",
    "Machine",
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
    "compare",
    "explain",
    "export",
    "features",
    "fit",
    "list_kind",
    "list_studies",
    "load",
    "load_classifier",
    "look",
    "lr_range",
    "make_split",
    "open_runs",
    "open_test",
    "predict",
    "read_recipe",
    "refit",
    "report",
    "reproduce",
    "resume",
    "review",
    "robustness",
    "score",
    "search",
    "serve",
    "show",
    "study",
    "sweep",
    "test",
    "train",
    "transfer",
]


class _Package(ModuleType):
    """The package itself: `pocketlens.report` is the function, also after the package `report` was imported."""

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
