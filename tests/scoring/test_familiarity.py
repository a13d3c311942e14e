"""The threshold leaves the stated share of new images unmarked, and needs the rows that tell it."""

from __future__ import annotations

import numpy as np
import pytest
from made_runs import make_logits

from pocketlens.scoring.familiarity import SHARE, UNLIKE, Familiarity, energies, fit_familiarity


@pytest.mark.slow
def test_the_stated_share_of_familiar_images_is_not_marked() -> None:
    marked = []
    for draw in range(300):
        logits = make_logits(np.arange(199 + 100) % 5, 5, seed=draw)
        rule = fit_familiarity(logits[:199])
        marked += [rule.is_unfamiliar(row) for row in logits[199:]]
    error = 4 * np.sqrt(SHARE * (1 - SHARE) / len(marked)) * 2  # the draws of one threshold are not independent
    assert 0.005 - error < np.mean(marked) <= 0.01 + error


def test_weak_responses_are_marked() -> None:
    rule = fit_familiarity(make_logits(np.arange(500) % 5, 5, skill=8))
    assert rule.is_unfamiliar(np.zeros(5))
    assert not rule.is_unfamiliar(np.array([9.0, 0, 0, 0, 0]))
    assert energies(np.zeros((1, 5)))[0] == pytest.approx(-np.log(5))


@pytest.mark.parametrize(("n", "known"), [(1, False), (98, False), (99, True)])
def test_too_few_rows_mark_nothing(n: int, known: bool) -> None:
    rule = fit_familiarity(make_logits(np.arange(n) % 5, 5))
    assert (rule.threshold is not None) == known
    assert (rule.is_unfamiliar(np.zeros(5)) is None) == (not known)
    if known:
        assert rule.said() == f"marked as {UNLIKE}: pictures with a higher energy than 99 % of 99 validation images"
    else:
        many = "1 validation image is" if n == 1 else f"{n} validation images are"
        assert rule.said() == f"pictures {UNLIKE} are not marked: {many} too few, 99 are needed"


def test_it_is_read_as_it_was_written() -> None:
    for rule in (Familiarity(-3.5, 0.99, 500), Familiarity(None, 0.99, 15)):
        assert Familiarity.from_dict(rule.to_dict()) == rule
    for bad in ({}, {"threshold": "a", "share": 0.9, "n": 1}, {"threshold": float("nan"), "share": 0.9, "n": 1}):
        with pytest.raises((KeyError, TypeError, ValueError)):
            Familiarity.from_dict(bad)
