"""Scoring a run: storing predictions with their scores, and the one door to the sealed test rows.

`open_test` first checks what it can without labels, then writes the ledger, and only then looks. An opening is on
record even if everything after it fails.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pocketlens.errors import PocketlensError
from pocketlens.files import write_json
from pocketlens.scoring import ledger, metrics
from pocketlens.scoring.ledger import Opening, openings
from pocketlens.scoring.metrics import mean_nll, top_k
from pocketlens.scoring.predictions import (
    Predictions,
    most_pictures,
    read_predictions,
    worst_mistakes,
    write_mistakes,
)
from pocketlens.scoring.scores import Clean, Scores, score
from pocketlens.text import printable
from pocketlens.training.run import store

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
    """Opens the sealed test rows for one finished run, on the record, and scores it.

    With `duplicates`, which `known_duplicates(dataset, sealed)` gives, it is also scored without the test images that
    have a duplicate among the development rows. With `resumed`, an opening of the same weights that was killed before
    it wrote a score is continued instead of recorded a second time.

    Writes the ledger line, then predictions-test.safetensors, scores-test.json, the pictures of the wrong rows as
    mistakes-test.safetensors, and files-test.json where the rows have files. With several views of each image (2, 3 or
    6), scores-test-views.json beside them holds that score; what is returned is the plain one.

    Raises:
        PocketlensError: the run is not finished, its classes or its image size are not those of the test part, or the
            ledger cannot be written. The test part stays closed.
    """
    from pocketlens.inference.tta import plan, predict_views
    from pocketlens.training.classifier import load_classifier, predict_logits

    _require_finished(run)
    classifier = load_classifier(run)
    _require_same_kind(run, classifier, sealed)
    if views != 1:
        plan(views)
    entries = _cut_short(run, sealed) if resumed else []
    entries = entries or ledger.record(sealed, run=run.id, recipe=run.experiment.recipe.id, weights=run.weights_hash())
    test = sealed._open()
    logits = predict_logits(classifier, test.images, device=device)
    predictions = Predictions("test", np.arange(len(test), dtype=np.int64), test.labels, logits)
    judged = score(predictions, classifier.classes, classifier.superclasses, classifier.superclass_of)
    clean = None if duplicates is None else _without(predictions, duplicates)
    scores = replace(judged, opening=len(entries), openings=len(entries), clean=clean)
    store(run, predictions, scores)
    mistakes = worst_mistakes(predictions, most_pictures(test.shape))
    images = np.ascontiguousarray(test.images[mistakes.rows])
    write_mistakes(run.file("mistakes-test.safetensors"), replace(mistakes, images=images))
    if views != 1:
        _store_views(run, predictions, predict_views(classifier, test.images, views, device=device), views)
    if test.files is not None:
        write_json(run.file("files-test.json"), [printable(name) for name in test.files])
    return scores


def _cut_short(run: Run, sealed: SealedTest) -> list[Opening]:
    """All openings, where the last one was of these very weights and has left no score; else none."""
    if run.file("scores-test.json").exists():
        return []
    entries = openings(sealed)
    last = entries[-1] if entries else None
    return entries if last is not None and (last.run, last.weights) == (run.id, run.weights_hash()) else []


def _store_views(run: Run, predictions: Predictions, logits: NDArray[np.float32], views: int) -> None:
    """Leaves the accuracy and the log-loss of the mean over several views, apart from the plain scores."""
    top1, nll = top_k(logits, predictions.labels, 1), mean_nll(logits, predictions.labels)
    value = {"views": views, "n": len(predictions.rows), "top1": top1.to_dict(), "nll": nll.to_dict()}
    write_json(run.file("scores-test-views.json"), value)


def _without(predictions: Predictions, duplicates: Duplicates) -> Clean:
    """The score without the contaminated test images."""
    dirty = np.isin(predictions.rows, duplicates.contaminated())
    top1 = metrics.top_k(predictions.logits[~dirty], predictions.labels[~dirty], 1)
    return Clean(int((~dirty).sum()), int(dirty.sum()), duplicates.complete, top1)


def _require_finished(run: Run) -> None:
    status, reason = run.status()
    if status != "complete":
        why = f" ({reason})" if reason else ""
        raise PocketlensError(
            f"the run must be complete before the test set is opened; run {run.id} is {status}{why}: finish it with "
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
    return f"{len(classes)} classes ({names}{', ...' if len(classes) > 5 else ''})"
