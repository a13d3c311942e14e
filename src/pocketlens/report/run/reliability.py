"""What a page says about the answers row by row: causes of errors, calibration, the reject option, conformal sets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pocketlens.data.duplicates import read_duplicates
from pocketlens.draws import stream
from pocketlens.inference.validation import read_temperature
from pocketlens.report.run.contamination import contaminated_rows
from pocketlens.report.run.row_files import files_of
from pocketlens.scoring.calibration import Calibration, calibrate
from pocketlens.scoring.error_causes import DuplicateLabels, RowAnalysis, analyse_rows, equal_pixels, listed_duplicates
from pocketlens.scoring.metrics import least_rows
from pocketlens.scoring.predictions import Predictions, read_predictions, thinned
from pocketlens.scoring.selective import (
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

if TYPE_CHECKING:
    from pocketlens.data.dataset import Dataset, SealedTest
    from pocketlens.scoring.scores import Scores
    from pocketlens.training.run import Run

COVERAGES = (0.8, 0.9, 0.95)  # targets of conformal sets
ASKED = (0.5, 0.7, 0.8, 0.9, 0.95, 1.0)  # coverages of selective prediction in the table
METHODS: tuple[Method, ...] = ("lac", "aps")


@dataclass(frozen=True)
class AnsweredAt:
    """Selective prediction that answers `share` of the images; None where there are fewer than `least` of them."""

    share: float
    least: int
    found: Selective | None


@dataclass(frozen=True)
class SetsAt:
    """Conformal sets of a coverage by a method, with their scores on rows that they were not fitted on.

    Attributes:
        least: rows, or groups where there are groups, from which sets of this coverage can be told.
        n: those that there are.
        scores: None where they are too few.
    """

    coverage: float
    method: Method
    least: int
    n: int
    scores: SetScores | None


@dataclass(frozen=True, eq=False)
class Reliability:
    """The predictions of the scored part, analysed row by row.

    Attributes:
        rows: how confident each prediction was and why it was wrong.
        files: the name of each scored row, or None.
        contaminated: (N,) bool, the rows that show a picture of the development (of validation: training) rows; None
            where the data is not there.
        compared: whether rows were compared with the data set for duplicates.
        searched: whether near duplicates count too, because `pocketlens look` has searched for them.
        temperature: fitted on validation rows, 1 where they are too few; None where there were none.
        before, after: the calibration without and with it; `after` is None where the temperature is 1.
        answered: accuracy by coverage, where the rows are enough; risk: the mean error rate over all coverages.
        asked: the same at some coverages, whether the rows are enough or not.
        sets: conformal sets, whether the rows are enough or not.
        held_out: those rows are the scored part; else they are one half of it, and the rules come from the other.
    """

    predictions: Predictions
    rows: RowAnalysis
    files: tuple[str, ...] | None
    contaminated: NDArray[np.bool_] | None
    compared: bool
    searched: bool
    temperature: Temperature | None
    before: Calibration
    after: Calibration | None
    answered: tuple[Selective, ...]
    asked: tuple[AnsweredAt, ...]
    risk: float
    sets: tuple[SetsAt, ...]
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
    duplicates = _duplicates(predictions, dataset, sealed)
    temperature = read_temperature(run)
    shares = tuple(step / 20 for step in range(1, 21))
    n_alone = _n_alone(predictions)
    told = tuple(each for each in (*shares, *ASKED) if n_alone >= _least(each))
    answers = coverage_curve(predictions.logits, predictions.labels, told)
    n_shares = sum(n_alone >= _least(each) for each in shares)
    asked = dict(zip(told[n_shares:], answers[n_shares:], strict=True))
    return Reliability(
        predictions=predictions,
        rows=analyse_rows(predictions, duplicates.labels),
        files=files_of(run, predictions, dataset),
        contaminated=contaminated_rows(predictions, run.split.train, dataset, sealed),
        compared=duplicates.labels is not None,
        searched=duplicates.searched,
        temperature=temperature,
        before=calibrate(predictions),
        after=None if temperature is None or temperature.value == 1 else calibrate(predictions, temperature.value),
        answered=tuple(answers[:n_shares]),
        asked=tuple(AnsweredAt(share, _least(share), asked.get(share)) for share in ASKED),
        risk=area_under_risk(predictions.logits, predictions.labels),
        sets=_sets(run, predictions),
        held_out=predictions.part == "test",
    )


def with_known_duplicates(
    run: Run, scores: Scores | None, dataset: Dataset | None, sealed: SealedTest | None
) -> Scores | None:
    """Test scores, with those without contaminated images where `look` has searched for them after the opening."""
    path = run.file("predictions-test.safetensors")
    if scores is None or dataset is None or sealed is None or len(sealed) != scores.n or not path.exists():
        return scores
    if scores.clean is not None and scores.clean.complete:
        return scores
    found = read_duplicates(dataset, sealed)
    return scores if found is None else scores.without_contaminated(read_predictions(path), found)


@dataclass(frozen=True)
class _Duplicates:
    """Rows with a duplicate in the data set, where they were compared, and whether near ones were searched for."""

    labels: DuplicateLabels | None = None
    searched: bool = False


def _duplicates(predictions: Predictions, dataset: Dataset | None, sealed: SealedTest | None) -> _Duplicates:
    if dataset is None:
        return _Duplicates()
    of_test = predictions.part == "test"
    if of_test and (sealed is None or len(sealed.hashes) != len(predictions.rows)):
        return _Duplicates()
    test_labels = predictions.labels if of_test else None
    found = None if sealed is None else read_duplicates(dataset, sealed)
    if found is not None and found.complete:
        return _Duplicates(listed_duplicates(found, predictions.part, dataset.labels, test_labels), searched=True)
    wrong = predictions.rows[predictions.predicted != predictions.labels]
    hashes = sealed.hashes if of_test and sealed is not None else dataset.hashes
    return _Duplicates(equal_pixels(hashes, wrong, dataset, test_labels))


def _n_alone(predictions: Predictions) -> int:
    """The rows that say something of their own: groups where there are groups."""
    return len(predictions.rows) if predictions.groups is None else len(np.unique(predictions.groups))


def _least(share: float) -> int:
    return 1 if share == 1 else least_rows(share)


def _sets(run: Run, predictions: Predictions) -> tuple[SetsAt, ...]:
    """Sets fitted on validation rows, evaluated on test rows; before the test is opened, on halves of validation."""
    path, predictions = run.file("predictions-val.safetensors"), thinned(predictions)
    if predictions.part == "test":
        if not path.exists():
            return ()
        fitting, evaluation = thinned(read_predictions(path)), predictions
    elif _n_alone(predictions) < 2:
        return tuple(SetsAt(each, method, least_rows(each), 0, None) for each in COVERAGES for method in METHODS)
    else:
        first = _half(predictions)
        fitting, evaluation = _some(predictions, first), _some(predictions, ~first)
    found, n = [], _n_alone(fitting)
    for coverage in COVERAGES:
        for method in METHODS:
            least, scores = least_rows(coverage), None
            if n >= least:
                rule = fit_conformal(fitting.logits, fitting.labels, coverage, method)
                scores = score_sets(conformal_sets(rule, evaluation.logits), evaluation.labels)
            found.append(SetsAt(coverage, method, least, n, scores))
    return tuple(found)


def _half(predictions: Predictions) -> NDArray[np.bool_]:
    """(N,) bool: one random half of the rows, or of the groups."""
    units = np.arange(len(predictions.rows)) if predictions.groups is None else predictions.groups
    every = np.unique(units)
    order = np.random.default_rng(stream(0, "halves") % 2**63).permutation(len(every))
    return np.isin(units, every[np.array_split(order, 2)[0]])


def _some(predictions: Predictions, kept: NDArray[np.bool_]) -> Predictions:
    groups = None if predictions.groups is None else predictions.groups[kept]
    rows, labels, logits = predictions.rows[kept], predictions.labels[kept], predictions.logits[kept]
    return Predictions(predictions.part, rows, labels, logits, groups)
