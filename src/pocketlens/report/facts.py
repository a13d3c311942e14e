"""What the page says about a run, read from its folder as plain values; nothing here draws or formats HTML."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pocketlens.dataset import Dataset
from pocketlens.errors import PocketlensError
from pocketlens.files import read_json
from pocketlens.ledger import Opening, all_openings
from pocketlens.predictions import Mistakes, read_mistakes, read_predictions, worst_mistakes
from pocketlens.recipe import Recipe
from pocketlens.scores import Scores

if TYPE_CHECKING:
    from pocketlens.run import Run

N_PAIRS = 15  # rows in the table of confused pairs


@dataclass(frozen=True)
class Field:
    """One field of the recipe."""

    name: str
    value: str
    default: str
    changed: bool
    help: str


@dataclass(frozen=True)
class Pair:
    """One cell of the confusion matrix off its diagonal."""

    true: str
    predicted: str
    count: int
    support: int
    same_superclass: bool | None  # None without superclasses


@dataclass(frozen=True, eq=False)
class Facts:
    """Everything that the page shows.

    Attributes:
        scores: of the test part where it was opened, else of validation, else None.
        val: the validation scores, or None.
        mistakes: the worst of the judged part, with images where they could be read.
        files: a name for each mistake, or None.
        openings: all openings of this test part that the ledger knows of now.
        shape: (height, width, channels) of the data's images, or None where neither data nor pictures were given.
        inside_superclass: which share of all wrong rows stays inside the superclass, or None.
    """

    run_id: str
    label: str
    status: str
    reason: str
    data: str
    asked: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]  # groups of (name, value)
    recipe: Recipe
    fields: tuple[Field, ...]
    history: tuple[dict[str, Any], ...]
    environment: dict[str, str]
    seconds: float
    n_train: int
    n_val: int
    n_steps: int | None
    split_notes: tuple[str, ...]
    scores: Scores | None
    val: Scores | None
    openings: tuple[Opening, ...]
    mistakes: Mistakes | None
    files: tuple[str, ...] | None
    pairs: tuple[Pair, ...]
    shape: tuple[int, ...] | None
    inside_superclass: float | None
    experiment: dict[str, Any]


def read_facts(run: Run, dataset: Dataset | None = None) -> Facts:
    """Reads a run's folder.

    Args:
        run: any run: finished or stopped, with or without validation, its test part opened or not.
        dataset: the development rows it was trained on; without it there are no pictures of validation mistakes.

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
    scores = test or val
    mistakes, files = _mistakes(run, scores, dataset)
    environment = _flat(run.environment)
    seconds = float(sum(entry.get("seconds") or 0.0 for entry in run.timing()))
    n_steps = experiment.n_steps or (int(history[-1]["step"]) if history else None)
    shape = dataset.shape if dataset is not None else None
    if shape is None and mistakes is not None and mistakes.images is not None and len(mistakes.images):
        shape = mistakes.images.shape[1:]
    record = {**experiment.to_dict(), "n_done": int(history[-1]["step"]) if history else 0}
    return Facts(
        run_id=run.id,
        label=experiment.label,
        status=status,
        reason=reason,
        data=experiment.data,
        asked=_asked(record, (len(split.train), len(split.val)), environment, seconds),
        recipe=experiment.recipe,
        fields=_fields(experiment.recipe),
        history=history,
        environment=environment,
        seconds=seconds,
        n_train=len(split.train),
        n_val=len(split.val),
        n_steps=n_steps,
        split_notes=split.notes,
        scores=scores,
        val=val,
        openings=tuple(_openings(run.id)) if test is not None else (),
        mistakes=mistakes,
        files=files,
        pairs=_pairs(scores),
        shape=shape,
        inside_superclass=_inside(scores),
        experiment=record,
    )


def say_duration(seconds: float) -> str:
    """ "42 s", "49 min 12 s" or "2 h 5 min"."""
    whole = round(seconds)
    if whole < 120:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest} s" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def _scores(run: Run, part: str) -> Scores | None:
    path = run.file(f"scores-{part}.json")
    return Scores.from_dict(read_json(path), str(path)) if path.exists() else None


