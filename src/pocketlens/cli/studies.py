"""What the commands that make studies share: their options, the data, the live table of trials, and the verdicts."""

from __future__ import annotations

import argparse
import contextlib
import math
import shlex
import sys
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pocketlens.cli.terminal.options import (
    Parser,
    add_dataset,
    add_rows,
    add_runs,
    check_dataset,
    check_folders,
    check_recipe,
    fraction,
    recipe_changes,
    seed,
)
from pocketlens.cli.terminal.resources import add_running, check_running, track_run
from pocketlens.cli.terminal.setup import fewer, load_and_split, recipe_for
from pocketlens.display.screen import Screen, table
from pocketlens.display.signals import stop_on_signals
from pocketlens.errors import PocketlensError
from pocketlens.recipe import Recipe, read_recipe
from pocketlens.studies.overrides import show_values
from pocketlens.text import clock, printable

if TYPE_CHECKING:
    from pocketlens.data.dataset import Dataset
    from pocketlens.data.split import Split
    from pocketlens.studies.compare import Comparison
    from pocketlens.studies.pool import Event
    from pocketlens.studies.store import Record, Study, Trial
    from pocketlens.training.tracking import Tracker


class Show(Protocol):
    """Shows a line: kept, or on a terminal as a last line that the next one overwrites."""

    def __call__(self, line: str, keep: bool) -> None: ...


_MOST_REASONS = 5  # why trials have failed
_LONGEST = 60  # characters of a recipe's name in a table
HEADER = f"  {'trial':>9}  {'val acc':>8}  {'best':>8}  {'time':>7}  {'elapsed':>7}  what"


def add_study(parser: Parser) -> None:
    """DATASET, the split, the seed, the label, and the base recipe."""
    add_dataset(parser)
    add_rows(parser)
    add_runs(parser)
    parser.add_argument("--seed", type=seed, default=0, metavar="N", help="the first seed (%(default)s)")
    parser.add_argument(
        "--val-fraction", type=fraction, default=0.1, metavar="F", help="rows for validation (%(default)s)"
    )
    parser.add_argument("--split-seed", type=seed, default=0, metavar="N", help="which rows those are (%(default)s)")
    parser.add_argument("--label", default="", metavar="TEXT", help="a name for the study, instead of its id")
    add_running(parser)


def read_base(args: argparse.Namespace) -> Recipe | None:
    """Checks all words of the command; gives the base recipe, or None where the size of the data decides it."""
    check_dataset(args.dataset)
    check_folders(args)
    check_running(args)
    if args.val_fraction == 0:
        raise PocketlensError("a study needs validation rows to choose by; --val-fraction must be above 0.")
    given = None if args.recipe is None else read_recipe(args.recipe)
    check_recipe(given or Recipe(), recipe_changes(args), "the recipe")
    return given


def load_for_study(
    args: argparse.Namespace, given: Recipe | None, screen: Screen
) -> tuple[Dataset, Split, Recipe, str]:
    """The data, its split with `--rows` of it, the base recipe, and where that comes from."""
    from pocketlens.studies.compare import fixed_start

    dataset, split = load_and_split(args, screen)
    split = fewer(split, dataset, args, screen)
    name = args.recipe or f"as in {getattr(args, 'source', None)}"
    base, source = (given, name) if given else recipe_for(dataset, split)
    base = check_recipe(base, recipe_changes(args), "the recipe")
    return dataset, split, fixed_start(base, dataset, split, args.runs), source


def made_by(argv: list[str] | None = None) -> str:
    """The command as it was typed."""
    return "pocketlens " + shlex.join(sys.argv[1:] if argv is None else argv)


def follow_study(
    study: Study, events: Generator[Event, None, None], screen: Screen, tracker: Tracker | None = None
) -> int | None:
    """Shows trials as they begin and end, and mirrors those that have ended; gives the signal that stopped them."""
    from pocketlens.studies.pool import Began, Ended, Moved

    began, header = time.monotonic(), False
    best: Record | None = None
    for record in study.records():
        best = _better(best, record)
        if record.is_ended:
            track_run(tracker, study.run(record.trial), screen)
    with stop_on_signals() as signal_that_came, _status(screen) as show, contextlib.closing(events):
        for event in events:
            if isinstance(event, Ended):
                best = _better(best, event.record)
                track_run(tracker, study.run(event.record.trial), screen)
                if not header:
                    show(HEADER, keep=True)
                    header = True
                show(_trial_line(study, event.record, best, time.monotonic() - began), keep=True)
            elif isinstance(event, Moved):
                lost = f"trial {event.trial.number + 1} was lost with its node and goes on elsewhere"
                show(f"{'':>11}  {lost}", keep=True)
            else:
                epochs, seconds = (0, 0.0) if isinstance(event, Began) else (event.epoch, event.seconds)
                trial = event.trial
                wanted = math.ceil(trial.recipe.epochs)
                work = f"epoch {min(epochs + 1, wanted)} of {wanted}, {clock(seconds)}"
                show(f"{'next':>11}: trial {trial.number + 1}, {what(trial)}: {work}", keep=False)
            if signal_that_came() is not None:
                break
        return signal_that_came()


