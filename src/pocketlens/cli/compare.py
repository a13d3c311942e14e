"""`pocketlens compare DATASET RECIPE RECIPE …` trains recipes in pairs and says which is better, or that it cannot."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable
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
from pocketlens.cli.terminal.options import (
    Parser,
    add_command,
    add_recipe,
    check_recipe,
    count,
    positive,
    recipe_changes,
)
from pocketlens.cli.terminal.resources import running
from pocketlens.display.screen import Screen, table
from pocketlens.errors import PocketlensError
from pocketlens.files import write_json
from pocketlens.recipe import Recipe
from pocketlens.studies.overrides import Variant, read_variant

if TYPE_CHECKING:
    from pocketlens.data.dataset import Dataset
    from pocketlens.data.split import Split
    from pocketlens.studies.executors import Means
    from pocketlens.studies.store import Study

_EXAMPLES = [
    "pocketlens compare cifar100 base \"augment='flip | crop(pad=2) | cutout'\" --epochs 3 --rows 10000",
    "pocketlens compare fashion_mnist model.pooling=max model.pooling=average --model cnn --repeat 5",
    "pocketlens compare digits base lr=0.1 --plan --spread 0.3",
]
_PLANNED = (2, 3, 5, 8, 10, 15, 20)  # repeats in the table of --plan


def add(commands: Any) -> None:
    """Adds the command."""
    about = "train recipes in pairs and say which is better, or that it cannot be told"
    parser = add_command(commands, "compare", about, _EXAMPLES, compare_command)
    add_study(parser)
    parser.add_argument(
        "recipes",
        metavar="RECIPE",
        nargs="+",
        help="a recipe's name or file, base (that of --recipe and the options), or changes such as "
        "'lr=0.1; optimizer.momentum=0.9'",
    )
    parser.add_argument("--repeat", type=count, default=5, metavar="N", help="seeds for each recipe (%(default)s)")
    add_plan(parser)
    add_recipe(parser)


def compare_command(args: argparse.Namespace) -> int:
    """Runs the command."""
    return plan_or_run(args, lambda base: _read_variants(args.recipes, base), "all pairs")


def plan_or_run(args: argparse.Namespace, variants_of: Callable[[Recipe], list[Variant]], pairs: str) -> int:
    """Plans or runs a comparison of the recipes that follow from the base; `pairs` are "all pairs" or "base"."""
    screen = Screen(args.json)
    given = read_base(args)
    planned = variants_of(check_recipe(given or Recipe(), recipe_changes(args), "the recipe"))
    if args.plan:
        n = len(planned)
        return say_plan(args, max(1, n * (n - 1) // 2 if pairs == "all pairs" else n - 1), screen)
    with running(args, screen) as means:
        dataset, split, base, _ = load_for_study(args, given, screen)
        study = _start(args, (dataset, split), base, variants_of(base), screen)
        return run_comparison(study, args, means, screen)


def add_plan(parser: Parser) -> None:
    """`--plan` and `--spread`."""
    parser.add_argument("--plan", action="store_true", help="say which difference could be seen, and train nothing")
    parser.add_argument(
        "--spread", type=positive, metavar="POINTS", help="with --plan: deviation of one recipe's accuracy over seeds"
    )


def _read_variants(texts: list[str], base: Recipe) -> list[Variant]:
    """The recipes to compare; one alone is compared with the base."""
    variants = [read_variant(text, base) for text in texts]
    return [Variant("base", base), *variants] if len(variants) == 1 else variants


def _start(
    args: argparse.Namespace, parts: tuple[Dataset, Split], base: Recipe, variants: list[Variant], screen: Screen
) -> Study:
    """A new study of these recipes, each of which has worked on blank images."""
    from pocketlens.studies.compare import question, start_comparison
    from pocketlens.training.dry_run import try_recipe

    dataset, split = parts
    for variant in variants:
        n = try_recipe(variant.recipe, dataset.shape, len(dataset.classes))
        screen.fact("recipe", f"{variant.name} ({variant.recipe.id}): {n:,} parameters")
    kind = "compare" if hasattr(args, "recipes") else "sweep"
    asked = question(
        dataset,
        split,
        base,
        kind=kind,
        repeats=args.repeat,
        seed=args.seed,
        judge="all pairs" if kind == "compare" else "base",
        label=args.label,
        made_by=made_by(),
    )
    study = start_comparison(asked, split, variants, args.runs)
    screen.fact("study", f"{study.id}: {len(variants)} recipes, {args.repeat} repeats, in {study.path}")
    return study


def run_comparison(study: Study, args: argparse.Namespace, means: Means, screen: Screen) -> int:
    """Runs what is missing of a comparison or a sweep, and says what is known."""
    from pocketlens.report.study.page import write_study_page
    from pocketlens.studies.compare import read_comparison, trials_of
    from pocketlens.studies.pool import run_study

    study.ask(trials_of(study))  # those that a damaged journal has lost
    events = run_study(study, means.limits, jobs=means.jobs, place=means.place)
    signal = follow_study(study, events, screen, means.tracker)
    comparison = read_comparison(study)
    say_comparison(comparison, screen)
    code = finish_study(study, signal, args.runs, screen)
    if signal is None:
        write_json(study.path / "result.json", result_of(comparison))
        screen.say(f"report   {write_study_page(study)}")
        screen.say(f"next: open {study.path / 'report.html'} in a browser")
    screen.finish({"id": study.id, "path": str(study.path), **result_of(comparison)})
    return code


def result_of(comparison: Any) -> dict[str, Any]:
    """What result.json and `--json` hold."""
    return {
        "recipes": [
            {
                **{key: getattr(arm, key) for key in ("name", "mean", "sd", "low", "high", "statuses", "seconds")},
                "recipe": arm.recipe.id,
                "scores": arm.scores.tolist(),
            }
            for arm in comparison.arms
        ],
        "seeds": list(comparison.seeds),
        "n_val": comparison.n_val,
        "verdicts": [{**dataclasses.asdict(verdict), "more": verdict.more} for verdict in comparison.verdicts],
        "like_the_best": list(comparison.like_the_best),
        "mcnemar": [dataclasses.asdict(test) for test in comparison.seed_tests],
    }


def say_plan(args: argparse.Namespace, n_pairs: int, screen: Screen) -> int:
    """Says which true difference would be seen, for several numbers of repeats."""
    from pocketlens.scoring.significance import visible

    spread = args.spread
    if spread is None:
        raise PocketlensError("--plan needs --spread POINTS: how far one recipe's accuracy differs from seed to seed.")
    counts = sorted({*_PLANNED, args.repeat})
    rows = [(str(n), *(f"{visible(spread, n, n_pairs, wanted):.2f}" for wanted in (0.8, 0.9))) for n in counts if n > 1]
    pairs = "one pair" if n_pairs == 1 else f"{n_pairs} pairs, corrected for all of them (Holm)"
    screen.say(f"with a spread of {spread:g} points over seeds, and {pairs}, this true difference would be seen:")
    for line in table(rows, ("repeats", "in 80 % of studies", "in 90 %")):
        screen.say(f"  {line}")
    screen.finish(
        {
            "spread": spread,
            "n_pairs": n_pairs,
            "plan": [{"repeats": int(n), "visible_80": float(a), "visible_90": float(b)} for n, a, b in rows],
        }
    )
    return 0
