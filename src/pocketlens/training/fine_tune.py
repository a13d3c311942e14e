"""fine_tune: trains a pretrained body from a linear probe on. LP-FT, Kumar et al. 2022, arXiv:2202.10054.

The head starts as the probe's, so the first gradients do not tear up features that are good already. The run is one
like any other, trained by `fit`: killed and resumed it is the same. A recipe asks for it with head="probe", such as the
named recipe `finetune`; `train` then fits the probe before step 0. `fine_tune` is for whoever has the run of a probe,
and `pocketlens train` makes one first, so that its scores are there to compare.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pocketlens.components import parse_pipe
from pocketlens.errors import PocketlensError
from pocketlens.files import RUNS
from pocketlens.recipe import Experiment, Recipe, read_recipe
from pocketlens.training.budget import plan_steps
from pocketlens.training.model_facts import ModelFacts
from pocketlens.training.run import Run, all_runs
from pocketlens.training.train import Event, train
from pocketlens.training.warm_start import count_seen, start_from

if TYPE_CHECKING:
    from pocketlens.data.dataset import Dataset
    from pocketlens.data.split import Split
    from pocketlens.training.checkpoint import Checkpoint

NAMED, PROBE = "finetune", "probe"  # recipes


@dataclass(frozen=True, eq=False)
class FineTuning:
    """What is fine-tuned, and in what time.

    Attributes:
        probe: a complete run with a linear head on the body; its split and its rows are used.
        dataset: the data that it was made with.
        minutes: from before the first step to the end, without the probe; None: the recipe's epochs.
        recipe: how; model, prepare and normalize are always those of the probe. None: the recipe `finetune`.
        seed: of order and augmentation.
        label, made_by: as in Experiment.
        device: where to compute.
    """

    probe: Run
    dataset: Dataset
    minutes: float | None = None
    recipe: Recipe | None = None
    seed: int = 0
    label: str = ""
    made_by: str = "fine_tune"
    device: str = "cpu"


def fine_tune(
    task: FineTuning, runs: Path = RUNS, *, name: str | None = None, save_every: int | None = None
) -> Generator[Event, None, Run]:
    """Trains the probe's body and head to the end of a schedule that fits the minutes, and returns the new run.

    The last event is a Note that says which interpolation between probe and fine-tuned weights was chosen. A run of
    this `name` that is there already, from before a kill, goes on.

    Args:
        task: what is fine-tuned.
        runs: the folder of runs.
        name: of the run's folder; None: a new id.
        save_every: steps between two checkpoints within an epoch.

    Raises:
        PocketlensError: the probe does not fit the data, the time is too short, or the training fails or diverges.
    """
    if name is not None and (runs / name / "experiment.json").is_file():
        run = Run(runs / name)
    else:
        run = Run.create(
            plan_fine_tuning(task, runs), task.probe.split, runs, corrections=task.probe.corrections(), name=name
        )
    yield from train(run, task.dataset, device=task.device, save_every=save_every)
    return run


def plan_fine_tuning(task: FineTuning, runs: Path = RUNS) -> Experiment:
    """The experiment of a fine-tuning, ready for `Run.create`; with minutes, steps are measured for it.

    Raises:
        PocketlensError: the probe does not fit the data, or the time is too short.
    """
    probe, checkpoint = task.probe, task.probe.checkpoint()
    check_probe(probe, checkpoint, task.dataset, probe.split)
    experiment = replace(  # the data, its rows and its labels are those of the probe
        probe.experiment,
        recipe=from_probe(task.recipe or read_recipe(NAMED), probe, runs),
        seed=task.seed,
        n_steps=None,
        stop_step=None,
        label=task.label,
        made_by=task.made_by,
        minutes=None,
        factors=None,
        alpha=None,
        start_weights="",
        start_outputs=(),
    )
    experiment = start_from(probe, checkpoint, experiment, runs).experiment
    if task.minutes is None:
        return experiment
    budget = plan_steps(experiment, task.dataset, probe.split, minutes=task.minutes, device=task.device)
    return replace(experiment, n_steps=budget.n_steps, minutes=task.minutes)


def probe_recipe(recipe: Recipe) -> Recipe:
    """The recipe of the probe from which a recipe with `head="probe"` starts."""
    return read_recipe(PROBE).changed(
        model=recipe.model, prepare=recipe.prepare, normalize=recipe.normalize, precision=recipe.precision
    )


def with_body_of(recipe: Recipe, probe: Recipe, side: int) -> Recipe:
    """A recipe with the model and the preparation of a probe's, and crops of `side` px, the size that its body sees."""
    return recipe.changed(
        model=probe.model,
        prepare=probe.prepare,
        normalize=probe.normalize,
        augment=_with_crops_of(recipe.augment, side),
    )


def from_probe(recipe: Recipe, probe: Run, runs: Path = RUNS) -> Recipe:
    """A recipe that starts from a probe: with its model and preparation, its head kept, and crops of its size."""
    side = ModelFacts.of(probe.checkpoint(), f"run {probe.id}").shape[0]
    start = probe.id if (runs / probe.id).is_dir() else str(probe.path.resolve())
    return with_body_of(recipe, probe.experiment.recipe, side).changed(start=start, head="keep")


def find_probe(experiment: Experiment, split: Split, runs: Path) -> Run | None:
    """The newest complete run of a probe's experiment, on the same rows; None where there is none."""
    wanted = _decides(experiment)
    for run in reversed(all_runs(runs)):
        try:
            same = _decides(run.experiment) == wanted and run.status()[0] == "complete"
            if same and all(map(np.array_equal, (run.split.train, run.split.val), (split.train, split.val))):
                run.checkpoint()
                return run
        except PocketlensError:
            continue  # a broken folder is no probe
    return None


def _decides(experiment: Experiment) -> Experiment:
    """What decides the weights of a probe, beside its rows."""
    return Experiment(
        experiment.data, experiment.recipe, experiment.seed, data_fingerprint=experiment.data_fingerprint,
        relabel_hash=experiment.relabel_hash,
    )  # fmt: skip


def check_probe(probe: Run, checkpoint: Checkpoint, dataset: Dataset, split: Split) -> None:
    """Makes sure that a fine-tuning on these rows can start from a run.

    Raises:
        PocketlensError: it is not complete, has other classes, or was trained on rows that validate here.
    """
    status = probe.status()[0]
    if status != "complete":
        raise PocketlensError(
            f"run {probe.id} must be complete before a fine-tuning starts from it, it is {status}; finish it with: "
            f"pocketlens resume {probe.id}"
        )
    classes = ModelFacts.of(checkpoint, f"run {probe.id}").classes
    if classes != dataset.classes:
        raise PocketlensError(
            f"run {probe.id} must have the classes of the data to start from its head, it has {len(classes)} others; "
            "leave out --start, and a probe on this data is fitted first."
        )
    n_seen = count_seen(probe, dataset, split)
    if n_seen:
        raise PocketlensError(
            f"run {probe.id} was trained on {n_seen} of the rows that validate here; give its --val-fraction "
            f"{probe.experiment.val_fraction:g} and --split-seed {probe.experiment.split_seed}, or leave out --start."
        )


def _with_crops_of(augment: str, side: int) -> str:
    """The augmentations with random resized crops, where they have a size, of `side` px."""
    parts = []
    for part in parse_pipe(augment, "augment"):
        crop = part.name == "random_resized_crop" and not part.file
        options = tuple((key, side if crop and key == "size" else value) for key, value in part.options)
        parts.append(str(replace(part, options=options)))
    return " | ".join(parts) or "none"