def _openings(run_id: str) -> list[Opening]:
    """The openings of the test part that this run opened last; none where the ledger lies on another machine."""
    entries = all_openings()
    tests = [entry.test for entry in entries if entry.run == run_id]
    return [entry for entry in entries if tests and entry.test == tests[-1]]


def _mistakes(
    run: Run, scores: Scores | None, dataset: Dataset | None
) -> tuple[Mistakes | None, tuple[str, ...] | None]:
    """The worst mistakes of the judged part, and the names of their files where the data has them."""
    if scores is None:
        return None, None
    if scores.part == "test" and (path := run.file("mistakes-test.safetensors")).exists():
        mistakes, files = read_mistakes(path), None
    elif (path := run.file(f"predictions-{scores.part}.safetensors")).exists():
        mistakes, files = worst_mistakes(read_predictions(path)), None
        if scores.part == "val" and dataset is not None:
            mistakes = dataclasses.replace(mistakes, images=dataset.images[mistakes.rows])
            files = tuple(dataset.files[row] for row in mistakes.rows) if dataset.files is not None else None
    else:
        return None, None
    n_classes = len(scores.classes)
    for index in (mistakes.labels, mistakes.predicted):
        if len(index) and not 0 <= int(index.min()) <= int(index.max()) < n_classes:
            raise PocketlensError(f"{path} must name classes 0..{n_classes - 1}; it does not belong to these scores.")
    return mistakes, files


def _pairs(scores: Scores | None) -> tuple[Pair, ...]:
    """The most frequent confusions, by count and then by share."""
    if scores is None:
        return ()
    wrong = scores.confusion * (1 - np.eye(len(scores.classes), dtype=np.int64))
    support = scores.confusion.sum(axis=1)
    share = wrong / np.maximum(support, 1)[:, None]
    order = np.lexsort((-share.reshape(-1), -wrong.reshape(-1)))[:N_PAIRS]
    pairs = []
    for cell in order[wrong.reshape(-1)[order] > 0]:
        true, predicted = divmod(int(cell), len(scores.classes))
        same = None if scores.superclass_of is None else scores.superclass_of[true] == scores.superclass_of[predicted]
        count = int(wrong[true, predicted])
        pairs.append(Pair(scores.classes[true], scores.classes[predicted], count, int(support[true]), same))
    return tuple(pairs)


def _inside(scores: Scores | None) -> float | None:
    if scores is None or scores.superclass_of is None:
        return None
    above = np.asarray(scores.superclass_of)
    wrong = scores.confusion * (1 - np.eye(len(scores.classes), dtype=np.int64))
    total = int(wrong.sum())
    return float((wrong * (above[:, None] == above[None, :])).sum() / total) if total else None


def _fields(recipe: Recipe) -> tuple[Field, ...]:
    default = Recipe()
    rows = []
    for field in dataclasses.fields(Recipe):
        value, usual = getattr(recipe, field.name), getattr(default, field.name)
        rows.append(Field(field.name, _say(value), _say(usual), value != usual, field.metadata["help"]))
    return tuple(rows)


def _asked(
    experiment: dict[str, Any], n_rows: tuple[int, int], environment: dict[str, str], seconds: float
) -> tuple[tuple[str, tuple[tuple[str, str], ...]], ...]:
    """The groups of the table "what was asked": data, training, machine."""
    steps, done = experiment["n_steps"], experiment["n_done"]
    data = {
        "data set": experiment["data"],
        "fingerprint": experiment["data_fingerprint"] or "not recorded",
        "training rows": f"{n_rows[0]:,}",
        "validation rows": f"{n_rows[1]:,}" if n_rows[1] else "none",
        "split seed": _say(experiment["split_seed"]),
    }
    training = {
        "recipe": experiment["recipe_id"],
        "seed": _say(experiment["seed"]),
        "steps": f"{done:,} of {steps:,}" if steps and steps != done else f"{done:,}",
        "time limit": "none" if experiment["minutes"] is None else f"{experiment['minutes']:g} min",
        "time taken": say_duration(seconds),
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
        rows.update(_flat(item, name) if isinstance(item, dict) else {name: _say(item)})
    return rows


def _say(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(_say(item) for item in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
