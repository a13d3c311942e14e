"""A study in words: its verdicts plainly, and the methods paragraph, written from what was recorded."""

from __future__ import annotations

from pathlib import Path

from pocketlens.recipe import Recipe
from pocketlens.scoring.significance import Verdict
from pocketlens.studies.compare import Comparison
from pocketlens.studies.search import Found
from pocketlens.studies.store import Study

_MOST = 8  # verdicts in words; the table holds them all


def say_plainly(comparison: Comparison | None, found: Found | None) -> list[str]:
    """What is known, in sentences; the first is the headline."""
    if found is not None and found.winner is None:
        return ["No trial has a result yet."]
    said = []
    if found is not None and found.winner is not None:
        score = f"{100 * (found.winner.score or 0):.2f} %"
        said.append(
            f"Nothing better than the base was found: with {score} on validation it leads."
            if found.winner.trial.arm == "base"
            else f"{found.winner.trial.arm[0].upper()}{found.winner.trial.arm[1:]} leads with {score} on validation."
        )
    if comparison is None:
        return said or ["There are no results yet."]
    told = [verdict for verdict in comparison.verdicts if verdict.word != "cannot tell"]
    if found is None:
        n, verb = len(comparison.verdicts), "differs" if len(told) == 1 else "differ"
        said.append(
            f"None of the {n} {'pairs' if n > 1 else 'pair'} can be told apart."
            if not told
            else f"{len(told)} of {n} {'pairs' if n > 1 else 'pair'} {verb}; of the others it cannot be told."
        )
    shown = sorted(comparison.verdicts, key=lambda verdict: verdict.p_holm)[:_MOST]
    return [*said, *(say_pair(verdict) for verdict in shown)]


def say_pair(verdict: Verdict) -> str:
    """A verdict as a sentence with its difference and interval."""
    seen = verdict.difference
    if seen.mean is None:
        return f"{verdict.second} and {verdict.first}: no repeat has ended for both."
    points = f"{100 * abs(seen.mean):.2f} points"
    if verdict.word != "cannot tell":
        text = f"{verdict.second} is {verdict.word} than {verdict.first} by {points}"
    else:
        text = f"Whether {verdict.second} is better than {verdict.first} cannot be told: they differ by {points}"
    if seen.low is None or seen.high is None:
        return f"{text}; one repeat has no spread."
    text += f" (95 % interval {_signed(seen.low)} to {_signed(seen.high)}, {seen.n} paired repeats)."
    missing = verdict.missing
    return f"{text} {missing[0].upper()}{missing[1:]}." if missing else text


def say_luck(found: Found) -> str:
    """How much of the winner's score is expected to be selection."""
    if found.luck is None or found.noise is None or found.winner is None:
        return "The best of many scores is partly luck; there are no repeats with new seeds yet to say how much."
    return (
        f"The best of {len(found.leaders)} scores is expected to be {100 * found.luck:.2f} points too good: over seeds "
        f"a score varies by {100 * found.noise:.2f} points, and the luckiest was chosen. The scores over new seeds are "
        "free of this; luck with the validation rows, which all trials share, is not counted."
    )


def write_study_methods(study: Study, comparison: Comparison | None, found: Found | None) -> str:
    """One paragraph of plain text; it says nothing that the study did not record."""
    asked = study.asked
    said = [
        f"The data are {asked['n_train'] + asked['n_val']:,} development images of {asked['data']}, of which "
        f"{asked['n_val']:,} were put aside for validation (stratified, by the hash of the image, split seed "
        f"{asked['split_seed']}) and {asked['n_train']:,} were trained on"
        + (", a stratified part of those there are." if asked["rows"] else "."),
        "The test images stayed sealed.",
        _say_base(study.base),
    ]
    if found is not None:
        said += _say_search(study, found)
    if comparison is not None:
        said += _say_tests(comparison, study)
    return " ".join(said)


def _say_base(base: Recipe) -> str:
    return (
        f"The base recipe ({base.id}) trains {base.model} for {base.epochs:g} epochs in batches of at most "
        f"{base.batch_size:,} with {base.optimizer}, a peak learning rate of {base.lr:g} under the schedule "
        f"{base.schedule}, and the augmentation {base.augment}."
    )


def _say_search(study: Study, found: Found) -> list[str]:
    asked = study.asked
    n = sum(record.trial.phase == "search" for record in study.records())
    minutes = f" within {asked['minutes']:g} minutes" if asked["minutes"] is not None else ""
    said = [
        f"{n} trials of the space {asked['space']} were asked for{minutes} by the method {asked['method']}, all with "
        f"seed {asked['seed']}, the first one being the base itself."
    ]
    source = study.base.start
    if source is not None:
        said.append(f"Every trial started from the weights of the run {Path(source).name}.")
    rungs = asked["rungs"]
    if isinstance(rungs, list) and len(rungs) > 1:
        shown = ", ".join(f"{rung:g}" for rung in rungs)
        said.append(
            f"They ran in rungs of {shown} of the epochs, each a complete schedule, of which the better "
            f"{100 * float(str(asked['keep'])):g} % went on to the next."
        )
    if found.final is not None:
        said.append("The base and the best of them were then trained again with seeds that no trial had.")
    return said


def _say_tests(comparison: Comparison, study: Study) -> list[str]:
    tests = sorted({verdict.difference.test for verdict in comparison.verdicts} - {"none"})
    names = {"t test": "Student's paired t test", "sign flips": "an exact sign-flip permutation test"}
    n_pairs = len(comparison.verdicts)
    corrected = f", corrected for {n_pairs} pairs by Holm's method" if n_pairs > 1 else ""
    said = [
        f"Recipes were trained with the same {len(comparison.seeds)} seeds on the same split, and compared in pairs by "
        f"{' and '.join(names[test] for test in tests)} over the seeds{corrected}; a verdict is given at a corrected "
        "p of 0.05 or less, and else it cannot be told."
        if tests
        else "There are too few repeats for a test."
    ]
    said.append(
        "Intervals are Student's over seeds, for each pair alone. McNemar's test compares two trained models on the "
        "validation rows; it is shown and decides nothing."
    )
    failed = [record for record in study.records() if record.is_ended and record.status != "complete"]
    if failed:
        said.append(f"{len(failed)} trials ended without a result and are left out.")
    return said


def _signed(value: float) -> str:
    return f"{100 * value:+.2f}".replace("-", "\u2212")
