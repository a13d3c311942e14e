"""`pocketlens export RUN` writes a model as ONNX, TorchScript or safetensors, checked, with a model card."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pocketlens.cli.terminal.options import add_command, add_data, add_runs, check_folders
from pocketlens.cli.terminal.screen import Screen
from pocketlens.cli.terminal.setup import open_run, runs_option
from pocketlens.cli.work import follow_work
from pocketlens.errors import PocketlensError
from pocketlens.text import printable

if TYPE_CHECKING:
    from pocketlens.inference.export import Exported
    from pocketlens.training.run import Run

_EXAMPLES = [
    "pocketlens export last --format onnx",
    "pocketlens export my-label --format safetensors --out model.safetensors",
]
_SUFFIX_OF = {"onnx": ".onnx", "torchscript": ".pt", "safetensors": ".safetensors"}


def add(commands: Any) -> None:
    """Adds the command."""
    parser = add_command(commands, "export", "write a model as one file, with a model card", _EXAMPLES, export_command)
    add_runs(parser, named=True)
    parser.add_argument("--format", choices=[*_SUFFIX_OF], default="onnx", help="the kind of file (%(default)s)")
    parser.add_argument(
        "--out", type=Path, metavar="PATH", help="the file, or a folder for it (the run's folder export/)"
    )
    add_data(parser)
    parser.epilog = (
        f"{parser.epilog}\n\nThe file takes uint8 images (N, height, width, channels) of any size and gives logits and "
        "calibrated probabilities;\nresizing, preparation and normalisation are inside. It is written only if it "
        "agrees with the model on up to\n1,000 real images, else the exit code is 3."
    )


def export_command(args: argparse.Namespace) -> int:
    """Runs the command."""
    screen = Screen(args.json)
    check_folders(args)
    run = open_run(args.run, args.runs)
    path = _out(args.out, run, args.format)
    from pocketlens.inference.export import ExportFailed, check_format, checked_rows, export
    from pocketlens.inference.predict import open_predictor
    from pocketlens.report.run.model_card import write_card

    check_format(args.format)
    from pocketlens.training.run_data import load_of

    predictor = open_predictor(run)
    dataset, _ = load_of(run, args.data)
    images = dataset.images[checked_rows(run, dataset)]
    path.parent.mkdir(parents=True, exist_ok=True)
    screen.fact("model", f"{run.id}: {run.experiment.recipe.model}, {len(predictor.classifier.classes)} classes")
    screen.fact("", f"probabilities are {predictor.calibration}")
    try:
        exported = follow_work(export(predictor, images, path, args.format), screen)
    except ExportFailed as error:
        print(f"pocketlens: {printable(str(error))}", file=sys.stderr)
        return 3
    card = write_card(run, predictor, exported)
    _say(exported, card, run, screen)
    screen.finish({**asdict(exported), "path": str(path), "id": run.id, "card": str(card)})
    return 0


def _say(exported: Exported, card: Path, run: Run, screen: Screen) -> None:
    screen.fact(
        "checked",
        f"on {exported.n_checked:,} real images: logits differ by at most {exported.logit_difference:.2g}, "
        f"probabilities by {exported.probability_difference:.2g} (allowed: {exported.tolerance:g}); "
        f"{exported.n_changed} likeliest classes changed",
    )
    screen.say(f"the model lies in {exported.path} ({exported.n_bytes / 1e6:.1f} MB), its card in {card}")
    if exported.format == "safetensors":
        screen.say(f"next: pocketlens predict {exported.path} IMAGES")
    else:
        screen.say(f"next: pocketlens serve {run.id}{runs_option(run)}")


def _out(out: Path | None, run: Run, format: str) -> Path:
    suffix = _SUFFIX_OF[format]
    if out is None:
        return run.file("export") / f"model{suffix}"
    if out.is_dir():
        return out / f"model{suffix}"
    if out.suffix != suffix or not out.parent.is_dir():
        raise PocketlensError(
            f"--out must be a folder, or a file in a folder that exists that ends with {suffix}, got {str(out)!r}."
        )
    return out
