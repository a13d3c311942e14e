"""`pocketlens features RUN DATASET` fits a forest, a regression or neighbours on what a trained network sees."""

from __future__ import annotations

import argparse
from typing import Any

from pocketlens.cli.terminal.options import (
    add_command,
    add_data,
    add_machine,
    add_rows,
    add_runs,
    check_dataset,
    check_folders,
    count,
    fraction,
    positive,
    seed,
)
from pocketlens.cli.terminal.screen import Screen
from pocketlens.cli.terminal.setup import fewer, load_and_split, open_run, prepare_machine
from pocketlens.cli.train import result_of, say_result
from pocketlens.components import parse_pipe
from pocketlens.recipe import Experiment

_EXAMPLES = [
    "pocketlens features last cifar100 --with logistic --rows 10000",
    "pocketlens features last \"stl10(classes='airplane, bird, car, deer, ship')\" --with forest --trees 500",
    'pocketlens features RUN my_images/ --with knn -k 5 --prepare "resize(32) | sharpen(2)"',
]


def add(commands: Any) -> None:
    """Adds the command."""
    about = "fit a forest, a logistic regression or nearest neighbours on a trained network's features"
    parser = add_command(commands, "features", about, _EXAMPLES, features_command)
    add_runs(parser, named=True)
    parser.add_argument("dataset", metavar="DATASET", help="a folder, a .npz or .parquet file, or a name")
    add_data(parser)
    parser.add_argument(
        "--with", dest="kind", choices=("forest", "logistic", "knn"), default="logistic", help="what (%(default)s)"
    )
    parser.add_argument("--trees", type=count, metavar="N", help="trees of the forest (200)")
    parser.add_argument("-C", dest="C", type=positive, metavar="X", help="inverse penalty of the regression (1)")
    parser.add_argument("-k", dest="k", type=count, metavar="N", help="neighbours that vote (15)")
    parser.add_argument(
        "--layer", choices=("head", "last"), default="head", help="features before the head, or before its last layer"
    )
    parser.add_argument("--prepare", metavar="TEXT", help="image operations (those of the run)")
    parser.add_argument("--seed", type=seed, default=0, metavar="N", help="seed of the forest (%(default)s)")
    parser.add_argument("--val-fraction", type=fraction, default=0.1, metavar="F", help="rows for validation (0.1)")
    parser.add_argument("--split-seed", type=seed, default=0, metavar="N", help="which rows those are (%(default)s)")
    add_rows(parser)
    parser.add_argument("--label", default="", metavar="TEXT", help="a name for the new run, instead of its id")
    add_machine(parser)


def features_command(args: argparse.Namespace) -> int:
    """Runs the command."""
    screen = Screen(args.json)
    check_dataset(args.dataset)
    check_folders(args)
    if args.prepare is not None:
        parse_pipe(args.prepare, "operations")
    source = open_run(args.run, args.runs)
    device = prepare_machine(args)

    from pocketlens.cli.terminal.progress import Followed
    from pocketlens.cli.work import follow_work
    from pocketlens.training.fit_head import DEFAULTS, HeadSpec, fit_head

    size = {"forest": args.trees, "logistic": args.C, "knn": args.k}[args.kind]
    judging = HeadSpec(args.kind, float(size or DEFAULTS[args.kind]), args.layer)
    recipe = source.experiment.recipe
    prepare = recipe.prepare if args.prepare is None else args.prepare
    dataset, split = load_and_split(args, screen)
    split = fewer(split, dataset, args, screen)
    screen.fact("features", f"of run {source.id} ({recipe.model}), images prepared by {prepare}; {judging}")
    asked = Experiment(
        data=dataset.text,
        recipe=recipe.changed(start=str(source.path.resolve()), head="keep", freeze="body", prepare=prepare),
        seed=args.seed,
        val_fraction=args.val_fraction,
        split_seed=args.split_seed,
        rows=args.rows,
        data_fingerprint=dataset.fingerprint,
        label=args.label,
        made_by=f"features of {source.id}",
    )
    run = follow_work(fit_head(asked, (dataset, split), judging, runs=args.runs, device=device), screen)
    say_result(run, screen)
    screen.finish(
        {**result_of(run, Followed(None, 0, None)), "features": str(judging), "next": f"pocketlens test {run.id}"}
    )
    return 0
