"""What a page says about the answers row by row: causes of errors, calibration, the reject option, conformal sets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pocketlens.data.dataset import Dataset, SealedTest
from pocketlens.data.duplicates import read_duplicates
from pocketlens.draws import stream
from pocketlens.files import read_json
from pocketlens.inference.predict import read_temperature
from pocketlens.scoring.calibration import Calibration, calibrate
from pocketlens.scoring.error_causes import DuplicateLabels, RowAnalysis, analyse_rows, equal_pixels, listed_duplicates
from pocketlens.scoring.predictions import Predictions, read_predictions
from pocketlens.scoring.selective import (
    Conformal,
    Method,
    Selective,
    SetScores,
    area_under_risk,
    conformal_sets,
    coverage_curve,
    fit_conformal,
    score_sets,
)
from pocketlens.scoring.temperature import Temperature, calibration_in_words
from pocketlens.text import printable

if TYPE_CHECKING:
    from pocketlens.training.run import Run

COVERAGES = (0.8, 0.9, 0.95)  # targets of conformal sets
METHODS: tuple[Method, ...] = ("lac", "aps")


@dataclass(frozen=True, eq=False)
class Reliability:
    """The predictions of the scored part, analysed row by row.

    Attributes:
        rows: how confident each prediction was and why it was wrong.
        files: the name of each scored row, or None.
        compared: whether rows were compared with the data set for duplicates.
        searched: whether near duplicates count too, because `pocketlens look` has searched for them.
        temperature: fitted on validation rows, 1 where they are too few; None where there were none.
        before, after: the calibration without and with it; `after` is None where the temperature is 1.
        answered: accuracy by coverage; risk: the mean error rate over all coverages.
        sets: conformal rules with their scores on rows that they were not fitted on.
        held_out: those rows are the scored part; else they are one half of it, and the rules come from the other.
    """

    predictions: Predictions
    rows: RowAnalysis
    files: tuple[str, ...] | None
    compared: bool
    searched: bool
    temperature: Temperature | None
    before: Calibration
    after: Calibration | None
    answered: tuple[Selective, ...]
    risk: float
    sets: tuple[tuple[Conformal, SetScores], ...]
    held_out: bool

    @property
    def calibration(self) -> str:
        """Whether the probabilities are calibrated, and how, to follow "probabilities are"."""
        return calibration_in_words(self.temperature)


def read_reliability(run: Run, part: str, dataset: Dataset | None, sealed: SealedTest | None) -> Reliability | None:
    """Analyses the stored predictions of a part; None if there are none.

    Args:
        dataset: the development rows, or None; then no duplicates are known.
        sealed: the test part, for its hashes; needed to know duplicates of test rows.
    """
    path = run.file(f"predictions-{part}.safetensors")
    if not path.exists():
        return None
    predictions = read_predictions(path)
    duplicates, searched = _duplicates(predictions, dataset, sealed)
    temperature = read_temperature(run)
    sets, held_out = _sets(run, predictions)
    return Reliability(
        predictions=predictions,
        rows=analyse_rows(predictions, duplicates),
        files=_files(run, predictions, dataset),
        compared=duplicates is not None,
        searched=searched,
        temperature=temperature,
        before=calibrate(predictions),
        after=None if temperature is None or temperature.value == 1 else calibrate(predictions, temperature.value),
        answered=tuple(coverage_curve(predictions.logits, predictions.labels)),
        risk=area_under_risk(predictions.logits, predictions.labels),
        sets=sets,
        held_out=held_out,
    )


def _duplicates(
    predictions: Predictions, dataset: Dataset | None, sealed: SealedTest | None
) -> tuple[DuplicateLabels | None, bool]:
    """Rows with a duplicate in the data set, and whether near duplicates were searched for."""
    if dataset is None:
        return None, False
    of_test = predictions.part == "test"
    if of_test and (sealed is None or len(sealed.hashes) != len(predictions.rows)):
        return None, False
    test_labels = predictions.labels if of_test else None
    found = None if sealed is None else read_duplicates(dataset, sealed)
    if found is not None and found.complete:
        return listed_duplicates(found, predictions.part, dataset.labels, test_labels), True
    wrong = predictions.rows[predictions.predicted != predictions.labels]
    hashes = sealed.hashes if of_test and sealed is not None else dataset.hashes
    return equal_pixels(hashes, wrong, dataset, test_labels), False


def _files(run: Run, predictions: Predictions, dataset: Dataset | None) -> tuple[str, ...] | None:
    if predictions.part == "val":
        if dataset is None or dataset.files is None:
            return None
        return tuple(printable(dataset.files[row]) for row in predictions.rows)
    path = run.file("files-test.json")
    names = read_json(path) if path.exists() else None
    if not isinstance(names, list) or len(names) <= int(predictions.rows.max()):
        return None
    return tuple(printable(str(names[row])) for row in predictions.rows)


def _sets(run: Run, predictions: Predictions) -> tuple[tuple[tuple[Conformal, SetScores], ...], bool]:
    """Rules fitted on validation rows, evaluated on test rows; before the test is opened, on halves of validation."""
    logits, labels = predictions.logits, predictions.labels
    path = run.file("predictions-val.safetensors")
    if predictions.part == "test":
        if not path.exists():
            return (), True
        val = read_predictions(path)
        fitting, evaluation = (val.logits, val.labels), (logits, labels)
    else:
        if len(labels) < 2:
            return (), False
        order = np.random.default_rng(stream(0, "halves") % 2**63).permutation(len(labels))
        first, second = np.array_split(order, 2)
        fitting, evaluation = (logits[first], labels[first]), (logits[second], labels[second])
    rows = []
    for coverage in COVERAGES:
        for method in METHODS:
            rule = fit_conformal(*fitting, coverage, method)
            rows.append((rule, score_sets(conformal_sets(rule, evaluation[0]), evaluation[1])))
    return tuple(rows), predictions.part == "test"
