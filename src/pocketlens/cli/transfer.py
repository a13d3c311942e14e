"""`pocketlens transfer SOURCE DATASET` trains from it, frozen, partly and fully, against scratch, and says which."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from pocketlens.cli.studies import (
    add_study,
    finish_study,
    follow_study,
    load_for_study,
    made_by,
    read_base,
    say_comparison,
)
from pocketlens.cli.terminal.options import add_command, add_recipe, check_dataset, count
from pocketlens.cli.terminal.resources import running
from pocketlens.cli.terminal.setup import open_run
from pocketlens.display.screen import Screen, table
from pocketlens.errors import PocketlensError

if TYPE_CHECKING:
    from pocketlens.studies.executors import Means
    from pocketlens.studies.transfer import Line, Plan
    from pocketlens.training.run import Run

_WAYS = "frozen,partial,full,scratch"
_EXAMPLES = [
    "pocketlens transfer last \"cifar100(labels='coarse')\" --epochs 2 --repeat 3",
    'pocketlens transfer RUN "stl10(classes=\'airplane, bird, car, deer, ship\')" --prepare "resize(32) | sharpen(2)"',
    "pocketlens transfer RUN fashion_mnist --ways frozen,scratch --equal multiply-adds --also-from OTHER_RUN",
]


def add(commands: Any) -> None:
    """Adds the command."""
    about = "compare starts from a trained run (frozen, partial, full) with scratch, at equal cost"
    parser = add_command(commands, "transfer", about, _EXAMPLES, transfer_command)
    parser.add_argument("source", metavar="SOURCE", help="the run to start from: its folder, id or label, or last")
    add_study(parser)
    parser.add_argument(
        "--also-from", action="append", default=[], metavar="RUN", help="one more source, of the same model"
    )
    parser.add_argument("--also-to", action="append", default=[], metavar="DATASET", help="one more target")
    parser.add_argument("--ways", default=_WAYS, metavar="LIST", help="some of %(default)s")
    parser.add_argument("--groups", type=count, metavar="N", help="groups that partial freezes (half of them)")
    parser.add_argument(
        "--equal", choices=("steps", "multiply-adds"), default="steps", help="what all ways spend alike (%(default)s)"
    )
    parser.add_argument("--repeat", type=count, default=3, metavar="N", help="seeds for each way (%(default)s)")
    add_recipe(parser)


def transfer_command(args: argparse.Namespace) -> int:
    """Runs the command."""
    screen = Screen(args.json)
    for text in (args.dataset, *args.also_to):
        check_dataset(text)
    for name in ("start", "freeze"):
        if hasattr(args, f"recipe_{name}"):
            raise PocketlensError(f"transfer sets --{name} itself, from SOURCE and --ways; leave it out.")
    sources = [open_run(name, args.runs) for name in (args.source, *args.also_from)]
    head = vars(args).pop("recipe_head", "new")
    if head not in ("new", "append"):
        raise PocketlensError(f"--head must be new or append, got {head}.")
    if args.recipe is None and not hasattr(args, "recipe_model"):
        args.recipe_model = sources[0].experiment.recipe.model
    read_base(args)
    with running(args, screen) as means:
        return _run_targets(args, sources, head, means, screen)


def _run_targets(args: argparse.Namespace, sources: list[Run], head: str, means: Means, screen: Screen) -> int:
    """Runs the studies of all targets, and writes their table; gives the exit code."""
    from pocketlens.report.study.transfer_table import HEADER, notes, table_rows, write_table
    from pocketlens.studies.transfer import Plan

    ways = tuple(way.strip() for way in args.ways.split(","))
    plan = Plan(ways, args.groups, head, args.equal, args.repeat, args.seed)
    lines: list[Line] = []
    folders, codes = [], []
    for text in [args.dataset, *args.also_to]:
        args.dataset = text
        path, found, code = _one_target(args, sources, plan, means, screen)
        lines += found
        folders.append(path)
        codes.append(code)
        if code > 100:
            break
    write_table(folders[-1], lines, plan.equal)
    for row in table(table_rows(lines), HEADER):
        screen.say(row)
    screen.say(notes(plan.equal))
    screen.say(f"table    {folders[-1] / 'transfer.md'}, and as .csv and .json beside it")
    screen.say("next: pocketlens train DATASET --start RUN with what was best, then pocketlens test last")
    result = {"equal": plan.equal, "lines": [vars(line) for line in lines], "studies": [str(path) for path in folders]}
    screen.finish({**result, "next": f"pocketlens study {folders[-1].name}"})
    return max(codes) if max(codes) > 100 or min(codes) == max(codes) else 4


def _one_target(
    args: argparse.Namespace, sources: list[Run], plan: Plan, means: Means, screen: Screen
) -> tuple[Any, list[Line], int]:
    """The folder of a target's study, its lines of the table, and its exit code."""
    from pocketlens.recipe import read_recipe
    from pocketlens.report.study.page import write_study_page
    from pocketlens.studies.compare import read_comparison
    from pocketlens.studies.pool import run_study
    from pocketlens.studies.transfer import check_sources, make_ways, read_lines, start_transfer
    from pocketlens.training.dry_run import try_recipe

    given = None if args.recipe is None else read_recipe(args.recipe)
    dataset, split, base, _ = load_for_study(args, given, screen)
    check_sources(sources, base, dataset)
    try_recipe(base, dataset.shape, len(dataset.classes))
    ways = make_ways(sources, base, dataset, plan)
    for way in ways:
        screen.fact(
            "way",
            f"{way.name}: freeze {way.recipe.freeze}, head {way.recipe.head}, {way.recipe.epochs:.3g} epochs, "
            f"{way.n_trained:,} numbers train, {way.multiply_adds:,} multiply-adds an image",
        )
    study = start_transfer(ways, (dataset, split), plan, {"label": args.label, "made_by": made_by()}, args.runs)
    screen.fact("study", f"{study.id}: {len(ways)} ways, {plan.repeats} repeats, in {study.path}")
    events = run_study(study, means.limits, jobs=means.jobs, place=means.place)
    signal = follow_study(study, events, screen, means.tracker)
    say_comparison(read_comparison(study), screen)
    code = finish_study(study, signal, args.runs, screen)
    if signal is None:
        screen.say(f"report   {write_study_page(study)}")
    return study.path, read_lines(study), code
