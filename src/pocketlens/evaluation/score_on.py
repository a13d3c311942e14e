"""score_on: a finished run's scores on other labelled data of the same classes, such as a later folder of photos.

It has its own line in the ledger and its own files in the run, and the sealed test rows of the run stay sealed: images
of them that are among the other data are left out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pocketlens.data.dataset import Dataset, Hashes, SealedTest, images_fingerprint
from pocketlens.errors import PocketlensError
from pocketlens.files import read_json, write_json
from pocketlens.scoring import ledger
from pocketlens.scoring.ledger import Opening
from pocketlens.scoring.metrics import Counts, proportion
from pocketlens.scoring.predictions import LabelledRows, Predictions
from pocketlens.scoring.scores import Clean, Scores, score, show, show_interval
from pocketlens.text import counted, listed, printable

if TYPE_CHECKING:
    from pocketlens.data.fit import Form
    from pocketlens.training.classifier import Classifier
    from pocketlens.training.run import Run


@dataclass(frozen=True, eq=False)
class Known:
    """The images that a run has seen or must not see: (N, 16) uint8 hashes of its development and its test rows."""

    development: Hashes
    test: Hashes


@dataclass(frozen=True, eq=False)
class OnScores:
    """The scores on other data.

    Attributes:
        data: the component text of the data.
        fingerprint: of the images that were scored, in any order.
        scores: over all of them.
        clean: over those that are not among the development images of the run; None where that is not known.
        n_sealed: images that were left out, because they are among the sealed test images of the run.
        absent: the classes of the run of which there is no image.
    """

    data: str
    fingerprint: str
    scores: Scores
    clean: Clean | None
    n_sealed: int
    absent: tuple[str, ...]

    def lines(self) -> list[str]:
        """The numbers with their intervals, and what a person must know about the images."""
        lines = self.scores.lines()
        said = [f"  {self.known_line()}"]
        if self.n_sealed:
            said.append(f"  {self.n_sealed:,} more are test images of the run: they were left out and stay sealed")
        if self.absent:
            names = listed([printable(name) for name in self.absent], 20)
            said.append(f"  there is no image of {len(self.absent)} of the run's classes: {names}")
        return [lines[0], *said, *lines[1:]]

    def known_line(self) -> str:
        """How many of the images the run has seen, and its accuracy on the others, in words."""
        clean = self.clean
        if clean is None:
            return "not known: the data of the run was not there to compare"
        if not clean.n_contaminated:
            return "no image is equal in every pixel to a development image of the run"
        line = (
            f"{counted(clean.n_contaminated, 'image is', 'images are')} equal in every pixel to development "
            "images of the run"
        )
        if clean.n:
            line += f"; of the other {clean.n:,}: {show(clean.top1, 'share')} {show_interval(clean.top1, 'share')}"
        return line

    def to_dict(self) -> dict[str, Any]:
        """What scores-on-<fingerprint>.json holds."""
        return {
            "data": self.data,
            "fingerprint": self.fingerprint,
            "clean": None if self.clean is None else self.clean.to_dict(),
            "n_sealed": self.n_sealed,
            "absent": list(self.absent),
            "scores": self.scores.to_dict(),
        }

    @staticmethod
    def from_dict(value: Any, source: str) -> OnScores:
        """The reverse of `to_dict`.

        Raises:
            PocketlensError: a key is missing or of the wrong type.
        """
        try:
            return OnScores(
                data=str(value["data"]),
                fingerprint=str(value["fingerprint"]),
                scores=Scores.from_dict(value["scores"], source),
                clean=None if value["clean"] is None else Clean.from_dict(value["clean"]),
                n_sealed=int(value["n_sealed"]),
                absent=tuple(str(name) for name in value["absent"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise PocketlensError(f"{source} must hold the scores on other data ({error!r}).") from None


@dataclass(frozen=True, eq=False)
class ScoredOn:
    """The scores on other data, and the line of the ledger."""

    scores: OnScores
    opening: Opening
    n_openings: int  # how often the same images have been scored, this time included
    notes: tuple[str, ...]  # about the reading of the data


def score_on(run: Run, other: SealedTest, known: Known | None, *, device: str = "cpu") -> ScoredOn:
    """Scores a finished run on other data, records that in the ledger, and stores scores and predictions in the run.

    Args:
        run: the run.
        other: all rows of the data, in the form of `form_of(run)`.
        known: the images of the run's own data; None where that is not there.
        device: where to compute.

    Raises:
        PocketlensError: an image has a class that the run does not know, nothing is left to score, or the ledger
            cannot be written.
    """
    from pocketlens.training.classifier import load_classifier
    from pocketlens.training.predict_part import predict_part

    classifier = load_classifier(run)
    data = other._open()
    labels = _labels(run, classifier, data)
    rows = np.arange(len(data), dtype=np.int64)
    if known is not None:
        rows = rows[~_among(data.hashes, known.test)]
    if not len(rows):
        raise PocketlensError(
            f"{other.text} must hold images that are not among the sealed test images of run {run.id}, it holds none; "
            f"to open those, on the record: pocketlens test {run.id}"
        )
    hashes, labels = data.hashes[rows], labels[rows]
    fingerprint = images_fingerprint(hashes)
    entries = ledger.record(
        replace(other, n=len(rows), fingerprint=fingerprint, hashes=hashes),
        run=run.id,
        recipe=run.experiment.recipe.id,
        weights=run.weights_hash(),
        part="on",
    )
    groups = None if data.groups is None else data.groups[rows]
    known_rows = LabelledRows("on", rows, labels, groups)
    path = run.file(f"predictions-on-{fingerprint[:8]}.safetensors")
    predictions = predict_part(path, classifier, data.images, known_rows, device)
    scores = score(predictions, classifier.classes, classifier.superclasses, classifier.superclass_of)
    absent = tuple(row.name for row in scores.per_class if not row.support)
    clean = None if known is None else _clean(predictions, _among(hashes, known.development))
    found = OnScores(other.text, fingerprint, scores, clean, len(data) - len(rows), absent)
    _store(run, found, rows, data.files)
    return ScoredOn(found, entries[-1], len(entries), data.notes)


def form_of(run: Run) -> Form:
    """The form in which a run takes images."""
    from pocketlens.data.fit import Form
    from pocketlens.training.classifier import load_classifier

    classifier = load_classifier(run)
    height, width, channels = classifier.image_shape
    return Form((height, width, channels), classifier.facts.levels, classifier.facts.fit)


def scores_file(fingerprint: str) -> str:
    """The name of the file of scores in a run."""
    return f"scores-on-{fingerprint[:8]}.json"


def read_scores_on(run: Run) -> tuple[OnScores, ...]:
    """All scores on other data that a run holds, by the name of the data.

    Raises:
        PocketlensError: a file does not hold what it should.
    """
    found = [OnScores.from_dict(read_json(path), str(path)) for path in sorted(run.path.glob("scores-on-*.json"))]
    return tuple(sorted(found, key=lambda scores: (scores.data, scores.fingerprint)))


def _labels(run: Run, classifier: Classifier, data: Dataset) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """(N,) the labels as numbers of the run's classes, which are found by their names."""
    number = {name: label for label, name in enumerate(classifier.classes)}
    counts = np.bincount(data.labels, minlength=len(data.classes))
    unknown = [
        f"{printable(name)!r} ({count:,} image{'s' * (count != 1)})"
        for name, count in zip(data.classes, counts.tolist(), strict=True)
        if count and name not in number
    ]
    if unknown:
        names = listed([repr(printable(name)) for name in classifier.classes], 10)
        raise PocketlensError(
            f"{data.text} must hold images of the run's classes alone; run {run.id} does not know "
            f"{listed(unknown, 10)}, it knows {names}: leave them out, or name them as the run does."
        )
    of = np.array([number.get(name, -1) for name in data.classes], np.int64)
    return np.asarray(of[data.labels], np.int64)


def _among(hashes: Hashes, others: Hashes) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """(N,) bool: the images that are also among the others."""
    seen = {row.tobytes() for row in others}
    return np.array([row.tobytes() in seen for row in hashes], bool)


def _clean(predictions: Predictions, seen: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Clean:
    right = (predictions.predicted == predictions.labels)[~seen]
    return Clean(len(right), int(seen.sum()), False, proportion(int(right.sum()), len(right)))


def _store(run: Run, found: OnScores, rows: Counts, files: tuple[str, ...] | None) -> None:
    if files is not None:
        write_json(run.file(f"files-on-{found.fingerprint[:8]}.json"), [printable(files[row]) for row in rows])
    write_json(run.file(scores_file(found.fingerprint)), found.to_dict())
