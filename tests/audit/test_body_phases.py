"""What a pretrained body adds is not mixed up with what audits of the same data keep, which does not depend on it."""

from __future__ import annotations

import numpy as np
import pytest
from made_images import parts
from made_trainings import made_data
from test_seen_alike import N, features, photos

from pocketlens.audit import cross_validation, outliers, phases, predictors
from pocketlens.audit.audit import AuditReport, audit
from pocketlens.audit.body import BodyFeatures, BodyView
from pocketlens.audit.cross_validation import cross_validate
from pocketlens.audit.near_duplicates import find_duplicates
from pocketlens.audit.options import CHECKS, AuditOptions
from pocketlens.audit.phases import Phases
from pocketlens.data.dataset import seal
from pocketlens.data.duplicates import exact_pairs, write_duplicates
from pocketlens.events import Work, finish

DATASET = made_data(96, shape=(8, 8, 3))
SEALED = seal(DATASET.take(np.arange(10)))
FEATURES = (np.random.default_rng(0).normal(size=(96, 8)) + 6 * np.eye(8)[DATASET.labels]).astype(np.float32)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phases, "KEPT_FROM", 10)
    monkeypatch.setattr(outliers, "_LEAST_STEPS", 8)
    monkeypatch.setattr(cross_validation, "_PASSES", 100)


def seen(monkeypatch: pytest.MonkeyPatch, checks: set[str], *, body: bool) -> AuditReport:
    """An audit whose phases stay, as if it had been stopped before its page was written."""

    def made(view: BodyView, device: str, *, with_test: bool) -> Work[BodyFeatures]:
        yield from ()
        return BodyFeatures(FEATURES, None)

    monkeypatch.setattr(predictors, "body_features", made)
    options = AuditOptions(skip=frozenset(CHECKS) - checks)
    return finish(audit(DATASET, SEALED, options, BodyView(DATASET, None) if body else None))


@pytest.mark.slow
def test_a_stopped_audit_without_the_body_and_one_with_it_keep_apart_what_they_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    checks = {"classes", "outliers"}
    first = seen(monkeypatch, checks, body=True)
    assert "votes" not in first.phases.finished()
    assert "fold 2 of 3" in first.phases.finished()
    small = seen(monkeypatch, checks, body=False)
    assert "votes" in small.phases.finished()
    again = seen(monkeypatch, checks, body=True)
    assert first.classes is not None
    assert small.classes is not None
    assert all(each.neighbour_recall.value == 1.0 for each in first.classes)
    assert any(each.neighbour_recall.value != 1.0 for each in small.classes)
    assert again.classes == first.classes, "votes by the body, not those that were kept"
    assert small.outliers is not None
    assert again.outliers is not None
    assert again.outliers.space == small.outliers.space
    assert np.array_equal(again.outliers.distances, small.outliers.distances)


def test_a_person_sees_the_nearest_images_by_what_predicts_the_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    nearest = seen(monkeypatch, {"labels", "classes", "outliers"}, body=True).nearest
    assert nearest is not None
    own = zip(nearest.rows.tolist(), nearest.neighbours, strict=True)
    assert all((DATASET.labels[near] == DATASET.labels[row]).all() for row, near in own)  # as the features say


def test_rows_that_no_model_predicts_are_zero_and_the_folds_that_are_trained_the_same() -> None:
    kept = Phases.of(DATASET, SEALED, 0, "cpu")
    first = finish(cross_validate(DATASET, n_models=1, phases=kept))
    assert kept.finished() == ("fold 0 of 3",)
    every = finish(cross_validate(DATASET, phases=kept))
    held = first.fold == 0
    assert not first.logits[~held].any()
    assert not first.features[~held].any()
    assert first.logits[held].tobytes() == every.logits[held].tobytes()
    assert every.logits[~held].any()


def test_a_kept_list_of_duplicates_is_read_unless_a_search_with_the_body_has_replaced_it() -> None:
    images = photos()
    dataset, sealed = parts(images, np.roll(images[5:6], 4, axis=1))
    kept = Phases.of(dataset, sealed, 0, "cpu")
    alone = finish(find_duplicates(dataset, sealed, phases=kept))
    assert len(alone.row_a) == 1
    assert [step.what for step in find_duplicates(dataset, sealed, phases=kept)] == []  # read
    work = find_duplicates(dataset, sealed, phases=kept, features=features(N + 1))
    assert "finding photos that the pretrained body sees alike" in {step.what for step in work}
    write_duplicates(dataset, sealed, exact_pairs(dataset, sealed))  # another list, as a body may find one
    assert finish(find_duplicates(dataset, sealed, phases=kept)).to_dict() == alone.to_dict()
