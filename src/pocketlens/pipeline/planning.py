"""Measures how fast the recipe runs on this machine, for the plan, and puts the plan into words."""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import replace

from pocketlens.events import Note, Stage, Step
from pocketlens.pipeline.approaches import SCRATCH
from pocketlens.pipeline.look import expected_seconds
from pocketlens.pipeline.plan import Plan, PlanInputs, PlannedPhase, make_plan
from pocketlens.pipeline.short_training import describe_short, short_split
from pocketlens.pipeline.state import AutoState, Measured
from pocketlens.pipeline.task import Task
from pocketlens.recipe import Experiment, Recipe, read_recipe
from pocketlens.text import counted, format_duration
from pocketlens.training.budget import plan_steps
from pocketlens.training.frontier import mean_multiply_adds, recipe_for
from pocketlens.training.precision import Shape, choose_precision

MEASURED_BATCH, MEASURED_VAL = 256, 500  # images of a measured step, and of a measured validation
CHEAP_STEP = 3e11  # FLOP, about a second on two cores: such steps are measured as they are
FEW_EPOCHS = 1.5  # of a large set's recipe in the final training; with fewer, the recipe `small` learns more
TOO_LITTLE = 0.3  # of the time for the final training


def plan_inputs(task: Task) -> Generator[Step, None, PlanInputs]:
    """What a plan is made from; measures the recipe first if it has not been measured since it changed."""
    session = task.session
    base, n_val, n_test = session.state.base, len(task.split.val), len(task.sealed)
    recipe = base.changed(epochs=1.0, lr=1.0)  # the two fields that do not affect speed
    measured = session.state.measured
    if measured is None or measured.recipe != recipe:
        yield Step("measuring this machine", 0, 1)
        measured = _measure(task, recipe)
        session.save(replace(session.state, measured=measured))
        yield Step("measuring this machine", 1, 1)
    state, device_startup = session.state, 5.0 if task.limits.device == "cuda" else 0.0
    return PlanInputs(
        limit=session.limit,
        n_train=len(task.split.train),
        n_val=n_val,
        n_final=len(task.dataset) if state.opens else len(task.split.train),
        epochs=base.epochs,
        batch_size=base.batch_size,
        train_seconds=measured.train_seconds,
        predict_seconds=measured.predict_seconds,
        startup=1.5 + 0.5 * state.loading + device_startup + state.excess,
        closing=min(3.0 + 1.5 * n_test * measured.predict_seconds + 5e-5 * n_test, 0.3 * session.limit),
        audit_seconds=expected_seconds(task.dataset, n_test),
        opens=state.opens,
    )


def settled(state: AutoState) -> set[str]:
    """The phases that need no time any more: those that have ended, and the check of a recipe that was judged."""
    approach = state.done.get("approach")
    judged = () if approach is None else approach.candidates
    return {*state.done, *("check" for each in judged if each.name == SCRATCH)}


def plan_recipe(task: Task) -> Generator[Stage | Note | Step, None, PlanInputs]:
    """Makes and shows the plan; first switches to a smaller network where the default would get too few epochs."""
    session = task.session
    yield from take_faster_precision(task)
    inputs = yield from plan_inputs(task)
    plan = make_plan(inputs, session.spent, settled(session.state))
    is_new, images = "plan" not in session.state.done, (task.dataset.shape, len(task.dataset.classes))
    while is_new and (shorter := _shorter(session.state.base, plan.epochs, inputs.n_final, *images)) is not None:
        base = session.state.base
        yield Note(
            f"only {counted(plan.epochs, 'epoch')} of {base.model} fit; switching to {shorter.model} in batches of "
            f"{shorter.batch_size:,}, which learns faster"
        )
        session.save(replace(session.state, base=shorter, measured=None))
        yield from take_faster_precision(task)
        inputs = yield from plan_inputs(task)
        plan = make_plan(inputs, session.spent, settled(session.state))
    stage = plan_stage(task, inputs, plan)
    yield session.finish_phase(stage) if is_new else stage
    return inputs


def _shorter(base: Recipe, epochs: float, n_train: int, shape: Shape, n_classes: int) -> Recipe | None:
    """A recipe that learns more where only so many epochs of the present one fit; None where there is none."""
    short = recipe_for(base, epochs, n_train, shape, n_classes)
    if short is not None:
        return short.changed(precision="fp32")  # until it is measured
    small = read_recipe("small").changed(augment=base.augment)
    return small if epochs < FEW_EPOCHS and base.changed(precision="fp32") != small else None


