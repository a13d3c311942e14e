"""`pocketlens features RUN|BODY DATASET` fits a classical classifier on the features of a network."""

from __future__ import annotations

import argparse
from typing import Any

from pocketlens.api.features import KINDS, FeaturesRequest, fitting
from pocketlens.cli.terminal.options import (
    add_code,
    add_dataset,
    add_machine,
    add_rows,
    add_runs,
    add_split,
    count,
    data_of,
    machine_of,
    positive,
    seed,
)
from pocketlens.cli.terminal.parser import add_command
from pocketlens.display.progress import follow
from pocketlens.display.screen import Screen

_EXAMPLES = [
    "pocketlens features tf_efficientnet_lite0 my_photos/",
    "pocketlens features last cifar100 --with logistic --rows 10000",
    "pocketlens features last \"stl10(classes='airplane, bird, car, deer, ship')\" --with forest --trees 500",
]


def add(commands: Any) -> None:
    """Adds the command."""
    parser = add_command(commands, "features", _EXAMPLES, features_command)
    named = "a run's folder, its id, its label, or last; or a pretrained body (see: pocketlens list bodies)"
    parser.add_argument("run", metavar="RUN|BODY", help=named)
    add_runs(parser)
    add_code(parser)
    add_dataset(parser)
    parser.add_argument(
        "--with",
        dest="kind",
        choices=KINDS,
        help="classifier to fit: a linear probe, which is a logistic regression whose penalty is chosen by "
        "cross-validation (the default for a body), a random forest, a logistic regression with the penalty -C (the "
        "default for a run), or k nearest neighbours",
    )
    parser.add_argument("--trees", type=count, metavar="N", help="forest: number of trees (default: 200)")
    penalty = "logistic: inverse regularisation strength, as in scikit-learn (default: 1)"
    parser.add_argument("-C", dest="C", type=positive, metavar="X", help=penalty)
    parser.add_argument("-k", dest="k", type=count, metavar="N", help="knn: number of neighbours (default: 15)")
    parser.add_argument(
        "--layer",
        choices=("head", "last"),
        default="head",
        help="features to use: the input of the network's head, or of its last linear layer (default: %(default)s)",
    )
    prepare = "operations on every image before the network (default: those of the run or the body)"
    parser.add_argument("--prepare", metavar="TEXT", help=prepare)
    parser.add_argument(
        "--seed", type=seed, default=0, metavar="N", help="random seed of the forest (default: %(default)s)"
    )
    add_split(parser)
    add_rows(parser)
    parser.add_argument("--label", default="", metavar="TEXT", help="a name for the new run, to use in place of its id")
    add_machine(parser)


def features_command(args: argparse.Namespace) -> int:
    """Runs the command."""
    screen = Screen(args.json)
    request = FeaturesRequest(
        data=data_of(args),
        run=args.run,
        machine=machine_of(args),
        kind=args.kind,
        trees=args.trees,
        C=args.C,
        k=args.k,
        layer=args.layer,
        prepare=args.prepare,
        seed=args.seed,
        label=args.label,
        runs=args.runs,
    )
    followed = follow(fitting(request), screen)
    if followed.result is not None:
        run = followed.result
        fitted = run.run.experiment.features_of
        following = "pocketlens resume " + run.id if followed.signal is not None else run.next
        screen.finish({**run.to_dict(), "features": fitted, "next": following})
    return followed.exit_code
