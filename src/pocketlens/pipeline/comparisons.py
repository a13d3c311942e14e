"""The comparisons and the search of `auto`: short trainings in pairs, which change the recipe only by a verdict.

Each question is a study like those of `compare` and `search`, in the way's own folder and under a label by which it is
found again after a kill. Models are compared at equal cost: one that needs more multiply-adds for an image gets fewer
epochs.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np

from pocketlens.data.dataset import Dataset
from pocketlens.data.split import Split, fewer_rows
from pocketlens.errors import PocketlensError
from pocketlens.events import Note, Stage, Step, TrialEnded, TrialEvent, TrialProgress
from pocketlens.pipeline.plan import REPEATS, Part
from pocketlens.pipeline.session import Way
from pocketlens.recipe import Recipe, parse_sizes, read_recipe
from pocketlens.report.study.page import write_study_page
from pocketlens.studies.compare import Comparison, read_comparison, start_comparison
from pocketlens.studies.overrides import Variant, apply, show_values, value_at
from pocketlens.studies.pool import run_study
from pocketlens.studies.process import Limits
from pocketlens.studies.search import read_search, run_search, start_search
from pocketlens.studies.spec import ComparisonSpec, SearchSpec, make_spec
from pocketlens.studies.store import Record, Study, all_studies
from pocketlens.text import say_duration
from pocketlens.training.model_summary import layer_table, totals

MOST_TRIALS = 64
LEAST_EPOCHS = 2.0  # that a dearer model must get
FASTER, SLOWER = 0.4, 2.5  # times the recipe's learning rate: the ends of the search
_TITLES = {"augment": "augmentations", "models": "models at equal cost", "search": "coarse-to-fine search"}
Said = Generator[Stage | Note | Step, None, Stage]


@dataclass(frozen=True, eq=False)
class Asked:
    """What the short trainings of one question share."""

    dataset: Dataset
    split: Split
    part: Part
    limits: Limits


def ask(way: Way, asked: Asked) -> Said:
    """Answers one question and gives what it says; the way's recipe is changed where a verdict holds."""
    kind = asked.part.name
    label = f"auto {way.id}: {_TITLES[kind]}"
    study = next((study for study in all_studies(way.path) if study.label == label), None)
    if study is None:
        yield Note(f"{_TITLES[kind]}: {say_part(asked.part, len(asked.split.train))}")
        study = _start(way, asked, label)
    if study is None:
        return way.end(Stage(kind, ("left out: no other recipe fits these images and this time",)))
    if kind not in way.value["begun"]:
        expected = asked.part.short.seconds if asked.part.short else 0.0
        until = way.spent + 1.2 * asked.part.seconds
        way.note(begun={**way.value["begun"], kind: until}, expected=expected)
    running = run_search(study, asked.limits) if kind == "search" else run_study(study, asked.limits)
    yield from _follow(way, study, running, way.value["begun"][kind])
    way.note(excess=_excess(study, float(way.value["expected"])))
    page = write_study_page(study)
    lines, facts, base = (_search_result if kind == "search" else _comparison_result)(way, study)
    stage = Stage(kind, (*lines, f"page: {page}"), {"study": study.id, "page": str(page), **facts})
    return way.end(stage, base)


def say_part(part: Part, n_train: int) -> str:
    """How the short trainings of a phase are made, in words."""
    short = part.short
    if short is None:
        return ""
    rows = f"all {n_train:,} training rows" if short.rows >= n_train else f"{short.rows:,} training rows"
    one = f"{short.epochs:g} epochs on {rows}, about {say_duration(short.seconds)} each"
    if part.name == "search":
        return f"random trials, ranges cut to the best, the best again with {REPEATS} new seeds; {one}"
    return f"{part.n_arms} recipes with {part.repeats} seeds each; {one}"


def short_split(split: Split, dataset: Dataset, rows: int, n_val: int) -> Split:
    """The split with so many of its training rows, and of its validation rows every so-and-so-many-th."""
    fewer = fewer_rows(split, dataset, max(rows, len(np.unique(dataset.labels[split.train]))))
    chosen = np.unique(np.linspace(0, len(split.val) - 1, n_val).round().astype(np.int64)) if n_val else slice(0)
    return Split(fewer.train, fewer.val[chosen], split.seed, split.val_fraction, fewer.notes)