def take_faster_precision(task: Task) -> Generator[Note, None, None]:
    """Gives a recipe that has not been measured the precision that is faster here; says so where it was measured."""
    session, dataset = task.session, task.dataset
    if session.state.measured is not None:
        return
    base = session.state.base
    found = choose_precision(base, dataset.shape, len(dataset.classes), len(task.split.train), task.limits.device)
    if found.gain is not None:
        yield Note(str(found))
    session.save(replace(session.state, base=base.changed(precision=found.name)))


def plan_stage(task: Task, inputs: PlanInputs, plan: Plan) -> Stage:
    """The plan, line by line."""
    session, base, lines = task.session, task.session.state.base, []
    for phase in plan.phases:
        lines.append(f"{phase.name:<8} {format_duration(phase.seconds):>10}  {_describe(task, phase)}")
    lines += [f"skipped: {name} ({why})" for name, why in plan.skipped.items()]
    if not len(task.sealed) and not session.state.opens:
        held = "; validation rows are held out to the end" if len(task.split.val) else ""
        lines.append(f"there are no test images{held}")
    elif not session.state.opens:
        lines.append("the test set has been opened before and stays closed; validation rows are held out to the end")
    final = plan.phase("final")
    left = max(0.0, inputs.limit - session.spent)
    if final is None or (final.seconds <= TOO_LITTLE * left and final.epochs < base.epochs):
        lines.append("too little time: most of it is overhead, not training; allow a minute or more")
    speed = f"{1 / inputs.train_seconds:,.0f} images/s in training, {1 / inputs.predict_seconds:,.0f} in prediction"
    lines.append(f"measured: {speed}, with {base.model}")
    facts = {
        "session": session.id,
        "seconds": {phase.name: round(phase.seconds, 1) for phase in plan.phases},
        "epochs": plan.epochs,
        "left_out": plan.skipped,
        "image": inputs.train_seconds,
    }
    return Stage("plan", tuple(lines), facts)


def _measure(task: Task, recipe: Recipe) -> Measured:
    """Times some training steps at each size and one validation; on a CPU in smaller batches if steps take long."""
    base, n_train = task.session.state.base, len(task.split.train)
    n_val, device = min(len(task.split.val), MEASURED_VAL), task.limits.device
    smaller = max(1, base.batch_size // MEASURED_BATCH) if device == "cpu" and not _is_cheap(base, task) else 1
    timed = base.changed(batch_size=math.ceil(base.batch_size / smaller))
    experiment = Experiment(
        task.dataset.text, timed, data_fingerprint=task.dataset.fingerprint, hold_out=task.dataset.hold_out
    )
    split = short_split(task.split, task.dataset, n_train, n_val)
    budget = plan_steps(experiment, task.dataset, split, minutes=1e6, device=device)
    training = budget.seconds - math.ceil(base.epochs) * budget.seconds_per_validation
    train_seconds = training / (base.epochs * n_train)
    predict_seconds = budget.seconds_per_validation / n_val if n_val else train_seconds / 3
    steps = {size: smaller * seconds for size, seconds in budget.seconds_per_step.items()}
    return Measured(recipe, train_seconds, predict_seconds, steps)


def _is_cheap(recipe: Recipe, task: Task) -> bool:
    """Whether a whole step of a recipe is soon measured; in smaller batches the optimizer's part counts too often."""
    if recipe.batch_size <= MEASURED_BATCH:
        return True
    multiply_adds = mean_multiply_adds(recipe, task.dataset.shape, len(task.dataset.classes))
    return 6 * multiply_adds * recipe.batch_size <= CHEAP_STEP


def _describe(task: Task, phase: PlannedPhase) -> str:
    n, state = len(task.dataset), task.session.state
    match phase.name:
        case "look":
            return f"basic statistics{f', {phase.depth}' if phase.depth else ''}"
        case "check":
            return f"one short training of {state.base.model}: does it learn?"
        case "final":
            rows = (
                f"all {counted(n, 'development row')}"
                if state.opens
                else counted(len(task.split.train), "training row")
            )
            return f"about {counted(phase.epochs, 'epoch')} on {rows}"
        case "test":
            if state.folded:
                return "write the report; the folds have given the score"
            return "open the sealed test set once, write the report" if state.opens else "validation score and report"
    return describe_short(phase, len(task.split.train))
