"""What a comparison or a search of `auto` has found: its lines, its facts, and the recipe it chooses.

The recipe changes only by a verdict over paired repeats, never by a single score.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pocketlens.pipeline.phase_result import RatedCandidate
from pocketlens.recipe import Recipe
from pocketlens.scoring.metrics import Estimate
from pocketlens.studies.compare import Comparison
from pocketlens.studies.overrides import apply, show_values
from pocketlens.studies.search import SearchResult
from pocketlens.studies.store import Record, Study
from pocketlens.text import counted, format_duration

NOT_BETTER = "no candidate is better; keeping the recipe"


@dataclass(frozen=True)
class Finding:
    """The outcome of one study; `recipe` is None where the recipe stays."""

    lines: tuple[str, ...]
    facts: dict[str, Any]
    recipe: Recipe | None = None


def read_comparison_finding(study: Study, base: Recipe, comparison: Comparison) -> Finding:
    """The best of the candidates that are better than the recipe `base`."""
    lines = [_candidate_line(comparison, number) for number in range(len(comparison.candidates))]
    lines += [verdict.line() for verdict in comparison.verdicts]
    better = [verdict for verdict in comparison.verdicts if verdict.word == "better"]
    verdicts = {verdict.second: verdict.word for verdict in comparison.verdicts}
    facts = {"verdicts": verdicts, "chosen": "base", **_candidates(comparison)}
    if not better:
        return Finding((*lines, NOT_BETTER), facts)
    best = max(better, key=lambda verdict: verdict.difference.mean or 0.0).second
    recipe = next(each.recipe for each in comparison.candidates if each.name == best)
    return Finding((*lines, f"new recipe: {best}"), {**facts, "chosen": best}, _at_full_length(recipe, base, study))


def read_search_finding(study: Study, base: Recipe, found: SearchResult) -> Finding:
    """The best trial, where its repeats with new seeds are better than those of the recipe `base`."""
    facts: dict[str, Any] = {"n_trials": len(study.records()), "chosen": "base"}
    if found.winner is None or found.final is None:
        return Finding(("no time to repeat the best trials with new seeds; keeping the recipe",), facts)
    facts |= _candidates(found.final)
    winner = found.winner
    values = show_values(dict(winner.trial.changes))
    lines = [f"best of {counted(len(found.leaders), 'trial')}: {winner.score:.2%} with {values}"]
    if found.selection_bias is not None:
        lines.append(f"of which {100 * found.selection_bias:.2f} points are expected selection bias")
    if winner.trial.candidate == "base":
        return Finding((*lines, "this is the present recipe; keeping it"), facts)
    verdict = next((v for v in found.final.verdicts if v.second == winner.trial.candidate), None)
    lines += [verdict.line()] if verdict is not None else []
    if verdict is None or verdict.word != "better":
        return Finding((*lines, NOT_BETTER), facts)
    changes = dict(winner.trial.changes)
    return Finding(
        (*lines, f"new recipe: {values}"),
        {**facts, "chosen": changes, "winner": winner.trial.candidate},
        apply(base, changes),
    )


def record_line(record: Record, n_done: int, n_all: int) -> str:
    """One line about a trial that has ended."""
    trial = record.trial
    values = show_values(dict(trial.changes))
    what = f"{trial.candidate}, seed {trial.seed}" if not values else f"{trial.candidate} ({values}), seed {trial.seed}"
    score = f"{record.score:.2%}" if record.score is not None else f"{record.status} {record.reason}".rstrip()
    return f"{n_done:>3} of {n_all}: {what}: {score}, {format_duration(record.seconds)}"


def _candidates(comparison: Comparison) -> dict[str, Any]:
    """The mean accuracy of each recipe over its repeats, with Student's interval."""
    rated = [each for each in comparison.candidates if each.mean is not None]
    seeds = counted(len(comparison.seeds), "seed")
    return {
        "judged_on": f"{counted(comparison.n_val, 'validation image')}, means over {seeds}",
        "candidates": [
            RatedCandidate(
                each.name, Estimate(each.mean, each.low, each.high), each.seconds, show_values(dict(each.changes))
            ).to_dict()
            for each in rated
        ],
    }


def _at_full_length(recipe: Recipe, base: Recipe, study: Study) -> Recipe:
    """A short training's recipe with the epochs and, unless the candidate changes it, the batch size of a final one."""
    batch_size = base.batch_size if recipe.batch_size == study.spec.base.batch_size else recipe.batch_size
    return recipe.changed(epochs=round(recipe.epochs * base.epochs / study.spec.base.epochs, 2), batch_size=batch_size)


def _candidate_line(comparison: Comparison, number: int) -> str:
    candidate = comparison.candidates[number]
    if candidate.mean is None:
        return f"{candidate.name}: no result ({', '.join(sorted(set(candidate.statuses)))})"
    spread = "" if candidate.sd is None else f" ± {100 * candidate.sd:.2f}"
    n = sum(status == "complete" for status in candidate.statuses)
    return (
        f"{candidate.name}: {100 * candidate.mean:.2f}{spread} % of "
        f"{counted(comparison.n_val, 'validation image')}, n = {n}"
    )
