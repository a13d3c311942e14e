"""`pocketlens predict RUN IMAGES` predicts the classes of images: one row for each, also for unreadable files."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from pocketlens.api.predict import PredictTask, count_row, open_model
from pocketlens.cli.terminal.options import (
    add_code,
    add_machine,
    add_max_pixels,
    add_runs,
    check_folders,
    count,
    machine_of,
)
from pocketlens.cli.terminal.parser import add_command
from pocketlens.display.progress import follow, is_live
from pocketlens.display.screen import Screen
from pocketlens.errors import PocketlensError
from pocketlens.events import Step, Work, finish
from pocketlens.files import csv_text, write_with
from pocketlens.text import printable

if TYPE_CHECKING:
    from pocketlens.inference.predict import Files, Predictor, Row

_EXAMPLES = [
    "pocketlens predict last photo.jpg photos/ --out predictions.csv",
    "find photos -name '*.png' -print0 | pocketlens predict last - --null --json",
    "pocketlens predict model.safetensors 'photos/**/*.jpg' --top 1",
]
_WIDEST = 48  # columns for file names; longer ones push their line to the right


def add(commands: Any) -> None:
    """Adds the command."""
    parser = add_command(commands, "predict", _EXAMPLES, predict_command)
    add_runs(parser, named=True)
    add_code(parser)
    parser.add_argument(
        "images", metavar="IMAGES", nargs="+", help="files, folders, globs in quotes, or - for paths on standard input"
    )
    parser.add_argument(
        "-0",
        "--null",
        action="store_true",
        help="paths on standard input are separated by NUL, not by newlines (find -print0)",
    )
    parser.add_argument("--follow", action="store_true", help="follow symbolic links that lead out of a folder")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="write to a .csv or .jsonl file (default: standard output)"
    )
    parser.add_argument(
        "--top", type=count, default=5, metavar="N", help="print the N most probable classes (default: %(default)s)"
    )
    parser.add_argument("--batch-size", type=count, default=500, metavar="N", help="batch size (default: %(default)s)")
    add_max_pixels(parser)
    add_machine(parser)
    parser.epilog = (
        f"{parser.epilog}\n\nRUN may also be a .safetensors file written by export. Without --out, one row for each "
        "image goes to standard output\nand everything else to standard error; with --json, a row is a JSON object on "
        "one line. A file that cannot be read\nhas a row with the reason. Exit codes: 0 all files were read, 4 some "
        "could not be read, 3 none could be read,\n2 the model or the images do not exist."
    )


def predict_command(args: argparse.Namespace) -> int:
    """Runs the command."""
    screen = Screen(as_json=args.json or args.out is None)  # rows, or JSON, have standard output for themselves
    check_folders(args)
    _check_out(args.out)
    from pocketlens.data.images import DecodeOptions
    from pocketlens.inference.predict import find_model

    find_model(args.run, args.runs)
    if is_live(screen):  # elsewhere standard error holds no more than a mistake
        screen.fact("", f"loading PyTorch and the model of {args.run} …")
    options = DecodeOptions(args.max_pixels)
    task = open_model(args.run, _files(args), runs=args.runs, machine=machine_of(args), options=options)
    predictor = task.predictor
    screen.fact("model", f"{predictor.name}: {predictor.classifier.facts.model}, {task.about}")
    screen.fact("", f"probabilities are {predictor.calibration}")
    if predictor.familiarity is not None:
        screen.fact("", predictor.familiarity.said())
    for note in task.files.notes:
        screen.fact("", note)
    counted: Counter[str] = Counter()
    line = _line(args, task.files, predictor)
    if args.out is None:
        _to_screen(_written(args, task, counted, line, sys.stdout.write), args.json, screen)
    else:

        def write(file: BinaryIO) -> None:
            follow(_written(args, task, counted, line, lambda text: file.write(text.encode())), screen)

        write_with(args.out, write)
    return _conclude(args, predictor, screen, counted)


def _files(args: argparse.Namespace) -> Files:
    from pocketlens.inference.predict import Files, find_files

    named = [name for name in args.images if name != "-"]
    if len(named) == len(args.images):
        if args.null:
            raise PocketlensError("--null needs paths on standard input; give - as IMAGES, or leave --null out.")
        return find_files(named, follow=args.follow)
    found = find_files(named, follow=args.follow) if named else Files(())
    text = sys.stdin.buffer.read()
    parts = text.split(b"\0") if args.null else [line.removesuffix(b"\r") for line in text.split(b"\n")]
    read = find_files([os.fsdecode(part) for part in parts if part], follow=args.follow, must_exist=False)
    return Files(found.paths + read.paths, found.notes + read.notes)


def _check_out(out: Path | None) -> None:
    if out is None:
        return
    if out.suffix.lower() not in (".csv", ".jsonl"):
        raise PocketlensError(f"--out must end with .csv or .jsonl, got {str(out)!r}.")
    if not out.parent.is_dir() or out.is_dir():
        raise PocketlensError(f"--out must be a file in a folder that exists, got {str(out)!r}.")


Line = Callable[["Row | None"], str]  # the text of a row; of None, what stands above the rows
Write = Callable[[str], Any]


def _written(
    args: argparse.Namespace, task: PredictTask, counted: Counter[str], line: Line, write: Write
) -> Work[None]:
    """The work of writing the rows, counting what came."""
    write(line(None))
    total = len(task.files.paths)
    for done, row in enumerate(task.rows(top=args.top, batch_size=args.batch_size), 1):
        write(line(row))
        count_row(counted, row)
        yield Step("predicting", done, total)


def _to_screen(work: Work[None], as_json: bool, screen: Screen) -> None:
    if sys.stdout.isatty() and not as_json:
        finish(work)  # the rows are the progress
    else:
        follow(work, screen)
    sys.stdout.flush()


def _line(args: argparse.Namespace, files: Files, predictor: Predictor) -> Line:
    if (args.json and args.out is None) or (args.out is not None and args.out.suffix.lower() == ".jsonl"):
        return _json_line
    top = min(args.top, len(predictor.classifier.classes))
    if args.out is not None:
        return lambda row: _csv_line(row, top)
    widest = min(_WIDEST, max(len(printable(str(path))) for path in files.paths))
    broad = max(len(printable(name)) for name in predictor.classifier.classes)
    return lambda row: _table_line(row, widest, broad)


def _table_line(row: Row | None, widest: int, broad: int) -> str:
    if row is None:
        return ""
    name = printable(row.file).ljust(widest)
    if row.reason is not None:
        return f"{name}  unreadable: {printable(row.reason)}\n"
    pairs = zip(row.classes, row.probabilities, strict=True)
    cells = [f"{printable(label).ljust(broad)} {100 * probability:6.2f} %" for label, probability in pairs]
    return f"{name}  {'   '.join([*cells, *row.notes[-1:]] if row.unfamiliar else cells)}\n"


def _json_line(row: Row | None) -> str:
    if row is None:
        return ""
    pairs = zip(row.classes, row.probabilities, strict=True)
    try:
        row.file.encode()
        name = row.file
    except UnicodeEncodeError:  # a name that is not UTF-8 cannot stand in JSON
        name = printable(row.file)
    value = {
        "file": name,
        "status": "ok" if row.reason is None else "unreadable",
        "reason": row.reason,
        "classes": [{"class": label, "probability": probability} for label, probability in pairs],
        "unfamiliar": row.unfamiliar,
        "notes": row.notes,
    }
    return json.dumps(value) + "\n"


def _csv_line(row: Row | None, top: int) -> str:
    if row is None:
        pairs = [f"{what}_{place}" for place in range(1, top + 1) for what in ("class", "probability")]
        return csv_text(["file", "status", "reason", *pairs, "notes"], [])
    cells: list[Any] = [None] * (2 * top)
    for place, (label, probability) in enumerate(zip(row.classes, row.probabilities, strict=True)):
        cells[2 * place : 2 * place + 2] = printable(label), f"{probability:.6f}"
    status = "ok" if row.reason is None else "unreadable"
    return csv_text([printable(row.file), status, printable(row.reason or ""), *cells, "; ".join(row.notes)], [])


def _say_depth(screen: Screen, counted: Counter[str], n: int) -> None:
    """Says how many images have another depth than the model's."""
    for note, few in counted.items():
        if note.startswith("it has 8 bits"):
            screen.fact(
                "",
                f"{few:,} of {n:,} have 8 bits, but the model was trained on deeper images, so that their classes may "
                "be wrong; give it files of the depth that it was trained on",
            )
        elif note.startswith("of its 16 bits"):
            screen.fact("", f"{few:,} of {n:,} have colour of 16 bits, of which the upper 8 were used")


