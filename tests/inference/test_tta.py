"""Views are the image mirrored and shifted; their score is kept apart from the plain one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from made_trainings import PLAIN, finish, made_data, new_run
from test_report import read_page

from pocketlens.data.dataset import seal
from pocketlens.errors import PocketlensError
from pocketlens.evaluation.open_test import open_test, openings
from pocketlens.inference.tta import View, apply_view, predict_with_tta, tta_views
from pocketlens.report import write_report
from pocketlens.training.classifier import load_classifier, predict_logits


def test_a_view_is_mirrored_and_shifted() -> None:
    image = np.arange(12, dtype=np.uint8).reshape(1, 3, 4, 1)
    np.testing.assert_array_equal(apply_view(image, View(False, 0, 0)), image)
    np.testing.assert_array_equal(apply_view(image, View(True, 0, 0))[0, :, :, 0], image[0, :, ::-1, 0])
    np.testing.assert_array_equal(apply_view(image, View(False, 1, 0))[0, 1:, :, 0], image[0, :-1, :, 0])
    np.testing.assert_array_equal(apply_view(image, View(False, 0, -1))[0, :, :-1, 0], image[0, :, 1:, 0])
    np.testing.assert_array_equal(apply_view(image, View(False, 1, 0))[0, 0, :, 0], image[0, 1, :, 0])  # reflected


def test_there_are_two_three_or_six() -> None:
    assert [len(set(tta_views(n))) for n in (2, 3, 6)] == [2, 3, 6]
    assert {(view.down, view.right) for view in tta_views(6)} == {(0, 0), (1, 1), (-1, -1)}
    with pytest.raises(PocketlensError, match="2, 3 or 6, got 4"):
        tta_views(4)


@pytest.mark.slow
def test_the_score_of_views_stands_apart(tmp_path: Path) -> None:
    dataset, test = made_data(96), made_data(40)
    run = new_run(tmp_path, PLAIN, dataset)
    finish(run, dataset)
    with pytest.raises(PocketlensError, match="2, 3 or 6"):
        open_test(run, seal(test), views=5)
    assert openings(seal(test)) == []
    plain = open_test(run, seal(test))
    assert not run.file("scores-test-views.json").exists()
    scores = open_test(run, seal(test), views=6)
    assert scores.top1 == plain.top1
    stored = json.loads(run.file("scores-test-views.json").read_text())
    assert (stored["views"], stored["n"]) == (6, 40)
    classifier = load_classifier(run)
    logits = predict_with_tta(classifier, test.images, 2)
    both = [predict_logits(classifier, images) for images in (test.images, test.images[:, :, ::-1])]
    softmax = [np.exp(each) / np.exp(each).sum(axis=1, keepdims=True) for each in both]
    np.testing.assert_allclose(np.exp(logits), sum(softmax) / 2, rtol=1e-4)
    assert "6 views of each" in read_page(write_report(run, dataset)).shown
