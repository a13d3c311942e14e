"""Sheets show the chosen augmentations, and the reference model was not trained on the rows it is tested with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made_images import refused
from made_trainings import PLAIN, made_data, new_run
from made_trainings import finish as train_to_end

from pocketlens.audit import augmentation_effect
from pocketlens.audit.augmentation_effect import choose_reference_model, measure_augmentation_effect
from pocketlens.audit.cross_validation import CrossValidation
from pocketlens.events import finish
from pocketlens.recipe import Recipe, read_recipe
from pocketlens.training.classifier import load_classifier

DATASET = made_data()


def test_without_a_model_there_are_sheets_alone() -> None:
    found = finish(measure_augmentation_effect(DATASET, None, None))
    assert [sheet.text for sheet in found.sheets] == [read_recipe("small").augment]
    assert len(set(found.sheets[0].labels)) == 4
    assert found.stability is None
    with refused("no 'flipp'"):
        finish(measure_augmentation_effect(DATASET, "flipp", None))


def test_a_run_is_tested_with_its_validation_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(augmentation_effect, "MOST_ROWS", 10)
    run = new_run(tmp_path, PLAIN, DATASET)
    train_to_end(run, DATASET)
    classifier = load_classifier(run)
    folds = CrossValidation(
        np.arange(64) % 3, np.zeros((64, 4), np.float32), np.zeros((64, 2), np.float32), (classifier,), Recipe()
    )
    reference = choose_reference_model(DATASET, run, classifier, folds)
    assert reference is not None
    assert reference.rows.tolist() == run.split.val.tolist()
    found = finish(measure_augmentation_effect(DATASET, "vertical_flip(p=1.0)", reference))
    assert found.stability is not None
    assert [(each.text, each.n) for each in found.stability] == [("vertical_flip(p=1.0)", 10)]
    assert run.id in found.model
    # a run of other data may have been trained on these rows
    other = choose_reference_model(made_data(80), run, classifier, folds)
    assert other is not None
    assert other.rows.tolist() == list(range(0, 64, 3))
    assert choose_reference_model(made_data(80), run, classifier, None) is None
