"""Advice: what would help most next, as sentences that follow from the numbers of a run.

Each rule looks at one thing and says nothing where the numbers cannot carry it: a rise or a gap counts only beyond what
so few images show by chance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pocketlens.audit.facts import IMBALANCE, imbalance
from pocketlens.report.run.facts import Facts
from pocketlens.scoring.label_trust import too_many_doubted
from pocketlens.scoring.metrics import Estimate, proportion
from pocketlens.scoring.scores import PART_NAMES, Scores
from pocketlens.text import as_command, counted

LEAST_RISE = 0.005  # of the accuracy in the last quarter of the epochs, from which a training was still learning
NEAR, FAR = 0.05, 0.1  # training minus validation accuracy: below the first not above it, from the second far above
NEARLY_ALL = 0.97  # accuracy after the first epoch, from which more of them hardly help
UNSURE = 0.04  # half the interval of the accuracy, from which there are too few images
DOUBTFUL = 0.01  # share of labels that may be wrong, from which it matters
SMALL_SUFFER = 0.05  # accuracy minus the mean recall of the classes


@dataclass(frozen=True)
class Advice:
    """One sentence, the rule that it comes from, and a command that goes with it, or None."""

    rule: str
    text: str
    command: str | None = None


def advise(facts: Facts) -> tuple[Advice, ...]:
    """All that applies, the most pressing first; without scores, or before a run is complete, nothing."""
    scores = facts.scores
    if scores is None or facts.status != "complete":
        return ()
    rules = (_guessing, _still_learning, _overfitting, _few_images, _doubtful_labels, _uneven_classes)
    found = [advice for rule in rules if (advice := rule(facts, scores)) is not None]
    return tuple(found) or (_well_done(facts, scores),)


def _half_width(accuracy: Estimate) -> float:
    """Half the interval of an accuracy."""
    return ((accuracy.high or 1.0) - (accuracy.low or 0.0)) / 2


def _guessing(facts: Facts, scores: Scores) -> Advice | None:
    """No better than always answering the most frequent class."""
    majority = scores.majority
    if len(scores.classes) < 2 or (scores.top1.low or 0.0) > majority.share:
        return None
    return Advice(
        "guessing",
        f"It is not clearly better than always answering {majority.name!r}, which is right for "
        f"{100 * majority.share:.1f} %: check some images and their labels, then train longer or with another learning "
        "rate.",
        as_command(("pocketlens", "look", facts.data)),
    )


def _still_learning(facts: Facts, scores: Scores) -> Advice | None:
    """The accuracy rose to the end, or there was but one epoch, and training is not far above validation."""
    if _is_fitted(facts):
        return None
    key = "val_accuracy" if facts.n_val else "train_accuracy"
    curve = [float(record[key]) for record in facts.history if record.get(key) is not None]
    n_last, gap = max(1, len(curve) // 4), _gap(facts, scores)
    if len(curve) < 2:
        is_open = bool(curve) and curve[0] < NEARLY_ALL and gap is not None and gap <= NEAR
        return Advice("still learning", f"It was trained for one epoch or less. {_longer(facts)}.") if is_open else None
    rise = curve[-1] - curve[-1 - n_last]
    n_judged = facts.n_val or facts.n_train
    chance = _half_width(proportion(round(curve[-1] * n_judged), n_judged))
    if rise < max(LEAST_RISE, chance) or gap is None or gap > NEAR:
        return None
    last = "epoch" if n_last == 1 else counted(n_last, "epoch")
    what = "Validation" if facts.n_val else "Training"
    return Advice(
        "still learning",
        f"It was still learning at the end: {what.lower()} accuracy rose by {100 * rise:.1f} points in the last {last} "
        f"of {len(curve)}. {_longer(facts)}.",
    )


def _longer(facts: Facts) -> str:
    """How to train for longer: a run of `auto`, or one that had a limit, with more minutes."""
    if _is_of_auto(facts) or facts.experiment.get("minutes"):
        return "Give it more minutes"
    return f"Train longer, for example with --epochs {2 * round(facts.recipe.epochs) or 1}"


def _overfitting(facts: Facts, scores: Scores) -> Advice | None:
    """Training accuracy is far above that on other images."""
    gap, trained = _gap(facts, scores), _trained(facts)
    if gap is None or trained is None or gap < max(FAR, _half_width(scores.top1)) or _is_fitted(facts):
        return None
    other = "validation" if _judged(facts) is not None else PART_NAMES[scores.part]
    augment = "it had none" if facts.recipe.augment == "none" else f"it had {facts.recipe.augment}"
    return Advice(
        "overfitting",
        f"Training accuracy, {100 * trained:.1f} %, is {100 * gap:.1f} points above its {other} accuracy: it "
        f"overfits the training images. More augmentation ({augment}), fewer parameters or more images help.",
    )


def _few_images(facts: Facts, scores: Scores) -> Advice | None:
    """The interval is wide."""
    half = _half_width(scores.top1)
    if half < UNSURE:
        return None
    return Advice(
        "few images",
        f"{scores.n:,} {PART_NAMES[scores.part]} images cannot say more than ±{100 * half:.1f} points: smaller "
        "differences from another run may be chance. More labelled images help, or a test on every image in turn.",
        as_command(("pocketlens", "auto", facts.data, "--folds", "5")),
    )


def _doubtful_labels(facts: Facts, scores: Scores) -> Advice | None:
    """Labels that the classifier doubts, or that a duplicate contradicts."""
    if facts.reliability is None:
        return None
    counts = facts.reliability.rows.counts()
    n = counts["label issue"] + counts["duplicate with another label"]
    if n < max(3, DOUBTFUL * scores.n) or too_many_doubted(counts["label issue"], scores.n):
        return None
    return Advice(
        "doubtful labels",
        f"{n:,} of the {scores.n:,} {PART_NAMES[scores.part]} labels may be wrong ({100 * n / scores.n:.1f} %). "
        "Review them below; if you agree, correct the labels of the development images, too.",
        as_command(("pocketlens", "look", facts.data)),
    )


def _uneven_classes(facts: Facts, scores: Scores) -> Advice | None:
    """Small classes have a lower recall."""
    support = scores.confusion.sum(axis=1)
    ratio = imbalance(support)
    if ratio is None or ratio < IMBALANCE:
        return None
    there = support > 0
    recall = scores.confusion.diagonal()[there] / support[there]
    if (scores.top1.value or 0.0) - float(recall.mean()) < SMALL_SUFFER:
        return None
    smallest = int(np.where(there, support, support.max() + 1).argmin())
    even = facts.recipe.class_weight == "balanced" or facts.recipe.sampling == "balanced"
    remedy = f"Add images of small ones, such as {scores.classes[smallest]!r}"
    remedy += "" if even else ", or train with --class-weight balanced"
    return Advice(
        "uneven classes",
        f"The classes are uneven, up to {ratio:.0f} to 1, and small ones suffer: a class is right in "
        f"{100 * float(recall.mean()):.1f} % on average, all images in {100 * (scores.top1.value or 0.0):.1f} %. "
        f"{remedy}; and judge by macro F1.",
    )


def _well_done(facts: Facts, scores: Scores) -> Advice:
    half = f"the accuracy is known to ±{100 * _half_width(scores.top1):.1f} points"
    if (scores.top1.value or 0.0) == 1.0:
        return Advice("nothing stands out", f"Every image is right; {half}. Try it on images from elsewhere.")
    return Advice(
        "nothing stands out",
        f"Nothing stands out in the numbers, and {half}. More images or other recipes are left to try.",
        None if _is_of_auto(facts) else as_command(("pocketlens", "auto", facts.data, "--minutes", "60")),
    )


def _is_of_auto(facts: Facts) -> bool:
    return str(facts.experiment.get("made_by") or "").startswith("auto ")


def _is_fitted(facts: Facts) -> bool:
    """Nothing was trained by steps: a head or a forest was fitted on features, which knows its images by heart."""
    return facts.recipe.is_probe or bool(facts.experiment.get("features_of"))


def _judged(facts: Facts) -> float | None:
    """Validation accuracy of the weights that were kept."""
    return None if facts.val is None else facts.val.top1.value


def _trained(facts: Facts) -> float | None:
    """Training accuracy in the epoch whose weights were kept, over augmented images."""
    records = [record for record in facts.history if record.get("train_accuracy") is not None]
    if not records:
        return None
    best = [record for record in records if record.get("best")]
    record = best[-1] if facts.recipe.keep == "best" and best else records[-1]
    return float(record["train_accuracy"])


def _gap(facts: Facts, scores: Scores) -> float | None:
    """Training accuracy minus that on validation images or, without any, on the scored ones."""
    trained, judged = _trained(facts), _judged(facts)
    judged = scores.top1.value if judged is None else judged
    return None if trained is None or judged is None else trained - judged
