"""With many classes memory grows with images and cells that occur, and every number is that of the dense matrix."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_runs import make_logits
from safetensors.numpy import save
from scipy.stats import binom, false_discovery_control

from pocketlens.errors import PocketlensError
from pocketlens.files import read_json, write_json
from pocketlens.scoring import metrics, predictions, row_blocks
from pocketlens.scoring.calibration import calibrate
from pocketlens.scoring.confusion_cells import MOST_WHOLE, mistakes
from pocketlens.scoring.confusions import beyond_chance, confused_pairs, confusion_csv
from pocketlens.scoring.error_causes import analyse_rows
from pocketlens.scoring.familiarity import energies
from pocketlens.scoring.metrics import Counts
from pocketlens.scoring.predictions import LabelledRows, Predictions, read_predictions, thinned, write_predictions
from pocketlens.scoring.row_blocks import most_likely
from pocketlens.scoring.scores import Scores, score
from pocketlens.scoring.selective import area_under_risk, coverage_curve


def made(n: int, n_classes: int, skill: float = 2.0) -> Predictions:
    labels = np.random.default_rng(n).integers(0, n_classes, n)
    return Predictions("val", np.arange(n), labels, make_logits(labels, n_classes, skill=skill))


def dense_means(confusion: Counts, n_resamples: int, seed: int) -> dict[tuple[str, str], Any]:
    """The resampled means as they were computed before: all cells of all matrices."""
    cells, n = np.flatnonzero(confusion), int(confusion.sum())
    drawn = np.zeros((n_resamples, confusion.size), np.int64)
    generator = np.random.default_rng(seed)
    for start in range(0, n_resamples, 100):
        part = slice(start, min(start + 100, n_resamples))
        drawn[part, cells] = generator.multinomial(n, confusion.reshape(-1)[cells] / n, size=part.stop - start)
    drawn = drawn.reshape(-1, *confusion.shape)
    hits = np.diagonal(drawn, axis1=1, axis2=2)
    return metrics._means(*(each.astype(np.float64) for each in (hits, drawn.sum(axis=2), drawn.sum(axis=1))))


@pytest.mark.parametrize(("n", "n_classes", "block"), [(300, 3, 2**22), (900, 40, 2**22), (500, 40, 2000)])
def test_resampled_counts_are_those_of_dense_matrices_to_the_byte(
    n: int, n_classes: int, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "BLOCK", block)
    made_ones = made(n, n_classes, skill=1.0)
    confusion = metrics.confusion_matrix(made_ones.labels, made_ones.predicted, n_classes)
    found, expected = metrics._resample(confusion, 250, 7), dense_means(confusion.toarray(), 250, 7)
    assert {key: value.tobytes() for key, value in found.items()} == {
        key: value.tobytes() for key, value in expected.items()
    }


def test_cells_that_are_0_count_as_tests_of_a_confusion() -> None:
    for seed in range(30):
        random = np.random.default_rng(seed)
        n = int(random.integers(3, 9))
        confusion = random.poisson(random.choice([0.1, 1.0, 4.0]), (n, n)) + np.diag(random.integers(0, 20, n))
        wrong = confusion * (1 - np.eye(n, dtype=np.int64))
        p = np.where(wrong > 0, binom.sf(wrong - 1, wrong.sum(axis=1)[:, None], 1 / (n - 1)), 1.0)
        others = ~np.eye(n, dtype=bool)
        expected = np.zeros((n, n), bool)
        expected[others] = false_discovery_control(p[others], method="bh") <= 0.05
        found = mistakes(confusion)
        np.testing.assert_array_equal(beyond_chance(confusion), expected[found.true, found.predicted])


def test_numbers_of_rows_are_the_same_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    given, above = made(200, 12, skill=1.0), tuple(index % 3 for index in range(12))

    def numbers() -> list[Any]:
        rows = analyse_rows(given)
        return [
            *(getattr(rows, name).tobytes() for name in ("probability", "margin", "loss", "cause")),
            metrics.mean_nll(given.logits, given.labels),
            metrics.top_k(given.logits, given.labels, 5),
            metrics.coarse_accuracy(given.logits, given.labels, above, 3),
            calibrate(given, 1.7),
            coverage_curve(given.logits, given.labels),
            area_under_risk(given.logits, given.labels),
            energies(given.logits).tobytes(),
        ]

    whole = numbers()
    monkeypatch.setattr(row_blocks, "BLOCK", 100)  # eight rows
    assert numbers() == whole


@pytest.mark.slow
def test_scores_of_5_000_classes_take_little_memory_and_little_room(tmp_path: Path) -> None:
    given, names = made(300, 5000, skill=4.0), tuple(f"kind {index}" for index in range(5000))
    tracemalloc.start()
    scores = score(given, names, ("a", "b"), tuple(index % 2 for index in range(5000)))
    pairs, text = confused_pairs(scores), confusion_csv(scores)
    write_json(tmp_path / "scores.json", scores.to_dict())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 250e6  # one dense matrix is 200 MB, a hundred of them 20 GB
    assert (tmp_path / "scores.json").stat().st_size < 5e6
    read = Scores.from_dict(read_json(tmp_path / "scores.json"))
    assert (read.confusion != scores.confusion).nnz == 0
    assert sum(pair.count for pair in pairs) == 300 - int(scores.confusion.trace())
    assert len(text.splitlines()) == 1 + scores.confusion.nnz


def test_one_right_image_does_not_make_a_class_stand_out() -> None:
    n = 1500
    labels = np.arange(n)
    right = np.random.default_rng(0).random(n) < 0.08
    predicted = np.where(right, labels, (labels + 1) % n)
    scores = score(Predictions("val", labels, labels, np.eye(n, dtype=np.float32)[predicted]), tuple(map(str, labels)))
    found = scores.standouts()
    assert (found.lowest, found.highest, found.n_within) == ((), (), n)
    below, above = metrics.stands_out(np.array([0, 29, 10]), np.array([29, 29, 29]), 0.5, 0.5)
    assert (below.tolist(), above.tolist()) == ([True, False, False], [False, True, False])


def test_a_matrix_of_few_classes_is_stored_whole_and_that_of_before_is_read_at_any_size() -> None:
    few, many = (score(made(400, n), tuple(map(str, range(n)))) for n in (MOST_WHOLE, MOST_WHOLE + 1))
    assert few.to_dict()["confusion"] == few.confusion.toarray().tolist()
    before = {**many.to_dict(), "confusion": many.confusion.toarray().tolist()}
    assert Scores.from_dict(json.loads(json.dumps(before))).to_dict() == many.to_dict()
    for wrong in ({"true": [999], "predicted": [0], "count": [1]}, {"true": [1]}, [[1, 2], [3, 4]]):
        with pytest.raises(PocketlensError, match="must hold the scores of a run"):
            Scores.from_dict({**many.to_dict(), "confusion": wrong})


@pytest.mark.parametrize("has_groups", [False, True])
def test_a_file_written_in_blocks_is_that_of_safetensors_and_can_be_mapped(
    has_groups: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = made(50, 7)
    groups = np.arange(50) // 5 if has_groups else None
    tensors = {"rows": given.rows, "labels": given.labels, "logits": given.logits}
    whole = save(tensors if groups is None else {**tensors, "groups": groups}, metadata={"part": "val"})
    known = LabelledRows("val", given.rows, given.labels, groups)
    blocks = (given.logits[start : start + 8] for start in range(0, 50, 8))
    predictions.write_logits(tmp_path / "a.safetensors", known, blocks, 7)
    assert (tmp_path / "a.safetensors").read_bytes() == whole
    monkeypatch.setattr(predictions, "IN_MEMORY", 100)
    read = read_predictions(tmp_path / "a.safetensors")
    assert isinstance(read.logits, np.memmap)
    np.testing.assert_array_equal(read.logits, given.logits)
    assert score(read, tuple("abcdefg")).to_dict() == score(given, tuple("abcdefg")).to_dict()
    write_predictions(tmp_path / "a.safetensors", read)  # over itself
    assert (tmp_path / "a.safetensors").read_bytes() == whole


def test_logits_that_are_not_finite_leave_the_file_as_it_was(tmp_path: Path) -> None:
    given = made(20, 3)
    write_predictions(tmp_path / "a.safetensors", given)
    before, blocks = (tmp_path / "a.safetensors").read_bytes(), [given.logits[:10], np.full((10, 3), np.nan)]
    with pytest.raises(PocketlensError, match=r"those of 10 rows are not \(the first is row 10\)"):
        predictions.write_logits(tmp_path / "a.safetensors", LabelledRows("val", *[given.rows] * 2), blocks, 3)
    assert (tmp_path / "a.safetensors").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]


def test_rules_are_fitted_on_some_of_very_many_logits(monkeypatch: pytest.MonkeyPatch) -> None:
    given = made(300, 5)
    assert thinned(given) is given
    monkeypatch.setattr(row_blocks, "_FIT_NUMBERS", 500)
    monkeypatch.setattr(row_blocks, "_FIT_ROWS", 30)
    some = thinned(given)
    assert some.logits.shape == (100, 5)
    np.testing.assert_array_equal(some.logits, given.logits[some.rows])
    assert (some.rows[0], some.rows[-1]) == (0, 299)


def test_the_most_likely_classes_come_from_blocks_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    logits = np.random.default_rng(0).normal(size=(97, 11)).astype(np.float32)
    logits[5] = 0.0
    logits.flags.writeable = False
    expected = logits.argmax(axis=1)
    seen: list[int] = []
    original = row_blocks.by_rows

    def by_rows(measure: Any, rows: Any, *columns: Any) -> Any:
        def counted(part: Any) -> Any:
            seen.append(len(part))
            return measure(part)

        return original(counted, rows, *columns)

    monkeypatch.setattr(row_blocks, "by_rows", by_rows)
    monkeypatch.setattr(row_blocks, "BLOCK", 220)
    np.testing.assert_array_equal(most_likely(logits), expected)
    assert seen == [20, 20, 20, 20, 17], "never all, which numpy copies where they are read-only"
