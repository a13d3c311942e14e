"""`pocketlens look DATASET` audits a data set: what is in it and what is wrong with it, on one page."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pocketlens.cli.terminal.options import (
    add_command,
    add_dataset,
    add_machine,
    add_runs,
    check_dataset,
    check_folders,
)
from pocketlens.cli.terminal.options import seed as seed_number
from pocketlens.cli.terminal.screen import Screen
from pocketlens.cli.terminal.setup import open_run, prepare_machine
from pocketlens.cli.work import follow_work
from pocketlens.components import parse_one, parse_pipe
from pocketlens.errors import PocketlensError

if TYPE_CHECKING:
    from pocketlens.audit.audit import AuditReport

LOOKS = Path("pocketlens-looks")
_EXAMPLES = [
    "pocketlens look digits",
    "pocketlens look my_images/ --quick",
    "pocketlens look cifar100 --run last --skip labels,shift --out looks/cifar100",
]


def add(commands: Any) -> None:
    """Adds the command."""
    about = "what is in the data, and what is wrong with it: a page, JSON and CSV files"
    parser = add_command(commands, "look", about, _EXAMPLES, look_command, aliases=("audit",))
    add_dataset(parser)
    parser.add_argument(
        "--quick", action="store_true", help="only basic facts and duplicates with equal pixels; nothing is trained"
    )
    parser.add_argument(
        "--skip",
        default="",
        metavar="CHECKS",
        help="checks to skip, separated by commas, of: duplicates,classes,outliers,labels,shift,augment",
    )
    parser.add_argument(
        "--augment",
        metavar="TEXT",
        help="the augmentation to draw and test, or all (default: draw the usual recipe's, test all)",
    )
    parser.add_argument("--run", metavar="RUN", help="rank outliers by the features of this run's model")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help=f"folder of the page (default: a new one in {LOOKS}, named after the data)",
    )
    parser.add_argument(
        "--seed", type=seed_number, default=0, metavar="N", help="seed of what is trained or drawn (%(default)s)"
    )
    add_runs(parser)
    add_machine(parser)


def look_command(args: argparse.Namespace) -> int:
    """Runs the command."""
    screen = Screen(args.json)
    check_dataset(args.dataset)
    check_folders(args)
    _check_out(args.out)
    if args.augment not in (None, "all"):
        parse_pipe(args.augment, "augment")
    run = None if args.run is None else open_run(args.run, args.runs)
    device = prepare_machine(args, None if run is None else run.experiment.recipe)
    from pocketlens.audit.audit import AuditOptions, audit, plan, read_checks
    from pocketlens.datasets import load_to_look
    from pocketlens.report.audit.page import write_audit_page

    options = AuditOptions(args.quick, read_checks(args.skip), run, args.augment, args.seed, device)
    dataset, sealed = load_to_look(args.dataset, args.data)
    height, width, channels = dataset.shape
    screen.fact(
        "data",
        f"{dataset.text}: {len(dataset):,} images of {height} x {width} x {channels}, {len(dataset.classes)} classes; "
        f"{len(sealed):,} test images, whose labels stay sealed",
    )
    for number, line in enumerate(plan(options), 1):
        screen.fact("plan" if number == 1 else "", f"{number}. {line}")
    report = follow_work(audit(dataset, sealed, options), screen)
    folder = args.out or _new_folder(dataset.text)
    page = write_audit_page(report, folder)
    _say(report, screen)
    screen.say(f"page     {page}")
    next_command = f"pocketlens train {_quoted(args.dataset)}"
    if report.labels is not None and len(report.labels):
        screen.say(f"labels   {folder / 'labels.csv'}: enter your decisions, then train with --relabel")
    screen.say(f"next: open {page} in a browser, then {next_command}")
    from pocketlens.report.audit.tables import to_dict

    screen.finish({"page": str(page), "folder": str(folder), "look": to_dict(report), "next": next_command})
    return 0


def _say(report: AuditReport, screen: Screen) -> None:
    from pocketlens.report.audit.findings import findings

    for finding in findings(report):
        screen.say(f"{'!' if finding.serious else ' '} {finding.text}")
    for check, reason in report.skipped.items():
        screen.say(f"  Skipped: {check} ({reason}).")


def _check_out(out: Path | None) -> None:
    for folder in () if out is None else (out, *out.parents):
        if folder.exists() and not folder.is_dir():
            raise PocketlensError(f"--out must be a folder, {str(folder)!r} is a file.")


def _new_folder(text: str) -> Path:
    """A new folder in `pocketlens-looks`, named after the data and numbered."""
    component = parse_one(text, "datasets")
    path = dict(component.options).get("path")
    words = f"{component.name} {Path(str(path)).stem if path else ''}"
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", words.strip())[:60].strip("-")
    number = 1
    while (folder := LOOKS / f"{name}-{number}").exists():
        number += 1
    return folder


def _quoted(text: str) -> str:
    return text if re.fullmatch(r"[\w./-]+", text) else f'"{text}"'
