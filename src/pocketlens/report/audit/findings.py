"""The findings of an audit, in sentences: what was found, and what to do about it; serious ones first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pocketlens.audit.audit import AuditReport
from pocketlens.audit.distribution_shift import DistributionShift
from pocketlens.audit.facts import FEW, IMBALANCE, imbalance
from pocketlens.scoring.label_trust import too_many_doubted
from pocketlens.text import as_command, capitalised, counted

_MANY_ISSUES = 0.01  # share of the labels from which reviewing the issues is worth the time
_BALANCED = 1.5  # imbalance up to which the classes count as balanced
_NOTHING = "Nothing to do."


@dataclass(frozen=True)
class Finding:
    """One finding, what to do about it, and the section of the page that shows it."""

    serious: bool
    text: str
    action: str
    section: str


def findings(report: AuditReport) -> list[Finding]:
    """Everything worth knowing before training, serious findings first."""
    found = [
        *_counts(report),
        *_duplicates(report),
        *_labels(report),
        *_shift(report),
        *_augmentation(report),
        *_difficulty(report),
    ]
    return sorted(found, key=lambda finding: not finding.serious)


def _counts(report: AuditReport) -> list[Finding]:
    counts, names = report.facts.n_of_class, report.dataset.classes
    found = []
    empty = [name for name, count in zip(names, counts, strict=True) if count == 0]
    if int((counts > 0).sum()) == 1:
        text = f"All images belong to one class, {names[int(counts.argmax())]!r}."
        found.append(Finding(True, text, "A classifier needs at least two classes: add images of another.", "classes"))
    if empty:
        text = f"{counted(len(empty), 'class has', 'classes have')} no images to train on: {_listed(empty)}."
        found.append(Finding(True, text, "Add images, or remove the empty class folders.", "classes"))
    few = [name for name, count in zip(names, counts, strict=True) if 0 < count < FEW]
    if few:
        text = f"{counted(len(few), 'class has', 'classes have')} fewer than {FEW} images: {_listed(few)}."
        action = "Metrics on so few images have wide intervals; more images help more than a better model."
        found.append(Finding(False, text, action, "classes"))
    return [*found, *_balance(report)]


def _balance(report: AuditReport) -> list[Finding]:
    counts, names = report.facts.n_of_class, report.dataset.classes
    ratio = imbalance(counts)
    if ratio is None:
        return []
    if ratio >= IMBALANCE:
        large, small = int(counts.argmax()), int(np.where(counts > 0, counts, counts.max() + 1).argmin())
        text = (
            f"The classes are imbalanced: {names[large]!r} has {counted(counts[large], 'image')}, "
            f"{ratio:.1f} times as many as "
            f"{names[small]!r} with {counts[small]:,}."
        )
        action = "Use macro F1 and per-class metrics: a model that ignores small classes can have a high accuracy."
        return [Finding(True, text, action, "classes")]
    if ratio > _BALANCED:
        text = f"The largest class has {ratio:.1f} times as many images as the smallest."
        return [Finding(False, text, "Read macro F1 alongside accuracy.", "classes")]
    same = "all of them have the same number of images" if (counts > 0).all() else "those with images have equally many"
    how = same if ratio == 1 else f"the largest has {ratio:.2f} times as many images as the smallest"
    return [Finding(False, f"The classes are balanced: {how}.", "Accuracy is a fair metric here.", "classes")]


def _duplicates(report: AuditReport) -> list[Finding]:
    pairs = report.duplicates
    if pairs is None:
        return []
    kind = "an exact or near duplicate" if pairs.complete else "an exact duplicate"
    n_across, n_test = len(pairs.contaminated()), pairs.n_test
    found = []
    if n_across:
        share = f"{n_across:,} of {counted(n_test, 'test image')} ({_percent(n_across, n_test)})"
        text = f"{share} {'has' if n_across == 1 else 'have'} {kind} among the development images."
        action = "They inflate the test score; pocketlens test also reports the score without them."
        found.append(Finding(True, text, action, "duplicates"))
    elif n_test:
        found.append(Finding(False, f"No test image has {kind} among the development images.", _NOTHING, "duplicates"))
    counts = pairs.counts()["within development"]
    inside = counts["exact"] + counts["near"]
    if inside:
        which = "exact or near duplicates" if pairs.complete else "exact duplicates"
        text = f"The development images contain {counted(inside, 'pair', 'pairs')} of {which}."
        action = "The split keeps equal images together; near duplicates may be in both training and validation."
        found.append(Finding(False, text, action, "duplicates"))
    return [*found, *(Finding(False, f"{capitalised(note)}.", _NOTHING, "duplicates") for note in pairs.notes)]


def _labels(report: AuditReport) -> list[Finding]:
    issues = report.labels
    if report.distrust:
        action = "A model that learns more can tell: the page of its run lists label issues where it is right often."
        return [Finding(False, f"No label is called doubtful: {report.distrust}.", action, "labels")]
    if issues is None:
        return []
    if not len(issues):
        return [Finding(False, "No label issues were found.", _NOTHING, "labels")]
    share = len(issues) / issues.n_rows
    if too_many_doubted(len(issues), issues.n_rows):
        text = (
            f"Label issues are unreliable here: only {100 * issues.accuracy:.0f} % of the labels are predicted (by the "
            f"{report.predictor}), so most of the {len(issues):,} issues ({_percent(len(issues), issues.n_rows)}) are "
            "mistakes of the prediction."
        )
        return [Finding(False, text, "Review the first ones nevertheless: the most likely come first.", "labels")]
    text = f"{counted(len(issues), 'label', 'labels')} of {issues.n_rows:,} may be wrong ({100 * share:.1f} %)."
    review = as_command(("pocketlens", "review", report.dataset.text))
    action = f"To decide, type {review}; then train with --relabel labels.csv."
    return [Finding(share >= _MANY_ISSUES, text, action, "labels")]


def _shift(report: AuditReport) -> list[Finding]:
    shift = report.shift
    if shift is None or shift.accuracy.value is None:
        return []
    if shift.substantial:
        action = "Expect the test score to differ from validation, and find out where the test images come from."
    elif shift.significant:
        action = "The shift is statistically significant, but too small to change a score noticeably."
    else:
        action = "The validation score is a good guide to the test score."
    return [Finding(shift.substantial, describe_shift(shift), action, "shift")]


def describe_shift(shift: DistributionShift) -> str:
    """How well the parts can be told apart, in one sentence."""
    accuracy = shift.accuracy
    value, low, high = (100 * (number or 0.0) for number in (accuracy.value, accuracy.low, accuracy.high))
    how = (
        f"a classifier tells them apart with {value:.1f} % accuracy (95 % interval {low:.1f} to {high:.1f}; chance: 50)"
    )
    if shift.substantial:
        return f"Development and test images differ: {how}."
    if shift.significant:
        return f"Development and test images differ slightly: {how}."
    return f"No shift between development and test images was found: {how}."


def _difficulty(report: AuditReport) -> list[Finding]:
    if not report.classes or len(report.classes) < 2:
        return []
    names = report.dataset.classes
    hardest, easiest = report.classes[0], report.classes[-1]
    high, low = hardest.model_recall.high, easiest.model_recall.low
    if high is None or low is None or high >= low:
        text = f"No class is significantly harder than another for the {report.predictor}."
        return [Finding(False, text, _NOTHING, "difficulty")]
    worst, best = (f"{100 * (one.model_recall.value or 0):.0f} %" for one in (hardest, easiest))
    text = (
        f"{names[hardest.label]!r} is the hardest class for the {report.predictor} ({worst} recognised), "
        f"{names[easiest.label]!r} the easiest ({best})."
    )
    confused = hardest.confused_with
    mixed = "" if confused is None else f" It is most often confused with {names[confused]!r}."
    return [Finding(False, text, "More images of the hard classes help most." + mixed, "difficulty")]


def _augmentation(report: AuditReport) -> list[Finding]:
    effect = report.augmentation
    if effect is None or effect.stability is None:
        return []
    warned = [each.text for each in effect.stability if each.warning is not None]
    if not warned:
        return [Finding(False, "No augmentation was found to change what images show.", _NOTHING, "augmentations")]
    text = (
        f"{len(warned):,} of {counted(len(effect.stability), 'augmentation setting', 'augmentation settings')} may "
        f"change what an image shows, or are unfamiliar to a classifier that was not trained with them: "
        f"{_listed(warned, 5)}."
    )
    drawn = {sheet.text for sheet in effect.sheets}
    command = as_command(("pocketlens", "look", report.dataset.text, "--augment", "all"))
    action = "Check their sheets below" if set(warned) <= drawn else f"Draw their sheets ({command})"
    return [
        Finding(
            False, text, f"{action}, and train only with those in which you can still tell the class.", "augmentations"
        )
    ]


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "n/a"


def _listed(names: list[str], most: int = 8) -> str:
    rest = len(names) - most
    return ", ".join(repr(name) for name in names[:most]) + (f" and {rest} more" if rest > 0 else "")
