"""Errors by cause: why each wrong row is wrong, as far as the classifier's own answers and the data can tell.

A wrong row gets the first of these that holds:
1. duplicate: the same image occurs in the data with another label; one of the two labels cannot be right.
2. label issue: the classifier, which was not trained on this row and is right often enough (`label_trust.py`), gives
   another class at least the probability that it usually gives to that class's own images, and the given class less
   than a twentieth of what that one usually gets. The usual is the mean over the scored rows of a class: the thresholds
   of confident learning (Northcutt, Jiang, Chuang 2021, "Confident learning: estimating uncertainty in dataset labels",
   arXiv 1911.00068).
3. outlier: the energy of the logits, minus their log-sum-exp, is above that of 99 % of the rows that are right (Liu et
   al. 2020, "Energy-based out-of-distribution detection", arXiv 2010.03759): the picture resembles no class. With
   fewer right rows than tell that share, none is.
4. confused pair: its true class is predicted as the other one significantly often (`confusions.py`).
5. other mistake: none of these.
The first is a fact; the others are hints for a person who checks the images.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pocketlens.data.dataset import Dataset, Hashes
from pocketlens.data.duplicates import DEVELOPMENT, TEST, Duplicates
from pocketlens.files import csv_text
from pocketlens.scoring.confusion_cells import mistakes
from pocketlens.scoring.confusions import beyond_chance
from pocketlens.scoring.label_trust import too_often_wrong
from pocketlens.scoring.metrics import Counts, Floats, confusion_matrix, least_rows, log_probabilities
from pocketlens.scoring.predictions import Predictions
from pocketlens.scoring.row_blocks import by_rows
from pocketlens.text import printable

CAUSES = ("duplicate with another label", "label issue", "outlier", "confused pair", "other mistake")
FAINT = 1 / 20  # of its usual probability: below this the given class is a label issue
FAR = 0.99  # quantile of the right rows' energy above which a row is an outlier


@dataclass(frozen=True, eq=False)
class DuplicateLabels:
    """Scored rows with a duplicate in the data set: (M,) int64 rows, and the label of the duplicate."""

    rows: Counts
    labels: Counts


@dataclass(frozen=True, eq=False)
class RowAnalysis:
    """What is known of each scored row beyond its label.

    Attributes:
        predicted: (N,) int64.
        probability: (N,) float64 of the predicted class.
        margin: (N,) float64, the true class's probability minus the highest of the others: below 0 where wrong.
        loss: (N,) float64 nats.
        cause: (N,) int64, an index into CAUSES, -1 where the row is right.
        no_label_issues: why no row can be a label issue; None where it can.
    """

    predicted: Counts
    probability: Floats
    margin: Floats
    loss: Floats
    cause: Counts
    no_label_issues: str | None = None

    def counts(self) -> dict[str, int]:
        """How many rows each cause has, in the order of CAUSES."""
        return {name: int((self.cause == index).sum()) for index, name in enumerate(CAUSES)}


def analyse_rows(predictions: Predictions, duplicates: DuplicateLabels | None = None) -> RowAnalysis:
    """Says for each row how sure the classifier was, and for each wrong one why."""
    logits, labels, predicted = predictions.logits, predictions.labels, predictions.predicted
    loss, own, other, said = np.ascontiguousarray(by_rows(_answers, logits, labels, predicted).T)
    wrong = predicted != labels
    cause = np.full(len(labels), -1)
    cause[wrong] = CAUSES.index("other mistake")
    tests = (  # the last one that holds stays
        ("confused pair", _is_in_pair(labels, predicted, logits.shape[1])),
        ("outlier", _is_far(logits, wrong)),
        ("label issue", _is_doubtful(own, said, labels, predicted)),
        ("duplicate with another label", _has_other_label(predictions, duplicates)),
    )
    for name, holds in tests:
        cause[wrong & holds] = CAUSES.index(name)
    unsure = too_often_wrong(labels, predicted)
    return RowAnalysis(predicted, said, own - other, loss, cause, unsure)


def _answers(logits: NDArray[np.float32], labels: Counts, predicted: Counts) -> Floats:
    """(N, 4) float64: loss; probability of the true class, of the best of the others, and of the predicted class."""
    every, logs = np.arange(len(labels)), log_probabilities(logits)
    probabilities = np.exp(logs)
    own, said = probabilities[every, labels], probabilities[every, predicted]
    probabilities[every, labels] = -np.inf
    other = probabilities.max(axis=1) if logits.shape[1] > 1 else np.zeros(len(labels))
    return np.stack([-logs[every, labels], own, other, said], axis=1)


class _LabelledRow(NamedTuple):
    """A row of a part, "val" or "test", and its label."""

    part: str
    row: int
    label: int


def equal_pixels(hashes: Hashes, rows: Counts, dataset: Dataset, test_labels: Counts | None = None) -> DuplicateLabels:
    """The duplicates with equal pixels among the development rows and, if its labels are given, in the test part.

    Args:
        hashes: (N, 16) of the part that is scored: of the development rows or of the test part.
        rows: the scored rows of it.
        test_labels: (N,) labels of the opened test part, where that is the part that is scored.
    """
    digests = _as_bytes(hashes)
    known: dict[bytes, list[_LabelledRow]] = {digests[row]: [] for row in rows}
    for row, digest in enumerate(_as_bytes(dataset.hashes)):
        if digest in known:
            known[digest].append(_LabelledRow("val", row, int(dataset.labels[row])))
    part = "val" if test_labels is None else "test"
    for row, label in enumerate(() if test_labels is None else test_labels):
        if digests[row] in known:
            known[digests[row]].append(_LabelledRow(part, row, int(label)))
    found = [
        (int(row), other.label)
        for row in rows
        for other in known[digests[row]]
        if (other.part, other.row) != (part, int(row))
    ]
    table = np.array(sorted(found), np.int64).reshape(-1, 2)
    return DuplicateLabels(table[:, 0], table[:, 1])


def _as_bytes(hashes: Hashes) -> list[bytes]:
    whole, size = np.ascontiguousarray(hashes).tobytes(), hashes.shape[1]
    return [whole[start : start + size] for start in range(0, len(whole), size)]


def listed_duplicates(
    found: Duplicates, part: str, labels: Counts, test_labels: Counts | None = None
) -> DuplicateLabels:
    """The duplicates, exact and near, of the rows of a part, from a list of duplicates.

    Args:
        part: "val" (development rows) or "test".
        labels: of the development rows.
        test_labels: (N,) labels of the opened test part; without them duplicates in the test part are left out.
    """
    scored = DEVELOPMENT if part == "val" else TEST
    counts = (found.judgement == "exact") | (found.judgement == "near")
    rows, others = [], []
    for own, other in (("a", "b"), ("b", "a")):
        own_part, other_part = getattr(found, f"part_{own}"), getattr(found, f"part_{other}")
        for name, known in ((DEVELOPMENT, labels), (TEST, test_labels)):
            if known is not None:
                pairs = counts & (own_part == scored) & (other_part == name)
                rows.append(getattr(found, f"row_{own}")[pairs])
                others.append(known[getattr(found, f"row_{other}")[pairs]])
    return DuplicateLabels(np.concatenate(rows).astype(np.int64), np.concatenate(others).astype(np.int64))


def predictions_csv(
    predictions: Predictions, analysis: RowAnalysis, classes: tuple[str, ...], files: tuple[str, ...] | None = None
) -> str:
    """Every scored row as CSV: row, file, true, predicted, probability, margin, loss, cause (empty where right).

    Args:
        files: the file of each scored row, or None.
    """
    rows = (
        [
            int(predictions.rows[index]),
            printable(files[index]) if files is not None else "",
            classes[predictions.labels[index]],
            classes[analysis.predicted[index]],
            f"{analysis.probability[index]:.6f}",
            round(float(analysis.margin[index]), 6),
            f"{analysis.loss[index]:.6f}",
            CAUSES[analysis.cause[index]] if analysis.cause[index] >= 0 else "",
        ]
        for index in range(len(predictions.rows))
    )
    return csv_text(["row", "file", "true", "predicted", "probability", "margin", "loss", "cause"], rows)


def _is_in_pair(labels: Counts, predicted: Counts, n_classes: int) -> NDArray[np.bool_]:
    confusion = confusion_matrix(labels, predicted, n_classes)
    wrong, clear = mistakes(confusion), beyond_chance(confusion)
    return np.isin(labels * n_classes + predicted, (wrong.true * n_classes + wrong.predicted)[clear])


def _is_doubtful(own: Floats, said: Floats, labels: Counts, predicted: Counts) -> NDArray[np.bool_]:
    """By the probabilities (N,) of the true and of the predicted class."""
    if too_often_wrong(labels, predicted) is not None:
        return np.zeros(len(labels), bool)
    n_classes = int(max(labels.max(), predicted.max())) + 1
    counts = np.bincount(labels, minlength=n_classes)
    usual = np.bincount(labels, weights=own, minlength=n_classes) / np.maximum(counts, 1)
    return (counts[predicted] > 0) & (said >= usual[predicted]) & (own < FAINT * usual[labels])


def _is_far(logits: NDArray[np.float32], wrong: NDArray[np.bool_]) -> NDArray[np.bool_]:
    from scipy.special import logsumexp

    if (~wrong).sum() < least_rows(FAR):
        return np.zeros(len(wrong), bool)
    energy = by_rows(lambda some: -logsumexp(some.astype(np.float64), axis=1), logits)
    return np.asarray(energy > np.quantile(energy[~wrong], FAR))


def _has_other_label(predictions: Predictions, duplicates: DuplicateLabels | None) -> NDArray[np.bool_]:
    if duplicates is None or not len(duplicates.rows):
        return np.zeros(len(predictions.rows), bool)
    place = {int(row): index for index, row in enumerate(predictions.rows)}
    holds = np.zeros(len(predictions.rows), bool)
    for row, label in zip(duplicates.rows.tolist(), duplicates.labels.tolist(), strict=True):
        if row in place and predictions.labels[place[row]] != label:
            holds[place[row]] = True
    return holds
