"""What there is: `pl.show` gives a model's layers or a run's facts, `pl.list` the components, recipes and runs."""

from __future__ import annotations

import re
import textwrap
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pocketlens.api.requests import Code, check_runs
from pocketlens.api.shown import Shown
from pocketlens.components import names, parse_one, signature
from pocketlens.display.screen import WIDTH, table
from pocketlens.errors import PocketlensError, closest
from pocketlens.files import RUNS, read_json
from pocketlens.literals import references
from pocketlens.models._bodies import BODIES, where_is
from pocketlens.own_code import name_code, name_typed
from pocketlens.recipe import Recipe, is_modifier, named_recipes, read_recipe
from pocketlens.report.titles import run_title, short_name
from pocketlens.text import counted

if TYPE_CHECKING:
    from pocketlens.scoring.metrics import Estimate
    from pocketlens.training.model_summary import Layer
    from pocketlens.training.run import Run

KINDS = (
    "datasets",
    "models",
    "bodies",
    "augment",
    "operations",
    "optimizers",
    "schedules",
    "losses",
    "recipes",
    "runs",
)

_ABOUT = {
    "datasets": "data sets by name; a folder or file of your own works too",
    "models": "networks, for --model",
    "bodies": "pretrained networks, for features and auto",
    "augment": "augmentations, for --augment",
    "operations": "preparation of every image, for --prepare",
    "optimizers": "optimizers and their modifiers, for --optimizer",
    "schedules": "learning-rate schedules, for --schedule",
    "losses": "loss functions, for --loss",
    "recipes": "whole recipes by name, for --recipe",
    "runs": "what has been trained here",
}


@dataclass(frozen=True)
class RunFacts:
    """What a run is and what came out of it.

    Attributes:
        val_accuracy, val_loss: after the last epoch, or the best one where that is kept.
        val, test: the accuracy of the result, with its interval; None where it was not scored.
        changed: when the folder changed last, in seconds since 1970.
        on: the scores on other data, a line for each.
    """

    id: str
    path: str
    label: str
    status: str
    reason: str
    data: str
    recipe: str
    seed: int
    epochs: int
    n_steps: int | None
    val_accuracy: float | None
    val_loss: float | None
    val: Estimate | None
    test: Estimate | None
    made_by: str
    features_of: str
    changed: float
    tested: bool
    on: tuple[str, ...]
    report: str | None


def run_facts(run: Run) -> RunFacts:
    """The facts of a run.

    Raises:
        PocketlensError: a file of the run cannot be read.
    """
    experiment = run.experiment
    status, reason = run.status()
    history = run.history()
    last = history[-1] if history else {}
    best = next((record for record in reversed(history) if record["best"]), last)
    chosen = best if experiment.recipe.keep == "best" else last
    if experiment.features_of and run.file("scores-val.json").exists():  # fitted, so there are no epochs
        scores = read_json(run.file("scores-val.json"))
        chosen = {"val_accuracy": scores["top1"]["value"], "val_loss": scores["nll"]["value"]}
    return RunFacts(
        id=run.id,
        path=str(run.path),
        label=experiment.label,
        status=status,
        reason=reason,
        data=experiment.data,
        recipe=experiment.recipe.id,
        seed=experiment.seed,
        epochs=len(history),
        n_steps=experiment.n_steps,
        val_accuracy=chosen.get("val_accuracy"),
        val_loss=chosen.get("val_loss"),
        val=run.top1("val"),
        test=run.top1("test"),
        made_by=experiment.made_by,
        features_of=experiment.features_of,
        changed=run.path.stat().st_mtime,
        tested=run.file("scores-test.json").exists(),
        on=_scores_on(run),
        report=str(run.file("report.html")) if run.file("report.html").exists() else None,
    )


def _scores_on(run: Run) -> tuple[str, ...]:
    from pocketlens.evaluation.score_on import read_scores_on
    from pocketlens.scoring.scores import show, show_interval

    lines = []
    for each in read_scores_on(run):
        top1 = each.scores.top1
        shown = f"{show(top1, 'share')} {show_interval(top1, 'share')}"
        lines.append(f"{each.data}: {shown} of {counted(each.scores.n, 'image')}")
    return tuple(lines)


@dataclass(frozen=True)
class Listing(Shown):
    """Lines for a person, and what they say as values."""

    text: tuple[str, ...]
    values: dict[str, Any]

    def lines(self) -> list[str]:
        """For a person."""
        return list(self.text)

    def to_dict(self) -> dict[str, Any]:
        """What `--json` gives."""
        return self.values