def augment_variants(base: Recipe, dataset: Dataset) -> list[Variant]:
    """The recipe and other augmentations, the most promising first: mirroring is doubtful for grey signs and digits."""
    side = min(dataset.shape[:2])
    hole = f"cutout(size={max(2, side // 4)})"
    mirrored, plain = "flip | " + _without_flip(base.augment), _without_flip(base.augment)
    texts = [plain if "flip" in base.augment else mirrored, f"{base.augment} | {hole}"]
    if dataset.shape[2] == 3:
        texts = [f"{base.augment} | {hole}", f"{base.augment} | trivialaugment"]
    return [Variant("base", base), *(Variant(text, base.changed(augment=text)) for text in texts)]


def model_variants(base: Recipe, dataset: Dataset) -> list[Variant]:
    """The recipe with other networks, each with as many epochs as cost the same."""
    wider = "lens(width=1.0)" if base.model == "lens(width=0.5)" else "lens(width=1.4)"
    residual = read_recipe("resnet20").changed(augment=base.augment)
    variants = [Variant("base", base)]
    for name, recipe in ((f"wider: {wider}", base.changed(model=wider)), ("resnet20", residual)):
        try:
            epochs = base.epochs * cost(base, dataset) / cost(recipe, dataset)
        except PocketlensError:
            continue  # it cannot take such images
        if epochs >= LEAST_EPOCHS:
            variants.append(Variant(name, recipe.changed(epochs=round(epochs, 2))))
    return variants


def cost(recipe: Recipe, dataset: Dataset) -> float:
    """Multiply-adds of an image, the mean over the sizes of the schedule.

    Raises:
        PocketlensError: the model cannot take such images.
    """
    height, width, channels = dataset.shape
    shape = (max(8, height), max(8, width), channels)
    whole = totals(layer_table(recipe.model, shape, len(dataset.classes)))["multiply_adds"]
    share, begun = 0.0, 0.0
    for size, until, relative in parse_sizes(recipe.sizes):
        side = size / 100 if relative else size / min(height, width)
        share, begun = share + (until - begun) * side**2, until
    return whole * share


def space_of(base: Recipe) -> str:
    """What is searched: the learning rate, and momentum and smoothing where the recipe has them."""
    parts = [f"lr=log({base.lr * FASTER:.4g},{base.lr * SLOWER:.4g})"]
    for address, low, high in (("optimizer.momentum", 0.4, 0.95), ("loss.smoothing", 0.0, 0.3)):
        try:
            value = value_at(base, address)
        except PocketlensError:
            continue
        if low <= value <= high:
            parts.append(f"{address}=range({low:g},{high:g})")
    return "; ".join(parts)


def _without_flip(augment: str) -> str:
    parts = [part.strip() for part in augment.split("|")]
    return " | ".join(part for part in parts if not part.startswith("flip")) or "none"


def _start(way: Way, asked: Asked, label: str) -> Study | None:
    part, base = asked.part, way.base
    short = part.short
    assert short is not None, "a question without short trainings is not asked"
    split = short_split(asked.split, asked.dataset, short.rows, short.n_val)
    base = base.changed(epochs=short.epochs, batch_size=short.batch_size)
    made_by = f"auto {way.id}"
    if part.name == "search":
        search = SearchSpec(space_of(base), MOST_TRIALS, REPEATS, minutes=part.seconds / 60)
        spec = make_spec(asked.dataset, split, base, search, label=label, made_by=made_by)
        return start_search(spec, split, way.path)
    make = augment_variants if part.name == "augment" else model_variants
    variants = make(base, asked.dataset)[: part.n_arms]
    if len(variants) < 2:
        return None
    design = ComparisonSpec(tuple(variants), part.repeats, pairs="base")
    spec = make_spec(asked.dataset, split, base, design, label=label, made_by=made_by)
    return start_comparison(spec, split, way.path)


