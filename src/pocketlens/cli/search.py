"""`pocketlens search DATASET --space …` searches a space of recipes, and says how much of what it found is luck."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from pocketlens.cli.studies import (
    add_study,
    arm_rows,
    finish_study,
    follow_study,
    letters,
    load_for_study,
    made_by,
    read_base,
    shorten,
)
from pocketlens.cli.terminal.options import (
    add_command,
    add_recipe,
    check_recipe,
    count,
    positive,
    recipe_changes,
    seed,
)
from pocketlens.cli.terminal.resources import running
from pocketlens.cli.terminal.setup import open_run
from pocketlens.display.screen import Screen, table
from pocketlens.files import write_json
from pocketlens.recipe import Recipe
from pocketlens.studies.overrides import show_values

if TYPE_CHECKING:
    from pocketlens.studies.executors import Means
    from pocketlens.studies.search import Found
    from pocketlens.studies.store import Record, Study

_EXAMPLES = [
    "pocketlens search digits --space 'lr=log(0.01,1); model.width=choice(0.25,0.5)' --trials 12 --minutes 5",
    "pocketlens search cifar100 --space 'lr=log(0.05,0.5); optimizer.momentum=range(0.4,0.95)' --rungs 0.25,1",
    "pocketlens search fashion_mnist --space 'lr=log(0.01,1); batch_size=logint(64,1024)' --method tpe --trials 32",
]
_TRIALS, _MOST = 32, 10_000  # trials where no number is given: as such, and where the minutes count
METHODS = ("coarse-to-fine", "tpe", "random", "grid")


def add(commands: Any) -> None:
    """Adds the command."""
    about = "search a space of recipes, train the best again with new seeds, and say how much of it is luck"
    parser = add_command(commands, "search", about, _EXAMPLES, search_command)
    add_study(parser)
    parser.add_argument(
        "--space",
        required=True,
        metavar="TEXT",
        help="domains by address: log(low,high), range(low,high), int(low,high), logint(low,high), choice(a,b,…)",
    )
    trials = "trials of the search (32; with --minutes as many as fit)"
    parser.add_argument("--trials", type=count, metavar="N", help=trials)
    parser.add_argument(
        "--minutes", type=positive, metavar="M", help="ask for no trial that would not fit into M minutes"
    )
    parser.add_argument("--method", choices=METHODS, default=METHODS[0], help="how values are chosen (%(default)s)")
    parser.add_argument("--rounds", type=count, default=2, metavar="N", help="of coarse-to-fine (%(default)s)")
    rungs = "fractions of the epochs, such as 0.25,1: each rung is a complete schedule; the better part goes on (1)"
    parser.add_argument("--rungs", type=_rungs, default=[1.0], metavar="LIST", help=rungs)
    parser.add_argument(
        "--prune", type=_kept, default=0.5, metavar="PART", help="what goes on: median, or the best so many %% (median)"
    )
    parser.add_argument(
        "--repeat", type=seed, default=3, metavar="N", help="new seeds for the best three and the base (%(default)s)"
    )
    parser.add_argument("--from", dest="source", metavar="RUN", help="start every trial from the weights of a run")
    add_recipe(parser)


def search_command(args: argparse.Namespace) -> int:
    """Runs the command."""
    from pocketlens.studies.space import read_space

    screen = Screen(args.json)
    given = read_base(args)
    if args.source is not None:
        source = open_run(args.source, args.runs)
        given = given or source.experiment.recipe
        args.recipe_start = str(source.path.resolve())  # as if it had been typed
    read_space(args.space, check_recipe(given or Recipe(), recipe_changes(args), "the recipe"))
    if args.method == "tpe":
        from pocketlens.studies.tpe import load_optuna

        load_optuna()
    with running(args, screen) as means:
        study = _start(args, given, means.jobs, screen)
        return run_search_study(study, args, means, screen)


def _start(args: argparse.Namespace, given: Recipe | None, jobs: int, screen: Screen) -> Study:
    from pocketlens.studies.compare import question
    from pocketlens.studies.search import start_search
    from pocketlens.training.dry_run import try_recipe

    dataset, split, base, source = load_for_study(args, given, screen)
    n = try_recipe(base, dataset.shape, len(dataset.classes))
    screen.fact("base", f"{base.id} ({source}): {shorten(base.model)} with {n:,} parameters, {base.epochs:g} epochs")
    asked = question(
        dataset,
        split,
        base,
        kind="search",
        space=args.space,
        trials=args.trials or (_MOST if args.minutes is not None and args.method != "grid" else _TRIALS),
        minutes=args.minutes,
        method=args.method,
        rounds=args.rounds,
        rungs=args.rungs,
        keep=args.prune,
        repeats=args.repeat,
        jobs=jobs,
        seed=args.seed,
        label=args.label,
        made_by=made_by(),
    )
    study = start_search(asked, split, args.runs)
    n_said = "as many trials as fit" if study.asked["trials"] == _MOST else f"{study.asked['trials']} trials"
    screen.fact("study", f"{study.id}: {args.method}, {n_said}, in {study.path}")
    return study


def run_search_study(study: Study, args: argparse.Namespace, means: Means, screen: Screen) -> int:
    """Runs what is missing of a search, and says what it has found."""
    from pocketlens.report.study.page import write_study_page
    from pocketlens.studies.search import read_search, run_search

    signal = follow_study(study, run_search(study, means.limits, means.jobs, means.place), screen, means.tracker)
    found = read_search(study)
    say_found(found, screen)
    code = finish_study(study, signal, args.runs, screen)
    if signal is None:
        write_json(study.path / "result.json", result_of(study, found))
        if found.winner is not None:
            write_json(study.path / "winner.json", found.winner.trial.recipe.to_dict())
        screen.say(f"report   {write_study_page(study)}")
        screen.say(f"trials   {study.path / 'trials.csv'}")
        if found.winner is not None:
            screen.say(f"next: pocketlens train {args.dataset} --recipe {study.path / 'winner.json'}")
    screen.finish({"id": study.id, "path": str(study.path), **result_of(study, found)})
    # A search is there to survive bad trials: it has failed where none of them has a result.
    return code if code not in (3, 4) else 3 if found.winner is None else 0


def say_found(found: Found, screen: Screen) -> None:
    """The leaders, the winner's luck, and its difference from the base over new seeds."""
    if found.winner is None:
        screen.say("no trial has a result, so there is no best one")
        return
    rows = [_leader(place, record) for place, record in enumerate(found.leaders[:5], 1)]
    for line in table(rows, ("", "val acc", "recipe", "values")):
        screen.say(f"  {line}")
    if found.final is None:
        screen.say("the best of many scores is partly luck; there are no repeats with new seeds to say how much")
        return
    screen.say("with new seeds:")
    for line in table(arm_rows(found.final), ("", "recipe", "val acc", "95 % interval", "n", "time")):
        screen.say(f"  {line}")
    names = dict(zip((arm.name for arm in found.final.arms), letters(len(found.final.arms)), strict=True))
    for verdict in found.final.verdicts:
        screen.say(f"  {verdict.line(names)}")
    screen.say(f"  {say_luck(found)}")
    if found.winner.trial.arm == "base":
        screen.say("  the base recipe is the best: the search has found nothing better")