def show(
    what: str,
    *,
    size: int | tuple[int, int] = 32,
    channels: int = 3,
    classes: int = 100,
    code: Code = (),
    runs: Path = RUNS,
) -> Listing:
    """The layers of a model with shapes, parameters and multiply-adds, or the facts of a run.

    Args:
        what: a model's component text, or a run: its folder, id or label, or "last".
        size: the side of the images for a model in px, or (height, width).
        channels: 3 or, for grey images, 1.
        classes: for a model.
        code: a function that `what` names; its file need not be named again.
        runs: the folder of runs.

    Raises:
        PocketlensError: it is neither a model nor a run.
    """
    check_runs(runs)
    name_code(code)
    name_typed(what)
    if references(what) or (re.match(r"\s*(\w+)\s*(\(|$)", what) and re.findall(r"\w+", what)[0] in names("models")):
        height, width = (size, size) if isinstance(size, int) else size
        return _show_model(what, (height, width, channels), classes)
    from pocketlens.training.run import Run

    try:
        run = Run.open(what, runs)
    except PocketlensError:
        if re.fullmatch(r"\w+", what) and what != "last":
            hint = closest(what, names("models"))
            raise PocketlensError(f"{what!r} must be a model or a run in {runs}, and is neither.{hint}") from None
        if "(" in what:
            parse_one(what, "models")
        raise
    return _show_run(run)


def list_kind(kind: str, *, runs: Path = RUNS) -> Listing:
    """The components of a kind with their options, the recipes, or the runs.

    Args:
        kind: datasets, models, bodies, augment, operations, optimizers, schedules, losses, recipes or runs.
        runs: the folder of runs.

    Raises:
        PocketlensError: there is no such kind.
    """
    check_runs(runs)
    if kind not in KINDS:
        raise PocketlensError(f"KIND must be one of {', '.join(KINDS)}, got {kind}.{closest(kind, KINDS)}")
    if kind == "runs":
        return _list_runs(runs)
    if kind == "bodies":
        return _list_bodies()
    return _list_recipes() if kind == "recipes" else _list_components(kind)


def list_kinds(*, runs: Path = RUNS) -> Listing:
    """What `list` knows, and how much there is of each."""
    check_runs(runs)
    counts = {kind: len(names(kind)) for kind in KINDS if kind not in ("bodies", "recipes", "runs")}
    folders = list(runs.glob("*/experiment.json")) if runs.is_dir() else []
    counts |= {"bodies": len(BODIES), "recipes": len(named_recipes()), "runs": len(folders)}
    rows = [(f"pocketlens list {kind}", f"{counts[kind]:,}", _ABOUT[kind]) for kind in KINDS]
    return Listing(tuple(table(rows, ("", "n", "what it lists"))), {"kinds": {kind: counts[kind] for kind in KINDS}})


def _show_model(text: str, shape: tuple[int, int, int], n_classes: int) -> Listing:
    parse_one(text, "models")
    from pocketlens.training.model_summary import layer_table, totals

    layers = layer_table(text, shape, n_classes)
    sums = totals(layers)
    rows = [_layer_row(layer) for layer in layers]
    counts = tuple(f"{sums[name]:,}" for name in ("n_trainable", "n_frozen", "multiply_adds"))
    header = ("layer", "kind", "output", "trainable", "frozen", "multiply-adds")
    height, width, channels = shape
    command = f'pocketlens train DATASET --model "{text}"'
    lines = (
        *table([*rows, ("total", "", "", *counts)], header),
        "",
        f"{text} for {height} x {width} x {channels} and {counted(n_classes, 'class')}: "
        f"{counted(sums['n_parameters'], 'parameter')} ({sums['n_trainable']:,} trainable, "
        f"{sums['n_frozen']:,} frozen), {sums['n_buffers']:,} buffers, "
        f"{sums['n_parameters'] + sums['n_buffers']:,} in total; {sums['multiply_adds']:,} multiply-adds per image",
        f"next: {command}",
    )
    facts = {"model": text, "shape": shape, "classes": n_classes, **sums}
    return Listing(lines, {**facts, "layers": [vars(layer) for layer in layers], "next": command})


def _layer_row(layer: Layer) -> tuple[str, ...]:
    counts = (layer.n_trainable, layer.n_frozen, layer.multiply_adds)
    return (layer.name, layer.kind, "x".join(map(str, layer.shape)), *(f"{count:,}" for count in counts))


def _show_run(run: Run) -> Listing:
    found = run_facts(run)
    recipe, defaults = run.experiment.recipe, Recipe()
    changed = {key: value for key, value in recipe.to_dict().items() if value != getattr(defaults, key)}
    lines = []
    hidden = ("changed", "reason", "tested", "" if found.val is None else "val_accuracy")
    shown = {"on": "; ".join(found.on), "val": _scored(found.val), "test": _scored(found.test)}
    for key, value in {**asdict(found), **shown}.items():
        if value not in (None, "", False) and key not in hidden:
            text = f"{value:.4f}" if isinstance(value, float) else str(value)
            reason = f": {found.reason}" if key == "status" and found.reason else ""
            lines.append(f"{key:<14}{text}{reason}")
    text = ", ".join(f"{key}={value!r}" for key, value in changed.items()) or "none"
    folded = textwrap.wrap(text, WIDTH - 14, break_long_words=False, break_on_hyphens=False)
    lines += [f"{'non-default' if place == 0 else '':<14}{line}" for place, line in enumerate(folded)]
    return Listing(tuple(lines), {**asdict(found), "recipe_fields": recipe.to_dict(), "history": run.history()})


