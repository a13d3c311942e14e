"""Agreement: does a trained classifier still see the same class after an augmentation? Where not, a label is lost.

An augmentation is meant to change the picture and not what it shows. For each text two things are measured on rows
that the classifier was not trained on: how many keep their predicted class, and what the accuracy loses. Judged are
the images that the augmentation really changed and that the classifier had right before: with `p=0.5` half of them
stay as they are and say nothing, and a row that was wrong has no label to lose.

The rule of the warning: an image that loses its label is taken for another class more often than not. So a class is
lost where at most half of its images keep it, beyond chance: the exact binomial test of one half gives less than 5 %,
divided by the number of classes tested (Bonferroni). All labels are in doubt where the upper end of the 95 % interval
(Wilson) of what is kept over all classes lies below one half. What the rule cannot tell apart: a label that is gone,
and a picture of a kind that this classifier has never seen. `CAVEAT` says so beside every warning.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pocketlens.audit.sheets import augment_once
from pocketlens.audit.strengths import MIXING, every_strength
from pocketlens.components import parse_pipe
from pocketlens.data.dataset import Dataset
from pocketlens.draws import Draws
from pocketlens.errors import PocketlensError
from pocketlens.events import Step, Work
from pocketlens.scoring.metrics import Estimate, Z, proportion
from pocketlens.training.classifier import Classifier, to_float
from pocketlens.training.device_images import DeviceImages

CAVEAT = (
    "A classifier that was not trained with an augmentation may merely never have seen such images; "
    "look at the sheet, or train with it and look here again."
)
KEPT = 0.5  # below this share an image is more often something else than what its label says
RISK = 0.05
_BATCH = 500
_NAMED = 3  # lost classes that a warning names


@dataclass(frozen=True)
class LostClass:
    """A class whose images are no longer seen as it.

    Attributes:
        name: the class.
        n: its rows that were right before and were changed.
        kept: the share of them that keep the class.
        becomes: the class that most of them become, and `share`, the share that does.
    """

    name: str
    n: int
    kept: Estimate
    becomes: str
    share: float


@dataclass(frozen=True)
class Agreement:
    """What one augmentation does to the predictions of a classifier.

    Attributes:
        text: the augmentation text.
        n: rows; `n_changed`: those that the augmentation changed; `n_judged`: those of them that were right before.
        same: the share of all rows whose predicted class stays the same.
        kept: the share of the judged rows that keep their class.
        accuracy, accuracy_after: without and with the augmentation.
        drop: what the accuracy loses, in fractions; its interval is of paired rows (Agresti and Min 2005).
        lost: the classes that are lost, the least kept first.
        mixes: the augmentation mixes labels, so that another class is meant to be seen: nothing is judged.
    """

    text: str
    n: int
    n_changed: int
    n_judged: int
    same: Estimate
    kept: Estimate
    accuracy: Estimate
    accuracy_after: Estimate
    drop: Estimate
    lost: tuple[LostClass, ...]
    mixes: bool = False

    @property
    def warning(self) -> str | None:
        """One sentence where labels do not survive, else None."""
        if self.mixes or not (self.lost or self.is_doubtful):
            return None
        parts = []
        if self.is_doubtful:
            parts.append(f"only {_percent(self.kept.value)} of {self.n_judged:,} changed images keep their class")
        for each in self.lost[:_NAMED]:
            kept = f"{each.name} is still seen in {_percent(each.kept.value)} of its {each.n:,} images"
            parts.append(f"{kept}, {each.becomes} in {_percent(each.share)}")
        if len(self.lost) > _NAMED:
            parts.append(f"and {len(self.lost) - _NAMED} more of the classes")
        return f"{self.text} may destroy labels: {'; '.join(parts)}."

    @property
    def is_doubtful(self) -> bool:
        """Whether most labels, over all classes, are lost."""
        return not self.mixes and self.kept.high is not None and self.kept.high < KEPT

    def to_dict(self) -> dict[str, Any]:
        """All facts, as JSON holds them."""
        return {**asdict(self), "warning": self.warning}


def agreements(
    classifier: Classifier,
    dataset: Dataset,
    rows: NDArray[np.int64],
    texts: Sequence[str] | None = None,
    *,
    seed: int = 0,
    device: str = "cpu",
) -> Work[tuple[Agreement, ...]]:
    """One `Agreement` for each text, in their order; None stands for every augmentation at its strengths but mixing.

    `rows` are row numbers of `dataset` that the classifier was not trained on, such as its run's validation rows. It
    does not matter which rows stand beside an image.

    Raises:
        PocketlensError: there are no rows, the classes are others than the classifier's, or a text is wrong.
    """
    wanted = _all_texts() if texts is None else tuple(texts)
    for text in wanted:
        parse_pipe(text, "augment")
    if len(rows) == 0 or tuple(classifier.classes) != tuple(dataset.classes):
        raise PocketlensError(
            f"agreement needs one or more rows of the classifier's {len(classifier.classes)} classes, got {len(rows)} "
            f"rows of {len(dataset.classes)} classes: give the data that the run was trained for."
        )
    source, labels = DeviceImages(dataset.images, classifier.prepare, device, limit=0), dataset.labels[rows]
    was_training = classifier.training
    classifier.eval().to(device)
    try:
        before, _, _ = _predict(classifier, source, rows, "none", seed)
        found = []
        for done, text in enumerate(wanted, 1):
            after, is_changed, mixes = _predict(classifier, source, rows, text, seed)
            found.append(_judge(text, labels, (before, after), is_changed, classifier.classes, mixes))
            yield Step("asking the classifier", done, len(wanted))
    finally:
        classifier.train(was_training)
    return tuple(found)


def _all_texts() -> tuple[str, ...]:
    return tuple(each.text for each in every_strength() if each.name not in MIXING)


def _predict(
    classifier: Classifier, source: DeviceImages, rows: NDArray[np.int64], text: str, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.bool_], bool]:
    """The predicted class of each row after `text`, whether the row was changed, and whether labels were mixed."""
    predicted, changed, mixes = np.empty(len(rows), np.int64), np.empty(len(rows), bool), False
    with torch.inference_mode():
        for start in range(0, len(rows), _BATCH):
            part = slice(start, start + _BATCH)
            numbers = torch.from_numpy(rows[part])
            images = to_float(source.take(numbers))  # (B, C, H, W) float32
            numbers = numbers.to(images.device)
            own = torch.eye(len(numbers), device=images.device)  # every image a class of its own: mixing shows
            out, targets = augment_once(text, images, own, Draws(seed, numbers, torch.zeros_like(numbers), epoch=0))
            predicted[part] = classifier(out).argmax(1).cpu().numpy()
            changed[part] = (out != images).flatten(1).any(1).cpu().numpy()
            mixes = mixes or not torch.equal(targets, own)
    return predicted, changed, mixes


def _judge(
    text: str,
    labels: NDArray[np.int64],
    predicted: tuple[NDArray[np.int64], NDArray[np.int64]],
    is_changed: NDArray[np.bool_],
    classes: tuple[str, ...],
    mixes: bool,
) -> Agreement:
    before, after = predicted
    n, judged = len(labels), is_changed & (before == labels)
    kept = judged & (after == labels)
    return Agreement(
        text=text,
        n=n,
        n_changed=int(is_changed.sum()),
        n_judged=int(judged.sum()),
        same=proportion(int((before == after).sum()), n),
        kept=proportion(int(kept.sum()), int(judged.sum())),
        accuracy=proportion(int((before == labels).sum()), n),
        accuracy_after=proportion(int((after == labels).sum()), n),
        drop=paired_drop(before == labels, after == labels),
        lost=() if mixes else _lost_classes(labels[judged], after[judged], classes),
        mixes=mixes,
    )


def _lost_classes(
    labels: NDArray[np.int64], after: NDArray[np.int64], classes: tuple[str, ...]
) -> tuple[LostClass, ...]:
    from scipy.stats import binom

    confusion = np.zeros((len(classes), len(classes)), np.int64)
    np.add.at(confusion, (labels, after), 1)
    support, kept = confusion.sum(1), confusion.diagonal().copy()
    np.fill_diagonal(confusion, 0)
    n_tested = max(1, int((support > 0).sum()))
    is_lost = (support > 0) & (binom.cdf(kept, support, KEPT) * n_tested < RISK)
    lost = [
        LostClass(
            name=classes[place],
            n=int(support[place]),
            kept=proportion(int(kept[place]), int(support[place])),
            becomes=classes[confusion[place].argmax()],
            share=float(confusion[place].max() / support[place]),
        )
        for place in np.flatnonzero(is_lost)
    ]
    return tuple(sorted(lost, key=lambda each: (each.kept.value or 0.0, each.name)))


def paired_drop(before: NDArray[np.bool_], after: NDArray[np.bool_]) -> Estimate:
    """The share of rows right `before` less that right `after`, with the 95 % interval of paired proportions.

    Source: Agresti and Min 2005, "Simple improved confidence intervals for comparing matched proportions": the normal
    interval after adding one half to each of the four counts, which has a width where no row changes, too.
    """
    n, lost, won = len(before), int((before & ~after).sum()), int((~before & after).sum())
    difference = (lost - won) / (n + 2)
    variance = (lost + won + 1) / (n + 2) ** 2 - difference**2 / (n + 2)
    half = Z * float(np.sqrt(variance))
    return Estimate((lost - won) / n, max(-1.0, difference - half), min(1.0, difference + half))


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.0f} %"
