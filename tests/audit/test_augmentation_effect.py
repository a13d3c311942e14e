"""Sheets show what was asked for, and the model that is asked has not seen the images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made_images import refused
from made_trainings import PLAIN, made_data, new_run
from made_trainings import finish as train_to_end

from pocketlens.audit import augmentation_effect as augmented
from pocketlens.audit.augmentation_effect import judge_of, look_at_augmentations
from pocketlens.audit.cross_validation import Folds
from pocketlens.events import finish
from pocketlens.recipe import Recipe, read_recipe
from pocketlens.training.classifier import load_classifier

DATASET = made_data()


def test_without_a_model_there_are_sheets_alone() -> None:
    found = finish(look_at_augmentations(DATASET, None, None))
    assert [sheet.text for sheet in found.sheets] == [read_recipe("small").augment]
    assert len(set(found.sheets[0].labels)) == 4
    assert found.agreements is None
    with refused("no 'flipp'"):
        finish(look_at_augmentations(DATASET, "flipp", None))


def test_a_run_is_asked_about_its_validation_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(augmented, "MOST_ROWS", 10)
    run = new_run(tmp_path, PLAIN, DATASET)
    train_to_end(run, DATASET)
    classifier = load_classifier(run)
    folds = Folds(
        np.arange(64) % 3, np.zeros((64, 4), np.float32), np.zeros((64, 2), np.float32), (classifier,), Recipe()
    )
    judge = judge_of(DATASET, run, classifier, folds)
    assert judge is not None
    assert judge[1].tolist() == run.split.val.tolist()
    found = finish(look_at_augmentations(DATASET, "vertical_flip(p=1.0)", judge))
    assert found.agreements is not None
    assert [(each.text, each.n) for each in found.agreements] == [("vertical_flip(p=1.0)", 10)]
    assert run.id in found.judge
    other = judge_of(made_data(80), run, classifier, folds)  # a run of other data may have been trained on these rows
    assert other is not None
    assert other[1].tolist() == list(range(0, 64, 3))
    assert judge_of(made_data(80), run, classifier, None) is None
