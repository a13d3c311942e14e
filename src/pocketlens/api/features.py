"""Features: `pl.features` and `pocketlens features` fit a classical classifier on what a network sees.

The network is that of a run, or a pretrained body of timm.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pocketlens.api.calls import run_call
from pocketlens.api.requests import (
    Code,
    DataRequest,
    Machine,
    RecipeRequest,
    TrainRequest,
    build,
    check_runs,
    name_request,
    signed,
)
from pocketlens.api.results import RunResult
from pocketlens.api.runs import find_run
from pocketlens.api.train import training
from pocketlens.components import parse_pipe
from pocketlens.errors import PocketlensError, closest
from pocketlens.events import Doing, Events, Fact, Line
from pocketlens.files import RUNS
from pocketlens.models._bodies import BODIES, Body, find_body, probe_recipe
from pocketlens.recipe import Experiment, Recipe, read_recipe

KINDS = ("probe", "forest", "logistic", "knn")

if TYPE_CHECKING:
    from pocketlens.api.runs import RunLike
    from pocketlens.training.run import Run


@dataclass(frozen=True)
class FeaturesRequest:
    """What is fitted on the features of which run or pretrained body.

    Attributes:
        run: a run, or the name of a body such as tf_efficientnet_lite0.
        kind: probe (a linear head whose penalty is chosen by cross-validation), forest, logistic (logistic regression
            with a given penalty) or knn (nearest neighbours); None: probe for a body, logistic for a run.
        trees: trees of the forest (200).
        C: inverse penalty of the logistic regression (1).
        k: neighbours that vote (15).
        layer: features before the `head`, or before its `last` layer.
        prepare: image operations; None takes those of the run or the body.
        seed: of the forest.
        code: the files of one's own that the run uses.
    """

    data: DataRequest
    run: RunLike = "last"
    machine: Machine = field(default_factory=Machine)
    kind: str | None = None
    trees: int | None = None
    C: float | None = None
    k: int | None = None
    layer: str = "head"
    prepare: str | None = None
    seed: int = 0
    label: str = ""
    runs: Path = RUNS
    code: Code = ()


def features(run: RunLike, dataset: str | Path, *, verbose: bool = True, **options: Any) -> RunResult:
    """Fits a linear probe, a forest, a logistic regression or nearest neighbours on the features of a network.

    Args:
        run: the run, its folder, id or label, or "last"; or a pretrained body such as "tf_efficientnet_lite0".
        dataset: a path, or a component text such as `cifar100(labels='coarse')`.
        verbose: show the progress.
        options: the fields of FeaturesRequest and of the requests in it.

    Raises:
        PocketlensError: an option or the data is not what it must be.
    """
    return run_call(fitting(build(FeaturesRequest, {"run": run, "dataset": dataset}, options)), verbose=verbose)


signed(features, FeaturesRequest)


def fitting(request: FeaturesRequest) -> Events[RunResult]:
    """The events of `features`."""
    name_request(request.code, request.data, None, request.prepare)
    request.data.check()
    check_runs(request.runs)
    if request.prepare is not None:
        parse_pipe(request.prepare, "operations")
    source = _source(request)
    kind = request.kind or ("probe" if isinstance(source, Body) else "logistic")
    if kind not in KINDS:
        raise PocketlensError(f"the head to fit must be one of {', '.join(KINDS)}, got {kind!r}.")
    if kind == "probe":
        return (yield from _probing(request, _probe_recipe(source, request.prepare)))
    return (yield from _fitting(request, source, kind))


def _source(request: FeaturesRequest) -> Body | Run:
    """The body that the request names, else its run."""
    body = find_body(request.run) if isinstance(request.run, str) else None
    if body is not None:
        return body
    try:
        return find_run(request.run, request.runs)
    except PocketlensError as error:
        if isinstance(request.run, str) and request.run != "last":
            hint = closest(request.run, [each.name for each in BODIES])
            raise PocketlensError(
                f"{request.run!r} must be a run in {request.runs} or a pretrained body, and is neither.{hint}"
            ) from None
        raise error


def _probe_recipe(source: Body | Run, prepare: str | None) -> Recipe:
    """The recipe `probe` for a body, or for the network of a run."""
    if isinstance(source, Body):
        recipe = probe_recipe(source.name)
        return recipe if prepare is None else recipe.changed(prepare=prepare)
    before = source.experiment.recipe
    return read_recipe("probe").changed(
        model=before.model,
        prepare=before.prepare if prepare is None else prepare,
        normalize=before.normalize,
        start=str(source.path.resolve()),
    )


def _probing(request: FeaturesRequest, recipe: Recipe) -> Events[RunResult]:
    asked = TrainRequest(
        request.data,
        RecipeRequest(recipe),
        request.machine,
        seed=request.seed,
        label=request.label,
        runs=request.runs,
        code=request.code,
    )
    result = yield from training(asked)
    return result.last


def _fitting(request: FeaturesRequest, source: Body | Run, kind: str) -> Events[RunResult]:
    from pocketlens.api.data import aim_at, load_data

    if request.data.relabel is not None:
        raise PocketlensError(f"relabel is for the head probe and not for {kind}; leave it out, or take head='probe'.")
    yield Doing("loading PyTorch and the data")
    device = request.machine.prepare()
    from pocketlens.training.dry_run import try_weights
    from pocketlens.training.fit_head import DEFAULTS, HeadSpec, fit_head
    from pocketlens.training.warm_start import describe_seen

    size = {"forest": request.trees, "logistic": request.C, "knn": request.k}.get(kind)
    head = HeadSpec(kind, float(size or DEFAULTS[kind]), request.layer)
    sources = () if isinstance(source, Body) else (source,)
    if isinstance(source, Body):
        recipe = _probe_recipe(source, request.prepare).changed(head="keep")
        try_weights(recipe)
        name = made_by = source.name
    else:
        recipe = source.experiment.recipe.changed(start=str(source.path.resolve()), head="keep", freeze="body")
        recipe = recipe if request.prepare is None else recipe.changed(prepare=request.prepare)
        name, made_by = f"run {source.id} ({recipe.model})", source.id
    data = yield from load_data(request.data, aim_at(recipe, sources), sources)
    yield Fact("features", f"of {name}, images prepared by {recipe.prepare}; {head}")
    seen = None if isinstance(source, Body) else describe_seen(source, data.dataset, data.split, head=False)
    if seen is not None:
        yield Fact("", seen)
    experiment = Experiment(
        data=data.dataset.text,
        recipe=recipe,
        seed=request.seed,
        val_fraction=data.split.val_fraction,
        split_seed=request.data.split_seed,
        rows=request.data.rows,
        data_fingerprint=data.dataset.fingerprint,
        label=request.label,
        made_by=f"features of {made_by}",
        hold_out=data.dataset.hold_out,
    )
    fitting = fit_head(experiment, data.dataset, data.split, head, runs=request.runs, device=device)
    result = RunResult((yield from fitting))
    for line in result.lines():
        yield Line(line)
    return result
