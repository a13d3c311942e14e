"""Following a long work: a progress bar on a terminal, a line for each of its parts elsewhere."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from pocketlens.cli.terminal.screen import Screen
from pocketlens.events import Result, Step, Work
from pocketlens.text import clock, printable

_SECONDS_BETWEEN_LINES = 30.0


def follow_work(work: Work[Result], screen: Screen) -> Result:
    """Shows the steps of a work until it is done, and gives its result."""
    with _shown(screen) as show:
        while True:
            try:
                show(next(work))
            except StopIteration as end:
                result: Result = end.value
                return result


@contextlib.contextmanager
def _shown(screen: Screen) -> Iterator[Callable[[Step], None]]:
    if screen.stream.isatty():
        with _bar(screen) as show:
            yield show
    else:
        yield _plain(screen)


def _plain(screen: Screen) -> Callable[[Step], None]:
    began = spoken = time.monotonic()
    what = ""

    def show(step: Step) -> None:
        nonlocal began, spoken, what
        now = time.monotonic()
        if step.what != what:
            what, began, spoken = step.what, now, now
        if step.done >= step.total:
            screen.say(f"{'':<9}{step.what}: {step.total:,} in {clock(now - began)}")
        elif now - spoken > _SECONDS_BETWEEN_LINES:
            spoken = now
            screen.say(f"{'':<9}{step.what}: {step.done:,} of {step.total:,}")

    return show


@contextlib.contextmanager
def _bar(screen: Screen) -> Iterator[Callable[[Step], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("  {task.description} {task.completed:,.0f}/{task.total:,.0f}", markup=False),
        BarColumn(bar_width=None),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=Console(file=screen.stream, highlight=False), refresh_per_second=4) as bar:
        tasks = {}

        def show(step: Step) -> None:
            if step.what not in tasks:
                tasks[step.what] = bar.add_task(printable(step.what), total=step.total)
            bar.update(tasks[step.what], completed=step.done, total=step.total)

        yield show
