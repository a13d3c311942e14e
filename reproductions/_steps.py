"""What the five studies share: steps are commands of pocketlens; each is run once, timed, and told in Markdown.

A study is `main(__doc__, steps)` with `steps(asked) -> list[Step]`. What a killed call has finished is not done again:
each step leaves a file in RUNS/steps, a run that was begun is resumed, a study that was begun goes on, and test rows
that have been opened for a run are not opened for it once more.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from _numbers import Done, Step
from _words import page_of

from pocketlens.errors import PocketlensError
from pocketlens.files import read_json, write_json, write_text
from pocketlens.studies.store import Study
from pocketlens.training.run import Run

T = TypeVar("T")
NAME = re.compile(r"\b[A-Z]\d+-[\w-]+")  # of a step
BUDGETS = ("smoke", "minutes", "full")
LABELLED = ("train", "compare", "sweep", "search", "transfer", "features")
STUDIES = ("compare", "sweep", "search", "transfer")
SHORT_VAL = "--val-fraction 0.05"  # where few rows train, judging a fifth of all would take most of the time
SHORT_LENS = '--model "lens(width=0.5)" --epochs 2'  # our own recipe, half as wide and shortened, for the minutes
OUT = ("look", "lr-range")  # their pages go where --out says; so do those of a report on several runs


@dataclass(frozen=True)
class Asked:
    """What a person asked a study for."""

    budget: str
    weights: Path | None = None  # ImageNet weights of VGG-19, for report D
    hub: bool = False  # take them from timm's hub

    def __call__(self, smoke: T, minutes: T, full: T) -> T:
        """The value for this budget."""
        return {"smoke": smoke, "minutes": minutes, "full": full}[self.budget]


def main(about: str, steps: Callable[[Asked], list[Step]], argv: Sequence[str] | None = None) -> int:
    """Runs a study and writes its page; the exit code is 0 where every step ended as expected, else 4."""
    name = Path(steps.__code__.co_filename).stem
    args = _parser(about, name).parse_args(argv)
    asked = Asked(args.budget, args.weights, args.hub)
    todo, rows = [_small(step, asked) for step in steps(asked)], set(args.only.split(",")) if args.only else set()
    if args.list:
        for step in (step for step in todo if not rows or step.row in rows):
            print(f"{step.row:<4} {step.name:<22} pocketlens {step.command}")
        return 0
    runs = args.runs or Path("pocketlens-runs") / f"{name}-{args.budget}"
    page = (args.results or Path(__file__).parent / "results") / f"{name}.md"
    page.parent.mkdir(parents=True, exist_ok=True)
    (runs / "steps").mkdir(parents=True, exist_ok=True)
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: the command saves its state
    try:
        done, left, stopped = _run_all(todo, rows, runs, args.stop_after)
    finally:
        signal.signal(signal.SIGTERM, before)
    write_text(page, page_of(about, args.budget, done, left, args.remark, _machine(done)))
    wrong = [item.step.name for item in done if item.code != item.step.exits]
    print(f"results  {page}" + (f"; not as expected: {', '.join(wrong)}" if wrong else ""))
    return stopped or (4 if wrong or any(not rows or step.row in rows for step in left) else 0)


def _machine(done: Sequence[Done]) -> dict[str, Any]:
    """Where the first run among them was trained; this machine where none was."""
    from pocketlens.training.device import environment  # torch, which --list does not need

    made = (Run(Path(item.result["path"])).environment for item in done if item.result.get("path"))
    return next(filter(None, made), None) or environment()


def _small(step: Step, asked: Asked) -> Step:
    """In the smoke budget few rows validate, too."""
    command = step.command
    if asked.budget != "smoke" or command.split()[0] not in LABELLED or "--val-fraction 0 " in f"{command} ":
        return step
    return replace(step, command=f"{command} --val-fraction 0.02")


def _run_all(todo: list[Step], rows: set[str], runs: Path, minutes: float | None) -> tuple[list[Done], list[Step], int]:
    """What was done now and before, what is left, and the exit code of a command that was stopped by a signal."""
    began = time.monotonic()
    done: list[Done] = []
    left: list[Step] = []
    for number, step in enumerate(todo, 1):
        old = _read_done(step, runs)
        is_late = minutes is not None and time.monotonic() - began > 60 * minutes
        if old is None and (is_late or (rows and step.row not in rows)):
            left.append(step)
            continue
        if old is None:
            print(f"\n== {number}/{len(todo)} {step.row} {step.name}: {step.question}", file=sys.stderr, flush=True)
        item = old or run_step(step, runs)
        if item.code > 100:
            return done, [*left, *todo[number - 1 :]], item.code
        done.append(item)
    return done, left, 0


def run_step(step: Step, runs: Path) -> Done:
    """Runs a command, or goes on with it where a killed call has begun it, and leaves what came out in RUNS/steps."""
    words = words_of(step, runs)
    begun = runs / "steps" / f"{step.name}.begun"
    going = _unfinished(step, runs) if begun.exists() and read_json(begun) == words else None
    write_json(begun, words)
    began = time.monotonic()
    if going is not None and going[0] == "read":
        code, result, said = 0, {"test": read_json(Path(going[1]))}, []
    else:
        code, result, said = _call(going or words, runs / "steps")
    done = Done(step, words, code, time.monotonic() - began, result, said, going is not None)
    if code <= 100:
        told = {"code": code, "seconds": done.seconds, "result": result, "said": said, "resumed": done.resumed}
        write_json(runs / "steps" / f"{step.name}.json", {"words": words, **told})
        begun.unlink(missing_ok=True)
    return done


def words_of(step: Step, runs: Path) -> list[str]:
    """The words behind `pocketlens`, with --runs, --label and the folder of a page."""

    def folder(found: re.Match[str]) -> str:
        path = runs / "steps" / f"{found[1]}.json"
        result = read_json(path)["result"] if path.exists() else {}
        made = result.get("runs") or [result]
        return str(made[-1].get("path") or (made[-1].get("studies") or [f"@{found[1]}"])[-1])

    words = [re.sub(rf"@({NAME.pattern})", folder, word) for word in shlex.split(step.command)]
    command = words[0]
    if command != "list":
        words += ["--runs", str(runs)]
    if command in LABELLED:
        words += ["--label", step.name]
    if command in OUT or (command == "report" and len(shlex.split(step.command)) > 2):
        words += ["--out", str(runs / "pages" / step.name)]
    return words


def _call(words: list[str], folder: Path) -> tuple[int, dict[str, Any], list[str]]:
    """Exit code, JSON and the lines that were said, which are shown as they come."""
    out = folder / "output.json"
    said: list[str] = []
    with open(out, "w+", encoding="utf-8") as stdout:
        command = [sys.executable, "-m", "pocketlens", *words, "--json"]
        with subprocess.Popen(command, stdout=stdout, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            try:
                for line in process.stderr:
                    print(line, end="", file=sys.stderr, flush=True)
                    said.append(line.rstrip())
            except KeyboardInterrupt:
                process.terminate()  # it saves its state, and the next call goes on
                said += [line.rstrip() for line in process.stderr]
        stdout.seek(0)
        text = stdout.read()
    out.unlink()
    code = process.returncode if process.returncode >= 0 else 128 - process.returncode
    try:
        result = json.loads(text.splitlines()[-1]) if text.strip() else {}
    except json.JSONDecodeError:
        result = {}
    return code, result, said[-60:]


def _unfinished(step: Step, runs: Path) -> list[str] | None:
    """The command that goes on with what a killed call of this step has begun; None where it must begin anew."""
    command, *rest = shlex.split(step.command)
    try:
        if command in STUDIES:
            return ["study", Study.open(step.name, runs).id, "--runs", str(runs)]
        if command == "train":
            return ["resume", Run.open(step.name, runs).id, "--runs", str(runs)]
        if command == "test" and (scores := Run.open(rest[0], runs).file("scores-test.json")).exists():
            return ["read", str(scores)]
    except PocketlensError:
        return None
    return None


def _read_done(step: Step, runs: Path) -> Done | None:
    """What a former call has finished, if it was this very command."""
    path = runs / "steps" / f"{step.name}.json"
    if not path.exists():
        return None
    named = [runs / "steps" / f"{name}.json" for name in NAME.findall(step.command)]
    if any(other.exists() and other.stat().st_mtime_ns > path.stat().st_mtime_ns for other in named):
        return None  # what it used has been made anew
    told = read_json(path)
    if told["words"] != words_of(step, runs) or told["code"] != step.exits:
        return None
    return Done(step, told["words"], told["code"], told["seconds"], told["result"], told["said"], told["resumed"])


def _parser(about: str, name: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"python reproductions/{name}.py", description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    budgets = "minutes: under 20 minutes on two cores; full: the report's own, for a GPU; smoke: seconds, for tests"
    parser.add_argument("--budget", choices=BUDGETS, default="minutes", help=f"{budgets} (%(default)s)")
    parser.add_argument("--only", default="", metavar="ROWS", help="some rows, such as B4,B5")
    parser.add_argument("--list", action="store_true", help="print the commands and stop")
    parser.add_argument("--runs", type=Path, metavar="DIR", help=f"where runs go (pocketlens-runs/{name}-BUDGET)")
    parser.add_argument("--results", type=Path, metavar="DIR", help="where the Markdown goes (reproductions/results)")
    parser.add_argument("--stop-after", type=float, metavar="MINUTES", help="begin no step later than this; call again")
    parser.add_argument("--remark", default="", metavar="TEXT", help="a sentence for the top of the page")
    parser.add_argument("--weights", type=Path, metavar="FILE", help="report D: VGG-19's ImageNet weights")
    parser.add_argument("--hub", action="store_true", help="report D: take them from timm's hub")
    return parser