def _list_components(room: str) -> Listing:
    lines, items = [], []
    for name in sorted(names(room), key=lambda name: (room == "optimizers" and is_modifier(name), name)):
        known = signature(room, name)
        options = dict(known.options)
        text = ", ".join(f"{key}={value!r}" for key, value in options.items())
        whole = f"{name}({text})" if text else name
        behind = room == "optimizers" and is_modifier(name)
        lines += [f".. | {whole}" if behind else whole, f"    {known.about}"]
        items.append({"name": name, "options": options, "about": known.about, **({"behind": True} if behind else {})})
    if room == "optimizers":
        lines.append('entries with ".. |" are modifiers: write them after an optimizer, as in "sgd | sam(rho=0.05)"')
    return Listing(tuple(lines), {room: items})


def _list_bodies() -> Listing:
    lines, items = [], []
    for body in BODIES:
        place = where_is(body)
        costs = f"{body.n_parameters / 1e6:.1f} M parameters, {body.multiply_adds / 1e6:,.0f} M multiply-adds"
        lines += [body.name, f"    {costs} at {body.size} px", f"    {body.licence}, {body.trained_on}; {place}"]
        facts = {key: value for key, value in asdict(body).items() if key != "package"}
        items.append({**facts, "hub": body.hub, "text": body.text, "prepare": body.prepare, "where": place})
    lines += [
        "timm has hundreds more, which work by name: --model \"timm(name='NAME', pretrained=True)\"",
        f"next: pocketlens features {BODIES[0].name} DATASET",
    ]
    return Listing(tuple(lines), {"bodies": items})


def _list_recipes() -> Listing:
    lines, items = [], []
    defaults = Recipe().to_dict()
    for name in named_recipes():
        recipe = read_recipe(name)
        shown = {key: value for key, value in recipe.to_dict().items() if value != defaults[key]}
        if name == "default":
            shown = {key: defaults[key] for key in ("model", "augment", "optimizer", "epochs")}
        lines += [f"{name} ({recipe.id})", "    " + ", ".join(f"{key}={value!r}" for key, value in shown.items())]
        items.append({"name": name, "id": recipe.id, "fields": recipe.to_dict()})
    return Listing(tuple(lines), {"recipes": items})


def _list_runs(folder: Path) -> Listing:
    from pocketlens.training.run import all_runs

    found, broken = [], []
    for run in all_runs(folder):
        try:
            found.append(run_facts(run))
        except (PocketlensError, OSError, KeyError, TypeError, ValueError) as error:
            broken.append(f"{run.path} cannot be read: {error}")
    rows = [
        (
            facts.id,
            facts.status,
            _share(facts.val_accuracy if facts.val is None else facts.val.value),
            _share(None if facts.test is None else facts.test.value),
            run_title(facts.label, facts.data),
        )
        for facts in found
    ]
    lines = [*table(rows, ("run", "status", "val acc", "test acc", "label, else data")), *broken]
    if found:
        lines.append("for recipe, seed and intervals: pocketlens show RUN, or on a page: pocketlens open")
    if not found and not broken:
        lines = [f"no runs in {folder}; make one with: pocketlens train digits"]
    return Listing(tuple(lines), {"runs": [asdict(facts) for facts in found]})


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.2%}"


def _scored(estimate: Estimate | None) -> str:
    """An accuracy with its interval, in words; empty where there is none."""
    from pocketlens.scoring.scores import show, show_interval

    return "" if estimate is None else f"{show(estimate, 'share')} {show_interval(estimate, 'share')}".strip()


def list_studies(*, runs: Path = RUNS) -> Listing:
    """The studies in a folder of runs, and how far each has come."""
    from pocketlens.studies.store import all_studies

    rows, items, broken = [], [], []
    for study in all_studies(runs):
        try:
            records = study.records()
            ended = sum(record.is_ended for record in records)
            running = sum(record.status == "running" for record in records)
            spec = study.spec
        except (PocketlensError, OSError, KeyError, TypeError, ValueError) as error:
            broken.append(f"{study.path} cannot be read: {error}")
            continue
        item = {"id": study.id, "kind": spec.kind, "data": spec.data, "trials": len(records)}
        items.append({**item, "ended": ended, "running": running, "label": study.label})
        scores = [record.score for record in records if record.score is not None]
        best = _share(max(scores, default=None))
        rows.append((study.id, spec.kind, f"{ended}/{len(records)}", best, study.label, short_name(spec.data)))
    lines = [*table(rows, ("study", "kind", "ended", "best val", "label", "data")), *broken]
    if rows:
        lines.append("next: pocketlens study STUDY continues one, or shows what it has found")
    if not rows and not broken:
        lines = [f"no studies in {runs}; make one with: pocketlens compare digits small resnet20"]
    return Listing(tuple(lines), {"studies": items})
