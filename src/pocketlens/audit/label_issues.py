"""Label issues: confident learning on out-of-fold probabilities.

Source: Northcutt, Jiang, Chuang 2021, "Confident learning: estimating uncertainty in dataset labels", JAIR 70,
arXiv:1911.00068; as implemented in the library cleanlab.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketlens.audit.out_of_fold import OutOfFold, has_seen_class
from pocketlens.data.dataset import Dataset
from pocketlens.data.relabel import COLUMNS
from pocketlens.errors import PocketlensError
from pocketlens.events import Step, Work
from pocketlens.files import csv_text
from pocketlens.scoring.label_trust import too_often_wrong
from pocketlens.scoring.metrics import log_probabilities
from pocketlens.scoring.row_blocks import most_likely

_MANY = 20_000_000  # probabilities from which they have half the precision
_BLOCK = 16_384  # rows


@dataclass(frozen=True, eq=False)
class LabelIssues:
    """Rows whose label may be wrong, the most likely first; every array is (M,).

    Attributes:
        rows: int64 row numbers.
        given: int64, the class of the label.
        suggested: int64, the class that the models predict.
        given_probability: float64, the models' probability of the given class.
        suggested_probability: float64, the models' probability of the suggested class.
        n_rows: how many rows were examined.
        accuracy: the share of all labels that the models predict; if it is low, most issues are the models' mistakes.
    """

    rows: NDArray[np.int64]
    given: NDArray[np.int64]
    suggested: NDArray[np.int64]
    given_probability: NDArray[np.float64]
    suggested_probability: NDArray[np.float64]
    n_rows: int
    accuracy: float

    def __len__(self) -> int:
        return len(self.rows)


def require_cleanlab() -> None:
    """Checks that cleanlab is installed.

    Raises:
        PocketlensError: it is not.
    """
    try:
        import cleanlab.filter  # noqa: F401
    except ImportError:
        raise PocketlensError(
            'label issues need cleanlab, which is not installed: pip install "pocketlens[labels]", or skip them with '
            "--skip labels."
        ) from None


def obstacle() -> str | None:
    """Why label issues cannot be found here; None where they can."""
    try:
        require_cleanlab()
    except PocketlensError as error:
        return str(error).removesuffix(".")
    return None


def distrust(dataset: Dataset, predictions: OutOfFold) -> str | None:
    """Why the models are wrong too often to doubt a label; None where they are not."""
    return too_often_wrong(dataset.labels, most_likely(predictions.logits))


def check_label_issues(dataset: Dataset, predictions: OutOfFold) -> Work[LabelIssues]:
    """`find_label_issues` with its progress."""
    yield Step("finding label issues", 0, len(dataset))
    found = find_label_issues(dataset, predictions)
    yield Step("finding label issues", len(dataset), len(dataset))
    return found


def find_label_issues(dataset: Dataset, predictions: OutOfFold) -> LabelIssues:
    """The rows that confident learning flags, ranked by the probability of their given label, the lowest first.

    Raises:
        PocketlensError: cleanlab is not installed.
    """
    require_cleanlab()
    from cleanlab import filter as confident_learning

    there = np.flatnonzero(np.bincount(dataset.labels, minlength=len(dataset.classes)))  # classes with images
    place = np.searchsorted(there, dataset.labels)
    probabilities = _probabilities(predictions.logits, there)  # (N, K')
    found = confident_learning.find_label_issues(
        place, probabilities, return_indices_ranked_by="self_confidence", n_jobs=1
    )
    rows = np.asarray(found, np.int64)
    given = place[rows]
    suggested = probabilities[rows].argmax(axis=1)
    # a label that the models predict is not an issue, and one of a class that they have not seen cannot be told
    keep = (suggested != given) & has_seen_class(dataset, predictions.fold)[rows]
    rows, given, suggested = rows[keep], given[keep], suggested[keep]
    return LabelIssues(
        rows,
        there[given],
        there[suggested],
        probabilities[rows, given],
        probabilities[rows, suggested],
        len(dataset),
        float((probabilities.argmax(axis=1) == place).mean()),
    )


def _probabilities(logits: NDArray[np.float32], there: NDArray[np.int64]) -> NDArray[Any]:
    """(N, K') probabilities of the classes with images: float64, and of very many float32, to save memory."""
    if logits.size <= _MANY:
        return np.asarray(np.exp(log_probabilities(logits[:, there])))
    result = np.empty((len(logits), len(there)), np.float32)
    for start in range(0, len(logits), _BLOCK):
        result[start : start + _BLOCK] = np.exp(log_probabilities(logits[start : start + _BLOCK][:, there]))
    return result


def labels_csv(dataset: Dataset, issues: LabelIssues) -> str:
    """The CSV that a person edits and passes to `--relabel`: a line for each issue, with an empty `decision`."""
    header = (*COLUMNS, "given_probability", "suggested_probability", "file")
    lines = []
    for place, row in enumerate(issues.rows.tolist()):
        lines.append(
            (
                row,
                dataset.hashes[row].tobytes().hex(),
                dataset.classes[issues.given[place]],
                dataset.classes[issues.suggested[place]],
                "",
                f"{issues.given_probability[place]:.6f}",
                f"{issues.suggested_probability[place]:.6f}",
                "" if dataset.files is None else dataset.files[row],
            )
        )
    return csv_text(header, lines)
