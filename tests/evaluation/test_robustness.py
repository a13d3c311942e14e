"""Robustness is measured on validation rows alone, agrees with counts by hand, and stands in the page."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_runs import make_dataset, make_run
from made_trainings import PLAIN, finish, made_data, new_run
from test_report import read_page

from pocketlens.errors import PocketlensError
from pocketlens.evaluation.corruptions import FAMILIES
from pocketlens.evaluation.robustness import Robustness, mean_estimate, measure_robustness
from pocketlens.events import Step
from pocketlens.events import finish as run_to_its_end
from pocketlens.files import write_json
from pocketlens.report import write_report
from pocketlens.training import classifier as classifier_module


def test_a_run_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = made_data(96)
    run = new_run(tmp_path, PLAIN, dataset)
    finish(run, dataset)
    seen: list[np.ndarray] = []
    predict = classifier_module.predict_logits

    def spy(classifier: Any, images: Any, **options: Any) -> Any:
        seen.append(images)
        return predict(classifier, images, **options)

    monkeypatch.setattr(classifier_module, "predict_logits", spy)
    work = measure_robustness(run, dataset, n_rows=20)
    assert next(work) == Step("corruptions", 1, 75)
    found = run_to_its_end(work)
    assert found.n == 20
    validation = {image.tobytes() for image in dataset.images[run.split.val]}
    assert all(image.tobytes() in validation for image in seen[0])
    assert len(seen) == 76
    assert [row.name for row in found.corruptions][:3] == [corruption.__name__ for corruption in FAMILIES["noise"]]
    means = [np.mean([estimate.value for estimate in row.by_severity]) for row in found.corruptions]
    assert [row.mean.value for row in found.corruptions] == pytest.approx(means)
    assert found.mean.value == pytest.approx(np.mean(means))
    stored = json.loads(run.file("robustness.json").read_text())
    assert Robustness.from_dict(stored) == found
    assert len(list(csv.DictReader(run.file("robustness.csv").read_text().splitlines()))) == 75
    assert "Test images are not used" in read_page(write_report(run, dataset)).shown


def test_runs_without_validation_or_with_other_data_are_refused(tmp_path: Path) -> None:
    dataset = make_dataset(60, ("a", "b"))
    run = make_run(tmp_path, dataset, val_fraction=0.0)
    with pytest.raises(PocketlensError, match="validation images"):
        next(measure_robustness(run, dataset))
    with pytest.raises(PocketlensError, match="must be that of run"):
        next(measure_robustness(run, make_dataset(61, ("a", "b"))))
    write_json(run.file("robustness.json"), {"n": 3})
    with pytest.raises(PocketlensError, match=r"robustness\.json"):
        write_report(run)


def test_a_mean_over_rows_has_the_interval_of_rows() -> None:
    values = np.array([1.0, 0.0, 1.0, 1.0])
    found = mean_estimate(values)
    assert found.value == 0.75
    assert (found.low, found.high) == (pytest.approx(0.75 - 1.96 * 0.5 / 2, abs=1e-3), 1.0)
    assert mean_estimate(np.array([0.5])).low is None
