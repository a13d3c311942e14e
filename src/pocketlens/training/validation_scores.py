"""What a run leaves at its end: predictions and scores on its validation rows, and a few of its pictures.

After each epoch it leaves its surest mistakes, for those who watch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pocketlens.errors import NotEnoughMemory, is_out_of_memory
from pocketlens.events import Note
from pocketlens.scoring.predictions import (
    LATEST,
    PICTURES,
    LabelledRows,
    LatestMistakes,
    Mistakes,
    Pictures,
    Predictions,
    merged,
    write_latest,
    write_pictures,
    write_predictions,
)
from pocketlens.scoring.scores import score
from pocketlens.text import counted
from pocketlens.training.classifier import load_classifier
from pocketlens.training.predict_part import predict_part
from pocketlens.training.run import Run, predictions_file, store_scores

if TYPE_CHECKING:
    from pocketlens.data.dataset import Dataset


N_PICTURES, PICTURE_BYTES = 16, 1_000_000  # that a run keeps, at most; one in any case


def leave_scores(run: Run, dataset: Dataset, device: str, logits: NDArray[np.float32] | None = None) -> None:
    """Stores the run's predictions and scores on its validation rows, where it has any, and a few of its pictures.

    `logits` (N, K) are those of the weights that count, where they are known; otherwise they are computed.

    Raises:
        NotEnoughMemory: for the scores; whatever the training has left stays as it is.
    """
    try:
        _leave_scores(run, dataset, device, logits)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        numbers = f"{counted(len(run.split.val), 'validation image')} and {counted(len(dataset.classes), 'class')}"
        raise NotEnoughMemory(
            f"run {run.id} is trained, but there is not enough memory for its scores on {numbers}: close other "
            f"programs or use a machine with more memory, then compute them with pocketlens resume {run.id}"
        ) from None


def _leave_scores(run: Run, dataset: Dataset, device: str, logits: NDArray[np.float32] | None) -> None:
    leave_pictures(run, dataset)
    rows = run.split.val
    if not len(rows):
        return
    path = run.file(predictions_file("val"))
    groups = None if dataset.groups is None else dataset.groups[rows]
    if logits is None:
        known = LabelledRows("val", rows, dataset.labels[rows], groups)
        predictions = predict_part(path, load_classifier(run), dataset.images, known, device)
    else:
        predictions = Predictions("val", rows, dataset.labels[rows], logits, groups)
        write_predictions(path, predictions)
    store_scores(run, score(predictions, dataset.classes, dataset.superclasses, dataset.superclass_of))


def leave_scores_if_they_fit(
    run: Run, dataset: Dataset, device: str, logits: NDArray[np.float32] | None = None
) -> Iterator[Note]:
    """`leave_scores`, or a note that says how to have them later where the memory is not enough."""
    try:
        leave_scores(run, dataset, device, logits)
    except NotEnoughMemory as error:
        yield Note(str(error))


def complete(run: Run) -> None:
    """Sets the status of a run that is trained, and says in it whether its scores are missing."""
    run.set_status("complete")
    if run.lacks_scores:
        run.set_status("complete", "its scores are missing: there was not enough memory")


def leave_pictures(run: Run, dataset: Dataset) -> None:
    """Stores a few validation images, or training images where there are none, in pictures.safetensors.

    They are (n, H, W, C) uint8 as in the data set, before `prepare`; where the data is gone, an export is checked on
    them.
    """
    most = max(1, min(N_PICTURES, PICTURE_BYTES // int(np.prod(dataset.shape))))
    rows = chosen_rows(run, most)
    write_pictures(run.file(PICTURES), Pictures(rows, np.ascontiguousarray(dataset.images[rows])))


def leave_latest(run: Run, dataset: Dataset, record: Mapping[str, Any], surest: Mistakes) -> None:
    """Stores the surest mistakes of an epoch with their pictures, at most 24 and 1 MB of them, one in any case.

    `record` is the epoch's line of the history; the rows of `surest` are places among the validation rows.

    Raises:
        OSError: the file cannot be written.
    """
    shown = merged([surest], max(1, PICTURE_BYTES // int(np.prod(dataset.shape))))
    rows = run.split.val[shown.rows]
    n = len(run.split.val)
    latest = LatestMistakes(
        epoch=int(record["epoch"]),
        n=n - round(record["val_accuracy"] * n),
        n_images=n,
        shown=replace(shown, rows=rows, images=np.ascontiguousarray(dataset.images[rows])),
        true=tuple(dataset.classes[label] for label in shown.labels),
        predicted=tuple(dataset.classes[label] for label in shown.predicted),
    )
    write_latest(run.file(LATEST), latest)


def chosen_rows(run: Run, most: int) -> NDArray[np.int64]:
    """At most so many rows, evenly chosen from the validation rows, or from the training rows where there are none."""
    rows = run.split.val if len(run.split.val) else run.split.train
    return rows[np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(np.int64)]
