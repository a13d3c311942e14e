"""`pocketlens export RUN` writes a model as ONNX, TorchScript or safetensors, checked, with a model card."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from pocketlens.api.export import FORMATS, exporting
from pocketlens.cli.terminal.options import add_code, add_command, add_data, add_runs, check_folders
from pocketlens.display.progress import follow
from pocketlens.display.screen import Screen
from pocketlens.errors import ExportFailed

_EXAMPLES = [
    "pocketlens export last --format onnx",
    "pocketlens export my-label --format safetensors --out model.safetensors",
]


def add(commands: Any) -> None:
    """Adds the command."""
    parser = add_command(commands, "export", "write a model as one file, with a model card", _EXAMPLES, export_command)
    add_runs(parser, named=True)
    add_code(parser)
    parser.add_argument("--format", choices=[*FORMATS], default="onnx", help="the kind of file (%(default)s)")
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
    try:
        followed = follow(exporting(args.run, args.format, args.out, args.data, args.runs), screen)
    except ExportFailed as error:
        screen.warn(str(error))
        return 3
    return screen.show(followed.result, followed.exit_code)
