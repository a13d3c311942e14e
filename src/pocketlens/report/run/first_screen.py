"""The first screen of a run: how good it is, compared with what, what it confuses, examples, and what would help.

The page of a run and that of `auto` begin with it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pocketlens.data.dataset import Images
from pocketlens.report.downloads import Download, Table, offer
from pocketlens.report.pictures import encode_image
from pocketlens.report.run.advice import Advice, advise
from pocketlens.report.run.facts import Facts, opened
from pocketlens.report.run.reliability import Reliability
from pocketlens.scoring.confusion_cells import cells, mistakes
from pocketlens.scoring.metrics import Estimate, log_probabilities
from pocketlens.scoring.scores import PART_NAMES, Scores
from pocketlens.text import as_command, capitalised

N_PAIRS, N_OF_STRIP = 3, 8
_SMALL = 64  # px; smaller pictures are shown with hard edges


@dataclass(frozen=True)
class Bar:
    """One line of the comparison: an accuracy with its interval, or a share without one."""

    name: str
    accuracy: Estimate
    is_baseline: bool = False


@dataclass(frozen=True)
class Shown:
    """A picture with its true and its predicted class, which are equal where it is right."""

    picture: str  # data URI
    row: int
    true: str
    predicted: str
    probability: float

    @property
    def is_right(self) -> bool:
        """Whether the prediction is right."""
        return self.true == self.predicted


@dataclass(frozen=True)
class ConfusedPair:
    """Two classes that are taken for each other, the more frequent direction first; a picture of each where known."""

    first: str
    second: str
    n: int  # images of the first that were taken for the second
    n_back: int  # of the second taken for the first
    pictures: tuple[Shown, ...]


@dataclass(frozen=True)
class FirstScreen:
    """What the first screen shows.

    Attributes:
        bars: the accuracy, that without contaminated images where they are known, and the baselines.
        download: the bars, to be taken away.
        opened: how often the test part has been opened; empty for validation.
        duplicates: what is known of test images that duplicate development images, as a sentence; or None.
        look: the command that searches for them.
        pairs: of classes, the most confused first.
        right, wrong: a few images, drawn at random.
        n_right, n_wrong: how many images there are of each.
        has_hard_edges: pictures are so small that their pixels are to be seen.
    """

    scores: Scores
    part: str
    bars: tuple[Bar, ...]
    download: Download
    opened: str
    duplicates: str | None
    look: str
    pairs: tuple[ConfusedPair, ...]
    right: tuple[Shown, ...]
    wrong: tuple[Shown, ...]
    n_right: int
    n_wrong: int
    advice: tuple[Advice, ...]
    has_hard_edges: bool


@dataclass(frozen=True, eq=False)
class _Album:
    """Pictures by row, and what is known of each row."""

    scores: Scores
    reliability: Reliability | None
    images: dict[int, NDArray[np.uint8]]
    places: dict[int, int]  # of the scored rows among the predictions

    def show(self, row: int) -> Shown | None:
        """The picture of a row, or None where it was not kept."""
        if row not in self.images or row not in self.places or self.reliability is None:
            return None
        predictions, rows = self.reliability.predictions, self.reliability.rows
        place = self.places[row]
        true, predicted = int(predictions.labels[place]), int(rows.predicted[place])
        names, probability = self.scores.classes, float(rows.probability[place])
        return Shown(encode_image(self.images[row]), row, names[true], names[predicted], probability)


def first_screen(facts: Facts) -> FirstScreen | None:
    """What the first screen shows; None where there are no scores yet."""
    scores = facts.scores
    if scores is None:
        return None
    scored = () if facts.reliability is None else facts.reliability.predictions.rows.tolist()
    album = _Album(scores, facts.reliability, _images(facts), {row: place for place, row in enumerate(scored)})
    n_right = int(scores.confusion.trace())
    shape = facts.shape
    clean = scores.clean
    bars = (*_accuracies(scores), *_baselines(scores))
    table = Table(
        ("what", "accuracy", "low", "high"), tuple((bar.name, *bar.accuracy.to_dict().values()) for bar in bars)
    )
    return FirstScreen(
        scores=scores,
        part=PART_NAMES[scores.part],
        bars=bars,
        download=offer(facts.run_id, "Accuracy compared", table),
        opened=opened(facts),
        duplicates=None if clean is None else f"{capitalised(clean.in_words())}.",
        look=as_command(("pocketlens", "look", facts.data)),
        pairs=_pairs(album, scores, facts),
        right=() if facts.right is None else _drawn(album, facts.right.rows),
        wrong=() if facts.mistakes is None else _drawn(album, facts.mistakes.rows),
        n_right=n_right,
        n_wrong=scores.n - n_right,
        advice=advise(facts),
        has_hard_edges=shape is not None and min(shape[:2]) < _SMALL,
    )


def _accuracies(scores: Scores) -> list[Bar]:
    clean = scores.clean
    bars = [Bar("this classifier", scores.top1)]
    if clean is not None and clean.n_contaminated and clean.top1.value is not None:
        bars.append(Bar(f"without {clean.n_contaminated:,} contaminated", clean.top1))
    return bars


def _baselines(scores: Scores) -> list[Bar]:
    """What an answer is worth that does not look at the image."""
    majority = scores.majority
    return [
        Bar(f"always \u201c{majority.name}\u201d", Estimate(majority.share), is_baseline=True),
        Bar("guessing at random", Estimate(1 / len(scores.classes)), is_baseline=True),
    ]


def _images(facts: Facts) -> dict[int, NDArray[np.uint8]]:
    """The pictures that are there, by row."""
    sources: list[tuple[NDArray[np.int64], Images]] = []
    if facts.mistakes is not None and facts.mistakes.images is not None:
        sources.append((facts.mistakes.rows, facts.mistakes.images))
    if facts.right is not None:
        sources.append((facts.right.rows, facts.right.images))
    return {int(row): image for rows, images in sources for row, image in zip(rows, images, strict=True)}


def _drawn(album: _Album, rows: NDArray[np.int64]) -> tuple[Shown, ...]:
    """A few of these rows at random, the same ones each time, in the order of their classes' names."""
    drawn = np.random.default_rng(0).permutation(np.sort(rows))
    found: list[Shown] = []
    for row in drawn.tolist():
        if len(found) == N_OF_STRIP:
            break
        if (shown := album.show(row)) is not None:
            found.append(shown)
    return tuple(sorted(found, key=lambda each: (each.true, each.row)))


