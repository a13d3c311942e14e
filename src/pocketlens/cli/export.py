"""`pocketlens export RUN` writes a model as ONNX, TorchScript or safetensors, checked, with a model card."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from pocketlens.api.export import FORMATS, exporting
from pocketlens.cli.terminal.options import add_code, add_place, add_runs, check_folders
from pocketlens.cli.terminal.parser import add_command
from pocketlens.display.progress import follow
from pocketlens.display.screen import Screen
from pocketlens.errors import ExportFailed

_EXAMPLES = [
    "pocketlens export last --format onnx",
    "pocketlens export my-label --format safetensors --out model.safetensors",
    "pocketlens export last --data /mnt/photos     the data has moved there",
]


def add(commands: Any) -> None:
    """Adds the command."""
    parser = add_command(commands, "export", _EXAMPLES, export_command)
    add_runs(parser, named=True)
    add_code(parser)
    parser.add_argument("--format", choices=[*FORMATS], default="onnx", help="file format (default: %(default)s)")
    parser.add_argument(
        "--out", type=Path, metavar="PATH", help="file, or folder for it (default: export/ in the run's folder)"
    )
    add_place(parser)
    parser.epilog = (
        f"{parser.epilog}\n\nAn ONNX or TorchScript file takes uint8 images (N, height, width, channels) of any size "
        "and returns logits and\ncalibrated probabilities; it does the resizing, preparation and normalisation. The "
        "file is written only if it\nagrees with the model on up to 1,000 real images (where the data is gone, "
        "on the few that the run keeps);\notherwise the exit code is 3."
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