def _follow(way: Way, study: Study, running: Generator[TrialEvent, None, None], until: float) -> Iterator[Note | Step]:
    """Runs what is missing of a study, to its end or to the end of its time."""
    with closing(running) as events:
        for event in events:
            records = study.records()
            n_done = sum(record.is_ended for record in records)
            total = max(len(records), 1)
            trial = event.trial
            if isinstance(event, TrialEnded):
                ended = next(record for record in records if record.trial.number == trial.number)
                yield Note(_say_record(ended, n_done, len(records)))
            elif isinstance(event, TrialProgress):
                epoch = min(event.epoch + 1, trial.n_epochs)
                yield Step(f"{trial.name}, seed {trial.seed}: epoch {epoch} of {trial.n_epochs}", n_done, total)
            if way.spent > until and n_done < total:
                yield Note("its time is over; what has ended counts")
                return


def _excess(study: Study, expected: float) -> float:
    """By how many seconds its trainings took longer than was expected, so that the next plan knows."""
    taken = [record.seconds for record in study.records() if record.status == "complete"]
    return max(0.0, float(np.median(taken)) - expected) if taken else 0.0


def _say_record(record: Record, n_done: int, n_all: int) -> str:
    trial = record.trial
    values = show_values(dict(trial.changes))
    what = f"{trial.candidate}, seed {trial.seed}" if not values else f"{trial.candidate} ({values}), seed {trial.seed}"
    score = f"{record.score:.2%}" if record.score is not None else f"{record.status} {record.reason}".rstrip()
    return f"{n_done:>3} of {n_all}: {what}: {score}, {say_duration(record.seconds)}"


def _comparison_result(way: Way, study: Study) -> tuple[list[str], dict[str, Any], Recipe | None]:
    comparison = read_comparison(study)
    lines = [_say_candidate(comparison, number) for number in range(len(comparison.candidates))]
    lines += [verdict.line() for verdict in comparison.verdicts]
    better = [verdict for verdict in comparison.verdicts if verdict.word == "better"]
    facts = {"verdicts": {verdict.second: verdict.word for verdict in comparison.verdicts}, "chosen": "base"}
    if not better:
        return [*lines, "nothing was better than the recipe, which stays"], facts, None
    best = max(better, key=lambda verdict: verdict.difference.mean or 0.0).second
    recipe = next(each.recipe for each in comparison.candidates if each.name == best)
    return [*lines, f"the recipe is changed: {best}"], {**facts, "chosen": best}, _taken_over(way.base, recipe, study)


def _taken_over(base: Recipe, recipe: Recipe, study: Study) -> Recipe:
    """A short training's recipe with the epochs and, where it has those of the base, the batches of a final one."""
    batch = base.batch_size if recipe.batch_size == study.spec.base.batch_size else recipe.batch_size
    return recipe.changed(epochs=round(recipe.epochs * base.epochs / study.spec.base.epochs, 2), batch_size=batch)


def _search_result(way: Way, study: Study) -> tuple[list[str], dict[str, Any], Recipe | None]:
    found = read_search(study)
    facts: dict[str, Any] = {"n_trials": len(study.records()), "chosen": "base"}
    if found.winner is None or found.final is None:
        return ["there was no time for new seeds, so its best score says nothing; the recipe stays"], facts, None
    winner = found.winner
    values = show_values(dict(winner.trial.changes))
    lines = [f"the best of {len(found.leaders)} trials has {winner.score:.2%}: {values}"]
    if found.selection_bias is not None:
        lines.append(f"of which {100 * found.selection_bias:.2f} points are expected to be selection bias")
    if winner.trial.candidate == "base":
        return [*lines, "that is the recipe as it was, which stays"], facts, None
    verdict = next((v for v in found.final.verdicts if v.second == winner.trial.candidate), None)
    lines += [verdict.line()] if verdict is not None else []
    if verdict is None or verdict.word != "better":
        return [*lines, "nothing was better than the recipe, which stays"], facts, None
    facts["chosen"] = dict(winner.trial.changes)
    return [*lines, f"the recipe is changed: {values}"], facts, apply(way.base, dict(winner.trial.changes))


def _say_candidate(comparison: Comparison, number: int) -> str:
    candidate = comparison.candidates[number]
    if candidate.mean is None:
        return f"{candidate.name}: no result ({', '.join(sorted(set(candidate.statuses)))})"
    spread = "" if candidate.sd is None else f" ± {100 * candidate.sd:.2f}"
    n = sum(status == "complete" for status in candidate.statuses)
    return f"{candidate.name}: {100 * candidate.mean:.2f}{spread} % of {comparison.n_val:,} validation images, n {n}"
