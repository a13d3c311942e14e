"""Transfer: is a trained network a better start than a random one? Frozen, partial and full starts against scratch.

One study for each target and each model among the sources: all strategies share the split and the seeds, and each is
compared with scratch over the seeds (significance.py). They cost the same in one of two senses, which the table names:
equal steps, or equal multiply-adds of training, counted forward and backward, where a strategy that computes fewer
gradients trains for more epochs. The cost of training the source is not counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from pocketlens.errors import PocketlensError
from pocketlens.recipe import Recipe
from pocketlens.studies.compare import Candidate, Comparison, read_comparison
from pocketlens.studies.overrides import Variant
from pocketlens.studies.spec import ComparisonSpec, Pairs, Strategy, TransferSpec
from pocketlens.studies.store import Study
from pocketlens.training.classifier import Classifier
from pocketlens.training.device_images import apply_operations, operations
from pocketlens.training.freeze import freeze, groups_of
from pocketlens.training.model_facts import ModelFacts
from pocketlens.training.run import Run
from pocketlens.training.warm_start import check_source

if TYPE_CHECKING:
    from pocketlens.data.dataset import Dataset

STRATEGIES = ("frozen", "partial", "full", "scratch")


@dataclass(frozen=True)
class TransferPlan:
    """How the sources are used.

    Attributes:
        strategies: some of STRATEGIES.
        groups: how many groups of layers `partial` freezes; None freezes the first half of them.
        head: new or append.
        equal: what all strategies spend alike: steps or multiply-adds.
        repeats: seeds per strategy, counted up from `seed`.
    """

    strategies: tuple[str, ...] = STRATEGIES
    groups: int | None = None
    head: str = "new"
    equal: str = "steps"
    repeats: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        given = self.strategies
        unknown = [name for name in given if name not in STRATEGIES]
        if unknown or len(set(given)) != len(given) or not set(given) - {"scratch"}:
            raise PocketlensError(
                f"--strategies must be some of {', '.join(STRATEGIES)}, each once and not only scratch, got "
                f"{', '.join(given)!r}."
            )


@dataclass(frozen=True)
class Line:
    """One line of the table: a source, a target and a strategy."""

    source: str
    target: str
    strategy: str
    freeze: str
    epochs: float
    n_trained: int
    multiply_adds: float  # of the whole training: epochs * rows * one image at the full size
    n: int
    mean: float | None
    sd: float | None
    low: float | None
    high: float | None
    gain: float | None  # paired difference to scratch
    gain_low: float | None
    gain_high: float | None
    p: float | None  # corrected over all pairs with scratch (Holm)
    verdict: Literal["better", "worse", "cannot tell", ""]  # empty where there is nothing to compare with
    seconds: float  # of one repeat


def check_sources(sources: Sequence[Run], base: Recipe, dataset: Dataset) -> None:
    """Refuses sources whose weights do not fit or whose model is not that of the base.

    Raises:
        PocketlensError: one of them is such a source, which the message names.
    """
    for source in sources:
        checkpoint = source.checkpoint()
        check_source(checkpoint, source.id, base, dataset.shape[2])
        model = ModelFacts.of(checkpoint, f"run {source.id}").model
        if model != base.model:
            raise PocketlensError(
                f"run {source.id} has the model {model}, the recipe has {base.model}; both must be the same."
            )


def make_strategies(sources: Sequence[Run], base: Recipe, dataset: Dataset, plan: TransferPlan) -> list[Strategy]:
    """Every strategy with every source, and scratch once; all have the base recipe except for their start.

    Raises:
        PocketlensError: the network has fewer groups of layers than are to be frozen.
    """
    shape, n_classes = _prepared(base, dataset), len(dataset.classes)
    plain = base.changed(start=None, head="keep", freeze="none", body_lr_scale=1.0)
    scratch = _strategy("scratch", "", plain, shape, (), n_classes)
    strategies = [scratch] if "scratch" in plan.strategies else []
    for source in sources:
        facts = ModelFacts.of(source.checkpoint(), f"run {source.id}")
        outputs = (*facts.appended, *([len(facts.classes)] if plan.head == "append" else []))
        n_groups = plan.groups or max(1, len(groups_of(_net(base, shape, outputs, n_classes))) // 2)
        frozen = {"frozen": "body", "partial": f"groups({n_groups})", "full": "none"}
        for kind in (kind for kind in plan.strategies if kind != "scratch"):
            started = base.changed(start=str(source.path.resolve()), head=plan.head, freeze=frozen[kind])
            name = kind if len(sources) == 1 else f"{kind} {source.id}"
            strategies.append(_strategy(name, source.id, started, shape, outputs, n_classes))
    if plan.equal == "steps":
        return strategies
    most = scratch.multiply_adds
    epochs = [each.recipe.epochs * most / each.multiply_adds for each in strategies]
    return [replace(each, recipe=each.recipe.changed(epochs=n)) for each, n in zip(strategies, epochs, strict=True)]


def transfer_design(strategies: Sequence[Strategy], plan: TransferPlan) -> ComparisonSpec:
    """The design of a study of these strategies, for `make_spec`; `start_comparison` creates the study."""
    pairs: Pairs = "base" if strategies[0].name == "scratch" else "all pairs"
    candidates = tuple(Variant(strategy.name, strategy.recipe) for strategy in strategies)
    transfer = TransferSpec(plan.equal, tuple(strategies))
    return ComparisonSpec(candidates, plan.repeats, plan.seed, pairs, transfer=transfer)


def read_lines(study: Study) -> list[Line]:
    """The table of a study, as far as its trials have ended.

    Raises:
        PocketlensError: the study is not a transfer.
    """
    comparison, transfer = read_comparison(study), study.spec.comparison.transfer
    if transfer is None:
        raise PocketlensError(f"study {study.id} must be a transfer, and is a {study.spec.kind}.")
    pairs = zip(comparison.candidates, transfer.strategies, strict=True)
    return [_line(study, comparison, candidate, strategy) for candidate, strategy in pairs]


def _line(study: Study, comparison: Comparison, candidate: Candidate, strategy: Strategy) -> Line:
    with_scratch = [v for v in comparison.verdicts if v.first == "scratch" and v.second == candidate.name]
    verdict = with_scratch[0] if with_scratch else None
    seen = verdict.difference if verdict else None
    n = sum(status == "complete" for status in candidate.statuses)
    recipe = candidate.recipe
    return Line(
        source=strategy.source,
        target=study.spec.data,
        strategy=candidate.name.partition(" ")[0],
        freeze=recipe.freeze,
        epochs=recipe.epochs,
        n_trained=strategy.n_trained,
        multiply_adds=recipe.epochs * study.spec.n_train * strategy.multiply_adds,
        n=n,
        mean=candidate.mean,
        sd=candidate.sd,
        low=candidate.low,
        high=candidate.high,
        gain=seen.mean if seen else None,
        gain_low=seen.low if seen else None,
        gain_high=seen.high if seen else None,
        p=verdict.p_holm if verdict else None,
        verdict=verdict.word if verdict and seen and seen.n > 1 else "",
        seconds=candidate.seconds / n if n else 0.0,
    )


def _strategy(
    name: str, source: str, recipe: Recipe, shape: tuple[int, int, int], outputs: tuple[int, ...], n_classes: int
) -> Strategy:
    net = _net(recipe, shape, outputs, n_classes)
    freeze(net, recipe.freeze)
    counter = FlopCounterMode(display=False)
    with counter:  # on meta tensors: forward, and the gradients of the trainable parameters
        net(torch.zeros(2, shape[2], *shape[:2], device="meta")).sum().backward()
    n_trained = sum(parameter.numel() for parameter in net.parameters() if parameter.requires_grad)
    return Strategy(name, source, recipe, counter.get_total_flops() // 4, n_trained)


def _net(recipe: Recipe, shape: tuple[int, int, int], outputs: tuple[int, ...], n_classes: int) -> nn.Module:
    facts = ModelFacts(
        model=recipe.model,
        prepare=recipe.prepare,
        shape=shape,
        image_shape=shape,
        classes=tuple(str(n) for n in range(n_classes)),
        superclasses=None,
        superclass_of=None,
        levels=None,
        mean=(0.0,) * shape[2],
        std=(1.0,) * shape[2],
        seed=0,
        appended=outputs,
    )
    with torch.device("meta"):
        return Classifier(facts).net


def _prepared(recipe: Recipe, dataset: Dataset) -> tuple[int, int, int]:
    blank = torch.empty((1, *dataset.shape), dtype=torch.uint8, device="meta")
    height, width, channels = apply_operations(operations(recipe.prepare), blank).shape[1:]
    return height, width, channels
