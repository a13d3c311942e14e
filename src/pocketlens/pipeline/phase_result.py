"""What a finished phase of `auto` reports; this file alone reads the keys of its facts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pocketlens.pipeline.fold_scores import FoldedScore
from pocketlens.scoring.choice import Choice
from pocketlens.scoring.metrics import Estimate
from pocketlens.scoring.scores import Scores
from pocketlens.studies.overrides import show_values


@dataclass(frozen=True)
class RatedCandidate:
    """A candidate of a comparison and its accuracy.

    Attributes:
        name: unique in its phase.
        accuracy: in 0..1, with its 95 % interval.
        seconds: of work.
        values: what it changes, as text; None where its phase does not note it.
    """

    name: str
    accuracy: Estimate
    seconds: float
    values: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """What auto.json and `--json` hold."""
        values = {} if self.values is None else {"values": self.values}
        return {"name": self.name, **values, "accuracy": self.accuracy.to_dict(), "seconds": round(self.seconds, 1)}

    @staticmethod
    def from_dict(value: Mapping[str, Any]) -> RatedCandidate:
        """The reverse of `to_dict`."""
        values = value.get("values")
        return RatedCandidate(
            name=str(value["name"]),
            accuracy=Estimate.from_dict(value["accuracy"]),
            seconds=float(value["seconds"]),
            values=None if values is None else str(values),
        )


@dataclass(frozen=True)
class PhaseResult:
    """What a finished phase reports: lines for a person, facts for `--json`.

    The properties are those facts that other code reads; a phase that has no such fact gives None or an empty value.

    Attributes:
        ended: seconds of work in the session when it had finished; None in sessions of earlier versions.
    """

    lines: tuple[str, ...]
    facts: dict[str, Any] = field(default_factory=dict)
    ended: float | None = None

    @property
    def planned(self) -> float | None:
        """Seconds that the phase was given, at most; None where nothing was planned."""
        return self._number("planned")

    @property
    def seconds(self) -> dict[str, float]:
        """The plan: seconds by phase."""
        return {str(name): float(seconds) for name, seconds in self.facts.get("seconds", {}).items()}

    @property
    def epochs(self) -> float | None:
        """The plan: epochs of the final training."""
        return self._number("epochs")

    @property
    def skipped(self) -> dict[str, str]:
        """The plan: the phases that are skipped, and why."""
        return {str(name): str(why) for name, why in self.facts.get("left_out", {}).items()}

    @property
    def depth(self) -> str | None:
        """The audit: how deep it was; None where it did not finish."""
        return self._text("depth")

    @property
    def findings(self) -> tuple[str, ...]:
        """The audit: what it found, the gravest first."""
        return tuple(str(text) for text in self.facts.get("findings", ()))

    @property
    def candidates(self) -> tuple[RatedCandidate, ...]:
        """The candidates that were compared."""
        return tuple(RatedCandidate.from_dict(each) for each in self.facts.get("candidates", ()))

    @property
    def verdicts(self) -> dict[str, str]:
        """By candidate, what its comparison with the recipe says: better, worse or cannot tell."""
        return {str(name): str(word) for name, word in self.facts.get("verdicts", {}).items()}

    @property
    def judged_on(self) -> str:
        """The images by which candidates were compared, in words."""
        return str(self.facts.get("judged_on", ""))

    @property
    def winner(self) -> str | None:
        """The name of the candidate that was chosen."""
        return self._text("winner") or self.approach

    @property
    def not_tried(self) -> tuple[str, ...]:
        """The approaches that were not tried, or dropped, a line each."""
        return tuple(str(line) for line in self.facts.get("not_tried", ()))

    @property
    def decision(self) -> Choice | None:
        """How the approach was chosen."""
        choice = self.facts.get("choice")
        return None if choice is None else Choice(**choice)

    @property
    def has_verdict(self) -> bool:
        """Whether the phase compared candidates with the recipe."""
        return "chosen" in self.facts

    @property
    def approach(self) -> str | None:
        """The approach that was chosen, where the phase chose one."""
        return self._text("chosen")

    @property
    def choice(self) -> str | None:
        """The candidate that replaced the recipe, as text; None where the recipe stayed."""
        match self.facts.get("chosen"):
            case None | "base":
                return None
            case dict() as changes:
                return show_values(changes)
            case name:
                return str(name)

    @property
    def run(self) -> str | None:
        """The id of the run that the phase trained."""
        return self._text("run")

    @property
    def run_path(self) -> Path | None:
        """The folder of that run."""
        return self._path("path")

    @property
    def page(self) -> Path | None:
        """The page that the phase wrote."""
        return self._path("page")

    @property
    def val_accuracy(self) -> float | None:
        """The short training: its validation accuracy in 0..1; None where it diverged."""
        return self._number("val_accuracy")

    @property
    def is_opened(self) -> bool:
        """Whether the phase opened the test set."""
        return bool(self.facts.get("opened"))

    @property
    def n_openings(self) -> int:
        """How often the test set has been opened, by others too."""
        return int(self.facts.get("openings") or 0)

    @property
    def test_scores(self) -> Scores | None:
        """The scores on the test set, where the phase opened it."""
        test = self.facts.get("test")
        return None if test is None else Scores.from_dict(test, "auto.json")

    @property
    def folded(self) -> FoldedScore | None:
        """The accuracy over the folds of `auto --folds`."""
        folded = self.facts.get("folded")
        return None if folded is None else FoldedScore.from_dict(folded)

    def _number(self, key: str) -> float | None:
        value = self.facts.get(key)
        return None if value is None else float(value)

    def _text(self, key: str) -> str | None:
        value = self.facts.get(key)
        return None if value is None else str(value)

    def _path(self, key: str) -> Path | None:
        value = self.facts.get(key)
        return None if value is None else Path(value)
