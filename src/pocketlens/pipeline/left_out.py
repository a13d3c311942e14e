"""What `auto` left out, and why, in a person's words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pocketlens.pipeline.state import AutoState
from pocketlens.text import times

_NOT_DONE = {
    "augment": "Other augmentations were not compared",
    "models": "Other networks were not compared",
    "search": "Learning rate, momentum and label smoothing were not searched",
    "comparisons": "No recipes were compared",
}
_NOT_TRIED = {
    "fine-tuned": "The pretrained network was not fine-tuned",
    "from scratch": "No network was trained from scratch",
}
_DROPPED = {"fine-tuned": "Fine-tuning was dropped early", "from scratch": "Training from scratch was dropped early"}


@dataclass(frozen=True)
class LeftOut:
    """Something that was not done, and the reason."""

    what: str
    why: str


def read_left_out(state: AutoState) -> tuple[LeftOut, ...]:
    """Everything that a session left out, in the order in which it would have been done."""
    return (*_bodies(state), *_planned(state), *_begun(state), *_test(state))


def _bodies(state: AutoState) -> Iterator[LeftOut]:
    if state.request.body == "none":
        yield LeftOut("No pretrained network was tried", "as requested (--body none)")
    if state.no_body is not None:
        yield LeftOut("No pretrained network was tried", state.no_body)
    approach = state.done.get("approach")
    for line in () if approach is None else approach.not_tried:
        name, _, why = line.partition(": ")
        word, _, reason = why.partition(", ")
        named = {"not tried": _NOT_TRIED, "dropped": _DROPPED}.get(word, {})
        yield LeftOut(named[name], reason) if name in named else LeftOut(line, "it takes too long here")


def _planned(state: AutoState) -> Iterator[LeftOut]:
    plan = state.done.get("plan")
    for name, why in ({} if plan is None else plan.skipped).items():
        sought = name.removeprefix("audit for ")
        what = _NOT_DONE.get(name, name) if sought == name else f"The data was not searched for {sought}"
        yield LeftOut(what, why)


def _begun(state: AutoState) -> Iterator[LeftOut]:
    """Phases that were planned and not brought to an end."""
    look = state.done.get("look")
    if look is not None and look.depth is None and look.lines:
        word, _, why = look.lines[0].partition(": ")
        if word in ("skipped", "stopped"):
            what = "was not finished" if word == "stopped" else "was left out"
            yield LeftOut(f"The search for duplicates and outliers {what}", why)
    for name in ("augment", "models", "search"):
        result = state.done.get(name)
        if result is not None and not result.has_verdict:
            yield LeftOut(_NOT_DONE[name], "no other recipe suits these images and the time")


def _test(state: AutoState) -> Iterator[LeftOut]:
    test = state.done.get("test")
    if test is not None and not test.is_opened and test.n_openings:
        before = times(test.n_openings)
        yield LeftOut(
            "The test images stayed sealed", f"they have been opened {before} before; --test opens them all the same"
        )