def what(trial: Trial) -> str:
    """A trial in words: its recipe, or in a search its values, and its seed."""
    if trial.phase == "repeats" or not trial.changes:
        return f"{shorten(trial.arm)}, seed {trial.seed}"
    values = show_values(dict(trial.changes))
    if trial.phase == "search":
        return f"{values} (base)" if trial.arm == "base" else values
    return f"{trial.phase}, {trial.arm}, seed {trial.seed}: {values}"


def finish_study(study: Study, signal: int | None, runs: Path, screen: Screen) -> int:
    """The exit code once the trials have been run; says how to go on, and what has failed."""
    records = study.records()
    option = "" if runs == Path("pocketlens-runs") else f" --runs {shlex.quote(str(runs))}"
    if signal is not None:
        screen.say(f"stopped; go on with: pocketlens study {study.id}{option}")
        return 128 + signal
    failed = [record for record in records if record.is_ended and record.status != "complete"]
    counts = {status: sum(r.status == status for r in failed) for status in sorted({r.status for r in failed})}
    if failed:
        shown = ", ".join(f"{n} {status}" for status, n in counts.items())
        screen.say(f"{len(failed)} of {len(records)} trials have no result: {shown}")
        reasons = {record.reason: record.trial for record in reversed(failed)}  # each once, with its first trial
        for reason, trial in list(reversed(reasons.items()))[:_MOST_REASONS]:
            screen.say(f"  trial {trial.number + 1} ({shorten(trial.arm)}): {reason}")
    return 0 if not failed else 3 if len(failed) == len(records) else 4


def arm_rows(comparison: Comparison) -> list[tuple[str, ...]]:
    """The table of recipes: name, mean ± deviation, interval, n, seconds of a repeat."""
    rows: list[tuple[str, ...]] = []
    for letter, arm in zip(letters(len(comparison.arms)), comparison.arms, strict=True):
        n = sum(status == "complete" for status in arm.statuses)
        if arm.mean is None:
            rows.append((letter, shorten(arm.name), "n/a", "", "0", ", ".join(sorted(set(arm.statuses)))))
            continue
        spread = f" ± {100 * arm.sd:.2f}" if arm.sd is not None else ""
        interval = "" if arm.low is None or arm.high is None else show_interval(arm.low, arm.high)
        rows.append(
            (letter, shorten(arm.name), f"{100 * arm.mean:.2f}{spread} %", interval, str(n), clock(arm.seconds / n))
        )
    return rows


def show_interval(low: float, high: float) -> str:
    """The interval of an accuracy in per cent; Student's t does not know that it ends at 0 and 100."""
    return f"[{100 * max(low, 0.0):.2f}, {100 * min(high, 1.0):.2f}]"


def letters(n: int) -> list[str]:
    """A, B, …, Z, A1, B1, …"""
    return [chr(65 + i % 26) + ("" if i < 26 else str(i // 26)) for i in range(n)]


def say_comparison(comparison: Comparison, screen: Screen) -> None:
    """The table of recipes and a verdict for each pair."""
    for line in table(arm_rows(comparison), ("", "recipe", "val acc", "95 % interval", "n", "time")):
        screen.say(f"  {line}")
    names = dict(zip((arm.name for arm in comparison.arms), letters(len(comparison.arms)), strict=True))
    for verdict in comparison.verdicts:
        screen.say(f"  {verdict.line(names)}")


def shorten(text: str) -> str:
    """A name that fits into a table."""
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _better(best: Record | None, record: Record) -> Record | None:
    if record.score is None or record.trial.phase == "final":
        return best
    return record if best is None or best.score is None or record.score > best.score else best


def _trial_line(study: Study, record: Record, best: Record | None, elapsed: float) -> str:
    total = study.asked.get("trials") if record.trial.phase == "search" else len(study.records())
    if study.asked.get("minutes") is not None and record.trial.phase == "search":
        total = "…"
    score = f"{record.score:.2%}" if record.score is not None else record.status
    top = f"{best.score:.2%}" if best is not None and best.score is not None else "-"
    return (
        f"  {record.trial.number + 1:>4}/{total:<4}  {score:>8}  {top:>8}  {clock(record.seconds):>7}  "
        f"{clock(elapsed):>7}  {what(record.trial)}"
    )


@contextlib.contextmanager
def _status(screen: Screen) -> Iterator[Show]:
    if not screen.stream.isatty():

        def say(line: str, keep: bool) -> None:
            if keep:
                screen.say(line)

        yield say
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(file=screen.stream, highlight=False, soft_wrap=True)
    with console.status("") as spinner:

        def show(line: str, keep: bool) -> None:
            if keep:
                console.print(printable(line), markup=False, highlight=False, emoji=False)
            else:
                spinner.update(Text(printable(line)))

        yield show
