"""A study in words: its verdicts, its selection bias, and the methods paragraph, written from what was recorded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pocketlens.recipe import Recipe
from pocketlens.scoring.significance import Verdict
from pocketlens.studies.compare import Comparison
from pocketlens.studies.overrides import show_values
from pocketlens.studies.search import SearchResult
from pocketlens.studies.space import Domain
from pocketlens.studies.spec import SearchSpec
from pocketlens.studies.store import Study
from pocketlens.text import capitalised, counted

EDGE = 0.03  # of a range's scale, within which a value stands at its edge
_MOST = 8  # verdicts in words; the table has them all


def summary_sentences(
    comparison: Comparison | None, result: SearchResult | None, space: Sequence[Domain] = ()
) -> list[str]:
    """The results so far, in sentences; the first is the headline. `space` is that of a search."""
    if result is not None and result.winner is None:
        return ["No trial has a result yet."]
    said = []
    if result is not None and result.winner is not None:
        score = f"{100 * (result.winner.score or 0):.2f} %"
        name = result.winner.trial.candidate
        said.append(
            f"Nothing better than the base was found: it leads with {score} on validation."
            if name == "base"
            else f"{capitalised(name)} leads with {score} on validation: "
            f"{show_values(dict(result.winner.trial.changes))}."
        )
        said += _edge_sentence(dict(result.winner.trial.changes), space)
    if comparison is None:
        return said or ["There are no results yet."]
    n_different = sum(verdict.word != "cannot tell" for verdict in comparison.verdicts)
    if result is None:
        said.append(_count_sentence(n_different, len(comparison.verdicts)))
    shown = sorted(comparison.verdicts, key=lambda verdict: verdict.p_holm)[:_MOST]
    return [*said, *(pair_sentence(verdict) for verdict in shown)]


def pair_sentence(verdict: Verdict) -> str:
    """A verdict as a sentence with its difference and interval."""
    seen = verdict.difference
    if seen.mean is None:
        return f"{verdict.second} and {verdict.first}: no repeat has ended for both."
    points = f"{100 * abs(seen.mean):.2f} points"
    if verdict.word != "cannot tell":
        text = f"{verdict.second} is {verdict.word} than {verdict.first} by {points}"
    else:
        text = f"{verdict.second} and {verdict.first} differ by {points}, which is not significant"
    if seen.low is None or seen.high is None:
        return f"{text}; one repeat is not enough for a test."
    text += f" (95 % interval {_signed(seen.low)} to {_signed(seen.high)}, {counted(seen.n, 'paired repeat')})."
    missing = verdict.missing
    return f"{text} {capitalised(missing)}." if missing else text


def selection_bias_sentence(result: SearchResult) -> str:
    """How much of the winner's score is expected to be selection bias."""
    if result.selection_bias is None or result.noise is None or result.winner is None:
        return (
            "The highest of many scores is biased upwards by the selection; without repeats with new seeds the bias "
            "cannot be estimated."
        )
    return (
        f"The highest of {len(result.leaders)} scores is expected to be {100 * result.selection_bias:.2f} points too "
        f"high (selection bias), because scores vary by {100 * result.noise:.2f} points over seeds. The scores with "
        "new seeds are free of this bias. The bias from choosing by the validation rows, which all trials share, is "
        "not included."
    )


def write_study_methods(study: Study, comparison: Comparison | None, result: SearchResult | None) -> str:
    """One paragraph of plain text; it says nothing that the study did not record."""
    spec = study.spec
    chosen = "as given" if study.split.given else f"stratified, by image hash, split seed {spec.split_seed}"
    n = spec.n_train + spec.n_val
    said = [
        (
            f"Of the development images of {spec.data}, {n:,} were used: "
            if spec.rows
            else f"The data are the {counted(n, 'development image')} of {spec.data}: "
        )
        + f"{spec.n_val:,} for validation ({chosen}) and {spec.n_train:,} for training"
        + (", a stratified subset of the others." if spec.rows else "."),
        "The test images stayed sealed.",
        _base_sentence(spec.base),
    ]
    if result is not None:
        said += _search_sentences(study, result)
    if comparison is not None:
        said += _test_sentences(comparison, study)
    return " ".join(said)


