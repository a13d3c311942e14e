"""The state of an `auto` session as typed values; this file alone knows the keys of auto.json."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from pocketlens.errors import PocketlensError
from pocketlens.pipeline.phase_result import PhaseResult
from pocketlens.recipe import Recipe, from_dict

FORMAT = 1
_OF_BEFORE = {"hold_out": 1, "body": "", "seed": 0}  # what sessions of before, which lack these keys, were started for


@dataclass(frozen=True)
class AutoRequest:
    """What a session was started for; starting the same again resumes it.

    Attributes:
        text: the component text of the data set.
        minutes: the time limit for everything.
        open_again: whether the test set is opened even if it has been opened before.
        fingerprint: of the development images.
        hold_out: the version of the rule by which the test images were held out; absent in sessions of before.
        body: the pretrained body to try, auto or none; empty in sessions of before, which knew none.
        seed: of the split and the trainings; 0 in sessions of before.
    """

    text: str
    minutes: float
    open_again: bool
    fingerprint: str
    hold_out: int = 1
    body: str = ""
    seed: int = 0

    def is_resumed_by(self, other: AutoRequest) -> bool:
        """Whether starting `other` resumes a session of this request; those of before were started without a body."""
        return self == (other if self.body else replace(other, body=""))


@dataclass(frozen=True)
class Measured:
    """How fast a recipe runs on this machine.

    Attributes:
        recipe: the recipe, with the two fields that do not affect speed, `epochs` and `lr`, set to 1.
        train_seconds: to train on one image, the mean over the sizes of the schedule.
        predict_seconds: to classify one image.
        step_seconds: of one training step, by image size in px.
    """

    recipe: Recipe
    train_seconds: float
    predict_seconds: float
    step_seconds: dict[str, float]


@dataclass(frozen=True)
class FinalAttempt:
    """Where the final training stands; it restarts when its schedule turns out too long or too short.

    Attributes:
        began: seconds of the session that were spent before the first attempt.
        number: from 1.
        pace: how long a step takes, as a multiple of what was measured.
    """

    began: float
    number: int = 1
    pace: float = 1.0


@dataclass(frozen=True)
class AutoState:
    """Everything that auto.json holds.

    Attributes:
        base: the recipe as chosen so far.
        opens: whether the session ends by opening the test set; then the final training has all development rows.
        loading: seconds that reading the data took.
        data: the component text of the data set as it was loaded, with the size of its images.
        spent: seconds of work so far.
        measured: the speed of `base`, or None before it was measured.
        deadlines: of the comparisons and the search that have begun, in seconds spent, by phase.
        expected: seconds that one short training of the latest of them was expected to take.
        excess: by how many seconds they took longer.
        final: None before the final training has begun.
        done: the phases that have finished, in order.
        folded: seconds of `spent` that the folds of a cross-validation took; 0 before they are done and without any.
        no_body: why no pretrained body was tried; None where one was, or none was asked for.
        finished: how the session ended, "complete" or "given up"; None while it can be resumed.
    """

    request: AutoRequest
    base: Recipe
    opens: bool
    loading: float
    data: str = ""
    spent: float = 0.0
    measured: Measured | None = None
    deadlines: dict[str, float] = field(default_factory=dict)
    expected: float = 0.0
    excess: float = 0.0
    final: FinalAttempt | None = None
    done: dict[str, PhaseResult] = field(default_factory=dict)
    folded: float = 0.0
    no_body: str | None = None
    finished: str | None = None

    @property
    def has_begun(self) -> bool:
        """Whether any phase has begun."""
        return bool(self.done or self.deadlines or self.final)

    def to_dict(self) -> dict[str, Any]:
        """What auto.json holds."""
        value: dict[str, Any] = {
            "format": FORMAT,
            "asked": {name: value for name, value in vars(self.request).items() if _OF_BEFORE.get(name) != value},
            "spent": self.spent,
            "base": self.base.to_dict(),
            "begun": self.deadlines | ({"final": self.final.began} if self.final else {}),
            "done": {name: _write_result(result) for name, result in self.done.items()},
            "finished": self.finished or "",
            "opens": self.opens,
            "loading": self.loading,
            "expected": self.expected,
            "excess": self.excess,
        }
        if self.data:
            value["data"] = self.data
        if self.folded:
            value["folded"] = self.folded
        if self.no_body is not None:
            value["no_body"] = self.no_body
        if self.measured is not None:
            value["measured"] = {
                "recipe": self.measured.recipe.to_dict(),
                "image": self.measured.train_seconds,
                "judge": self.measured.predict_seconds,
                "steps": self.measured.step_seconds,
            }
        if self.final is not None:
            value |= {"tries": self.final.number, "pace": self.final.pace}
        return value

    @staticmethod
    def from_dict(value: dict[str, Any], source: str) -> AutoState:
        """The reverse of `to_dict`; `source` names the file in errors.

        Raises:
            PocketlensError: the format is not that of this version, or a key is missing or of the wrong type.
        """
        try:
            if value["format"] != FORMAT:
                raise PocketlensError(f"{source} must have format {FORMAT}, got {value['format']!r}.")
            return _from_dict(value, source)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise PocketlensError(
                f"{source} must hold the state of an auto session and does not ({error!r})."
            ) from None


def _from_dict(value: dict[str, Any], source: str) -> AutoState:
    deadlines = {name: float(seconds) for name, seconds in value["begun"].items()}
    began = deadlines.pop("final", None)
    request, measured = value["asked"], value.get("measured")
    return AutoState(
        request=AutoRequest(
            text=str(request["text"]),
            minutes=float(request["minutes"]),
            open_again=bool(request["open_again"]),
            fingerprint=str(request["fingerprint"]),
            hold_out=int(request.get("hold_out", 1)),
            body=str(request.get("body", "")),
            seed=int(request.get("seed", 0)),
        ),
        base=from_dict(value["base"], source),
        opens=bool(value["opens"]),
        loading=float(value["loading"]),
        data=str(value.get("data", "")),
        spent=float(value["spent"]),
        measured=None if measured is None else _read_measured(measured, source),
        deadlines=deadlines,
        expected=float(value.get("expected", 0.0)),
        excess=float(value.get("excess", 0.0)),
        final=None if began is None else FinalAttempt(began, int(value.get("tries", 1)), float(value.get("pace", 1.0))),
        done={name: _read_result(said) for name, said in value["done"].items()},
        folded=float(value.get("folded", 0.0)),
        no_body=None if value.get("no_body") is None else str(value["no_body"]),
        finished=str(value["finished"]) or None,
    )


def _write_result(result: PhaseResult) -> dict[str, Any]:
    ended = {} if result.ended is None else {"ended": result.ended}
    return {"lines": list(result.lines), "facts": result.facts, **ended}


def _read_result(value: dict[str, Any]) -> PhaseResult:
    ended = value.get("ended")
    return PhaseResult(tuple(value["lines"]), dict(value["facts"]), None if ended is None else float(ended))


def _read_measured(value: dict[str, Any], source: str) -> Measured:
    steps = {str(size): float(seconds) for size, seconds in value["steps"].items()}
    return Measured(from_dict(value["recipe"], source), float(value["image"]), float(value["judge"]), steps)
