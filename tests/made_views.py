"""What features add to the page of a run, from features that a test made up, so that no network is needed."""

from __future__ import annotations

import numpy as np

from pocketlens.data.dataset import Dataset
from pocketlens.evaluation.feature_map import make_map
from pocketlens.report.run.facts import Facts
from pocketlens.report.run.feature_view import FeatureView
from pocketlens.report.run.gallery import choose_rows
from pocketlens.report.run.nearest_training import nearest_training


def make_view(facts: Facts, dataset: Dataset, trained: np.ndarray) -> FeatureView:
    """A map on which classes are apart, with all images of the gallery, and the nearest images of up to 20 mistakes."""
    chosen = choose_rows(facts)
    assert chosen is not None
    assert facts.reliability is not None
    labels = facts.reliability.predictions.labels[chosen.places]
    places = np.arange(len(labels))
    made = make_map(_features(labels, len(dataset.classes), 0), places, len(labels))
    wrong = np.flatnonzero(facts.reliability.rows.cause[chosen.places] >= 0)[:20]
    mistakes = _features(labels[wrong], len(dataset.classes), 1)
    training = _features(dataset.labels[trained], len(dataset.classes), 2)
    return FeatureView(made, nearest_training(mistakes, training, trained, dataset))


def _features(labels: np.ndarray, n_classes: int, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=(len(labels), n_classes))
    return (8 * np.eye(n_classes)[labels] + noise).astype(np.float32)