def _edge_sentence(values: dict[str, Any], space: Sequence[Domain]) -> list[str]:
    """Which of the winner's values stand at the edge of what was searched."""
    ranges = [domain for domain in space if domain.kind != "choice" and domain.address in values]
    at_edge = [each.address for each in ranges if not EDGE < each.to_unit(values[each.address]) < 1 - EDGE]
    if not at_edge:
        return []
    verb = "stands" if len(at_edge) == 1 else "stand"
    return [f"{' and '.join(at_edge)} {verb} at the edge of the space: the best value may lie beyond it."]


def _count_sentence(n_different: int, n: int) -> str:
    pairs = "pair" if n == 1 else "pairs"
    if n_different == 0:
        return (
            f"None of the {counted(n, 'pair')} differs significantly."
            if n > 1
            else "The pair does not differ significantly."
        )
    if n_different == n:
        return f"{n} of {n} {pairs} {'differs' if n == 1 else 'differ'} significantly."
    verb = "differs" if n_different == 1 else "differ"
    return f"{n_different} of {n} {pairs} {verb} significantly; for the others the repeats are too few to tell."


def _base_sentence(base: Recipe) -> str:
    return (
        f"The base recipe ({base.id}) trains {base.model} for {counted(base.epochs, 'epoch')} in batches of at most "
        f"{base.batch_size:,} with {base.optimizer}, a peak learning rate of {base.lr:g} under the schedule "
        f"{base.schedule}, and the augmentation {base.augment}."
    )


def _search_sentences(study: Study, result: SearchResult) -> list[str]:
    search = study.spec.search
    n = sum(record.trial.phase == "search" for record in study.records())
    minutes = f" within {counted(search.minutes, 'minute')}" if search.minutes is not None else ""
    said = [
        f"The method {search.method} chose {counted(n, 'trial')} from the space {search.space}{minutes}, all with seed "
        f"{search.seed}; the first is the base itself."
    ]
    source = study.spec.base.start
    if source is not None:
        said.append(f"Every trial started from the weights of the run {Path(source).name}.")
    if len(search.rungs) > 1:
        said.append(_rungs_sentence(search))
    if result.final is not None:
        said.append("The base and the best trials were then trained again with seeds that no trial had.")
    return said


def _rungs_sentence(search: SearchSpec) -> str:
    shown = ", ".join(f"{rung:g}" for rung in search.rungs)
    return (
        f"Trials were selected by successive halving with rungs of {shown} of the epochs, each a complete schedule; "
        f"the best {100 * search.keep_fraction:g} % of a rung were promoted to the next."
    )


def _test_sentences(comparison: Comparison, study: Study) -> list[str]:
    tests = sorted({verdict.difference.test for verdict in comparison.verdicts} - {"none"})
    names = {"t test": "Student's paired t test", "sign flips": "an exact sign-flip permutation test"}
    n_pairs = len(comparison.verdicts)
    corrected = f", corrected for {counted(n_pairs, 'pair')} by Holm's method" if n_pairs > 1 else ""
    said = [
        f"Recipes were trained with the same {counted(len(comparison.seeds), 'seed')} on the same split and "
        "compared in pairs by "
        f"{' and '.join(names[test] for test in tests)} over the seeds{corrected}; a corrected p of at most 0.05 is "
        "significant."
        if tests
        else "There are too few repeats for a test."
    ]
    said.append(
        "Intervals are Student's over seeds, for each pair alone. McNemar's test compares two trained models on the "
        "validation rows; it is shown for information, and the verdicts do not depend on it."
    )
    failed = [record for record in study.records() if record.is_ended and record.status != "complete"]
    if failed:
        said.append(f"{counted(len(failed), 'trial')} ended without a result and not included.")
    return said


def _signed(value: float) -> str:
    return f"{100 * value:+.2f}".replace("-", "\u2212")
