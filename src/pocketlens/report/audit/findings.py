"""What was found in a data set, in sentences: what it means, and what to do about it; the gravest first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pocketlens.audit.audit import Looked
from pocketlens.audit.facts import FEW, IMBALANCE, imbalance

_MANY_DOUBTFUL = 0.01  # a share of the labels that is worth an evening
_TOO_MANY = 0.1  # a share that says more about the short models than about the labels
_EVEN = 1.5  # up to so many times as many images are about equally many


@dataclass(frozen=True)
class Finding:
    """One sentence of news, what to do about it, and the section of the page that shows it."""

    grave: bool
    text: str
    action: str
    section: str


def findings(looked: Looked) -> list[Finding]:
    """Everything worth knowing before training, the gravest first."""
    found = [
        *_counts(looked),
        *_duplicates(looked),
        *_labels(looked),
        *_parts(looked),
        *_augment(looked),
        *_ease(looked),
    ]
    return sorted(found, key=lambda finding: not finding.grave)


def _counts(looked: Looked) -> list[Finding]:
    counts, names = looked.facts.n_of_class, looked.dataset.classes
    found = []
    empty = [name for name, count in zip(names, counts, strict=True) if count == 0]
    there = int((counts > 0).sum())
    if there == 1:
        text = f"All images are of one class, {names[int(counts.argmax())]!r}."
        found.append(Finding(True, text, "A classifier needs at least two classes: add images of another.", "classes"))
    if empty:
        text = f"{_many(len(empty), 'class has', 'classes have')} no image to train on: {_listed(empty)}."
        found.append(Finding(True, text, "Add images, or remove the empty class folders.", "classes"))
    few = [name for name, count in zip(names, counts, strict=True) if 0 < count < FEW]
    if few:
        text = f"{_many(len(few), 'class has', 'classes have')} fewer than {FEW} images: {_listed(few)}."
        action = "Numbers about so few images have wide intervals; more images help more than a better model."
        found.append(Finding(False, text, action, "classes"))
    ratio = imbalance(counts)
    if ratio is not None and ratio >= IMBALANCE:
        large, small = int(counts.argmax()), int(np.where(counts > 0, counts, counts.max() + 1).argmin())
        text = (
            f"The classes are not balanced: {names[large]!r} has {counts[large]:,} images, {ratio:.1f} times as many "
            f"as {names[small]!r} with {counts[small]:,}."
        )
        action = "Judge by macro F1 and by class, not by accuracy alone: a model that forgets small classes looks good."
        found.append(Finding(True, text, action, "classes"))
    elif ratio is not None and ratio > _EVEN:
        text = f"The largest class has {ratio:.1f} times as many images as the smallest."
        found.append(Finding(False, text, "Look at macro F1 beside accuracy.", "classes"))
    elif ratio is not None:
        even = "equally many images" if ratio == 1 else f"about equally many images (at most {ratio:.2f} times as many)"
        found.append(
            Finding(False, f"All classes with images have {even}.", "Accuracy is a fair measure here.", "classes")
        )
    return found


def _duplicates(looked: Looked) -> list[Finding]:
    pairs = looked.duplicates
    if pairs is None:
        return []
    searched = "exact or near copies" if pairs.complete else "copies with equal pixels"
    n_across, n_test = len(pairs.contaminated()), pairs.n_test
    found = []
    if n_across:
        share = f"{n_across:,} of {n_test:,} test images ({_percent(n_across, n_test)})"
        text = f"{share} have {searched} among the development images."
        action = "The test score will be too good by what these add; pocketlens test gives it without them too."
        found.append(Finding(True, text, action, "duplicates"))
    else:
        text = f"No test image has {searched} among the development images."
        found.append(Finding(False, text, "Nothing to do.", "duplicates"))
    counts = pairs.counts()["within development"]
    inside = counts["exact"] + counts["near"]
    if inside:
        text = f"{_many(inside, 'pair', 'pairs')} of development images show the same picture."
        action = "Equal images always stay in one part of the split; near ones may stand in training and validation."
        found.append(Finding(False, text, action, "duplicates"))
    return found


def _labels(looked: Looked) -> list[Finding]:
    doubtful = looked.labels
    if doubtful is None:
        return []
    if not len(doubtful):
        return [Finding(False, "No label is in doubt.", "Nothing to do.", "labels")]
    share = len(doubtful) / doubtful.n_rows
    if share > _TOO_MANY:
        text = (
            f"The labels cannot be judged well: the short models agree with {100 * doubtful.agreed:.0f} % of them and "
            f"doubt {len(doubtful):,} ({_percent(len(doubtful), doubtful.n_rows)}), mostly through their own mistakes."
        )
        action = "Look at the first ones all the same: they come in the order of doubt."
        return [Finding(False, text, action, "labels")]
    text = (
        f"{_many(len(doubtful), 'label is', 'labels are')} in doubt ({_percent(len(doubtful), doubtful.n_rows)} of "
        f"{doubtful.n_rows:,})."
    )
    action = "Look at the first ones below. Decide in labels.csv, and train with --relabel labels.csv."
    return [Finding(share >= _MANY_DOUBTFUL, text, action, "labels")]


def _parts(looked: Looked) -> list[Finding]:
    test = looked.parts
    if test is None or test.accuracy.value is None:
        return []
    text = say_parts(looked)
    if test.clear:
        action = "Expect the test score to differ from validation; ask where the test images come from."
    elif test.differs:
        action = "The difference is small; it is there, but it will hardly move a score."
    else:
        action = "A validation score tells what to expect of the test score."
    return [Finding(test.clear, text, action, "parts")]


def say_parts(looked: Looked) -> str:
    """What the test of the two parts says, in one sentence."""
    test = looked.parts
    assert test is not None
    value, low, high = (100 * (number or 0.0) for number in vars(test.accuracy).values())
    told = (
        f"a classifier tells them apart in {value:.1f} % of cases (95 % interval {low:.1f} to {high:.1f}; a coin: 50)"
    )
    if test.clear:
        return f"Training and test images are not alike: {told}."
    if test.differs:
        return f"Training and test images differ slightly: {told}."
    return f"Training and test images look alike: {told}."


def _ease(looked: Looked) -> list[Finding]:
    if not looked.ease or len(looked.ease) < 2:
        return []
    names = looked.dataset.classes
    hardest, easiest = looked.ease[0], looked.ease[-1]
    if hardest.head.high is None or easiest.head.low is None or hardest.head.high >= easiest.head.low:
        text = "No class is harder than another beyond chance, as far as short models can tell."
        return [Finding(False, text, "Nothing to do.", "ease")]
    low, high = (f"{100 * (one.head.value or 0):.0f} %" for one in (hardest, easiest))
    text = (
        f"{names[hardest.label]!r} is the hardest class for a short model ({low} right), {names[easiest.label]!r} the "
        f"easiest ({high})."
    )
    mixed = "" if hardest.taken_for is None else f" It is most often taken for {names[hardest.taken_for]!r}."
    return [Finding(False, text, "More images of the hard classes help most." + mixed, "ease")]


def _augment(looked: Looked) -> list[Finding]:
    found = looked.augmented
    if found is None or found.agreements is None:
        return []
    warned = [each for each in found.agreements if each.warning is not None]
    if not warned:
        text = "No augmentation was found to destroy labels."
        return [Finding(False, text, "Nothing to do.", "augment")]
    text = (
        f"{_many(len(warned), 'augmentation', 'augmentations')} of {len(found.agreements):,} may destroy labels: "
        f"{_listed([each.text for each in warned], 5)}."
    )
    return [Finding(False, text, "Look at the sheets before you train with them.", "augment")]


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "n/a"


def _many(count: int, one: str, several: str) -> str:
    return f"{count:,} {one if count == 1 else several}"


def _listed(names: list[str], most: int = 8) -> str:
    rest = len(names) - most
    return ", ".join(repr(name) for name in names[:most]) + (f" and {rest} more" if rest > 0 else "")
