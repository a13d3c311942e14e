"""The choice of an interpolation (see interpolation.py) by the validation rows, when a training has ended."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass

from pocketlens.optimizers.wise_ft import WiseFt
from pocketlens.training.fit import Validation, rate, score_validation
from pocketlens.training.interpolation import Interpolation, Point, interpolated, packed
from pocketlens.training.state import State

UNCHOSEN = 0.5  # alpha without validation rows


def must_choose(state: State) -> bool:
    """Whether the recipe asks for an interpolation that has not been chosen yet."""
    return "wise_ft" in state.modifiers and state.interpolation is None


def choose_interpolation(state: State) -> Interpolation:
    """Sets `state.interpolation` and `state.val_logits` by the most accurate point on the validation rows.

    Of equally accurate points the one with the smallest loss is taken. Its scores become those of the last epoch, whose
    weights do not count any more. All ranks make this call together.
    """
    alpha = state.experiment.alpha
    chosen = Interpolation(UNCHOSEN if alpha is None else alpha)
    if alpha is None and len(state.val_rows):
        tried = list(_try_points(state)) if state.ranks.is_first else []
        if tried:
            best = min(tried, key=lambda each: (-each.found.accuracy, each.found.loss))
            state.val_logits = best.found.logits
            points = tuple(
                Point(each.alpha, each.found.loss, each.found.accuracy, packed(each.found.right)) for each in tried
            )
            chosen = Interpolation(best.alpha, points)
        chosen = state.ranks.from_first(chosen)
        _note_scores(state, chosen)
    state.interpolation = chosen
    return chosen


def _note_scores(state: State, chosen: Interpolation) -> None:
    """Writes the scores of what was chosen into the record of the last epoch."""
    point = next((each for each in chosen.points if each.alpha == chosen.alpha), None)
    if point is None or not state.history:
        return
    known = [record["val_accuracy"] for record in state.history[:-1] if record["best"]]
    best = not known or point.val_accuracy > max(known)
    state.history[-1] = {
        **state.history[-1],
        "val_loss": point.val_loss,
        "val_accuracy": point.val_accuracy,
        "best": best,
        "alpha": point.alpha,
    }


@dataclass(frozen=True, eq=False)
class _Tried:
    alpha: float
    found: Validation


def _try_points(state: State) -> Iterator[_Tried]:
    modifier, last = state.modifiers["wise_ft"], state.result()
    assert isinstance(modifier, WiseFt)
    classifier = copy.deepcopy(state.classifier)
    for alpha in modifier.alphas:
        if alpha == 1 and state.val_logits is not None:  # the last epoch has ended with these weights
            yield _Tried(alpha, rate(state.val_logits, state.val_labels))
            continue
        classifier.load_state_dict(interpolated(modifier.memory, last, alpha))
        yield _Tried(alpha, score_validation(state, classifier))
