"""The outcome of `auto --folds`: each fold's accuracy and choice, and the accuracy over all their images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pocketlens.scoring.metrics import Estimate, proportion
from pocketlens.text import counted, format_duration


@dataclass(frozen=True)
class FoldScore:
    """One fold.

    Attributes:
        number: of the fold.
        n: of its images.
        n_right: of these, as many as the classifier from the images of the other folds classified correctly.
        approach: what was chosen, such as probe, from scratch.
        model: the component text of its network.
        seconds: of work.
        run: the folder of that classifier.
        page: of the session in which it was found.
    """

    number: int
    n: int
    n_right: int
    approach: str
    model: str
    seconds: float
    run: Path
    page: Path

    @property
    def accuracy(self) -> Estimate:
        """With Wilson's 95 % interval."""
        return proportion(self.n_right, self.n)

    def line(self) -> str:
        """For the terminal."""
        shown = f"{_percent(self.accuracy)} of {counted(self.n, 'image')}"
        return f"fold {self.number}: {shown}; {self.approach}, {self.model}, {format_duration(self.seconds)}"

    def to_dict(self) -> dict[str, Any]:
        """What auto.json and `--json` hold."""
        return {
            **vars(self),
            "accuracy": self.accuracy.to_dict(),
            "run": str(self.run),
            "page": str(self.page),
        }

    @staticmethod
    def from_dict(value: dict[str, Any]) -> FoldScore:
        """The reverse of `to_dict`."""
        paths = {name: Path(value[name]) for name in ("run", "page")}
        return FoldScore(**{**{name: each for name, each in value.items() if name != "accuracy"}, **paths})


@dataclass(frozen=True)
class FoldedScore:
    """All folds.

    Attributes:
        accuracy: the share of right images over all folds, with its 95 % interval, see scoring/pooled.py.
        n: of these images.
        n_groups: of their groups; None without groups.
        folds: each fold.
    """

    accuracy: Estimate
    n: int
    n_groups: int | None
    folds: tuple[FoldScore, ...]

    def line(self) -> str:
        """For the terminal."""
        of = counted(self.n, "image") + ("" if self.n_groups is None else f" in {counted(self.n_groups, 'group')}")
        return (
            f"accuracy over the {counted(len(self.folds), 'fold')}: {_percent(self.accuracy)} of {of}, each a "
            "test image once"
        )

    def to_dict(self) -> dict[str, Any]:
        """What auto.json and `--json` hold."""
        folds = [each.to_dict() for each in self.folds]
        return {"accuracy": self.accuracy.to_dict(), "n": self.n, "n_groups": self.n_groups, "folds": folds}

    @staticmethod
    def from_dict(value: dict[str, Any]) -> FoldedScore:
        """The reverse of `to_dict`."""
        folds = tuple(FoldScore.from_dict(each) for each in value["folds"])
        return FoldedScore(Estimate.from_dict(value["accuracy"]), value["n"], value["n_groups"], folds)


def _percent(accuracy: Estimate) -> str:
    return f"{accuracy.value:.2%} [{accuracy.low:.2%}, {accuracy.high:.2%}]"
