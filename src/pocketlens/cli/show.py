"""`pocketlens show MODEL` prints a model's layers; `pocketlens show RUN` prints a run's facts."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING, Any

from pocketlens.cli.terminal.options import add_command, add_runs, check_folders, count
from pocketlens.components import names, parse_one
from pocketlens.display.screen import Screen, table
from pocketlens.errors import PocketlensError, closest
from pocketlens.files import read_json
from pocketlens.recipe import Recipe

if TYPE_CHECKING:
    from pocketlens.training.run import Run

_EXAMPLES = [
    "pocketlens show lens",
    'pocketlens show "resnet(depth=18)" --size 28 --channels 1 --classes 10',
    "pocketlens show last",
]


def add(commands: Any) -> None:
    """Adds the command."""
    parser = add_command(commands, "show", "print the layers of a model, or the facts of a run", _EXAMPLES, show)
    parser.add_argument("what", metavar="MODEL|RUN", help="a model's component text, or a run")
    parser.add_argument("--size", type=_size, default=(32, 32), metavar="PX", help="the images' side for MODEL (32)")
    parser.add_argument("--channels", type=count, default=3, metavar="N", help="3 or, for grey, 1 (%(default)s)")
    parser.add_argument("--classes", type=count, default=100, metavar="N", help="classes for MODEL (%(default)s)")
    add_runs(parser)


def show(args: argparse.Namespace) -> int:
    """Runs the command."""
    check_folders(args)
    screen = Screen(args.json)
    if re.match(r"\s*(\w+)\s*(\(|$)", args.what) and re.findall(r"\w+", args.what)[0] in names("models"):
        _show_model(args, screen)
        return 0
    from pocketlens.training.run import Run

    try:
        run = Run.open(args.what, args.runs)
    except PocketlensError:
        if re.fullmatch(r"\w+", args.what) and args.what != "last":
            hint = closest(args.what, names("models"))
            raise PocketlensError(
                f"{args.what!r} must be a model or a run in {args.runs}, and is neither.{hint}"
            ) from None
        if "(" in args.what:
            parse_one(args.what, "models")
        raise
    _show_run(run, screen)
    return 0


def run_facts(run: Run) -> dict[str, Any]:
    """What a run is and what came out of it, as `list runs` and `show RUN` give it."""
    experiment = run.experiment
    status, reason = run.status()
    history = run.history()
    last = history[-1] if history else {}
    best = next((record for record in reversed(history) if record["best"]), last)
    chosen = best if experiment.recipe.keep == "best" else last
    if experiment.features_of and run.file("scores-val.json").exists():  # fitted, so there are no epochs
        scores = read_json(run.file("scores-val.json"))
        chosen = {"val_accuracy": scores["top1"]["value"], "val_loss": scores["nll"]["value"]}
    return {
        "id": run.id,
        "path": str(run.path),
        "label": experiment.label,
        "status": status,
        "reason": reason,
        "data": experiment.data,
        "recipe": experiment.recipe.id,
        "seed": experiment.seed,
        "epochs": len(history),
        "n_steps": experiment.n_steps,
        "val_accuracy": chosen.get("val_accuracy"),
        "val_loss": chosen.get("val_loss"),
        "made_by": experiment.made_by,
        "features_of": experiment.features_of,
        "changed": run.path.stat().st_mtime,
        "tested": run.file("scores-test.json").exists(),
        "report": str(run.file("report.html")) if run.file("report.html").exists() else None,
    }


def _show_model(args: argparse.Namespace, screen: Screen) -> None:
    parse_one(args.what, "models")
    from pocketlens.training.model_summary import layer_table, totals

    shape = (*args.size, args.channels)
    layers = layer_table(args.what, shape, args.classes)
    fields = ("n_trainable", "n_frozen", "n_buffers", "multiply_adds")
    rows = [
        (layer.name, layer.kind, " x ".join(map(str, layer.shape)), *(f"{getattr(layer, name):,}" for name in fields))
        for layer in layers
    ]
    sums = totals(layers)
    rows.append(("total", "", "", *(f"{sums[name]:,}" for name in fields)))
    for line in table(rows, ("layer", "kind", "output", "trainable", "frozen", "buffers", "multiply-adds")):
        screen.say(line)
    height, width, channels = shape
    screen.say()
    screen.say(
        f"{args.what} for {height} x {width} x {channels} and {args.classes} classes: {sums['n_parameters']:,} "
        f"parameters ({sums['n_trainable']:,} trainable, {sums['n_frozen']:,} frozen), {sums['n_buffers']:,} buffers, "
        f"{sums['n_parameters'] + sums['n_buffers']:,} together; {sums['multiply_adds']:,} multiply-adds an image"
    )
    command = f'pocketlens train DATASET --model "{args.what}"'
    screen.say(f"next: {command}")
    facts = {"model": args.what, "shape": shape, "classes": args.classes, **sums}
    screen.finish({**facts, "layers": [vars(layer) for layer in layers], "next": command})


def _show_run(run: Run, screen: Screen) -> None:
    facts = run_facts(run)
    defaults = Recipe()
    changed = {key: value for key, value in run.experiment.recipe.to_dict().items() if value != getattr(defaults, key)}
    for key, value in facts.items():
        if value not in (None, "", False) and key not in ("changed", "reason"):
            text = f"{value:.4f}" if isinstance(value, float) else str(value)
            screen.say(f"{key:<14}{text}{': ' + facts['reason'] if key == 'status' and facts['reason'] else ''}")
    screen.say(f"{'differs':<14}{', '.join(f'{key}={value!r}' for key, value in changed.items()) or 'in nothing'}")
    screen.finish({**facts, "recipe_fields": run.experiment.recipe.to_dict(), "history": run.history()})


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,4})(?:x(\d{1,4}))?", text)
    if match is None or not all(int(side or 1) for side in match.groups()):
        raise argparse.ArgumentTypeError(f"must be a side in px, like 32, or HEIGHTxWIDTH, like 28x32, got {text!r}")
    return int(match[1]), int(match[2] or match[1])
