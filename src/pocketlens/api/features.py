"""Features: `pl.features` and `pocketlens features` fit a classical classifier on what a trained network sees."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pocketlens.api.calls import run_call
from pocketlens.api.requests import Code, DataRequest, Machine, build, check_runs, name_request
from pocketlens.api.results import RunResult
from pocketlens.api.runs import find_run
from pocketlens.components import parse_pipe
from pocketlens.events import Events, Fact, Line
from pocketlens.files import RUNS
from pocketlens.recipe import Experiment

KINDS = ("forest", "logistic", "knn")

if TYPE_CHECKING:
    from pocketlens.api.runs import RunLike


@dataclass(frozen=True)
class FeaturesRequest:
    """What is fitted on the features of which run.

    Attributes:
        kind: forest, logistic (logistic regression) or knn (nearest neighbours).
        trees: trees of the forest (200).
        C: inverse penalty of the logistic regression (1).
        k: neighbours that vote (15).
        layer: features before the `head`, or before its `last` layer.
        prepare: image operations; None takes those of the run.
        seed: of the forest.
        code: the files of one's own that the run uses.
    """

    data: DataRequest
    run: RunLike = "last"
    machine: Machine = field(default_factory=Machine)
    kind: str = "logistic"
    trees: int | None = None
    C: float | None = None
    k: int | None = None
    layer: str = "head"
    prepare: str | None = None
    seed: int = 0
    label: str = ""
    runs: Path = RUNS
    code: Code = ()


def features(run: RunLike, dataset: str, *, verbose: bool = True, **options: Any) -> RunResult:
    """Fits a forest, a logistic regression or nearest neighbours on a trained network's features.

    Args:
        run: the run, its folder, id or label, or "last".
        dataset: a path, or a component text such as `cifar100(labels='coarse')`.
        verbose: show the progress.
        options: the fields of FeaturesRequest and of the requests in it.

    Raises:
        PocketlensError: an option or the data is not what it must be.
    """
    return run_call(fitting(build(FeaturesRequest, {"run": run, "dataset": dataset}, options)), verbose=verbose)


def fitting(request: FeaturesRequest) -> Events[RunResult]:
    """The events of `features`."""
    name_request(request.code, request.data, None, request.prepare)
    request.data.check()
    check_runs(request.runs)
    if request.prepare is not None:
        parse_pipe(request.prepare, "operations")
    from pocketlens.api.data import aim_at, load_data

    source = find_run(request.run, request.runs)
    device = request.machine.prepare()
    from pocketlens.training.fit_head import DEFAULTS, HeadSpec, fit_head

    size = {"forest": request.trees, "logistic": request.C, "knn": request.k}.get(request.kind)
    head = HeadSpec(request.kind, float(size or DEFAULTS.get(request.kind, 1)), request.layer)
    recipe = source.experiment.recipe
    prepare = recipe.prepare if request.prepare is None else request.prepare
    data = yield from load_data(request.data, aim_at(recipe.changed(prepare=prepare), (source,)), (source,))
    yield Fact("features", f"of run {source.id} ({recipe.model}), images prepared by {prepare}; {head}")
    experiment = Experiment(
        data=data.dataset.text,
        recipe=recipe.changed(start=str(source.path.resolve()), head="keep", freeze="body", prepare=prepare),
        seed=request.seed,
        val_fraction=request.data.val_fraction,
        split_seed=request.data.split_seed,
        rows=request.data.rows,
        data_fingerprint=data.dataset.fingerprint,
        label=request.label,
        made_by=f"features of {source.id}",
        hold_out=data.dataset.hold_out,
    )
    parts = data.dataset, data.split
    result = RunResult((yield from fit_head(experiment, parts, head, runs=request.runs, device=device)))
    for line in result.lines():
        yield Line(line)
    return result
