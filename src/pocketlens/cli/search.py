"""`pocketlens search DATASET --space …` searches a space of recipes, and estimates the selection bias of the best."""

from __future__ import annotations

import argparse
from typing import Any

from pocketlens.api.search import METHODS, SearchRequest, searching
from pocketlens.cli.terminal.options import add_recipe, count, positive, seed
from pocketlens.cli.terminal.parser import add_command
from pocketlens.cli.terminal.study_options import add_study, run_study, study_of
from pocketlens.display.screen import Screen

_EXAMPLES = [
    "pocketlens search digits --space 'lr=log(0.01,1); model.width=choice(0.25,0.5)' --trials 12 --minutes 5",
    "pocketlens search cifar100 --space 'lr=log(0.05,0.5); optimizer.momentum=range(0.4,0.95)' --rungs 0.25,1",
    "pocketlens search my_photos/ --space 'lr=log(0.01,1); batch_size=logint(16,128)' --method tpe --minutes 60",
]


def add(commands: Any) -> None:
    """Adds the command."""
    parser = add_command(commands, "search", _EXAMPLES, search_command)
    add_study(parser)
    parser.add_argument(
        "--space",
        required=True,
        metavar="TEXT",
        help="search space: domains of recipe fields and component options, such as 'lr=log(0.01,1); "
        "model.width=choice(0.25,0.5)'; domains: range(low,high), log(low,high), int(low,high), "
        "logint(low,high), choice(a,b,...)",
    )
    trials = "number of trials before the repeats (default: 32; with --minutes, as many as fit)"
    parser.add_argument("--trials", type=count, metavar="N", help=trials)
    parser.add_argument(
        "--minutes", type=positive, metavar="M", help="time limit in minutes, including the repeats (default: no limit)"
    )
    parser.add_argument(
        "--method",
        choices=METHODS,
        default=METHODS[0],
        help="how the values of a trial are chosen (default: %(default)s)",
    )
    parser.add_argument(
        "--rounds",
        type=count,
        default=2,
        metavar="N",
        help="coarse-to-fine: number of rounds, each in a narrower space (default: %(default)s)",
    )
    rungs = (
        "successive halving: rungs as increasing fractions of the epochs that end with 1, such as 0.25,1; each rung "
        "trains with a complete schedule (default: 1, no halving)"
    )
    parser.add_argument("--rungs", type=_rungs, default=(1.0,), metavar="LIST", help=rungs)
    parser.add_argument(
        "--prune",
        type=_kept,
        default=0.5,
        metavar="PART",
        help="successive halving: which trials of a rung are promoted to the next: median (the better half) or a "
        "percentage of the best, such as 25%%; the others are pruned (default: median)",
    )
    parser.add_argument(
        "--repeat",
        type=seed,
        default=3,
        metavar="N",
        help="number of new seeds for the three best recipes and the base; 0 for none (default: %(default)s)",
    )
    source = "start every trial from the weights of this run, whose recipe is then the default for --recipe"
    parser.add_argument("--from", dest="source", metavar="RUN", help=source)
    add_recipe(parser)


def search_command(args: argparse.Namespace) -> int:
    """Runs the command."""
    screen = Screen(args.json)
    request = SearchRequest(
        study_of(args),
        space=args.space,
        trials=args.trials,
        minutes=args.minutes,
        method=args.method,
        rounds=args.rounds,
        rungs=args.rungs,
        prune=args.prune,
        repeat=args.repeat,
        source=args.source,
    )
    return run_study(args, screen, searching(request))


def _rungs(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be fractions like 0.25,1, got {text!r}") from None


def _kept(text: str) -> float:
    if text == "median":
        return 0.5
    try:
        return float(text.rstrip("%")) / 100
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be median or a percentage like 25%, got {text!r}") from None
