"""Transfer: `pl.transfer` compares starts from a trained run with training from scratch, at equal cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pocketlens.api.calls import run_call
from pocketlens.api.requests import build, name_request, signed
from pocketlens.api.resources import reserve
from pocketlens.api.shown import Shown
from pocketlens.api.study import StudyRequest, load_study_data, run_comparison
from pocketlens.display.screen import table
from pocketlens.errors import PocketlensError
from pocketlens.events import Doing, Events, Fact
from pocketlens.text import counted

if TYPE_CHECKING:
    from pocketlens.api.study_results import ComparisonResult
    from pocketlens.studies.executors import Resources
    from pocketlens.studies.transfer import Line as Row
    from pocketlens.studies.transfer import TransferPlan
    from pocketlens.training.run import Run

_LEFT_OUT = ("source", "target", "trainable", "epochs")  # columns that the terminal leaves out where all are alike
STRATEGIES = ("frozen", "partial", "full", "scratch")


@dataclass(frozen=True)
class TransferRequest:
    """Sources, targets and how the sources are used.

    Attributes:
        source: the run to start from; `also_from` are further ones, of the same model.
        also_to: further targets, beside the data set.
        strategies: some of STRATEGIES.
        groups: groups of layers that `partial` freezes; None: half of them.
        equal: what all strategies spend alike, steps or multiply-adds.
        head: new or append.
    """

    study: StudyRequest
    source: str = "last"
    also_from: tuple[str, ...] = ()
    also_to: tuple[str, ...] = ()
    strategies: tuple[str, ...] = STRATEGIES
    groups: int | None = None
    equal: str = "steps"
    head: str = "new"
    repeat: int = 3


@dataclass(frozen=True, eq=False)
class TransferResult(Shown):
    """A study for each target, and the table of all of them; `signal` is what stopped it, or None."""

    equal: str
    studies: tuple[ComparisonResult, ...]
    rows: tuple[Row, ...]
    signal: int | None = None

    @property
    def folders(self) -> tuple[Path, ...]:
        """The folders of the studies."""
        return tuple(each.study.path for each in self.studies)

    @property
    def exit_code(self) -> int:
        """0: all trials have a result; 3: none has; 4: some have none; 128 + the signal that stopped it."""
        codes = [each.exit_code for each in self.studies]
        return max(codes) if max(codes) > 100 or min(codes) == max(codes) else 4

    def lines(self) -> list[str]:
        """The table, for a person."""
        from pocketlens.report.study.transfer_table import HEADER, notes, table_rows

        rows = table_rows(list(self.rows))
        several = [name for place, name in enumerate(HEADER) if len({row[place] for row in rows}) > 1]
        kept = [place for place, name in enumerate(HEADER) if name in several or name not in _LEFT_OUT]
        return [
            *table([tuple(row[place] for place in kept) for row in rows], tuple(HEADER[place] for place in kept)),
            notes(self.equal),
            f"table    {self.folders[-1] / 'transfer.md'}, and as .csv and .json beside it",
            "next: pocketlens train DATASET --start RUN with the best strategy's options, then pocketlens test last",
        ]

    def to_dict(self) -> dict[str, Any]:
        """What `--json` gives."""
        folders = [str(path) for path in self.folders]
        values = {"equal": self.equal, "lines": [vars(row) for row in self.rows], "studies": folders}
        return {**values, "next": f"pocketlens study {self.folders[-1].name}"}


def transfer(source: str, dataset: str | Path, *, verbose: bool = True, **options: Any) -> TransferResult:
    """Compares training from a run's weights (frozen, partial, full) with training from scratch.

    Args:
        source: the run to start from: its folder, id or label, or "last".
        dataset: a path, or a component text such as `cifar100(labels='coarse')`.
        verbose: show the progress.
        options: the fields of TransferRequest and of the requests in it, and the fields of Recipe that differ.

    Raises:
        PocketlensError: an option or the data is not what it must be.
    """
    return run_call(
        transferring(build(TransferRequest, {"dataset": dataset, "source": str(source)}, options)), verbose=verbose
    )


signed(transfer, TransferRequest)


def transferring(request: TransferRequest) -> Events[TransferResult]:
    """The events of `transfer`."""
    from pocketlens.datasets import component
    from pocketlens.training.run import Run

    name_request(request.study.code, request.study.data, request.study.recipe, *request.also_to)
    for text in request.also_to:
        component(text, must_exist=True)
    for name in ("start", "freeze"):
        if name in request.study.recipe.changes:
            raise PocketlensError(f"transfer sets --{name} itself, from SOURCE and --strategies; leave it out.")
    if request.head not in ("new", "append"):
        raise PocketlensError(f"--head must be new or append, got {request.head}.")
    sources = [Run.open(name, request.study.runs) for name in (request.source, *request.also_from)]
    request = _with_model_of(sources[0], request)
    request.study.check()
    from pocketlens.report.study.transfer_table import write_table
    from pocketlens.studies.transfer import TransferPlan

    plan = TransferPlan(
        request.strategies, request.groups, request.head, request.equal, request.repeat, request.study.seed
    )
    rows: list[Row] = []
    results: list[ComparisonResult] = []
    yield Doing("loading PyTorch and the data")
    with reserve(request.study.wanted) as reserved:
        yield from reserved.facts
        for text in (request.study.data.dataset, *request.also_to):
            study = replace(request.study, data=replace(request.study.data, dataset=text))
            target = replace(request, study=study)
            result = yield from _one_target(target, sources, plan, reserved.resources)
            results.append(result)
            rows += _rows_of(result)
            if result.signal is not None:
                break
    write_table(results[-1].study.path, rows, plan.equal)
    return TransferResult(plan.equal, tuple(results), tuple(rows), results[-1].signal)


def _one_target(
    request: TransferRequest, sources: Sequence[Run], plan: TransferPlan, resources: Resources
) -> Events[ComparisonResult]:
    from pocketlens.studies.compare import start_comparison
    from pocketlens.studies.spec import make_spec
    from pocketlens.studies.transfer import check_sources, make_strategies, transfer_design
    from pocketlens.training.dry_run import try_recipe

    data = yield from load_study_data(request.study, resources.limits.device, sources)
    dataset, split, base = data.loaded.dataset, data.loaded.split, data.base
    check_sources(sources, base, dataset)
    try_recipe(base, dataset.shape, len(dataset.classes))
    strategies = make_strategies(sources, base, dataset, plan)
    for each in strategies:
        recipe = each.recipe
        used = f"freeze {recipe.freeze}, head {recipe.head}, {counted(recipe.epochs, 'epoch', digits=3)}"
        cost = f"{counted(each.n_trained, 'trainable parameter')}, {each.multiply_adds:,} multiply-adds per image"
        yield Fact("strategy", f"{each.name}: {used}, {cost}")
    design = transfer_design(strategies, plan)
    spec = make_spec(
        dataset, split, strategies[0].recipe, design, label=request.study.label, made_by=request.study.made_by
    )
    study = start_comparison(spec, split, request.study.runs)
    yield Fact(
        "study",
        f"{study.id}: {counted(len(strategies), 'strategy')}, {counted(plan.repeats, 'repeat')}, in {study.path}",
    )
    return (yield from run_comparison(study, resources))


def _rows_of(result: ComparisonResult) -> list[Row]:
    from pocketlens.studies.transfer import read_lines

    return read_lines(result.study)


def _with_model_of(source: Run, request: TransferRequest) -> TransferRequest:
    """Without a recipe and without a model, the model is that of the source."""
    recipe = request.study.recipe
    if recipe.recipe is not None or "model" in recipe.changes:
        return request
    source.bind_code()
    changes = {**recipe.changes, "model": source.experiment.recipe.model}
    study = replace(request.study, recipe=replace(recipe, changes=changes))
    return replace(request, study=study)
