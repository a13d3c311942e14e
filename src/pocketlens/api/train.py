"""Training: `pl.train` and `pocketlens train`. A recipe, one or several seeds, here or on a cluster."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pocketlens.api.fine_tune import start_at_probe
from pocketlens.api.precision import WithPrecision, with_precision
from pocketlens.api.requests import (
    ChosenRecipe,
    TrainRequest,
    build,
    name_request,
    needs_validation,
    signed,
)
from pocketlens.api.results import RunResult, TrainResult
from pocketlens.api.runs import command
from pocketlens.errors import PocketlensError
from pocketlens.events import Doing, Events, Fact, Failure, Line, RunStarted, Stop, until_stopped
from pocketlens.recipe import Experiment, Recipe, n_views, parse_optimizer
from pocketlens.report.titles import short_name
from pocketlens.text import counted

_OF_NETWORK = {"model", "epochs", "batch_size", "lr", "start"}  # a person who has chosen one of these keeps the network

if TYPE_CHECKING:
    from pocketlens.api.data import LoadedData
    from pocketlens.data.dataset import Dataset
    from pocketlens.training.ranks import Ranks
    from pocketlens.training.run import Run
    from pocketlens.training.warm_start import WarmStart


def train(dataset: str | Path, *, verbose: bool = True, **options: Any) -> TrainResult:
    """Trains a recipe and scores it on the validation rows: `pocketlens train`.

    Args:
        dataset: a path, or a component text such as `cifar100(labels='coarse')`.
        verbose: show the progress.
        options: the fields of TrainRequest and of the requests in it (`recipe`, `seed`, `repeat`, `val_fraction`,
            `minutes`, ...), and the fields of Recipe that differ (`epochs=3`, `model="resnet(depth=18)"`, ...).

    Returns:
        The run, or the runs of all seeds. It tests, reports and predicts: `train("digits").test()`.

    Raises:
        PocketlensError: an option or the data is not what it must be, or the training diverged.
    """
    from pocketlens.api.calls import run_call

    return run_call(training(build(TrainRequest, {"dataset": dataset}, options)), verbose=verbose)


signed(train, TrainRequest)


def training(request: TrainRequest) -> Events[TrainResult]:
    """The events of `train`; its result is returned. A Stop that is thrown in saves the run.

    Raises:
        PocketlensError: see `train`.
    """
    from pocketlens.training.ranks import asked_ranks, joined

    name_request(request.code, request.data, request.recipe)
    request.check()
    request = _with_model_of_start(request)
    recipe = request.recipe.changed()
    machine = request.machine if request.cluster is None else replace(request.machine, device="cpu")
    ranks = asked_ranks(os.environ)
    _require_source(recipe, request.runs)
    yield Doing(f"loading PyTorch and reading {short_name(request.data.dataset)}, to train on it")
    device = machine.prepare(recipe)
    from pocketlens.training.dry_run import try_weights

    try_weights(recipe)
    source = None if recipe.starts_from_probe else _open_source(recipe, request.runs)
    with joined(ranks, device) as device:
        from pocketlens.api.data import aim_at, load_data, sources_of

        minutes = None if request.minutes is None else request.minutes / request.repeat
        sources = sources_of(recipe, request.runs)
        data = yield from load_data(request.data, aim_at(recipe, sources, minutes=minutes, device=device), sources)
        chosen = request.recipe.choose(data.dataset, data.split)
        _require_validation(chosen.recipe, data)
        if recipe.starts_from_probe:
            if ranks.n > 1:
                raise PocketlensError("head=probe is fitted by one process; run pocketlens train without torchrun.")
            wanted = replace(_experiment(request, chosen.recipe, data), seed=request.seed)
            begun = yield from start_at_probe(request, chosen, wanted, data, device)
            if begun.signal is not None:
                return TrainResult((), begun.signal)
            request, chosen = replace(request, minutes=begun.minutes), begun.chosen
            source = _open_source(chosen.recipe, request.runs)
        _check_source(source, chosen.recipe, data.dataset.shape[2])
        n_train = None if request.cluster is not None else len(data.split.train)
        chosen = yield from describe_recipe(chosen, data.dataset, n_train=n_train, device=device, ranks=ranks)
        seen = _describe_seen(chosen.recipe, request.runs, data)
        if seen is not None:
            yield Fact("", seen)
        experiment = _experiment(request, chosen.recipe, data)
        source = _started(source, experiment)
        experiment = experiment if source is None else source.experiment
        if request.cluster is not None:
            from pocketlens.api.train_on_cluster import train_on_cluster

            return (yield from train_on_cluster(request, experiment, data))
        where = Where(device, ranks, request.save_every, request.track, source)
        result = yield from _train_seeds(_Task(request, experiment, data, where))
        ranks.wait()  # for the first one to have saved
        return result


@dataclass(frozen=True, eq=False)
class _Task:
    """What all seeds of one training share."""

    request: TrainRequest
    experiment: Experiment
    data: LoadedData
    where: Where


def _in_time(task: _Task, minutes: float) -> Events[Experiment]:
    """The experiment with as many steps as fit; another recipe where few fit and none was named."""
    from pocketlens.training.budget import plan_steps
    from pocketlens.training.frontier import recipe_for

    experiment, asked, where = task.experiment, task.request.recipe, task.where
    data = task.data.dataset, task.data.split
    budget = plan_steps(experiment, *data, minutes=minutes, device=where.device, ranks=where.ranks)
    if asked.recipe is None and not _OF_NETWORK & set(asked.changes):
        epochs = experiment.recipe.epochs * budget.n_steps / budget.wanted_steps
        dataset, split = data
        size = len(split.train), dataset.shape, len(dataset.classes)
        shorter = recipe_for(experiment.recipe, epochs, *size)
        if shorter is not None:
            few = f"only {counted(epochs, 'epoch', digits=2)} of {experiment.recipe.model} fit"
            better = f"{shorter.model} in batches of {shorter.batch_size:,} learns more in this time"
            yield Fact("model", f"{few}; {better} (--recipe default keeps the other)")
            experiment = replace(experiment, recipe=shorter)
            budget = plan_steps(experiment, *data, minutes=minutes, device=where.device, ranks=where.ranks)
    yield Fact("time", f"{counted(minutes, 'minute', digits=3)}: {budget}")
    return replace(experiment, n_steps=budget.n_steps, minutes=minutes)


def _train_seeds(task: _Task) -> Events[TrainResult]:
    request, experiment, where = task.request, task.experiment, task.where
    results: list[RunResult] = []
    if request.minutes is not None:
        experiment = yield from _in_time(task, request.minutes / request.repeat)
    try:
        for seed in range(request.seed, request.seed + request.repeat):
            run = _create(task, replace(experiment, seed=seed))
            results.append(RunResult(run))
            try:
                signal = yield from continue_run(run, task.data.dataset, task.where)
            except PocketlensError as error:
                status = run.status()[0]
                if status == "new" and where.ranks.is_first:
                    shutil.rmtree(run.path)  # nothing was trained, so nothing stays behind
                if status not in ("diverged", "failed") or where.ranks.n > 1:
                    raise
                yield Failure(str(error))
                continue
            if signal is not None:
                return TrainResult(tuple(results), signal)
            for line in results[-1].lines():
                yield Line(line)
    except Stop as stop:
        return TrainResult(tuple(results), stop.signal)
    result = TrainResult(tuple(results))
    yield from _say_seeds(result)
    return result


@dataclass(frozen=True)
class Where:
    """Where a run is trained, how often it is saved, what mirrors it, and what it starts from where that is open."""

    device: str
    ranks: Ranks
    save_every: int | None = None
    track: str | None = None
    source: WarmStart | None = None


def continue_run(run: Run, dataset: Dataset, where: Where) -> Events[int | None]:
    """Trains a run from where it stands to its end; gives the signal that stopped it, or None.

    Raises:
        PocketlensError: the data is not that of the run, or the training failed or diverged.
    """
    from pocketlens.training.tracking import Tracker, tracked
    from pocketlens.training.train import train as train_run

    ranks = where.ranks
    by = f" in {counted(ranks.n, 'process')}" if ranks.n > 1 else ""
    yield RunStarted(run.id, str(run.path.parent), f"{where.device}{by}")
    events: Any = train_run(
        run, dataset, device=where.device, save_every=where.save_every, ranks=ranks, source=where.source
    )
    if where.track is not None and ranks.is_first:
        events = tracked(events, run, Tracker(where.track))
    signal = (yield from until_stopped(events)).signal
    result = RunResult(run)
    for line in result.best_lines():
        yield Line(line)
    if signal is not None:
        step = result.to_dict()["step"]
        yield Line(f"stopped after step {step:,}; continue with: {command('resume', run)}")
    return signal


def describe_recipe(
    chosen: ChosenRecipe,
    dataset: Dataset,
    *,
    n_train: int | None = None,
    device: str = "cpu",
    ranks: Ranks | None = None,
) -> Events[ChosenRecipe]:
    """Says what will be trained, once each of its components has worked on blank images.

    Gives the recipe with its precision, which is chosen by measuring where that was asked for and the number of
    training rows is given; else it is that of the recipe.

    Raises:
        PocketlensError: a component refuses its options or these images.
    """
    from pocketlens.training.dry_run import try_recipe

    n = try_recipe(chosen.recipe, dataset.shape, len(dataset.classes))
    if n_train is None:
        made = WithPrecision(replace(chosen, auto_precision=False))
    else:
        made = with_precision(chosen, dataset, n_train, device, ranks)
    chosen, recipe = made.chosen, made.chosen.recipe
    yield Fact("recipe", f"{recipe.id} ({chosen.source}): {recipe.model} with {counted(n, 'parameter')}")
    if recipe.is_probe:
        yield Fact(
            "", f"the body stays as it is, the head is a logistic regression; images prepared by {recipe.prepare}"
        )
        return chosen
    yield Fact(
        "",
        (
            f"{counted(recipe.epochs, 'epoch')} in batches of {recipe.batch_size:,}, {recipe.optimizer}, lr "
            f"{recipe.lr:g}"
        ),
    )
    yield Fact("", f"augment {recipe.augment}, sizes {recipe.sizes}")
    for line in (*_cost_lines(recipe), *_start_lines(recipe), *made.lines):
        yield Fact("", line)
    return chosen


def _cost_lines(recipe: Recipe) -> list[str]:
    """What makes steps more expensive or rows uneven."""
    lines = []
    passes = n_views(recipe.loss) * (1 + ("sam" in [part.name for part in parse_optimizer(recipe.optimizer)[1:]]))
    if passes > 1:
        lines.append(f"{recipe.loss} with {recipe.optimizer}: a step costs {passes} times a plain one")
    if recipe.class_weight == "balanced":
        lines.append("class weights balanced: rare classes count more in the loss")
    if recipe.sampling == "balanced":
        lines.append("sampling balanced: every class is drawn equally often in an epoch")
    return lines


def _start_lines(recipe: Recipe) -> list[str]:
    """Which weights a training starts from, and which layers are frozen."""
    if recipe.start is not None:
        scale = f", body at {recipe.body_lr_scale:g} times lr" if recipe.body_lr_scale != 1 else ""
        return [f"start {recipe.start}, head {recipe.head}, freeze {recipe.freeze}{scale}"]
    if recipe.freeze != "none" and "weights=" not in recipe.model and "pretrained=" not in recipe.model:
        return [f"freeze {recipe.freeze} without --start: the frozen layers keep their random weights"]
    return []


def _describe_seen(recipe: Recipe, runs: Path, data: LoadedData) -> str | None:
    """A warning where the source of a warm start was trained on images that validate here."""
    if recipe.start is None:
        return None
    from pocketlens.training.run import Run
    from pocketlens.training.warm_start import describe_seen

    is_head_taken = recipe.head in ("keep", "append")
    return describe_seen(Run.open(recipe.start, runs), data.dataset, data.split, head=is_head_taken)


def _require_validation(recipe: Recipe, data: LoadedData) -> None:
    """Refuses a recipe that chooses by validation scores where there are no validation rows."""
    if needs_validation(recipe) and not len(data.split.val):
        from pocketlens.data.split import no_validation_rows

        raise PocketlensError(
            "keep=best, patience and schedule=plateau use validation scores, and there are no validation rows: "
            f"{no_validation_rows(data.dataset, data.split.val_fraction)}."
        )


def _with_model_of_start(request: TrainRequest) -> TrainRequest:
    """With a warm start and neither a recipe nor a model, the model is that of the source."""
    recipe = request.recipe
    start = recipe.changes.get("start")
    if start is None or recipe.recipe is not None or "model" in recipe.changes:
        return request
    from pocketlens.training.run import Run

    source = Run.open(start, request.runs)
    source.bind_code()
    model = source.experiment.recipe.model
    return replace(request, recipe=replace(recipe, changes={"model": model, **recipe.changes}))


def _require_source(recipe: Recipe, runs: Path) -> None:
    """Refuses a source that is not a run, before torch is imported."""
    if recipe.start is not None:
        from pocketlens.training.run import Run

        Run.open(recipe.start, runs)


def _open_source(recipe: Recipe, runs: Path) -> WarmStart | None:
    """The source of a warm start, whose checkpoint is read here and nowhere else; refused where nothing of it fits."""
    from pocketlens.training.warm_start import open_source

    source = open_source(Experiment("", recipe), runs)
    _check_source(source, recipe, None)
    return source


def _check_source(source: WarmStart | None, recipe: Recipe, channels: int | None) -> None:
    """Refuses a source of which nothing fits; the channels of the images are known once data has been read."""
    if source is not None:
        from pocketlens.training.warm_start import check_source

        check_source(source.checkpoint, source.id, recipe, channels)


def _started(source: WarmStart | None, experiment: Experiment) -> WarmStart | None:
    """The source of the final experiment, which is that of the recipe as it was typed."""
    if source is None:
        return None
    from pocketlens.training.warm_start import reuse_source

    return reuse_source(source, experiment)


def _experiment(request: TrainRequest, recipe: Recipe, data: LoadedData) -> Experiment:
    corrections = data.corrections
    return Experiment(
        data=data.dataset.text,
        recipe=recipe,
        val_fraction=data.split.val_fraction,
        split_seed=request.data.split_seed,
        data_fingerprint=data.dataset.fingerprint,
        label=request.label,
        made_by="train",
        rows=request.data.rows,
        relabel_hash="" if corrections is None else corrections.hash,
        n_relabelled=0 if corrections is None else corrections.n,
        hold_out=data.dataset.hold_out,
    )


def _create(task: _Task, experiment: Experiment) -> Run:
    """A new run, which the first rank makes and the others watch."""
    from pocketlens.training.run import Run, WatchedRun

    request, corrections, ranks = task.request, task.data.corrections, task.where.ranks
    if not ranks.is_first:
        return WatchedRun(ranks.from_first(request.runs))
    text = None if corrections is None else corrections.text
    run = Run.create(experiment, task.data.split, request.runs, corrections=text)
    ranks.from_first(run.path.resolve())
    return run


def _say_seeds(result: TrainResult) -> Events[None]:
    if len(result.runs) > 1:
        over = result.over_seeds
        yield Line(str(over) if over else "there are no validation rows, so there is nothing to compare")
