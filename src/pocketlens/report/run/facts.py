"""What the page says about a run, read from its folder as plain values; nothing here draws or formats HTML."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pocketlens.errors import PocketlensError
from pocketlens.evaluation.score_on import OnScores, read_scores_on
from pocketlens.files import read_json
from pocketlens.recipe import Recipe
from pocketlens.report.run.further_scores import read_robustness, read_views
from pocketlens.report.run.reliability import Reliability, read_reliability, with_known_duplicates
from pocketlens.report.run.row_pictures import RowPictures, pictures_of
from pocketlens.scoring.confusions import Pair, Severity, confused_pairs, severity
from pocketlens.scoring.ledger import Opening, all_openings, ordinal
from pocketlens.scoring.predictions import (
    N_PICTURES,
    PICTURES,
    RIGHT,
    Mistakes,
    Pictures,
    most_pictures,
    most_right,
    read_mistakes,
    read_pictures,
    read_predictions,
    some_right,
    worst_mistakes,
)
from pocketlens.scoring.scores import Scores
from pocketlens.text import format_duration

if TYPE_CHECKING:
    from pocketlens.data.dataset import Dataset, SealedTest
    from pocketlens.evaluation.robustness import Robustness
    from pocketlens.report.run.further_scores import Views
    from pocketlens.training.run import Run


@dataclass(frozen=True)
class Field:
    """One field of the recipe."""

    name: str
    value: str
    default: str
    changed: bool
    help: str


@dataclass(frozen=True, eq=False)
class Facts:
    """Everything that the page shows.

    Attributes:
        scores: of the test part where it was opened, else of validation, else None; those of the test part without
            duplicates of development images as far as these are known now.
        val: the validation scores, or None.
        mistakes: wrong rows of the scored part, the most confident first, with images where they could be read.
        right: a few rows of the scored part that are classified correctly, with their images; None where not stored.
        pictures: where the pictures of the scored part are.
        reliability: the predictions of the scored part row by row, or None where they are not stored.
        openings: all openings of this test part that the ledger knows of now.
        shape: (height, width, channels) of the data's images, or None where neither data nor pictures were given.
        pairs: all confusions that occur, the most frequent first.
        severity: errors inside and across superclasses, or None without superclasses.
        robustness: accuracy under corruptions, where `pocketlens robustness` has measured it.
        others: the scores on other data, which `pocketlens test RUN --on DATA` has left.
        is_slim: pictures are left out, so that the page is small.
        views: the test accuracy with several views of each image, where the test part was opened with them.
    """

    run_id: str
    label: str
    status: str
    reason: str
    data: str
    setup: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]  # groups of (name, value)
    recipe: Recipe
    fields: tuple[Field, ...]
    history: tuple[dict[str, Any], ...]
    environment: dict[str, str]
    seconds: float
    n_train: int
    n_val: int
    n_test: int | None  # None: not known
    n_steps: int | None
    split_notes: tuple[str, ...]
    pretraining: str | None  # what to say where a body may have seen the test images
    scores: Scores | None
    val: Scores | None
    openings: tuple[Opening, ...]
    mistakes: Mistakes | None
    right: Pictures | None
    pictures: RowPictures
    reliability: Reliability | None
    pairs: tuple[Pair, ...]
    shape: tuple[int, ...] | None
    severity: Severity | None
    robustness: Robustness | None
    views: Views | None
    others: tuple[OnScores, ...]
    experiment: dict[str, Any]
    is_slim: bool = False

    @property
    def why_no_pictures(self) -> str:
        """Why rows have no pictures, where they have none, to follow "because"."""
        if self.is_slim:
            return "this is the slim page"
        return "the data was not available when this page was written"

    def without_pictures(self) -> Facts:
        """The same for the slim page: all that is known but the pictures of the rows."""
        return dataclasses.replace(
            self,
            mistakes=None if self.mistakes is None else dataclasses.replace(self.mistakes, images=None),
            right=None,
            pictures=RowPictures(None, None, ()),
            is_slim=True,
        )


def read_facts(run: Run, dataset: Dataset | None = None, sealed: SealedTest | None = None) -> Facts:
    """Reads a run's folder.

    Args:
        run: any run: finished or stopped, with or without validation, its test part opened or not.
        dataset: the development rows it was trained on; without it there are no pictures of validation mistakes.
        sealed: its test part; its hashes tell which opened test rows show a picture that has another label.

    Raises:
        PocketlensError: `dataset` is not the one of the run, or a file of the run cannot be read.
    """
    experiment, split = run.experiment, run.split
    if dataset is not None and experiment.data_fingerprint not in ("", dataset.fingerprint):
        raise PocketlensError(
            f"the data set must be that of run {run.id} ({experiment.data}, {experiment.data_fingerprint}); got "
            f"{dataset.text}, {dataset.fingerprint}."
        )
    status, reason = run.status()
    history = tuple(run.history())
    val, test = _scores(run, "val"), _scores(run, "test")
    scores = with_known_duplicates(run, test, dataset, sealed) or val
    mistakes, right = _mistakes(run, scores, dataset), _right(run, scores, dataset)
    environment = _flat(run.environment)
    seconds = float(sum(entry.get("seconds") or 0.0 for entry in run.timing()))
    n_steps = experiment.n_steps or (int(history[-1]["step"]) if history else None)
    record, seen = _record(run, history), run.pretraining_note
    return Facts(
        run_id=run.id,
        label=experiment.label,
        status=status,
        reason=reason,
        data=experiment.data,
        setup=_setup(record, (len(split.train), len(split.val)), environment, seconds),
        recipe=experiment.recipe,
        fields=_fields(experiment.recipe),
        history=history,
        environment=environment,
        seconds=seconds,
        n_train=len(split.train),
        n_val=len(split.val),
        n_test=split.n_test if sealed is None else len(sealed),
        n_steps=n_steps,
        split_notes=(*split.notes, *([seen] if seen else [])),
        pretraining=seen,
        scores=scores,
        val=val,
        openings=tuple(_openings(run.id)) if test is not None else (),
        mistakes=mistakes,
        right=right,
        pictures=pictures_of(scores, dataset, sealed, mistakes, right),
        reliability=None if scores is None else read_reliability(run, scores.part, dataset, sealed),
        pairs=() if scores is None else confused_pairs(scores),
        shape=_shape(dataset, mistakes),
        severity=None if scores is None else severity(scores),
        robustness=read_robustness(run),
        views=read_views(run),
        others=read_scores_on(run),
        experiment=record,
    )


def _record(run: Run, history: tuple[dict[str, Any], ...]) -> dict[str, Any]:
    """What experiment.json holds, and what became of it."""
    chosen, n_done = run.file("interpolation.json"), int(history[-1]["step"]) if history else 0
    found = {"n_done": n_done, "given_split": run.split.given, "n_dropped": run.n_dropped()}
    return {**run.experiment.to_dict(), **found, "interpolation": read_json(chosen) if chosen.exists() else None}


def _shape(dataset: Dataset | None, mistakes: Mistakes | None) -> tuple[int, ...] | None:
    """(height, width, channels) of the images, where anything tells."""
    if dataset is not None:
        return dataset.shape
    has_pictures = mistakes is not None and mistakes.images is not None and len(mistakes.images) > 0
    return mistakes.images.shape[1:] if has_pictures and mistakes is not None and mistakes.images is not None else None


def _scores(run: Run, part: str) -> Scores | None:
    path = run.file(f"scores-{part}.json")
    return Scores.from_dict(read_json(path), str(path)) if path.exists() else None


def _right(run: Run, scores: Scores | None, dataset: Dataset | None) -> Pictures | None:
    """Right rows with pictures: those that the opening of the test part has left, or of validation."""
    if scores is None:
        return None
    if scores.part == "test":
        path = run.file(RIGHT)  # absent in runs of before
        return read_pictures(path) if path.exists() else None
    path = run.file("predictions-val.safetensors")
    if not path.exists():
        return None
    predictions = read_predictions(path)
    if dataset is not None:
        rows = some_right(predictions, most_right(dataset.shape))
        return Pictures(rows, dataset.images[rows])
    if not run.file(PICTURES).exists():
        return None
    kept = read_pictures(run.file(PICTURES))
    known = np.isin(kept.rows, predictions.rows[predictions.predicted == predictions.labels])
    return Pictures(kept.rows[known], kept.images[known])


def _openings(run_id: str) -> list[Opening]:
    """The openings of the test part that this run opened last; none where the ledger lies on another machine."""
    entries = all_openings()
    tests = [entry.test for entry in entries if entry.run == run_id and entry.part == "test"]
    return [entry for entry in entries if tests and entry.test == tests[-1]]


def _mistakes(run: Run, scores: Scores | None, dataset: Dataset | None) -> Mistakes | None:
    """Wrong rows of the scored part with their pictures: all whose pixels are stored or available."""
    if scores is None:
        return None
    if scores.part == "test" and (path := run.file("mistakes-test.safetensors")).exists():
        mistakes = read_mistakes(path)
    elif (path := run.file(f"predictions-{scores.part}.safetensors")).exists():
        mistakes = worst_mistakes(read_predictions(path), N_PICTURES)
        if scores.part == "val" and dataset is not None:
            mistakes = worst_mistakes(read_predictions(path), most_pictures(dataset.shape))
            mistakes = dataclasses.replace(mistakes, images=dataset.images[mistakes.rows])
    else:
        return None
    n_classes = len(scores.classes)
    for index in (mistakes.labels, mistakes.predicted):
        if len(index) and not 0 <= int(index.min()) <= int(index.max()) < n_classes:
            raise PocketlensError(f"{path} must name classes 0..{n_classes - 1}; it does not belong to these scores.")
    return mistakes


def _fields(recipe: Recipe) -> tuple[Field, ...]:
    default = Recipe()
    rows = []
    for field in dataclasses.fields(Recipe):
        value, usual = getattr(recipe, field.name), getattr(default, field.name)
        rows.append(Field(field.name, _as_text(value), _as_text(usual), value != usual, field.metadata["help"]))
    return tuple(rows)


def _setup(
    experiment: dict[str, Any], n_rows: tuple[int, int], environment: dict[str, str], seconds: float
) -> tuple[tuple[str, tuple[tuple[str, str], ...]], ...]:
    """The groups of the table "Setup": data, training, machine."""
    steps, done = experiment["n_steps"], experiment["n_done"]
    data = {
        "data set": experiment["data"],
        "fingerprint": experiment["data_fingerprint"] or "not recorded",
        "training rows": f"{n_rows[0]:,}",
        "validation rows": f"{n_rows[1]:,}" if n_rows[1] else "none",
        "split": "given by the data" if experiment["given_split"] else f"seed {experiment['split_seed']}",
    }
    if experiment["n_relabelled"]:
        data["corrected labels"] = f"{experiment['n_relabelled']:,} (relabel.csv, {experiment['relabel_hash']})"
    if experiment["n_dropped"]:
        data["dropped images"] = f"{experiment['n_dropped']:,} (relabel.csv, {experiment['relabel_hash']})"
    training = {
        "recipe": experiment["recipe_id"],
        "seed": _as_text(experiment["seed"]),
        "steps": f"{done:,} of {steps:,}" if steps and steps != done else f"{done:,}",
        "time limit": "none" if experiment["minutes"] is None else f"{experiment['minutes']:g} min",
        "time taken": format_duration(seconds),
    }
    if experiment["made_by"]:
        training["made by"] = experiment["made_by"]
    machine = environment or {"environment": "not recorded"}
    return tuple(
        (name, tuple(group.items())) for name, group in (("Data", data), ("Training", training), ("Machine", machine))
    )


def _flat(value: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested dicts as one, with keys joined by spaces and underscores read as spaces."""
    rows: dict[str, str] = {}
    for key, item in value.items():
        name = f"{prefix} {key}".strip().replace("_", " ")
        rows.update(_flat(item, name) if isinstance(item, dict) else {name: _as_text(item)})
    return rows


def _as_text(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(_as_text(item) for item in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def opened(facts: Facts) -> str:
    """How often the test part has been opened: what the ledger says now, else what the scores say."""
    scores = facts.scores
    if scores is None or scores.part != "test" or scores.opening is None:
        return ""
    total = max(len(facts.openings), scores.openings or 0)
    if total == 1:
        return "This test set has been opened once."
    return f"This test set has been opened {total} times; this is the {ordinal(scores.opening)} opening."
