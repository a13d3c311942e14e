"""`--relabel FILE`: trains on labels that a person corrected in the labels.csv that `pocketlens look` writes."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from pocketlens.cli.terminal.options import Parser
from pocketlens.cli.terminal.screen import Screen
from pocketlens.errors import PocketlensError

if TYPE_CHECKING:
    from pocketlens.data.dataset import Dataset
    from pocketlens.data.relabel import Corrections


def add_relabel(parser: Parser) -> None:
    """The option."""
    about = "corrected labels: the labels.csv of pocketlens look, with decisions in it"
    parser.add_argument("--relabel", type=Path, metavar="FILE", help=about)


def check_relabel(args: argparse.Namespace) -> None:
    """Refuses a file that is not there, before anything slow is done."""
    if args.relabel is not None and not args.relabel.is_file():
        raise PocketlensError(f"--relabel must be a file that exists, got {str(args.relabel)!r}.")


def correct_labels(dataset: Dataset, args: argparse.Namespace, screen: Screen) -> tuple[Dataset, Corrections | None]:
    """The data set with corrected labels, and the corrections where there are any; says how many."""
    if args.relabel is None:
        return dataset, None
    from pocketlens.data.relabel import read_corrections, relabel

    changed, corrections = relabel(dataset, read_corrections(args.relabel), str(args.relabel))
    if not corrections.n:
        screen.fact("relabel", f"{args.relabel} decides nothing: every label stays")
        return dataset, None
    screen.fact(
        "relabel", f"{corrections.n:,} labels corrected by {args.relabel} ({corrections.hash}); split unchanged"
    )
    return changed, corrections
