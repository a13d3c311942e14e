"""What studies give back: tables, verdicts and selection bias, as lines, as values, and in a notebook."""

from __future__ import annotations

import shlex
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pocketlens.api.shown import Shown
from pocketlens.display.screen import table
from pocketlens.files import RUNS
from pocketlens.studies.overrides import show_values
from pocketlens.text import clock, counted, shorten

if TYPE_CHECKING:
    from pocketlens.scoring.significance import Verdict
    from pocketlens.studies.compare import Comparison
    from pocketlens.studies.search import SearchResult as Found
    from pocketlens.studies.store import Record, Study

_MOST_REASONS = 5  # why trials have failed


@dataclass(frozen=True, eq=False)
class ComparisonResult(Shown):
    """What is known of a comparison, a sweep or a transfer; `signal` is what stopped it, or None."""

    study: Study
    comparison: Comparison
    signal: int | None = None

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """A verdict for each pair: better, worse, or cannot tell."""
        return self.comparison.verdicts

    @property
    def exit_code(self) -> int:
        """0: all trials have a result; 3: none has; 4: some have none; 128 + the signal that stopped it."""
        return 128 + self.signal if self.signal is not None else failures(self.study).exit_code

    def lines(self) -> list[str]:
        """The table of recipes, a verdict for each pair, and what has failed."""
        return [*comparison_lines(self.comparison), *end_lines(self.study, self.signal)]

    def values(self) -> dict[str, Any]:
        """What result.json holds."""
        return comparison_values(self.comparison)

    def to_dict(self) -> dict[str, Any]:
        """What `--json` gives."""
        return {"id": self.study.id, "path": str(self.study.path), **self.values()}


@dataclass(frozen=True, eq=False)
class SearchResult(Shown):
    """What a search has found; `signal` is what stopped it, or None."""

    study: Study
    found: Found
    signal: int | None = None

    @property
    def winner(self) -> dict[str, Any] | None:
        """The values of the best trial by address; None where no trial has a result."""
        return None if self.found.winner is None else dict(self.found.winner.trial.changes)

    @property
    def exit_code(self) -> int:
        """0, or 3 where no trial has a result: a search survives failed trials; 128 + the signal that stopped it."""
        if self.signal is not None:
            return 128 + self.signal
        return 3 if self.found.winner is None else 0

    def lines(self) -> list[str]:
        """The leaders, the winner's selection bias, its difference from the base over new seeds, and what failed."""
        return [*search_lines(self.found), *end_lines(self.study, self.signal)]

    def values(self) -> dict[str, Any]:
        """What result.json holds."""
        found = self.found
        winner = found.winner
        best = None if winner is None else {**_described(winner), "recipe": winner.trial.recipe.to_dict()}
        return {
            "n_trials": len(self.study.records()),
            "winner": best,
            "leaders": [_described(record) for record in found.leaders],
            "noise": found.noise,
            "selection_bias": found.selection_bias,
            "final": None if found.final is None else comparison_values(found.final),
        }

    def to_dict(self) -> dict[str, Any]:
        """What `--json` gives."""
        return {"id": self.study.id, "path": str(self.study.path), **self.values()}


@dataclass(frozen=True)
class Failures:
    """Trials without a result: how many of how many, by status, and lines that say why."""

    n: int
    n_trials: int
    text: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """0: none; 3: all; 4: some."""
        return 0 if not self.n else 3 if self.n == self.n_trials else 4


def failures(study: Study) -> Failures:
    """The trials of a study that have ended without a result."""
    records = study.records()
    failed = [record for record in records if record.is_ended and record.status != "complete"]
    if not failed:
        return Failures(0, len(records), ())
    counts = {status: sum(r.status == status for r in failed) for status in sorted({r.status for r in failed})}
    shown = ", ".join(f"{n} {status}" for status, n in counts.items())
    lines = [f"{len(failed)} of {counted(len(records), 'trial has', 'trials have')} no result: {shown}"]
    reasons = {record.reason: record.trial for record in reversed(failed)}  # each once, with its first trial
    for reason, trial in list(reversed(reasons.items()))[:_MOST_REASONS]:
        lines.append(f"  trial {trial.number + 1} ({shorten(trial.candidate)}): {reason}")
    return Failures(len(failed), len(records), tuple(lines))


def end_lines(study: Study, signal: int | None) -> list[str]:
    """How to continue a study that was stopped; of one that ended, which trials have failed."""
    if signal is None:
        return list(failures(study).text)
    runs = study.path.parent.parent
    option = "" if runs == RUNS or runs.resolve() == RUNS.resolve() else f" --runs {shlex.quote(str(Path(runs)))}"
    return [f"stopped; continue with: pocketlens study {study.id}{option}"]