def say_luck(found: Found) -> str:
    """How much of the winner's score is selection, in a sentence."""
    if found.luck is None or found.noise is None or found.winner is None or found.winner.score is None:
        return "how much of the best score is luck cannot be told without repeats"
    return (
        f"the best of {len(found.leaders)} scores, {100 * found.winner.score:.2f} %, is expected to be "
        f"{100 * found.luck:.2f} points too good, from a noise of {100 * found.noise:.2f} points over seeds"
    )


def result_of(study: Study, found: Found) -> dict[str, Any]:
    """What result.json and `--json` hold."""
    from pocketlens.cli.compare import result_of as comparison_of

    winner = found.winner
    return {
        "n_trials": len(study.records()),
        "winner": None if winner is None else {**_described(winner), "recipe": winner.trial.recipe.to_dict()},
        "leaders": [_described(record) for record in found.leaders],
        "noise": found.noise,
        "luck": found.luck,
        "final": None if found.final is None else comparison_of(found.final),
    }


def _described(record: Record) -> dict[str, Any]:
    trial = record.trial
    return {
        "trial": trial.number + 1,
        "name": trial.arm,
        "values": dict(trial.changes),
        "score": record.score,
        "loss": record.loss,
        "seconds": record.seconds,
    }


def _leader(place: int, record: Record) -> tuple[str, ...]:
    values = show_values(dict(record.trial.changes))
    return str(place), f"{100 * (record.score or 0):.2f} %", record.trial.arm, values


def _rungs(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be fractions like 0.25,1, got {text!r}") from None


def _kept(text: str) -> float:
    if text == "median":
        return 0.5
    try:
        return float(text.rstrip("%")) / 100
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be median or a percentage like 25%, got {text!r}") from None