def _say_limit(screen: Screen, counted: Counter[str]) -> None:
    """Says which limit reads the images that have too many pixels."""
    from pocketlens.inference.predict import READ_BY

    large = {int(note.removeprefix(READ_BY)): few for note, few in counted.items() if note.startswith(READ_BY)}
    if large:
        screen.fact("", f"too many pixels: {sum(large.values()):,}; to read them: --max-pixels {max(large)}")


def _conclude(args: argparse.Namespace, predictor: Predictor, screen: Screen, counted: Counter[str]) -> int:
    n, bad = counted["predicted"] + counted["unreadable"], counted["unreadable"]
    screen.fact("images", f"{n:,}: {n - bad:,} predicted, {bad:,} unreadable")
    if counted["resized"]:
        from pocketlens.data.fit import FITTED

        height, width, _ = predictor.classifier.image_shape
        screen.fact("", f"{counted['resized']:,} had another size than {height} x {width}: {FITTED[predictor.fit]}")
    if counted["animated"]:
        screen.fact("", f"{counted['animated']:,} are animated: their first frame was used")
    from pocketlens.scoring.familiarity import UNLIKE

    if counted[UNLIKE]:
        screen.fact("", f"{counted[UNLIKE]:,} {'is' if counted[UNLIKE] == 1 else 'are'} {UNLIKE}")
    _say_depth(screen, counted, n - bad)
    _say_limit(screen, counted)
    if args.out is not None:
        screen.say(f"predictions are in {args.out}")
        result = {"model": predictor.name, "out": str(args.out), "images": n, "unreadable": bad}
        screen.finish({**result, "calibrated": predictor.is_calibrated, "calibration": predictor.calibration})
    if args.run.endswith(".safetensors"):
        screen.say(f"next: pocketlens serve {args.run}")
    else:
        runs = "" if args.runs == Path("pocketlens-runs") else f" --runs {args.runs}"
        screen.say(f"next: pocketlens export {args.run} --format onnx{runs}")
    return 0 if not bad else 3 if bad == n else 4
