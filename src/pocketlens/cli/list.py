"""`pocketlens list KIND` prints what there is: components with their options, recipes, runs. Needs no torch."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from pocketlens.cli.terminal.options import add_command, add_runs, check_folders
from pocketlens.components import names, signature
from pocketlens.display.screen import Screen, table
from pocketlens.errors import PocketlensError
from pocketlens.recipe import Recipe, is_modifier, named_recipes, read_recipe

KINDS = ("datasets", "models", "augment", "operations", "optimizers", "schedules", "losses", "recipes", "runs")
_EXAMPLES = ["pocketlens list models", "pocketlens list runs", "pocketlens list runs --json"]


def add(commands: Any) -> None:
    """Adds the command."""
    parser = add_command(commands, "list", "print what there is to choose from, or the runs", _EXAMPLES, show_list)
    parser.add_argument("kind", metavar="KIND", choices=KINDS, help=f"one of {', '.join(KINDS)}")
    add_runs(parser)


def show_list(args: argparse.Namespace) -> int:
    """Runs the command."""
    check_folders(args)
    screen = Screen(args.json)
    if args.kind == "runs":
        items = _list_runs(args.runs, screen)
    elif args.kind == "recipes":
        items = _list_recipes(screen)
    else:
        items = _list_components(args.kind, screen)
    screen.finish({args.kind: items})
    return 0


def _list_components(room: str, screen: Screen) -> list[dict[str, Any]]:
    items = []
    for name in sorted(names(room), key=lambda name: (room == "optimizers" and is_modifier(name), name)):
        known = signature(room, name)
        options = dict(known.options)
        text = ", ".join(f"{key}={value!r}" for key, value in options.items())
        whole = f"{name}({text})" if text else name
        behind = room == "optimizers" and is_modifier(name)
        screen.say(f".. | {whole}" if behind else whole)
        screen.say(f"    {known.about}")
        items.append({"name": name, "options": options, "about": known.about, **({"behind": True} if behind else {})})
    if room == "optimizers":
        screen.say('those with ".. |" stand behind an optimizer and change it, such as "sgd | sam(rho=0.05)"')
    return items


def _list_recipes(screen: Screen) -> list[dict[str, Any]]:
    items = []
    defaults = Recipe().to_dict()
    for name in named_recipes():
        recipe = read_recipe(name)
        changed = {key: value for key, value in recipe.to_dict().items() if value != defaults[key]}
        shown = (
            changed
            if name != "default"
            else {key: defaults[key] for key in ("model", "augment", "optimizer", "epochs")}
        )
        screen.say(f"{name} ({recipe.id})")
        screen.say("    " + ", ".join(f"{key}={value!r}" for key, value in shown.items()))
        items.append({"name": name, "id": recipe.id, "fields": recipe.to_dict()})
    return items


def _list_runs(folder: Path, screen: Screen) -> list[dict[str, Any]]:
    from pocketlens.cli.show import run_facts
    from pocketlens.training.run import all_runs

    items, broken = [], []
    for run in all_runs(folder):
        try:
            items.append(run_facts(run))
        except (PocketlensError, OSError, KeyError, TypeError, ValueError) as error:
            broken.append(f"{run.path} cannot be read: {error}")
    rows = [
        (
            item["id"],
            item["status"],
            "n/a" if item["val_accuracy"] is None else f"{item['val_accuracy']:.2%}",
            "yes" if item["tested"] else "no",
            time.strftime("%Y-%m-%d %H:%M", time.localtime(item["changed"])),
            item["data"],
            item["recipe"],
            str(item["seed"]),
            item["label"],
        )
        for item in items
    ]
    header = ("run", "status", "val acc", "tested", "last change", "data", "recipe", "seed", "label")
    for line in table(rows, header):
        screen.say(line)
    for line in broken:
        screen.say(line)
    if not items and not broken:
        screen.say(f"there are no runs in {folder}; make one: pocketlens train digits")
    return items
