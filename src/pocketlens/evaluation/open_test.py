"""open_test: the only function that opens the sealed test rows. It scores a finished run on them, on the record.

It first checks everything that it can without labels, then writes the ledger, and only then reads the test rows. So an
opening is on record even if everything after it fails.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pocketlens.errors import PocketlensError
from pocketlens.files import write_json
from pocketlens.scoring import ledger
from pocketlens.scoring.ledger import Opening, openings
from pocketlens.scoring.metrics import Counts, mean_loss, own_log_probability, places, proportion
from pocketlens.scoring.predictions import (
    RIGHT,
    LabelledRows,
    Pictures,
    Predictions,
    most_pictures,
    most_right,
    read_predictions,
    some_right,
    worst_mistakes,
    write_mistakes,
    write_pictures,
)
from pocketlens.scoring.scores import Clean, Scores, score
from pocketlens.text import counted, printable
from pocketlens.training.run import predictions_file, store_scores

if TYPE_CHECKING:
    from pocketlens.data.dataset import SealedTest
    from pocketlens.data.duplicates import Duplicates
    from pocketlens.training.classifier import Classifier
    from pocketlens.training.run import Run

__all__ = ["Opening", "Predictions", "Scores", "open_test", "openings", "read_predictions", "score"]


def open_test(
    run: Run,
    sealed: SealedTest,
    *,
    device: str = "cpu",
    views: int = 1,
    duplicates: Duplicates | None = None,
    resumed: bool = False,
) -> Scores:
    """Opens the sealed test rows for a finished run, records it in the ledger, and scores the run.

    Writes the ledger line, then predictions-test.safetensors, scores-test.json, the pictures of the wrong rows as
    mistakes-test.safetensors and of some right ones as right-test.safetensors, and files-test.json where the rows have
    files.

    Args:
        run: the run.
        sealed: the test part of its data.
        device: where to compute.
        views: 2, 3 or 6 also scores the run with test-time augmentation, in scores-test-views.json; the scores that
            are returned are those without.
        duplicates: from `known_duplicates(dataset, sealed)`; with them, the run is also scored without the test images
            that duplicate development images.
        resumed: continues an opening of these weights that was killed before it left a score, instead of recording
            another one.

    Raises:
        PocketlensError: the run is not finished, its classes or its image size are not those of the test part, or the
            ledger cannot be written. The test part stays closed.
    """
    from pocketlens.inference.tta import blocks_with_tta, tta_views
    from pocketlens.training.classifier import load_classifier
    from pocketlens.training.predict_part import predict_part

    _require_finished(run)
    require_images(run, sealed)
    classifier = load_classifier(run)
    _require_same_kind(run, classifier, sealed)
    if views != 1:
        tta_views(views)
    entries = _cut_short(run, sealed) if resumed else []
    entries = entries or ledger.record(sealed, run=run.id, recipe=run.experiment.recipe.id, weights=run.weights_hash())
    test = sealed._open()
    known = LabelledRows("test", np.arange(len(test), dtype=np.int64), test.labels, test.groups)
    predictions = predict_part(run.file(predictions_file("test")), classifier, test.images, known, device)
    plain = score(predictions, classifier.classes, classifier.superclasses, classifier.superclass_of)
    clean = None if duplicates is None else Clean.of(predictions, duplicates)
    scores = replace(plain, opening=len(entries), openings=len(entries), clean=clean)
    store_scores(run, scores)
    mistakes = worst_mistakes(predictions, most_pictures(test.shape))
    images = np.ascontiguousarray(test.images[mistakes.rows])
    write_mistakes(run.file("mistakes-test.safetensors"), replace(mistakes, images=images))
    right = some_right(predictions, most_right(test.shape))
    write_pictures(run.file(RIGHT), Pictures(right, np.ascontiguousarray(test.images[right])))
    if views != 1:
        _store_tta_scores(run, blocks_with_tta(classifier, test.images, views, device=device), test.labels, views)
    if test.files is not None:
        write_json(run.file("files-test.json"), [printable(name) for name in test.files])
    return scores


def _cut_short(run: Run, sealed: SealedTest) -> list[Opening]:
    """All openings if the last one was of these weights and left no score; otherwise none."""
    if run.file("scores-test.json").exists():
        return []
    entries = openings(sealed)
    last = entries[-1] if entries else None
    return entries if last is not None and (last.run, last.weights) == (run.id, run.weights_hash()) else []


def _store_tta_scores(run: Run, blocks: Iterator[NDArray[np.float32]], labels: Counts, views: int) -> None:
    """Stores accuracy and log-loss with test-time augmentation, apart from the plain scores."""
    ranks, losses, start = np.empty(len(labels), np.int64), np.empty(len(labels)), 0
    for logits in blocks:
        part = slice(start, start + len(logits))
        ranks[part], losses[part] = places(logits, labels[part]), -own_log_probability(logits, labels[part])
        start += len(logits)
    top1, nll = proportion(int((ranks < 1).sum()), len(labels)), mean_loss(losses)
    value = {"views": views, "n": len(labels), "top1": top1.to_dict(), "nll": nll.to_dict()}
    write_json(run.file("scores-test-views.json"), value)


def require_images(run: Run, sealed: SealedTest) -> None:
    """Refuses a test part without images.

    Raises:
        PocketlensError: there is nothing to score; nothing is written down.
    """
    if not len(sealed):
        rest = f"the validation scores are shown by: pocketlens report {run.id}"
        if not len(run.split.val):
            rest = f"there are no validation images either; to score other images: pocketlens test {run.id} --on FOLDER"
        raise PocketlensError(f"{sealed.text} has no test images, so there is nothing to open; {rest}")


def _require_finished(run: Run) -> None:
    status, reason = run.status()
    if status != "complete":
        why = f" ({reason})" if reason else ""
        raise PocketlensError(
            f"the test rows are opened only for finished runs; run {run.id} is {status}{why}: finish it with "
            f"pocketlens resume {run.id}."
        )


def _require_same_kind(run: Run, classifier: Classifier, sealed: SealedTest) -> None:
    from pocketlens.training.device_images import DeviceImages

    if tuple(classifier.classes) != tuple(sealed.classes):
        raise PocketlensError(
            f"the run and the test set must have the same classes in the same order; run {run.id} has "
            f"{_named(classifier.classes)}, {sealed.text} has {_named(sealed.classes)}: give the data set of the run."
        )
    shape = DeviceImages(next(sealed.images_without_labels(1)), classifier.prepare, "cpu", limit=0).shape
    if shape != tuple(classifier.shape):
        raise PocketlensError(
            f"test images must have the run's height, width and channels; run {run.id} has {tuple(classifier.shape)}, "
            f"{sealed.text} has {shape} (prepared by {classifier.prepare}): give the data set of the run."
        )


def _named(classes: tuple[str, ...]) -> str:
    names = ", ".join(repr(name) for name in classes[:5])
    return f"{counted(len(classes), 'class')} ({names}{', ...' if len(classes) > 5 else ''})"
