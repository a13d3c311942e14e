"""Transfer: is a trained network a better start than a random one? Frozen, partial and full starts against scratch.

One study for each target and each model among the sources: all ways share the split and the seeds, and each is judged
against scratch in pairs (`verdicts`). They cost the same in one of two senses, which the table names: equal steps, or
equal multiply-adds of training, counted forward and backward, where a way that computes fewer gradients takes more
epochs. What the source itself has cost is not counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from pocketlens.data.dataset import Dataset
from pocketlens.data.split import Split
from pocketlens.errors import PocketlensError
from pocketlens.files import RUNS
from pocketlens.recipe import Recipe
from pocketlens.studies.compare import Comparison, question, read_comparison, start_comparison
from pocketlens.studies.overrides import Variant
from pocketlens.studies.store import Study
from pocketlens.training.classifier import Classifier
from pocketlens.training.device_images import apply_operations, operations
from pocketlens.training.freeze import freeze, groups_of
from pocketlens.training.model_facts import ModelFacts
from pocketlens.training.run import Run
from pocketlens.training.warm_start import check_source

WAYS = ("frozen", "partial", "full", "scratch")
EQUAL = ("steps", "multiply-adds")


@dataclass(frozen=True)
class Plan:
    """How the sources are used.

    Attributes:
        ways: some of WAYS.
        groups: of layers that `partial` freezes; None freezes the first half of them.
        head: new or append.
        equal: steps or multiply-adds.
        repeats, seed: how many seeds, from which on.
    """

    ways: tuple[str, ...] = WAYS
    groups: int | None = None
    head: str = "new"
    equal: str = "steps"
    repeats: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        unknown = [way for way in self.ways if way not in WAYS]
        if unknown or len(set(self.ways)) != len(self.ways) or not set(self.ways) - {"scratch"}:
            raise PocketlensError(
                f"ways must be some of {', '.join(WAYS)}, each once and not scratch alone, got "
                f"{', '.join(self.ways)!r}."
            )


@dataclass(frozen=True)
class Way:
    """A source used in one way: its recipe, what an image costs in training, and how many numbers train."""

    name: str
    source: str  # the run's id; empty for scratch
    recipe: Recipe
    multiply_adds: int  # of one image, forward and backward, at the full size
    n_trained: int


@dataclass(frozen=True)
class Line:
    """One line of the table."""

    source: str
    target: str
    way: str
    freeze: str
    epochs: float
    n_trained: int
    multiply_adds: float  # of the training: epochs * rows * one image at the full size
    n: int
    mean: float | None
    sd: float | None
    low: float | None
    high: float | None
    gain: float | None  # paired difference to scratch
    gain_low: float | None
    gain_high: float | None
    p: float | None  # corrected over all pairs with scratch (Holm)
    verdict: str  # better, worse, cannot tell; empty where there is nothing to compare with
    seconds: float


def check_sources(sources: Sequence[Run], base: Recipe, dataset: Dataset) -> None:
    """Refuses sources of which nothing fits or that are of another model than the base.

    Raises:
        PocketlensError: one of them is such; it says which.
    """
    for source in sources:
        checkpoint = source.checkpoint()
        check_source(checkpoint, source.id, base, dataset.shape[2])
        model = ModelFacts.of(checkpoint, f"run {source.id}").model
        if model != base.model:
            raise PocketlensError(f"run {source.id} is a {model}, the recipe's model is {base.model}; give one model.")


def make_ways(sources: Sequence[Run], base: Recipe, dataset: Dataset, plan: Plan) -> list[Way]:
    """Every source in every way, and scratch once; all have the base's recipe but for their start.

    Raises:
        PocketlensError: the net has not so many groups of layers.
    """
    shape, n_classes = _prepared(base, dataset), len(dataset.classes)
    plain = base.changed(start=None, head="keep", freeze="none", body_lr_scale=1.0)
    scratch = _way("scratch", "", plain, shape, (), n_classes)
    ways = [scratch] if "scratch" in plan.ways else []
    for source in sources:
        facts = ModelFacts.of(source.checkpoint(), f"run {source.id}")
        outputs = (*facts.appended, *([len(facts.classes)] if plan.head == "append" else []))
        n_groups = plan.groups or max(1, len(groups_of(_net(base, shape, outputs, n_classes))) // 2)
        frozen = {"frozen": "body", "partial": f"groups({n_groups})", "full": "none"}
        for way in (way for way in plan.ways if way != "scratch"):
            started = base.changed(start=str(source.path.resolve()), head=plan.head, freeze=frozen[way])
            name = way if len(sources) == 1 else f"{way} {source.id}"
            ways.append(_way(name, source.id, started, shape, outputs, n_classes))
    if plan.equal == "steps":
        return ways
    most = scratch.multiply_adds
    longer = [way.recipe.changed(epochs=way.recipe.epochs * most / way.multiply_adds) for way in ways]
    return [replace(way, recipe=recipe) for way, recipe in zip(ways, longer, strict=True)]


def start_transfer(
    ways: Sequence[Way], data: tuple[Dataset, Split], plan: Plan, named: dict[str, str], runs: Path = RUNS
) -> Study:
    """A new study of these ways; `named` holds its label and made_by. `run_study` runs it, `pocketlens study` too."""
    dataset, split = data
    asked = question(
        dataset,
        split,
        ways[0].recipe,
        kind="compare",
        repeats=plan.repeats,
        seed=plan.seed,
        judge="base" if ways[0].name == "scratch" else "all pairs",
        equal=plan.equal,
        ways=[
            {"name": way.name, "source": way.source, "multiply_adds": way.multiply_adds, "n_trained": way.n_trained}
            for way in ways
        ],
        **named,
    )
    return start_comparison(asked, split, [Variant(way.name, way.recipe) for way in ways], runs)


def read_lines(study: Study) -> list[Line]:
    """The table of a study, as far as its trials have ended."""
    comparison = read_comparison(study)
    return [_line(study, comparison, number) for number in range(len(comparison.arms))]


def _line(study: Study, comparison: Comparison, number: int) -> Line:
    arm, way = comparison.arms[number], study.asked["ways"][number]
    with_scratch = [v for v in comparison.verdicts if v.first == "scratch" and v.second == arm.name]
    verdict = with_scratch[0] if with_scratch else None
    seen = verdict.difference if verdict else None
    n = sum(status == "complete" for status in arm.statuses)
    return Line(
        way["source"],
        study.asked["data"],
        arm.name.partition(" ")[0],
        arm.recipe.freeze,
        arm.recipe.epochs,
        way["n_trained"],
        arm.recipe.epochs * study.asked["n_train"] * way["multiply_adds"],
        n,
        arm.mean,
        arm.sd,
        arm.low,
        arm.high,
        seen.mean if seen else None,
        seen.low if seen else None,
        seen.high if seen else None,
        verdict.p_holm if verdict else None,
        verdict.word if verdict and seen and seen.n > 1 else "",
        arm.seconds / n if n else 0.0,
    )


def _way(
    name: str, source: str, recipe: Recipe, shape: tuple[int, int, int], outputs: tuple[int, ...], n_classes: int
) -> Way:
    net = _net(recipe, shape, outputs, n_classes)
    freeze(net, recipe.freeze)
    counter = FlopCounterMode(display=False)
    with counter:  # on tensors without data: forward, and the gradients of what trains
        net(torch.zeros(2, shape[2], *shape[:2], device="meta")).sum().backward()
    n_trained = sum(parameter.numel() for parameter in net.parameters() if parameter.requires_grad)
    return Way(name, source, recipe, counter.get_total_flops() // 4, n_trained)


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
