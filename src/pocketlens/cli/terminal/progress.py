"""Following a training: a progress bar and one table line per epoch; plain lines where there is no terminal."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pocketlens.cli.terminal.screen import Screen
from pocketlens.cli.terminal.signals import stop_on_signals
from pocketlens.text import clock, printable
from pocketlens.training.ranks import ALONE, Ranks

if TYPE_CHECKING:
    from rich.progress import TaskID

    from pocketlens.events import Epoch, Progress

HEADER = "  epoch  size        lr   train: loss    acc     val: loss    acc  best   time  patience"
_SECONDS_BETWEEN_LINES = 30.0
_SECONDS_OF_RATE = 20.0  # images per second are a mean over at most so long


@dataclass(frozen=True)
class Followed:
    """How the following ended: the last record of history, the last step, and the signal that stopped it, or None."""

    record: dict[str, Any] | None
    step: int
    signal: int | None

    @property
    def exit_code(self) -> int:
        """0, or 128 + the signal."""
        return 0 if self.signal is None else 128 + self.signal


def follow(events: Iterator[Any], screen: Screen, ranks: Ranks = ALONE) -> Followed:
    """Shows the steps and epochs of a training until it is done or a signal comes; then the training saves itself.

    The stages of `auto` among the events are printed as they come; the parts of its other works move the bar, too. Of
    several ranks, all stop behind the same step, whichever of them a signal has reached.
    """
    record: dict[str, Any] | None = None
    step = 0
    meter = Meter(time.monotonic(), time.monotonic())
    signal: int | None = None
    with stop_on_signals(in_haste=ranks.n == 1) as signal_that_came, _shown(screen) as show, _closing(events):
        for event in events:
            meter = meter.after(event, time.monotonic())
            show(event, meter)
            if hasattr(event, "record"):
                record = event.record
            elif hasattr(event, "step"):
                step = event.step
            if ranks.n == 1 or hasattr(event, "step") or hasattr(event, "record"):  # which come to all ranks alike
                signal = ranks.highest(signal_that_came())
            if signal is not None:
                break
        signal = ranks.highest(signal_that_came())
    ranks.wait()  # for the first one to have saved
    return Followed(record, step, signal)


@contextlib.contextmanager
def _closing(events: Iterator[Any]) -> Iterator[None]:
    """Closes a generator behind it, which is how a training learns that it is to stop and save itself."""
    try:
        yield
    finally:
        if isinstance(events, Generator):
            events.close()


@dataclass(frozen=True)
class Meter:
    """Seconds of the epoch that ended last and images per second, from when the events came."""

    epoch_began: float
    window_began: float
    n_images: int = 0
    images_per_second: float = 0.0
    epoch_seconds: float = 0.0

    def after(self, event: Any, now: float) -> Meter:
        """The meter once an event came; the window starts anew behind an epoch, so that validation does not count."""
        if hasattr(event, "record"):
            return Meter(now, now, 0, self.images_per_second, now - self.epoch_began)
        if not hasattr(event, "step"):
            return self if hasattr(event, "text") else Meter(now, now)
        seconds, n_images = now - self.window_began, self.n_images + event.n_images
        rate = n_images / seconds if seconds > 0.5 else self.images_per_second
        if seconds > _SECONDS_OF_RATE:
            return Meter(self.epoch_began, now, 0, rate, self.epoch_seconds)
        return Meter(self.epoch_began, self.window_began, n_images, rate, self.epoch_seconds)


Show = Callable[[Any, Meter], None]


def epoch_line(epoch: Epoch, seconds: float) -> str:
    """One line of the table, below HEADER."""
    record = epoch.record
    cells = (
        f"{epoch.number:>3}/{math.ceil(epoch.n_epochs):<3}",
        f"{record.get('size') or '-':>4}",
        f"{record['lr']:>9.3g}",
        f"{_loss(record['train_loss']):>12}",
        f"{_percent(record['train_accuracy']):>6}",
        f"{_loss(record['val_loss']):>12}",
        f"{_percent(record['val_accuracy']):>6}",
        f"{'  *' if record['best'] else '':<4}",
        f"{clock(seconds):>6}",
        f" {_patience(epoch)}",
    )
    return " ".join(cells).rstrip()


def progress_line(progress: Progress, images_per_second: float) -> str:
    """What a plain line says between two epochs."""
    return (
        f"          step {progress.step:,} of {progress.n_steps:,}, epoch {progress.epoch:.2f}, "
        f"loss {progress.loss:.3f}, {images_per_second:,.0f} images/s"
    )


def best_lines(history: list[dict[str, Any]]) -> list[str]:
    """The best accuracy and the lowest loss on validation, each with its epoch."""
    rated = [record for record in history if record["val_accuracy"] is not None and record["val_loss"] is not None]
    if not rated:
        return []
    accuracy = max(rated, key=lambda record: float(record["val_accuracy"]))
    loss = min(rated, key=lambda record: float(record["val_loss"]))
    return [
        f"highest validation accuracy {accuracy['val_accuracy']:.2%} in epoch {accuracy['epoch']}, "
        f"lowest validation loss {loss['val_loss']:.4f} in epoch {loss['epoch']}"
    ]


@contextlib.contextmanager
def _shown(screen: Screen) -> Iterator[Show]:
    if screen.stream.isatty():
        with _bar(screen) as show:
            yield show
    else:
        yield _plain(screen)


def _plain(screen: Screen) -> Show:
    spoken = time.monotonic()

    def show(event: Any, meter: Meter) -> None:
        nonlocal spoken
        is_step = hasattr(event, "step") or hasattr(event, "what")
        if is_step and time.monotonic() - spoken < _SECONDS_BETWEEN_LINES:
            return
        if hasattr(event, "what"):
            screen.say(f"{'':<9}{event.what}: {event.done:,} of {event.total:,}")
        else:
            for line in [progress_line(event, meter.images_per_second)] if is_step else event_lines(event, meter):
                screen.say(line)
        spoken = time.monotonic()

    return show


@contextlib.contextmanager
def _bar(screen: Screen) -> Iterator[Show]:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    console = Console(file=screen.stream, highlight=False, soft_wrap=True)
    columns = (
        TextColumn("  {task.description} {task.completed:,.0f}/{task.total:,.0f}", markup=False),
        BarColumn(bar_width=None),
        TextColumn("{task.fields[said]}", markup=False),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=console, transient=True, refresh_per_second=4) as bar:
        tasks: list[TaskID] = []
        shown = 0.0

        def show(event: Any, meter: Meter) -> None:
            nonlocal shown
            if not hasattr(event, "step") and not hasattr(event, "what"):
                for line in event_lines(event, meter):
                    console.print(printable(line), markup=False, highlight=False, emoji=False)
                if tasks and (not hasattr(event, "record") or event.record["step"] == bar.tasks[0].total):
                    bar.remove_task(tasks.pop())
            elif time.monotonic() - shown > 0.2:  # reading the loss waits for the device, so not at every step
                shown = time.monotonic()
                description, done, total, said = _bar_values(event, meter)
                if not tasks:
                    tasks.append(bar.add_task("", total=total, said=said))
                bar.update(tasks[0], description=description, completed=done, total=total, said=said)

        yield show


def _bar_values(event: Any, meter: Meter) -> tuple[str, int, int, str]:
    """What stands before the bar, how far it is, and what stands behind it: of a step, or of a part of another work."""
    if hasattr(event, "what"):
        return printable(event.what), event.done, event.total, ""
    said = f"epoch {event.epoch:.2f}  loss {event.loss:.3f}  {meter.images_per_second:,.0f} images/s"
    return "step", event.step, event.n_steps, said


def event_lines(event: Any, meter: Meter) -> list[str]:
    """The lines of an epoch's end, of a note, or of a stage of `auto`."""
    if hasattr(event, "record"):
        return ([HEADER] if event.number == 1 else []) + [epoch_line(event, meter.epoch_seconds)]
    if hasattr(event, "text"):
        return [f"{'':<9}{event.text}"]
    return [f"{event.name if place == 0 else '':<9}{line}" for place, line in enumerate(event.lines)]


def _patience(epoch: Epoch) -> str:
    if epoch.record["val_accuracy"] is None:
        return ""
    since = epoch.bad_epochs
    if epoch.patience is not None:
        return f"{epoch.patience - since} of {epoch.patience} left"
    return f"{since} without a better one" if since else ""


def _loss(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.4f}"


def _percent(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.2%}"