def _pairs(album: _Album, scores: Scores, facts: Facts) -> tuple[ConfusedPair, ...]:
    """The pairs of classes with most mistakes between them, in both directions together."""
    from scipy.sparse import coo_array, triu

    found = mistakes(scores.confusion)
    wrong = coo_array((found.count, (found.true, found.predicted)), shape=scores.confusion.shape).tocsr()
    both = cells(triu(wrong + wrong.T, format="csr"))
    pairs = []
    for place in np.argsort(-both.count, kind="stable")[:N_PAIRS]:
        a, b = int(both.true[place]), int(both.predicted[place])
        first, second = (a, b) if wrong[a, b] >= wrong[b, a] else (b, a)
        shown = (_mistaken(album, facts, first, second), _like(album, facts, second, first))
        names, pictures = scores.classes, tuple(each for each in shown if each is not None)
        n, n_back = int(wrong[first, second]), int(wrong[second, first])
        pairs.append(ConfusedPair(names[first], names[second], n, n_back, pictures))
    return tuple(pairs)


def _mistaken(album: _Album, facts: Facts, true: int, predicted: int) -> Shown | None:
    """The surest mistake of a class for another."""
    found = facts.mistakes
    if found is None:
        return None
    rows = found.rows[(found.labels == true) & (found.predicted == predicted)]
    return next((shown for row in rows.tolist() if (shown := album.show(row)) is not None), None)


def _like(album: _Album, facts: Facts, own: int, other: int) -> Shown | None:
    """A picture of a class to stand beside it: a right one, else one that was taken for the other."""
    if facts.right is None or facts.reliability is None:
        return _mistaken(album, facts, own, other)
    predictions = facts.reliability.predictions
    rows = predictions.rows[predictions.labels == own]
    sure = -log_probabilities(predictions.logits[predictions.labels == own])[:, own]
    kept = set(facts.right.rows.tolist())
    known = [row for row in rows[np.argsort(sure, kind="stable")].tolist() if row in kept]
    shown = album.show(known[0]) if known else None
    return shown or _mistaken(album, facts, own, other)
