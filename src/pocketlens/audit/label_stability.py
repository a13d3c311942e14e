"""Label stability: does a trained classifier still predict the same class after an augmentation?

An augmentation should change the image and not what it shows. For each augmentation text this measures, on rows that
the classifier was not trained on, how many keep their predicted class and how much accuracy is lost. Only images that
the augmentation really changed and that were classified correctly before are tested: with `p=0.5` half of the images
stay as they are and say nothing, and a wrong prediction has no label to lose.

When to warn: an image has lost its label if it is more likely to be taken for another class than for its own. So a
class is lost if at most half of its images keep it, beyond chance: the exact binomial test of one half gives p < 0.05,
divided by the number of classes tested (Bonferroni). An augmentation is unstable as a whole if the upper end of the
95 % interval (Wilson) of the share kept over all classes lies below one half. The rule cannot tell a label that is gone
from an image of a kind that this classifier has never seen; `CAVEAT` says so next to every warning.
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
from pocketlens.text import counted
from pocketlens.training.classifier import Classifier, to_float
from pocketlens.training.device_images import DeviceImages

CAVEAT = (
    "A classifier that was not trained with an augmentation may fail only because it has never seen such images: check "
    "the sheets, or train with the augmentation and measure again."
)
KEPT = 0.5  # below this share an image is more likely to be predicted as another class than as its own
RISK = 0.05
_BATCH = 500
_NAMED = 3  # lost classes that a warning names


@dataclass(frozen=True)
class LostClass:
    """A class that most of its images lose.

    Attributes:
        name: the class.
        n: its rows that were classified correctly before and were changed.
        kept: the share of them that keep the class.
        becomes: the class that most of them become.
        share: the share of them that become it.
    """

    name: str
    n: int
    kept: Estimate
    becomes: str
    share: float


@dataclass(frozen=True)
class LabelStability:
    """How an augmentation changes the predictions of a classifier.

    Attributes:
        text: the augmentation text.
        n: how many rows there are.
        n_changed: how many of them the augmentation changed.
        n_tested: how many of those were classified correctly before.
        same: the share of all rows whose predicted class stays the same.
        kept: the share of the tested rows that keep their class.
        accuracy: without the augmentation.
        accuracy_after: with it.
        drop: the accuracy lost, as a fraction, with the interval for paired rows (Agresti and Min 2005).
        lost: the lost classes, those kept least first.
        mixes: whether the augmentation mixes labels, so that another class is meant to be predicted; nothing is tested.
    """

    text: str
    n: int
    n_changed: int
    n_tested: int
    same: Estimate
    kept: Estimate
    accuracy: Estimate
    accuracy_after: Estimate
    drop: Estimate
    lost: tuple[LostClass, ...]
    mixes: bool = False

    @property
    def warning(self) -> str | None:
        """What is lost, in one or two sentences; None if labels survive."""
        if self.mixes or not (self.lost or self.is_unstable):
            return None
        said = f"{self.text} may destroy labels"
        if self.is_unstable:
            said += (
                f": only {_percent(self.kept.value)} of "
                f"{counted(self.n_tested, 'changed image keeps', 'changed images keep')} their class"
            )
        if not self.lost:
            return f"{said}."
        classes = [
            f"{each.name!r} ({_percent(each.kept.value)} of {counted(each.n, 'image')} kept, "
            f"{_percent(each.share)} predicted "
            f"as {each.becomes!r})"
            for each in self.lost[:_NAMED]
        ]
        rest = f" and {len(self.lost) - _NAMED} more" if len(self.lost) > _NAMED else ""
        return f"{said}. Most affected: {', '.join(classes)}{rest}."

    @property
    def is_unstable(self) -> bool:
        """Whether most labels, over all classes, are lost."""
        return not self.mixes and self.kept.high is not None and self.kept.high < KEPT

    def to_dict(self) -> dict[str, Any]:
        """All values, as JSON holds them."""
        return {**asdict(self), "warning": self.warning}


@dataclass(frozen=True, eq=False)
class _Predicted:
    """Predictions for R augmented rows: classes (R,) int64, which rows were changed (R,) bool, and if labels mix."""

    classes: NDArray[np.int64]
    is_changed: NDArray[np.bool_]
    mixes: bool


def measure_label_stability(
    classifier: Classifier,
    dataset: Dataset,
    rows: NDArray[np.int64],
    texts: Sequence[str] | None = None,
    *,
    seed: int = 0,
    device: str = "cpu",
) -> Work[tuple[LabelStability, ...]]:
    """The stability under each text; None means every augmentation at all its strengths, except those that mix labels.

    `rows` are row numbers of `dataset` that the classifier was not trained on, such as its run's validation rows. The
    result for an image does not depend on the rows next to it.

    Raises:
        PocketlensError: there are no rows, the classes differ from the classifier's, or a text is wrong.
    """
    wanted = _all_texts() if texts is None else tuple(texts)
    for text in wanted:
        parse_pipe(text, "augment")
    if len(rows) == 0 or tuple(classifier.classes) != tuple(dataset.classes):
        raise PocketlensError(
            "label stability needs at least one row, of the classifier's "
            f"{counted(len(classifier.classes), 'class')}; got "
            f"{counted(len(rows), 'row')} of {counted(len(dataset.classes), 'class')}: use the data set "
            "that the run was trained on."
        )
    source, labels = DeviceImages(dataset.images, classifier.prepare, device, limit=0), dataset.labels[rows]
    was_training = classifier.training
    classifier.eval().to(device)
    try:
        before = _predict(classifier, source, rows, "none", seed)
        found = []
        for done, text in enumerate(wanted, 1):
            after = _predict(classifier, source, rows, text, seed)
            found.append(_compare(text, labels, before.classes, after, classifier.classes))
            yield Step("measuring label stability", done, len(wanted))
    finally:
        classifier.train(was_training)
    return tuple(found)


def _all_texts() -> tuple[str, ...]:
    return tuple(each.text for each in every_strength() if each.name not in MIXING)


def _predict(classifier: Classifier, source: DeviceImages, rows: NDArray[np.int64], text: str, seed: int) -> _Predicted:
    """The predicted class of each row after `text`, whether the row was changed, and whether labels were mixed."""
    classes, is_changed, mixes = np.empty(len(rows), np.int64), np.empty(len(rows), bool), False
    with torch.inference_mode():
        for start in range(0, len(rows), _BATCH):
            part = slice(start, start + _BATCH)
            numbers = torch.from_numpy(rows[part])
            images = to_float(source.take(numbers))  # (B, C, H, W) float32
            numbers = numbers.to(images.device)
            own = torch.eye(len(numbers), device=images.device)  # each image is a class of its own, to detect mixing
            out, targets = augment_once(text, images, own, Draws(seed, numbers, torch.zeros_like(numbers), epoch=0))
            classes[part] = classifier(out).argmax(1).cpu().numpy()
            is_changed[part] = (out != images).flatten(1).any(1).cpu().numpy()
            mixes = mixes or not torch.equal(targets, own)
    return _Predicted(classes, is_changed, mixes)


def _compare(
    text: str, labels: NDArray[np.int64], before: NDArray[np.int64], augmented: _Predicted, classes: tuple[str, ...]
) -> LabelStability:
    n, after = len(labels), augmented.classes
    tested = augmented.is_changed & (before == labels)
    kept = tested & (after == labels)
    return LabelStability(
        text=text,
        n=n,
        n_changed=int(augmented.is_changed.sum()),
        n_tested=int(tested.sum()),
        same=proportion(int((before == after).sum()), n),
        kept=proportion(int(kept.sum()), int(tested.sum())),
        accuracy=proportion(int((before == labels).sum()), n),
        accuracy_after=proportion(int((after == labels).sum()), n),
        drop=paired_drop(before == labels, after == labels),
        lost=() if augmented.mixes else _lost_classes(labels[tested], after[tested], classes),
        mixes=augmented.mixes,
    )


def _lost_classes(
    labels: NDArray[np.int64], after: NDArray[np.int64], classes: tuple[str, ...]
) -> tuple[LostClass, ...]:
    from scipy.stats import binom

    support = np.bincount(labels, minlength=len(classes))
    kept = np.bincount(labels[after == labels], minlength=len(classes))
    n_tested = max(1, int((support > 0).sum()))
    is_lost = (support > 0) & (binom.cdf(kept, support, KEPT) * n_tested < RISK)
    lost = []
    for place in np.flatnonzero(is_lost):
        others = np.bincount(after[(labels == place) & (after != place)], minlength=len(classes))
        n, n_kept, other = int(support[place]), int(kept[place]), int(others.argmax())
        lost.append(LostClass(classes[place], n, proportion(n_kept, n), classes[other], float(others[other] / n)))
    return tuple(sorted(lost, key=lambda each: (each.kept.value or 0.0, each.name)))


def paired_drop(before: NDArray[np.bool_], after: NDArray[np.bool_]) -> Estimate:
    """The accuracy `before` less the accuracy `after`, with the 95 % interval of a difference of paired proportions.

    Source: Agresti and Min 2005, "Simple improved confidence intervals for comparing matched proportions": the normal
    interval after adding one half to each of the four counts, which has a width even if no row changes.
    """
    n, lost, won = len(before), int((before & ~after).sum()), int((~before & after).sum())
    difference = (lost - won) / (n + 2)
    variance = (lost + won + 1) / (n + 2) ** 2 - difference**2 / (n + 2)
    half = Z * float(np.sqrt(variance))
    return Estimate((lost - won) / n, max(-1.0, difference - half), min(1.0, difference + half))


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.0f} %"
