"""An audit that was killed goes on with what it had finished, and gives the same; one that is done leaves nothing."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from made_images import parts, random_images
from made_trainings import made_data

from pocketlens.audit import cross_validation, outliers, phases
from pocketlens.audit.audit import AuditReport, audit
from pocketlens.audit.options import AuditOptions
from pocketlens.audit.phases import Phases
from pocketlens.events import Step, finish
from pocketlens.files import cache_folder

DATASET = made_data(96)
SEALED, OTHER = (parts(random_images(1, DATASET.shape), random_images(24, DATASET.shape, seed))[1] for seed in (5, 6))
OPTIONS = AuditOptions(skip=frozenset(("labels", "shift", "augment")))


def steps_until(report: list[AuditReport], what: str = "") -> list[str]:
    """What an audit does, by the names of its steps, until it is closed at the first step `what` or it has ended."""
    work, names = audit(DATASET, SEALED, OPTIONS), []
    while True:
        try:
            step = next(work)
        except StopIteration as end:
            report.append(end.value)
            return names
        names += [step.what] if step.what not in names else []
        if step.what == what:
            work.close()
            return names


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phases, "KEPT_FROM", 10)
    monkeypatch.setattr(outliers, "_LEAST_STEPS", 8)
    monkeypatch.setattr(cross_validation, "_PASSES", 100)


@pytest.mark.slow
def test_a_killed_audit_goes_on_where_it_was() -> None:
    whole: list[AuditReport] = []
    everything = steps_until(whole)
    looks = cache_folder() / "looks"
    whole[0].phases.forget()  # as the page does that is written
    assert not list(looks.iterdir())
    steps_until([], "measuring neighbour distances")
    kept = {place.name for place in next(looks.iterdir()).iterdir()}
    assert {"duplicates", "fold 0 of 3", "fold 1 of 3", "fold 2 of 3", "votes", "autoencoder"} <= kept
    resumed: list[AuditReport] = []
    assert "votes" in Phases.of(DATASET, SEALED, OPTIONS.seed, OPTIONS.device).finished()
    left = steps_until(resumed)
    assert set(everything) - set(left) >= {"aligning pairs", "cross-validating", "training the autoencoder"}
    (first,), (second,) = whole, resumed
    assert first.duplicates is not None
    assert second.duplicates is not None
    assert first.duplicates.to_dict() == second.duplicates.to_dict()
    assert first.classes == second.classes
    assert first.outliers is not None
    assert second.outliers is not None
    assert np.array_equal(first.outliers.errors, second.outliers.errors)
    assert np.array_equal(first.outliers.distances, second.outliers.distances)


def test_what_other_data_or_another_seed_has_left_is_not_used() -> None:
    one = Phases.of(DATASET, SEALED, 0, "cpu")
    one.write("votes", [np.arange(3)])
    assert one.read("votes") is not None
    assert Phases.of(DATASET, SEALED, 1, "cpu").read("votes") is None
    assert Phases.of(DATASET, OTHER, 0, "cpu").read("votes") is None
    assert Phases.of(*parts(random_images(5), random_images(1)), 0, "cpu") == Phases()  # few images: nothing is kept


def test_damage_a_full_disk_and_old_leftovers_do_no_harm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    place = Phases.of(DATASET, SEALED, 0, "cpu")
    place.write("votes", [np.arange(3), np.zeros((2, 2), np.float32)])
    read = place.read("votes")
    assert read is not None
    assert [array.tolist() for array in read] == [[0, 1, 2], [[0, 0], [0, 0]]]
    assert place.folder is not None
    (place.folder / "votes" / "0.npy").write_bytes(b"x")
    assert place.read("votes") is None

    def work() -> phases.Work[phases.Arrays]:
        yield Step("x", 1, 1)
        return [np.ones(2)]

    monkeypatch.setattr(phases, "write_with", _full)
    (array,) = finish(place.once("other", work()))
    assert array.tolist() == [1, 1]
    assert place.read("other") is None
    assert [each.name for each in place.folder.iterdir()] == ["votes"]  # nothing half-written is left
    long_ago = phases.time.time() - phases.KEPT_FOR - 10
    os.utime(place.folder, (long_ago, long_ago))
    Phases.of(DATASET, SEALED, 1, "cpu")
    assert not place.folder.exists()


def _full(path: Path, fill: object) -> None:
    raise OSError(28, "No space left on device")