def comparison_lines(comparison: Comparison) -> list[str]:
    """The table of recipes and a verdict for each pair; with corrected labels also by the given ones."""
    other = comparison.by_given
    if other is not None:
        images = counted(comparison.n_val, "validation image")
        first, second = (f"by the {kind} labels of the same {images}:" for kind in ("corrected", "given"))
        return [first, *comparison_lines(replace(comparison, by_given=None)), second, *comparison_lines(other)]
    rows = table(candidate_rows(comparison), ("", "recipe", "val acc", "95 % interval", "n", "time"), indent=2)
    return [f"  {line}" for line in rows] + [f"  {line}" for line in _verdict_lines(comparison)]


def candidate_rows(comparison: Comparison) -> list[tuple[str, ...]]:
    """The table of recipes: name, mean ± deviation, interval, n, seconds of a repeat."""
    rows: list[tuple[str, ...]] = []
    for letter, each in zip(_letters(len(comparison.candidates)), comparison.candidates, strict=True):
        n = sum(status == "complete" for status in each.statuses)
        if each.mean is None:
            rows.append((letter, shorten(each.name), "n/a", "", "0", ", ".join(sorted(set(each.statuses)))))
            continue
        spread = f" ± {100 * each.sd:.2f}" if each.sd is not None else ""
        interval = "" if each.low is None or each.high is None else _interval(each.low, each.high)
        mean = f"{100 * each.mean:.2f}{spread} %"
        rows.append((letter, shorten(each.name), mean, interval, str(n), clock(each.seconds / n)))
    return rows


def comparison_values(comparison: Comparison) -> dict[str, Any]:
    """What result.json holds of a comparison."""
    keys = ("name", "mean", "sd", "low", "high", "statuses", "seconds")
    return {
        "recipes": [
            {
                **{key: getattr(each, key) for key in keys},
                "recipe": each.recipe.id,
                "scores": each.scores.tolist(),
            }
            for each in comparison.candidates
        ],
        "seeds": list(comparison.seeds),
        "n_val": comparison.n_val,
        "verdicts": [{**asdict(verdict), "more": verdict.more} for verdict in comparison.verdicts],
        "like_the_best": list(comparison.like_the_best),
        "mcnemar": [asdict(test) for test in comparison.seed_tests],
        **({} if comparison.by_given is None else {"by_given_labels": comparison_values(comparison.by_given)}),
    }


def search_lines(found: Found) -> list[str]:
    """The leaders, and over new seeds the winner's difference from the base and its selection bias."""
    if found.winner is None:
        return ["no trial has a result"]
    rows = [_leader(place, record) for place, record in enumerate(found.leaders[:5], 1)]
    lines = [f"  {line}" for line in table(rows, ("", "val acc", "recipe", "values"), indent=2)]
    if found.final is None:
        why = "the highest of many scores is biased upwards; without repeats with new seeds the bias is unknown"
        return [*lines, why]
    lines += ["with new seeds:", *comparison_lines(found.final), f"  {selection_bias_line(found)}"]
    if found.winner.trial.candidate == "base":
        lines.append("  the base recipe is the best: the search found nothing better")
    return lines


def selection_bias_line(found: Found) -> str:
    """How much of the winner's score is selection, in a sentence."""
    winner = found.winner
    if found.selection_bias is None or found.noise is None or winner is None or winner.score is None:
        return "the selection bias of the best score cannot be estimated without repeats"
    return (
        f"selection bias: the highest of {len(found.leaders)} scores, {100 * winner.score:.2f} %, is expected to be "
        f"{100 * found.selection_bias:.2f} points too high (scores vary by {100 * found.noise:.2f} points over seeds)"
    )


def _verdict_lines(comparison: Comparison) -> list[str]:
    letters = _letters(len(comparison.candidates))
    names = dict(zip((each.name for each in comparison.candidates), letters, strict=True))
    return [verdict.line(names) for verdict in comparison.verdicts]


def _interval(low: float, high: float) -> str:
    """The interval of an accuracy in per cent; Student's t does not know that it ends at 0 and 100."""
    return f"[{100 * max(low, 0.0):.2f}, {100 * min(high, 1.0):.2f}]"


def _letters(n: int) -> list[str]:
    """A, B, …, Z, A1, B1, …"""
    return [chr(65 + i % 26) + ("" if i < 26 else str(i // 26)) for i in range(n)]


def _described(record: Record) -> dict[str, Any]:
    trial = record.trial
    return {
        "trial": trial.number + 1,
        "name": trial.candidate,
        "values": dict(trial.changes),
        "score": record.score,
        "loss": record.loss,
        "seconds": record.seconds,
    }


def _leader(place: int, record: Record) -> tuple[str, ...]:
    values = show_values(dict(record.trial.changes))
    return str(place), f"{100 * (record.score or 0):.2f} %", record.trial.candidate, values
