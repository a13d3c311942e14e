"""Small models with random weights, ready to be asked: tests of what uses a model need no training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from pocketlens.inference.predict import Predictor
from pocketlens.scoring.familiarity import Familiarity
from pocketlens.scoring.temperature import Temperature
from pocketlens.training.checkpoint import Checkpoint, write_checkpoint
from pocketlens.training.classifier import Classifier
from pocketlens.training.model_facts import ModelFacts


def made_facts(model: str = "mlp(hidden=(8,))", **changes: Any) -> dict[str, Any]:
    """What a checkpoint says about a classifier; `image_shape` is `shape` where it is not given."""
    shape = changes.get("shape", [12, 12, 3])
    facts = {
        "model": model,
        "prepare": "none",
        "shape": shape,
        "image_shape": shape,
        "classes": ["ant", "bee", "cat", "dog"],
        "superclasses": None,
        "superclass_of": None,
        "levels": None,
        "mean": [0.45] * shape[2],
        "std": [0.25] * shape[2],
        "seed": 0,
    }
    return {**facts, **changes}


def made_predictor(model: str = "mlp(hidden=(8,))", temperature: float | None = 1.7, **changes: Any) -> Predictor:
    """A classifier with the weights of its seed."""
    classifier = Classifier(ModelFacts.from_dict(made_facts(model, **changes), "made")).eval()
    return Predictor(classifier, "made", None if temperature is None else Temperature(temperature, 100, "made"))


def strict(predictor: Predictor, threshold: float | None) -> Predictor:
    """The same with another threshold of the energy: below all energies every picture is unfamiliar."""
    return replace(predictor, familiarity=Familiarity(threshold, 0.99, 500 if threshold is not None else 15))


def save_model(path: Path, facts: dict[str, Any] | None = None, **changes: Any) -> Path:
    """A model file such as `export` writes."""
    predictor = made_predictor()
    weights = {f"weights/{name}": value for name, value in predictor.classifier.state_dict().items()}
    temperature = {"value": 1.7, "n": 100, "run": "made"}
    meta = {"classifier": facts or made_facts(), "temperature": temperature, **changes}
    write_checkpoint(path, Checkpoint(weights, meta))
    return path
